//! The failure suite, short: what was acknowledged is in DNS in the end, whatever fails meanwhile.
//! `cargo soak` runs it for hours.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod faults;
mod late_requests;
mod rolling;
mod stage;
