//! Hosts that their zone does not admit: what they say, and what becomes of their records.

use std::sync::Arc;

use dynhost_crds::conditions::{ConditionStatus, Reason};

use super::guard::{Cause, Permit};
use super::key;
use super::problem::Problem;
use super::progress::Inputs;
use super::status::{Outcome, Verdict};
use super::{Controller, Next};
use crate::admission::Refusal;
use crate::index::host::{Host, PublishedState};
use crate::index::zone::Zone;

impl Controller {
    /// A host whose zone has taken its name from it loses the records under its marker. For any other
    /// refusal DNS is left as it is: what is wrong may be mended.
    pub(super) async fn refused(
        &self,
        host: &Arc<Host>,
        refusal: &Refusal,
        reason: Reason,
    ) -> (Outcome, Next) {
        let accepted = match refusal.message(&host.meta.key) {
            Some(message) => Verdict::of(reason).saying(message),
            None => Verdict::of(reason),
        };
        let spec = host.spec.as_ref().ok();
        let key = spec.and_then(|spec| key::judge(&self.index, spec));
        let state = self.progress.published(host);
        let zone = spec.and_then(|spec| self.index.zone(&spec.zone));
        let (published, state, next) = match (state, zone) {
            (Some(state), Some(zone)) if refusal.loses_name() => {
                let (problem, state, next) = self.take_back(host, &zone, state).await;
                (problem.unwrap_or(Verdict::unknown(reason)), state, next)
            }
            (state, _) => {
                self.withdraw(&host.meta.key, |_| true);
                (Verdict::unknown(reason), state, Next::Idle)
            }
        };
        let outcome = Outcome {
            uid: host.meta.uid.clone(),
            generation: host.meta.generation,
            written_at: host.published.as_ref().map(|published| published.at),
            accepted,
            key: key.unwrap_or(Verdict::unknown(reason)),
            published,
            fresh: self.staleness(host, Some(reason)).verdict(),
            settled: match state {
                Some(_) => Box::default(),
                None => host.pending.clone(),
            },
            state,
        };
        (outcome, next)
    }

    /// Removes the records, after the guard; what keeps them there, what is in DNS, and when to look
    /// again. `deletionPolicy` is about the host's own end: the name is the zone's.
    async fn take_back(
        &self,
        host: &Arc<Host>,
        zone: &Zone,
        before: PublishedState,
    ) -> (Option<Verdict>, Option<PublishedState>, Next) {
        let inputs = Inputs::new(host, None, Some(zone));
        if let Some((problem, wait)) = self.progress.waits(host, &inputs) {
            return (Some(kept(&problem)), Some(before), Next::After(wait));
        }
        match self.may_remove(host, zone, Cause::Consent) {
            Permit::Granted => {}
            permit @ Permit::Wait(_) => return (None, Some(before), permit.next()),
            permit @ Permit::Paused => {
                let paused = Verdict::of(Reason::DeletionPaused);
                return (Some(paused), Some(before), permit.next());
            }
        }
        let Ok(spec) = &host.spec else {
            return (None, Some(before), Next::Idle);
        };
        match self.remove_records(host, spec, zone).await {
            Ok(()) => {
                self.progress.succeeded(host, None);
                self.withdraw(&host.meta.key, |_| true);
                (None, None, Next::Idle)
            }
            Err(problem) => {
                // The zone's lane may be paused by this, and only a probe ends that.
                self.look_at_zone(&zone.meta.key);
                let before = Some(before);
                let next = self.progress.failed(host, before.clone(), inputs, &problem);
                (Some(kept(&problem)), before, next)
            }
        }
    }
}

/// The verdict on Published of a host whose records are to go.
pub(super) fn kept(problem: &Problem) -> Verdict {
    let verdict = Verdict::of(problem.reason());
    Verdict {
        status: ConditionStatus::False,
        ..verdict.saying(format!("the records cannot be removed yet: {problem}"))
    }
}
