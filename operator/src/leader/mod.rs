//! Who of several replicas writes: the holder of a Lease.
//!
//! ```text
//! the Lease --watch--> candidate -> decide -> PUT of the version seen     (election)
//!                          | the lease is ours
//!                          v
//!                        term: a fence, open until shortly before anybody else may follow
//! ```
//!
//! The rules are those of client-go's leader election, whose Leases these are, but for its known
//! faults: a holder here stops writing by himself, by a clock that nobody sets, before his lease can
//! be taken; a lease lasts as long as its holder said; and losing it ends no process.
//!
//! That nobody else writes holds while clocks run at the same rate within some percent and nobody
//! writes `holderIdentity: ""` by hand while the holder lives. Beyond that, and for what is in flight
//! when a holder is stopped, each message to DNS requires the marker that the last one left.

pub mod candidate;
pub mod client;
pub mod decide;
pub mod election;
pub mod fence;
pub mod moment;
#[cfg(test)]
mod tests;
