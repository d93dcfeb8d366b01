//! The RFC 2136 provider against a real BIND: its connections and its key. What every server must do
//! is in `tests/contract`.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod batches;
mod connection;
mod credentials;
mod scripted_server;
mod transfer;
mod zone;
