//! Hosts that their zone does not admit: what they say, and what becomes of their records.

use std::sync::Arc;

use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};

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
        let (problem, state, next) = match zone {
            Some(zone) if refusal.loses_name() && (state.is_some() || self.may_be_in_dns(host)) => {
                self.take_back(host, &zone, state).await
            }
            _ => {
                self.withdraw(&host.meta.key, |_| true);
                (None, state, Next::Idle)
            }
        };
        let is_open = state.is_none() && self.may_be_in_dns(host);
        let without_problem = match is_open {
            true => undecided(),
            false => Verdict::unknown(reason),
        };
        let outcome = Outcome {
            uid: host.meta.uid.clone(),
            generation: host.meta.generation,
            written_at: host.published.as_deref().map(|published| published.at),
            accepted,
            key: key.unwrap_or(Verdict::unknown(reason)),
            published: problem.unwrap_or(without_problem),
            fresh: self.staleness(host, Some(reason)).verdict(),
            settled: match state.is_none() && !is_open {
                true => host.pending.clone(),
                false => Box::default(),
            },
            state,
        };
        (outcome, next)
    }

    /// Whether records of a host that has published nothing as far as we know may be in DNS all the
    /// same: the outcome of its first write is unknown, or we died before we could tell it.
    fn may_be_in_dns(&self, host: &Host) -> bool {
        let is_told = self.progress.knows(&host.meta) && !self.progress.is_in_doubt(host, None);
        !is_told && may_have_records(host)
    }

    /// Removes the records, after the guard; what keeps them there, what is in DNS, and when to look
    /// again. `deletionPolicy` is about the host's own end: the name is the zone's.
    async fn take_back(
        &self,
        host: &Arc<Host>,
        zone: &Zone,
        before: Option<Arc<PublishedState>>,
    ) -> (Option<Verdict>, Option<Arc<PublishedState>>, Next) {
        let inputs = Inputs::new(host, None, Some(zone));
        if let Some((problem, wait)) = self.progress.waits(host, &inputs) {
            return (Some(kept(&problem)), before, Next::After(wait));
        }
        match self.may_remove(host, zone, Cause::Consent) {
            Permit::Granted => {}
            permit @ Permit::Wait(_) => return (None, before, permit.next()),
            permit @ Permit::Paused => {
                let paused = Verdict::of(Reason::DeletionPaused);
                return (Some(paused), before, permit.next());
            }
        }
        let Ok(spec) = &host.spec else {
            return (None, before, Next::Idle);
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
                let next = self.progress.failed(host, before.clone(), inputs, &problem);
                (Some(kept(&problem)), before, next)
            }
        }
    }
}

/// Whether a host that has lost its name, and has published nothing as far as status tells, may have
/// records in DNS as far as its object tells. One that no zone has ever admitted has none, and must
/// not have a zone's credentials used for it.
fn may_have_records(host: &Host) -> bool {
    if !host.pending.is_empty() {
        return true;
    }
    let published = host.condition(ConditionType::Published);
    let is_taken_back = published.is_some_and(|published| {
        let is_refusal = matches!(
            published.reason,
            Reason::NotAllowedByZone | Reason::QuotaExceeded | Reason::NameConflict
        );
        published.status == ConditionStatus::Unknown && is_refusal
    });
    host.is_known() && !is_taken_back
}

/// The verdict on Published of a host of which it is not known whether it has records.
fn undecided() -> Verdict {
    Verdict::unknown(Reason::ProviderUnavailable)
        .saying("it is not known whether records of the host are in DNS")
}

/// The verdict on Published of a host whose records are to go.
pub(super) fn kept(problem: &Problem) -> Verdict {
    let verdict = Verdict::of(problem.reason());
    Verdict {
        status: ConditionStatus::False,
        ..verdict.saying(format!("the records cannot be removed yet: {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_refused_host_may_have_records_until_status_says_that_they_were_taken_back() {
        fn check(status: &Value, expected: bool) {
            let object = json!({
                "metadata": {"name": "home", "namespace": "family", "uid": "h",
                             "resourceVersion": "1", "generation": 3,
                             "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
                "status": status,
            });
            let host = Host::from_object(&serde_json::from_value(object).unwrap()).unwrap();
            assert_eq!(may_have_records(&host), expected, "{status}");
        }
        let reported = json!({"ipv4": {"address": "198.51.100.7",
            "changedAt": "2026-01-01T00:00:00Z", "protocol": "dyndns2"}});
        let published = |status: &str, reason: &str| {
            json!([{"type": "Published", "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 3}])
        };
        // Nobody has ever admitted it.
        check(&json!({}), false);
        check(
            &json!({"conditions": published("Unknown", "NotAllowedByZone")}),
            false,
        );
        // We died before we could say more.
        check(&json!({"observed": reported}), true);
        for (status, reason, expected) in [
            ("Unknown", "AwaitingFirstUpdate", true),
            ("False", "ProviderUnavailable", true),
            ("Unknown", "ProviderUnavailable", true),
            ("Unknown", "ZoneNotFound", true),
            ("Unknown", "NotAllowedByZone", false),
            ("Unknown", "QuotaExceeded", false),
            ("Unknown", "NameConflict", false),
        ] {
            let conditions = published(status, reason);
            check(
                &json!({"observed": reported, "conditions": conditions}),
                expected,
            );
            let pending = json!([{"name": "www.home.dyn.example.org", "type": "CNAME"}]);
            check(
                &json!({"conditions": conditions, "pendingAliases": pending}),
                true,
            );
        }
    }
}
