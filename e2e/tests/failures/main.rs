//! Several replicas, and one of them fails while clients report. `cargo soak` has it for hours.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod late_requests;
mod stage;
