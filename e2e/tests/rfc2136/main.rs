//! The RFC 2136 provider against a real BIND.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod connection;
mod credentials;
mod ownership;
mod scripted_server;
mod transfer;
mod zone;
