//! PURE: from what clients reported to what DNS should say, and how to get there safely.
//!
//! Nothing here knows a client, a runtime or a clock.

pub mod change;
pub mod contents;
pub mod desired;
pub mod marker;
pub mod plan;
