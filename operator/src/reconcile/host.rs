//! A host: finalizer and key, then DNS, then status.

use std::sync::Arc;
use std::time::Duration;

use dynhost_crds::HOST_FINALIZER;
use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};
use dynhost_crds::host::DynamicHost;
use jiff::Timestamp;

use super::consent::kept;
use super::finalizer;
use super::guard::{Cause, Permit};
use super::key::{self, Keys};
use super::problem::Problem;
use super::progress::{Inputs, LET_GO};
use super::publish::{Publication, Subject};
use super::staleness::{Records, Silence, Staleness, judge, records};
use super::status::{Outcome, Verdict};
use super::{Controller, Next};
use crate::admission::Refusal;
use crate::deadline::{CALL, within};
use crate::index::host::{Host, HostSpec, PublishedState};
use crate::index::object::ObjectKey;
use crate::index::stored::Stored;
use crate::index::zone::Zone;
use crate::record::alias::Alias;
use crate::record::drift::Drifted;

/// Pause before what the API server did not take is tried again.
const API_RETRY: Duration = Duration::from_secs(1);

impl Controller {
    /// Brings a host to what it should be. The steps:
    ///
    /// 1. look (no client): the host, its zone, and whether the zone admits it;
    /// 2. claim (client): our finalizer, and the update key, generated where it is missing;
    /// 3. publish (provider): DNS, from specs and observed addresses;
    /// 4. status (queued): written on every outcome, behind our back.
    pub(super) async fn sync_host(&self, key: &ObjectKey) -> Next {
        let drifted = self.drift.take(key);
        let Some(host) = self.index.host(key) else {
            self.progress.forget(key);
            self.forget_deletion(key);
            return Next::Idle;
        };
        if host.meta.deleting {
            return Box::pin(self.delete_host(&host)).await;
        }
        let (host, outcome, next) = match self.look(&host) {
            Look::Wait => return Next::Idle,
            Look::Refused(refusal, reason) => {
                let (outcome, next) = self.refused(&host, &refusal, reason).await;
                (host, outcome, next)
            }
            Look::Admitted(spec, zone) => {
                self.withdraw(key, |cause| cause != Cause::Stale);
                let (claimed, key) = Box::pin(self.claim(&host, &spec)).await;
                let (key, key_next) = match key {
                    Ok(key) => {
                        let pause = key::look_again(&host, &key, Timestamp::now());
                        (key, pause.map_or(Next::Idle, Next::After))
                    }
                    Err(error) => (unknown_key(&host, &error), Next::After(API_RETRY)),
                };
                let refused = spec.suspend.then_some(Reason::Suspended);
                let staleness = self.staleness(&host, refused);
                let records = records(staleness, spec.when_stale);
                let Brought {
                    verdict,
                    state,
                    settled,
                    next,
                } = match claimed {
                    Ok(()) => {
                        self.bring_to_dns(&host, &spec, &zone, records, drifted)
                            .await
                    }
                    Err(error) => self.unclaimed(&host, &error),
                };
                let stale_next = match staleness.look_again(Timestamp::now()) {
                    Some(pause) => Next::After(pause),
                    None => Next::Idle,
                };
                let next = next.sooner(key_next).sooner(stale_next);
                let Some(published) = verdict else {
                    return next;
                };
                let outcome = Outcome {
                    uid: host.meta.uid.clone(),
                    generation: host.meta.generation,
                    written_at: host.published.as_ref().map(|published| published.at),
                    accepted: Verdict::of(Reason::Accepted),
                    key,
                    published,
                    fresh: staleness.verdict(),
                    state,
                    settled,
                };
                (host, outcome, next)
            }
        };
        self.queue_status(host.meta.key.clone(), outcome);
        next
    }

