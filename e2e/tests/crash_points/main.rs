//! An operator that is killed at every one of its side effects, and one that is misled about what
//! the API server has: what it leaves in DNS and in the API server in the end.
//!
//! All of it is done from outside, by [`dynhost_e2e::SideEffects`].

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy does not count helpers as tests"
)]

mod down;
mod frozen_watches;
mod lane;
mod life;
mod model;
mod replays;
mod stale_state;
mod state;
mod step;
mod undisturbed;
