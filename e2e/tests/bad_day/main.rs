//! Bad days: what the operator depends on is gone, half gone or strange, and what is told of it.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod api_server;
mod name_server;
mod strange_server;