    fn look(&self, host: &Host) -> Look {
        let view = self.index.view();
        match view.admission(host) {
            Ok(admitted) => match view.zone(&admitted.host.zone) {
                Some(zone) => Look::Admitted(Box::new(admitted.host.clone()), zone.clone()),
                None => Look::Wait,
            },
            Err(refusal) => match refusal.reason() {
                Some(reason) => Look::Refused(refusal, reason),
                None => Look::Wait,
            },
        }
    }

    /// Whether the host's client has been silent for too long; `refused`: why it is refused now.
    pub(super) fn staleness(&self, host: &Host, refused: Option<Reason>) -> Staleness {
        let stale_after = host.spec.as_ref().ok().and_then(|spec| spec.stale_after);
        let now = Timestamp::now();
        let silence = Silence::of(host, refused, now);
        judge(stale_after, &silence, self.freshness.in_sync_for(), now)
    }

    /// Our finalizer, and the update key: one that cannot be had does not keep DNS waiting.
    async fn claim(
        &self,
        host: &Host,
        spec: &HostSpec,
    ) -> (Result<(), kube::Error>, Result<Verdict, kube::Error>) {
        let keys = Keys {
            client: &self.client,
            index: &self.index,
            metrics: &self.metrics,
            events: &self.events,
        };
        // A host that needs no call waits for none.
        let finalizer = async {
            if host.finalizer {
                return Ok(());
            }
            let _permit = self.may_call().await;
            within(CALL, self.add_host_finalizer(host)).await
        };
        let key = async {
            let _permit = match keys.is_settled(host, spec) {
                true => None,
                false => self.may_call().await,
            };
            within(CALL, keys.ensure(host, spec)).await
        };
        tokio::join!(finalizer, key)
    }

    /// Without our finalizer nothing is published: a deletion would leave the records behind.
    fn unclaimed(&self, host: &Host, error: &kube::Error) -> Brought {
        tracing::warn!(host = %host.meta.key, %error, "finalizer not added");
        let verdict = Verdict::unknown(Reason::ProviderUnavailable)
            .saying(format!("our finalizer could not be added: {error}"));
        let state = self.progress.published(host);
        Brought::new(Some(verdict), state, Next::After(API_RETRY))
    }

    async fn add_host_finalizer(&self, host: &Host) -> Result<(), kube::Error> {
        self.metrics.count_api_write("host_finalizer");
        let object =
            finalizer::add::<Stored<DynamicHost>>(&self.client, &host.meta, HOST_FINALIZER).await?;
        if let Some(host) = object.as_ref().and_then(Host::new) {
            self.index.apply_host_reply(host);
        }
        Ok(())
    }

