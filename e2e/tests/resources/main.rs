//! The resources as administrators and tenants meet them: schema, update keys, consent, access.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy does not count helpers as tests"
)]

mod access;
mod canary;
mod canary_dialects;
mod canary_keys;
mod canary_requests;
mod commands;
mod consent;
mod fixture;
mod hidden_names;
mod host_schema;
mod leak;
mod schema;
mod tenancy;
mod update_keys;
mod zone_schema;
