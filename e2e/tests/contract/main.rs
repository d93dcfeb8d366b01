//! What every server that a zone may be on must do, run against BIND, Knot and PowerDNS.
//!
//! Each test asserts the outcome, and what the whole zone then holds. Where servers differ, the
//! table says how, and so does docs/rfc2136.md.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod batches;
mod changes;
mod cnames;
mod connections;
mod credentials;
mod documented;
mod every_server;
mod lives;
mod reading;
mod transfers;
mod unmarked;
mod zone;
