//! From the outcome of a reconcile to `status`: PURE, but for the one function that writes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dynhost_crds::CONTROLLER_FIELD_MANAGER;
use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};
use dynhost_crds::host::{self, DynamicHost};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use tokio::sync::mpsc;

use super::events::Events;
use super::hold_back::{self, HoldBack};
use super::queue::{Limits, Queue};
use super::sleep_until;
use crate::deadline::{CALL, within};
use crate::index::Index;
use crate::index::host::{CompactCondition, Host, PublishedState};
use crate::index::object::{Meta, ObjectKey};
use crate::index::stored::Stored;
use crate::metrics::Metrics;
use crate::record::alias::Alias;
use crate::under_way::Calls;

/// A verdict with the sentence for people, where it is another one than the reason's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub status: ConditionStatus,
    pub reason: Reason,
    pub message: Option<Box<str>>,
}

impl Verdict {
    /// The verdict that a reason stands for.
    pub fn of(reason: Reason) -> Self {
        Self {
            status: reason.status(),
            reason,
            message: None,
        }
    }

    /// The same with a sentence of its own, cut to what a condition holds.
    pub fn saying(self, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(1000) {
            message.truncate(end);
        }
        Self {
            message: Some(message.into()),
            ..self
        }
    }

    /// Nothing can be said of this condition, for the reason of another.
    pub fn unknown(reason: Reason) -> Self {
        Self {
            status: ConditionStatus::Unknown,
            ..Self::of(reason)
        }
    }
}

/// What a reconcile found out about a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub uid: Arc<str>,
    pub generation: i64,
    /// When what `status` told then was written to DNS.
    pub written_at: Option<Timestamp>,
    pub accepted: Verdict,
    pub key: Verdict,
    pub published: Verdict,
    /// Where the host has a `staleAfter`.
    pub fresh: Option<Verdict>,
    /// What is in DNS.
    pub state: Option<PublishedState>,
    /// Announced aliases of which `state` tells all: they need no announcement any more.
    pub settled: Box<[Alias]>,
}

impl Outcome {
    /// The summary: the first condition that is False; else the reason why Published is not True
    /// yet, which is no failure: `kubectl wait` must never hang on a router.
    fn ready(&self) -> Verdict {
        let all = [&self.accepted, &self.key, &self.published];
        if let Some(failing) = all.iter().find(|v| v.status == ConditionStatus::False) {
            return (*failing).clone();
        }
        let ready = match self.published.reason {
            reason @ (Reason::AwaitingFirstUpdate | Reason::Suspended) => Verdict::of(reason),
            _ => Verdict::of(Reason::Ready),
        };
        Verdict {
            status: ConditionStatus::True,
            ..ready
        }
    }

    /// The conditions to store; `since` moves only where a status does.
    pub fn conditions(&self, former: &[CompactCondition], now: Timestamp) -> Vec<CompactCondition> {
        let verdicts = [
            (ConditionType::Accepted, Some(self.accepted.clone())),
            (ConditionType::KeyReady, Some(self.key.clone())),
            (ConditionType::Published, Some(self.published.clone())),
            (ConditionType::Fresh, self.fresh.clone()),
            (ConditionType::Ready, Some(self.ready())),
        ];
        let verdicts = verdicts.into_iter();
        let verdicts = verdicts.filter_map(|(type_, verdict)| Some((type_, verdict?)));
        set_conditions(verdicts, self.generation, former, now)
    }
}

/// Conditions from verdicts, keeping the time of those whose status is the former one.
pub fn set_conditions(
    verdicts: impl IntoIterator<Item = (ConditionType, Verdict)>,
    generation: i64,
    former: &[CompactCondition],
    now: Timestamp,
) -> Vec<CompactCondition> {
    let condition = |(type_, verdict): (ConditionType, Verdict)| {
        let former = former.iter().find(|c| c.type_ == type_);
        let since = former.filter(|c| c.status == verdict.status);
        CompactCondition {
            type_,
            status: verdict.status,
            reason: verdict.reason,
            message: verdict.message,
            generation,
            since: since.map_or(now, |c| c.since),
        }
    };
    verdicts.into_iter().map(condition).collect()
}

/// Status writes in flight: the API server's writes are the scarce thing, and endpoint patches go first.
const IN_FLIGHT: Limits = Limits {
    of_share: 4,
    in_all: 4,
    reserved: 0,
};

/// How long an outcome waits for a newer one: a client that reports one family after the other costs
/// one write, and its second patch does not meet the write that its first one caused.
const SETTLE: Duration = Duration::from_millis(10);

