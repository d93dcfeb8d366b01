//! What `cargo bench-e2e` and `cargo soak` have in common: thousands of hosts, what a process takes,
//! and the tables that are printed.

pub mod machine;
pub mod memory;
pub mod population;
mod quiet;
pub mod raw_zone;
pub mod report;
pub mod request;
pub mod serial_watch;
pub mod timing;

pub use quiet::{api_writes, await_quiet};