    async fn bring_to_dns(
        &self,
        host: &Arc<Host>,
        spec: &HostSpec,
        zone: &Zone,
        records: Records,
        drifted: Option<Drifted>,
    ) -> Brought {
        let before = self.progress.published(host);
        if spec.suspend {
            let verdict = Verdict::of(Reason::Suspended);
            return Brought::new(Some(verdict), before, Next::Idle);
        }
        let was_stale = has_status(host, ConditionType::Fresh, ConditionStatus::False);
        match records {
            Records::AsTheyAre => return Brought::new(as_before(host), before, Next::Idle),
            // That is in status since they were removed.
            Records::Removed if was_stale && before.is_none() && host.pending.is_empty() => {
                return Brought::new(Some(removed()), None, Next::Idle);
            }
            // Whatever is pending may be there.
            Records::Removed if before.is_some() => {
                match self.may_remove(host, zone, Cause::Stale) {
                    Permit::Granted => {}
                    permit @ Permit::Wait(_) => return Brought::new(None, before, permit.next()),
                    permit @ Permit::Paused => {
                        let paused = Verdict::of(Reason::DeletionPaused);
                        return Brought::new(Some(paused), before, permit.next());
                    }
                }
            }
            Records::Removed => {}
            Records::AsReported => self.withdraw(&host.meta.key, |_| true),
        }
        let prefix = self.index.view().prefix_of(host);
        let observed = prefix.is_some() || host.reported_at().is_some();
        if !observed && before.is_none() {
            let verdict = Verdict::of(Reason::AwaitingFirstUpdate);
            return Brought::new(Some(verdict), None, Next::Idle);
        }
        // Without it the zone, and with it the credentials, could be deleted under the records. Its
        // arrival brings us back.
        if !zone.finalizer && !zone.meta.deleting {
            return Brought::new(None, before, Next::After(API_RETRY));
        }
        let mut inputs = Inputs::new(host, prefix.as_ref(), Some(zone));
        inputs.is_removed = records == Records::Removed;
        if let Some((problem, wait)) = self.progress.waits(host, &inputs) {
            let verdict = Verdict::of(problem.reason()).saying(problem.to_string());
            return Brought::new(Some(verdict), before, Next::After(wait));
        }
        let Some(access) = self.zones.access(zone) else {
            return Brought::new(None, before, Next::After(API_RETRY));
        };
        let host = host.clone();
        let subject = Subject { host, prefix };
        let host = subject.host.clone();
        let Publication {
            state,
            settled,
            problem,
        } = self
            .publish(subject, zone, &access, before, records, drifted)
            .await;
        let failed = |problem: &Problem| Verdict::of(problem.reason()).saying(problem.to_string());
        let (verdict, next) = match problem {
            None => {
                self.progress.succeeded(&host, state.clone());
                if state.is_none() {
                    self.withdraw(&host.meta.key, |_| true);
                }
                let verdict = match (observed || state.is_some(), records) {
                    (true, Records::Removed) if state.is_none() => removed(),
                    (true, _) => Verdict::of(Reason::Published),
                    (false, _) => Verdict::of(Reason::AwaitingFirstUpdate),
                };
                (Some(verdict), Next::Idle)
            }
            Some(Problem::HostGone) => (None, Next::Idle),
            Some(Problem::Overtaken) => (None, Next::After(Duration::ZERO)),
            Some(problem @ Problem::Prefix(_)) => {
                self.progress.succeeded(&host, state.clone());
                (Some(failed(&problem)), Next::Idle)
            }
            Some(problem) => {
                access.failed(&problem);
                self.look_at_zone(&spec.zone);
                let next = self.progress.failed(&host, state.clone(), inputs, &problem);
                (Some(failed(&problem)), next)
            }
        };
        Brought {
            settled,
            ..Brought::new(verdict, state, next)
        }
    }

    /// Removes a deleted host's records, then our finalizer.
    async fn delete_host(&self, host: &Arc<Host>) -> Next {
        if !host.finalizer {
            self.progress.ended(&host.meta);
            self.forget_deletion(&host.meta.key);
            return Next::Idle;
        }
        let zone = host.spec.as_ref().ok();
        let zone = zone.and_then(|spec| self.index.zone(&spec.zone));
        let inputs = Inputs::new(host, None, zone.as_deref());
        if let Some((_, wait)) = self.progress.waits(host, &inputs) {
            return Next::After(wait);
        }
        if let (Ok(spec), Some(zone)) = (&host.spec, &zone)
            && self.takes_records_along(host, spec)
        {
            let permit = self.may_delete(host, zone).await;
            if permit == Permit::Paused {
                let paused = Verdict::of(Reason::DeletionPaused);
                self.queue_status(host.meta.key.clone(), self.deleting(host, paused));
            }
            if permit != Permit::Granted {
                return permit.next();
            }
        }
        let cleaned = self.clean_up(host, zone.as_deref()).await;
        // What is there now is another one, and its event brings us to it.
        if cleaned == Err(Problem::HostGone) {
            return Next::Idle;
        }
        if let Err(problem) = cleaned {
            // The zone's lane may be paused by this, and only a probe ends that.
            if let Some(zone) = &zone {
                self.look_at_zone(&zone.meta.key);
            }
            let published = self.progress.published(host);
            let next = self.progress.failed(host, published, inputs, &problem);
            let may_leave_records = self.may_have_records(host);
            let waits = may_leave_records && !self.progress.is_blocked_too_long(&host.meta);
            if waits || !problem.lets_go() {
                self.queue_status(host.meta.key.clone(), self.deleting(host, kept(&problem)));
                return next;
            }
            if may_leave_records {
                let note =
                    format!("the host was let go, and its records may still be in DNS: {problem}");
                self.events.records_left(host, note);
            }
        }
        let _permit = self.may_call().await;
        self.metrics.count_api_write("host_finalizer");
        let removed =
            finalizer::remove::<Stored<DynamicHost>>(&self.client, &host.meta, HOST_FINALIZER);
        match within(CALL, removed).await {
            Ok(_) => {
                self.progress.ended(&host.meta);
                Next::Idle
            }
            Err(error) => {
                tracing::warn!(host = %host.meta.key, %error, "finalizer not removed");
                Next::After(match error {
                    // The host does not fit the schema: a person must change one of them.
                    kube::Error::Api(status) if status.code == 422 => LET_GO,
                    _ => API_RETRY,
                })
            }
        }
    }

