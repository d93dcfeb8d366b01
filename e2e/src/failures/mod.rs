//! Everything that dynhost depends on fails, itself included, while clients report: what was
//! acknowledged must be in DNS in the end.
//!
//! ```text
//! plan (pure, seeded) ──> inflict ──> replicas, API server, etcd, BIND
//! load: clients, each of one host after the other ──> history ─┐
//! the zone, when all are back ────────────────────────────────┴─> history::judge (pure)
//! reader: no host's address in DNS ever goes back
//! ```

mod history;
mod inflict;
mod load;
mod plan;
mod population;
mod reader;
mod replicas;
mod run;
mod settle;
mod summary;

pub use history::{History, Outcome, Verdict, address, judge, value};
pub use inflict::{Inflicted, inflict};
pub use load::{Load, Pace, Reports};
pub use plan::{Fault, Manner, Plan, Scale, Target, plan};
pub use population::Population;
pub use reader::{Backward, Reader};
pub use replicas::Replicas;
pub use run::Run;
pub use settle::{Judged, settle};
pub use summary::Summary;
