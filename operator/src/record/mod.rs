//! PURE: from what clients reported to what DNS should say, and how to get there safely.
//!
//! Nothing here knows a client, a runtime or a clock.

pub mod alias;
pub mod attempt;
pub mod change;
pub mod contents;
pub mod desired;
pub mod drift;
pub mod interface_id;
pub mod marker;
pub mod recovery;
pub mod removal;