/// So many changes that wait for a name server are a burst, such as of a zone that is written anew:
/// what is told of the first of them does not take the machine away from the others.
const MANY_CHANGES: usize = 100;

/// Writes of one outcome at once, where others write the object at the same time.
const ATTEMPTS: usize = 3;

/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A host, and what was found out about it.
pub type HostOutcome = (ObjectKey, Box<Outcome>);

/// Writes hosts' status behind the controller's back: per host the latest outcome wins.
pub struct StatusWriter {
    pub client: kube::Client,
    pub index: Arc<Index>,
    pub events: Events,
    pub metrics: Arc<Metrics>,
    /// Endpoint patches in flight.
    pub endpoint_patches: Arc<Calls>,
    /// What waits for a name server.
    pub dns_changes: Arc<Calls>,
}

impl StatusWriter {
    /// Writes what comes until the senders are gone and everything is written.
    pub async fn run(self, mut outcomes: mpsc::UnboundedReceiver<HostOutcome>) {
        let mut latest: HashMap<ObjectKey, Box<Outcome>> = HashMap::new();
        let mut queue = Queue::new(IN_FLIGHT);
        let mut writing = FuturesUnordered::new();
        let mut open = true;
        let mut hold_back = HoldBack::default();
        while open || !latest.is_empty() || !writing.is_empty() {
            let now = Instant::now();
            let is_burst =
                self.endpoint_patches.number() > 0 || self.dns_changes.number() >= MANY_CHANGES;
            let held = open && !latest.is_empty() && hold_back.holds(now, is_burst);
            while !held && let Some(key) = queue.pop(now) {
                match latest.remove(&key) {
                    Some(outcome) => writing.push(self.write(key, outcome)),
                    None => queue.done(&key),
                }
            }
            if latest.is_empty() {
                hold_back.nothing_waits();
            }
            let next = match queue.next_due() {
                Some(_) if held => Some(now + hold_back::STEP),
                due => due,
            };
            tokio::select! {
                received = outcomes.recv(), if open => match received {
                    // Most looks find what they found before.
                    Some((key, outcome)) if !queue.has(&key) && self.news(&key, &outcome).is_none() => {}
                    Some((key, outcome)) => {
                        latest.insert(key.clone(), outcome);
                        queue.push(key, (), Instant::now() + SETTLE);
                    }
                    None => open = false,
                },
                Some((key, failed)) = writing.next(), if !writing.is_empty() => {
                    queue.done(&key);
                    // A newer outcome of the same host makes the failed one void.
                    if let Some(outcome) = failed && open && !latest.contains_key(&key) {
                        latest.insert(key.clone(), outcome);
                        queue.push(key, (), Instant::now() + RETRY);
                    }
                }
                () = sleep_until(next), if next.is_some() => {}
            }
        }
    }

    /// The host as it is known and its new conditions, where the outcome is still of it and not yet
    /// in its status.
    fn news(
        &self,
        key: &ObjectKey,
        outcome: &Outcome,
    ) -> Option<(Arc<Host>, Vec<CompactCondition>)> {
        let host = self.index.host(key)?;
        let conditions = outcome.conditions(&host.conditions, Timestamp::now());
        let is_news = *host.meta.uid == *outcome.uid
            && !is_overtaken(&host, outcome)
            && differs(&host, outcome, &conditions);
        is_news.then_some((host, conditions))
    }

    /// Returns the outcome where it has to be written again.
    async fn write(
        &self,
        key: ObjectKey,
        outcome: Box<Outcome>,
    ) -> (ObjectKey, Option<Box<Outcome>>) {
        for _ in 0..ATTEMPTS {
            let Some((host, conditions)) = self.news(&key, &outcome) else {
                return (key, None);
            };
            let patch = patch(&host, &outcome, &conditions);
            let error = match send(&self.client, &self.metrics, &host.meta, patch).await {
                Ok(object) => {
                    self.events.host_conditions_changed(&host, &conditions);
                    if let Some(host) = Host::new(&object) {
                        self.index.apply_host_reply(host);
                    }
                    return (key, None);
                }
                Err(error) => error,
            };
            match &error {
                kube::Error::Api(status) if status.code == 404 => return (key, None),
                // The host does not fit the schema; a change of it brings us back.
                kube::Error::Api(status) if status.code == 422 => {
                    tracing::warn!(host = %key, error = %status.message, "status refused");
                    return (key, None);
                }
                kube::Error::Api(status) if status.code == 409 => {}
                error => {
                    tracing::warn!(host = %key, %error, "status not written");
                    return (key, Some(outcome));
                }
            }
            // The watch is behind.
            let fresh = get(&self.client, &key).await;
            if let Some(host) = fresh.ok().flatten() {
                self.index.apply_host_reply(host);
            }
        }
        (key, Some(outcome))
    }
}

