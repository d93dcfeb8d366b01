//! Several replicas of which one writes, and what becomes of the lease.

// Helpers of tests are tests, too: where they cannot go on, the test fails.
#![allow(clippy::unwrap_used)]

mod hand_over;
mod lost_lease;
mod shutdown;
mod stopped_writer;
mod team;
