//! dynhost: a Kubernetes operator for names whose addresses change.
//!
//! # Layout
//!
//! * [`update`] PURE: what a client's request says, who may say it, and what it changes.
//! * [`record`] PURE: what DNS should say, and which change takes it there safely.
//! * [`endpoint`] IO: the HTTP server that clients call; writes `status.observed`, never DNS.
//! * [`reconcile`] IO around a pure middle: from stored objects to DNS, conditions and Events.
//! * [`provider`] IO: the name servers that hold a zone.
//! * [`leader`]: who of several replicas writes.
//! * [`index`]: what the watches know, shared by endpoint and controller.
//! * [`events`] IO: Events, within a budget.
//! * [`run`]: wires and spawns all that lives as long as the process.

pub mod admin;
pub mod admission;
pub mod config;
pub mod deadline;
pub mod endpoint;
pub mod events;
pub mod in_sync;
pub mod index;
pub mod leader;
pub mod metrics;
pub mod name;
pub mod name_pattern;
pub mod provider;
pub mod reconcile;
pub mod record;
pub mod request_id;
pub mod run;
pub mod under_way;
pub mod update;
pub mod watch;