/// Tells which aliases are about to be written for the first time, before they are. Status as it is
/// then stored.
pub(super) async fn announce(
    client: &kube::Client,
    metrics: &Metrics,
    host: &Host,
    pending: &[Alias],
) -> Result<Host, kube::Error> {
    let patch = serde_json::json!({"status": {"pendingAliases": aliases(pending)}});
    let object = send(client, metrics, &host.meta, patch).await?;
    Ok(Host::new(&object).unwrap_or_else(|| host.clone()))
}

/// Patches the status of exactly this version: a watch that lags must not bring back what was
/// overwritten, and the name may belong to another object by now.
async fn send(
    client: &kube::Client,
    metrics: &Metrics,
    host: &Meta,
    mut patch: serde_json::Value,
) -> Result<Stored<DynamicHost>, kube::Error> {
    patch["metadata"] = serde_json::json!({
        "uid": &*host.uid,
        "resourceVersion": host.resource_version.to_string(),
    });
    let key = &host.key;
    let api: Api<Stored<DynamicHost>> = Api::namespaced(client.clone(), &key.namespace);
    let params = PatchParams {
        field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    metrics.count_api_write("host_status");
    let patch = Patch::Merge(&patch);
    within(CALL, api.patch_status(&key.name, &params, &patch)).await
}

/// The host as the API server has it now.
pub(super) async fn get(
    client: &kube::Client,
    key: &ObjectKey,
) -> Result<Option<Host>, kube::Error> {
    let api: Api<Stored<DynamicHost>> = Api::namespaced(client.clone(), &key.namespace);
    let object = within(CALL, api.get_opt(&key.name)).await?;
    Ok(object.as_ref().and_then(Host::new))
}

/// Whether status tells of a later write to DNS than the outcome knew of; the event that told us
/// of it brings us back. An old list may have shown what was long ago.
fn is_overtaken(host: &Host, outcome: &Outcome) -> bool {
    let known = outcome.state.as_ref().map(|state| state.at);
    let told = host.published.as_ref().map(|published| published.at);
    told > known.max(outcome.written_at)
}

fn differs(host: &Host, outcome: &Outcome, conditions: &[CompactCondition]) -> bool {
    host.conditions != conditions
        || host.observed_generation != Some(outcome.generation)
        || host.published != outcome.state
        || still_pending(host, outcome).len() < host.pending.len()
}

/// The announced aliases of which `published` does not tell all. Others may have been announced
/// since.
fn still_pending<'h>(host: &'h Host, outcome: &Outcome) -> Vec<&'h Alias> {
    if outcome.settled == host.pending {
        return Vec::new();
    }
    let known = outcome.state.as_ref();
    let known = known.map_or(&[][..], |state| &state.known.aliases[..]);
    let pending = host.pending.iter();
    pending.filter(|alias| !known.contains(alias)).collect()
}

fn patch(host: &Host, outcome: &Outcome, conditions: &[CompactCondition]) -> serde_json::Value {
    let conditions: Vec<_> = conditions.iter().map(CompactCondition::to_status).collect();
    let mut patch = serde_json::json!({
        "status": {"observedGeneration": outcome.generation, "conditions": conditions},
    });
    // A host whose spec cannot be read may still have records; what is known of them stays.
    if let Ok(spec) = &host.spec {
        let published = outcome.state.as_ref();
        let published = published.map(|state| state.to_status(&spec.hostname));
        patch["status"]["published"] = serde_json::json!(published);
    }
    let pending = still_pending(host, outcome);
    if pending.len() < host.pending.len() {
        patch["status"]["pendingAliases"] = match pending.is_empty() {
            true => serde_json::Value::Null,
            false => aliases(pending),
        };
    }
    patch
}

