//! What a run of the failure suite comes to, in a line.

use std::fmt;

use super::{Backward, Inflicted, Judged, Reports};

/// One run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What it was, such as `3 replicas, seed 7`.
    pub what: String,
    /// What failed.
    pub inflicted: Inflicted,
    /// Times that the writer was stopped in the middle of updates, beside the faults.
    pub stops: usize,
    /// What was reported.
    pub reports: Reports,
    /// What DNS said in the end.
    pub judged: Judged,
    /// Questions to DNS that were answered meanwhile.
    pub reads: u64,
    /// What went back in DNS meanwhile.
    pub backward: Vec<Backward>,
    /// The ends of the replicas' logs, where something was wrong.
    pub logs: String,
}

impl Summary {
    /// Whether nothing that was acknowledged is lost, or was overwritten by something older.
    pub fn is_right(&self) -> bool {
        self.judged.wrong.is_empty() && self.backward.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            inflicted,
            stops,
            reports,
            judged,
            reads,
            backward,
            logs: _,
        } = self;
        write!(f, "{what}: {} faults injected", inflicted.faults())?;
        let kinds = inflicted.kinds.iter();
        let kinds: Vec<_> = kinds
            .map(|((target, manner), count)| format!("{count} {target} {manner}"))
            .collect();
        if !kinds.is_empty() {
            let longest = inflicted.longest.as_secs_f64();
            write!(f, " ({}; longest {longest:.1} s)", kinds.join(", "))?;
        }
        writeln!(f, ", writer stopped {stops} times")?;
        writeln!(
            f,
            "  {} updates sent in {:.0} s, {} acknowledged, {} refused, {} unanswered, \
             {} not reached; {} reports failed",
            reports.sent,
            reports.time.as_secs_f64(),
            reports.acknowledged,
            reports.refused,
            reports.unanswered,
            reports.unreached,
            reports.failed
        )?;
        write!(
            f,
            "  {} hosts: {} lost, {} stale, {} strange, {} later than acknowledged; \
             {reads} reads meanwhile, {} backward",
            judged.hosts,
            judged.lost,
            judged.stale,
            judged.strange,
            judged.later,
            backward.len()
        )?;
        for wrong in &judged.wrong {
            write!(f, "\n  {wrong}")?;
        }
        for Backward { hostname, from, to } in backward {
            write!(f, "\n  {hostname} went from {from} back to {to:?}")?;
        }
        Ok(())
    }
}
