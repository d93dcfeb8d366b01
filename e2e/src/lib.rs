//! A real Kubernetes control plane, a real name server and the operator, as child processes on
//! 127.0.0.1 that end with the process that started them.
//!
//! ```text
//! Stack ── ControlPlane   etcd, kube-apiserver, kube-controller-manager (built by Go, cached)
//!      ├── Bind           one named, a zone and TSIG keys per test
//!      └── Operator       `dynhost run`, under the ServiceAccount and RBAC of deploy/
//! ```
//!
//! [`NameServer`] is a BIND, a Knot or a PowerDNS of a test's own, for what must hold on each.
//!
//! Whatever is asynchronous on the other side is awaited by [`await_condition`], never by a sleep.

mod bind;
mod condition;
mod control_plane;
pub mod failures;
pub mod http;
mod knot;
pub mod measure;
mod name_server;
mod operator;
mod packages;
mod ports;
mod powerdns;
mod process;
mod python;
mod random;
pub mod scratch;
mod seeded_random;
mod side_effects;
pub mod stack;
mod tcp_proxy;
mod tools;

pub use bind::{Bind, UpdateCounts};
pub use condition::await_condition;
pub use control_plane::{AuditEvent, AuditMark, ControlPlane};
pub use http::Response;
pub use knot::Knot;
pub use name_server::{
    Answer, Daemon, IdleLimit, NameServer, Software, TsigAlgorithm, TsigKey, ZoneSpec,
};
pub use operator::{Operator, operator_binary};
pub use packages::debian_program;
pub use ports::free_port;
pub use powerdns::PowerDns;
pub use process::{ChildProcess, Signal};
pub use python::python_program;
pub use random::{random_base64, random_hex};
pub use scratch::Scratch;
pub use seeded_random::SeededRandom;
pub use side_effects::{CrashPoint, Memory, Release, SideEffects, When};
pub use stack::{Stack, StackOptions, Zone, ZoneOptions};
pub use tcp_proxy::{Mode, TcpProxy};
pub use tools::{ControlPlaneBinary, control_plane_binary};
