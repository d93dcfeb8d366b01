//! Fuzz targets for all that a stranger's or a name server's octets reach: a function for each, which
//! takes octets and panics where a property does not hold.
//!
//! The same functions run under libFuzzer (`fuzz_targets/`) and, for a few seconds, in `cargo test`
//! (`tests/short_run.rs`). docs/fuzzing.md has the recipes.
//!
//! Where an input is a request, it is one as text ([`request`]), so that the corpora can be read.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a property that does not hold is a panic"
)]

mod answers;
mod client_address;
mod parts;
mod request;
mod signed;
mod transfer;
mod unsigned;

pub use client_address::{forwarded, proxy_protocol};
pub use parts::{addresses, credentials, route};
pub use signed::{envelope, netstrings, sha1_script, signed};
pub use transfer::transfer;
pub use unsigned::{afraid, duckdns, dyndns2, dynv6, sftdyn};

/// What a target is: it panics where a property does not hold for these octets.
pub type Target = fn(&[u8]);

/// Every target with the name of its corpus and its program.
pub const TARGETS: [(&str, Target); 15] = [
    ("addresses", addresses),
    ("afraid", afraid),
    ("credentials", credentials),
    ("duckdns", duckdns),
    ("dyndns2", dyndns2),
    ("dynv6", dynv6),
    ("envelope", envelope),
    ("forwarded", forwarded),
    ("netstrings", netstrings),
    ("proxy_protocol", proxy_protocol),
    ("route", route),
    ("sftdyn", sftdyn),
    ("sha1_script", sha1_script),
    ("signed", signed),
    ("transfer", transfer),
];