    /// Whether records of the host may be in DNS, as far as its object tells.
    fn may_have_records(&self, host: &Host) -> bool {
        let is_unreadable = host.spec.is_err();
        is_unreadable || host.reported_at().is_some() || self.progress.published(host).is_some()
    }

    fn deleting(&self, host: &Host, published: Verdict) -> Outcome {
        let spec = host.spec.as_ref().ok();
        let key = spec.and_then(|spec| key::judge(&self.index, spec));
        let reason = published.reason;
        Outcome {
            uid: host.meta.uid.clone(),
            generation: host.meta.generation,
            written_at: host.published.as_ref().map(|published| published.at),
            accepted: match self.index.view().admission(host) {
                Ok(_) => Verdict::of(Reason::Accepted),
                Err(refusal) => Verdict::of(refusal.reason().unwrap_or(reason)),
            },
            key: key.unwrap_or(Verdict::unknown(reason)),
            published,
            fresh: self.staleness(host, None).verdict(),
            state: self.progress.published(host),
            settled: Box::default(),
        }
    }
}

/// The verdict on Published of a stale host that has no records.
fn removed() -> Verdict {
    Verdict::of(Reason::Published).saying("the host is stale, and its records are removed")
}

/// The verdict on Published as it is in status.
fn as_before(host: &Host) -> Option<Verdict> {
    let published = host.condition(ConditionType::Published)?;
    Some(Verdict {
        status: published.status,
        reason: published.reason,
        message: published.message.clone(),
    })
}

fn has_status(host: &Host, of: ConditionType, status: ConditionStatus) -> bool {
    host.condition(of)
        .is_some_and(|condition| condition.status == status)
}

fn unknown_key(host: &Host, error: &kube::Error) -> Verdict {
    tracing::warn!(host = %host.meta.key, %error, "update key not ready");
    Verdict::of(Reason::SecretNotFound)
        .saying(format!("the Secret could not be read or written: {error}"))
}

/// What an attempt to bring a host to DNS came to.
struct Brought {
    /// On Published; `None`: there is none yet.
    verdict: Option<Verdict>,
    /// What is in DNS.
    state: Option<Arc<PublishedState>>,
    /// Announced aliases of which `state` tells all.
    settled: Box<[Alias]>,
    next: Next,
}

impl Brought {
    fn new(verdict: Option<Verdict>, state: Option<Arc<PublishedState>>, next: Next) -> Self {
        Self {
            verdict,
            state,
            settled: Box::default(),
            next,
        }
    }
}

enum Look {
    /// Something that is needed for a verdict has not been seen yet; its arrival brings us back.
    Wait,
    Refused(Refusal, Reason),
    Admitted(Box<HostSpec>, Arc<Zone>),
}
