//! The controller against a real API server and a real BIND: what a report, a change of a spec, an
//! outage or a crash makes of DNS and of status.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod adoption;
mod aliases;
mod claims;
mod concurrent_writers;
mod conditions;
mod crashes;
mod credentials;
mod deletion;
mod drift;
mod events;
mod foreign_records;
mod live_host;
mod lost_consent;
mod lost_replies;
mod malformed_objects;
mod many_hosts;
mod mass_deletion;
mod outages;
mod owner_ids;
mod ownership;
mod prefixes;
mod publishing;
mod recreated_hosts;
mod restarted_stack;
mod staleness;
mod team;
mod vanished_crd;
mod write_counts;
mod zone_records;