fn aliases<'a>(all: impl IntoIterator<Item = &'a Alias>) -> serde_json::Value {
    let all = all.into_iter().map(|alias| host::Alias {
        name: alias.name.to_string(),
        type_: alias.kind,
    });
    serde_json::json!(all.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use dynhost_crds::host::AliasType;

    use super::*;
    use crate::name::RecordName;
    use crate::record::change::Known;
    use ConditionStatus::{False, True, Unknown};

    fn outcome(accepted: Reason, key: Reason, published: Reason) -> Outcome {
        Outcome {
            uid: "u".into(),
            generation: 3,
            written_at: None,
            accepted: Verdict::of(accepted),
            key: Verdict::of(key),
            published: Verdict::of(published),
            fresh: None,
            state: None,
            settled: Box::default(),
        }
    }

    #[test]
    fn ready_is_the_first_failure_and_never_waits_for_a_router() {
        fn check(reasons: (Reason, Reason, Reason), expected: (ConditionStatus, Reason)) {
            let ready = outcome(reasons.0, reasons.1, reasons.2).ready();
            assert_eq!((ready.status, ready.reason), expected, "{reasons:?}");
        }
        use Reason::*;
        check((Accepted, Generated, Published), (True, Ready));
        check(
            (Accepted, Supplied, AwaitingFirstUpdate),
            (True, AwaitingFirstUpdate),
        );
        check((Accepted, Generated, Suspended), (True, Suspended));
        check((NameConflict, Generated, Published), (False, NameConflict));
        check((Accepted, WrongType, ForeignRecord), (False, WrongType));
        check((Accepted, Generated, ForeignRecord), (False, ForeignRecord));

        // A stale host is as it should be.
        let stale = Outcome {
            fresh: Some(Verdict::of(Stale)),
            ..outcome(Accepted, Generated, Published)
        };
        let ready = stale.ready();
        assert_eq!((ready.status, ready.reason), (True, Ready));
    }

    #[test]
    fn an_announced_alias_is_forgotten_once_published_tells_of_it_or_it_is_settled() {
        fn check(
            pending: &[&str],
            published: &[&str],
            settled: &[&str],
            expected: Option<serde_json::Value>,
        ) {
            let alias = |name: &&str| serde_json::json!({"name": name, "type": "Address"});
            let object = serde_json::json!({
                "metadata": {"name": "home", "namespace": "family", "uid": "u",
                             "resourceVersion": "1", "generation": 3,
                             "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
                "status": {"pendingAliases": pending.iter().map(alias).collect::<Vec<_>>()},
            });
            let host = Host::from_object(&serde_json::from_value(object).unwrap()).unwrap();
            let aliases = |names: &[&str]| -> Box<[Alias]> {
                let alias = |name: &&str| Alias {
                    name: RecordName::parse(name).unwrap(),
                    kind: AliasType::Address,
                };
                names.iter().map(alias).collect()
            };
            let state = PublishedState {
                known: Known {
                    aliases: aliases(published),
                    ..Known::default()
                },
                marker: None,
                at: Timestamp::UNIX_EPOCH,
            };
            let outcome = Outcome {
                state: Some(state),
                settled: aliases(settled),
                ..outcome(Reason::Accepted, Reason::Generated, Reason::ForeignRecord)
            };
            let patch = patch(&host, &outcome, &[]);
            let written = patch["status"].get("pendingAliases").cloned();
            assert_eq!(written, expected, "{pending:?} {published:?} {settled:?}");
        }
        let (a, b) = ("a.home.dyn.example.org", "b.home.dyn.example.org");
        let is = |name: &str| Some(serde_json::json!([{"name": name, "type": "Address"}]));
        let none = Some(serde_json::Value::Null);
        check(&[], &[a], &[], None);
        check(&[a], &[], &[], None);
        check(&[a], &[a], &[], none.clone());
        check(&[a], &[], &[a], none.clone());
        // One of them is somebody else's.
        check(&[a, b], &[a], &[], is(b));
        // Another was announced since.
        check(&[a, b], &[], &[a], None);
        check(&[a, b], &[a, b], &[a], none);
    }

    #[test]
    fn a_conditions_time_moves_only_with_its_status() {
        let (t1, t2) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let first = outcome(
            Reason::Accepted,
            Reason::Generated,
            Reason::AwaitingFirstUpdate,
        );
        let first = first.conditions(&[], t1);
        let second = outcome(Reason::Accepted, Reason::Supplied, Reason::Published);
        let second = second.conditions(&first, t2);
        let times: Vec<_> = second.iter().map(|c| (c.status, c.since == t1)).collect();
        // Accepted stayed, KeyReady changed its reason only, Published went from Unknown to True, Ready stayed.
        assert_eq!(
            times,
            [(True, true), (True, true), (True, false), (True, true)]
        );
        assert_eq!(first[2].status, Unknown);
        assert!(second.iter().all(|c| c.generation == 3));
    }
}
