//! PURE: what a client's request says, who may say it, and what it changes.
//!
//! ```text
//! protocol         octets            -> CheckIn            what is asked
//! auth             CheckIn + token   -> hosts              who may ask it
//! source_address   CheckIn + peer    -> addresses          what would be published
//! decide           addresses + host  -> Decision           whether that is news
//! patch            Decision + host   -> JSON patch         how it is stored safely
//! heartbeat        host + time       -> JSON patch         that a client was seen without news
//! ```
//!
//! Nothing here knows a client, a runtime, a web framework or a clock.

pub mod auth;
pub mod cidr;
pub mod client_address;
pub mod decide;
pub mod heartbeat;
pub mod outcome;
pub mod patch;
pub mod proof;
pub mod protocol;
pub mod scope;
pub mod source_address;

#[cfg(test)]
pub(crate) mod fixture;
