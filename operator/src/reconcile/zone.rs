//! A zone: its lane, whether its provider answers, its finalizer and its status.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynhost_crds::CONTROLLER_FIELD_MANAGER;
use dynhost_crds::ZONE_FINALIZER;
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_crds::zone::{DynamicZone, Rfc2136 as Rfc2136Spec, TsigAlgorithm};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use super::drift::Readings;
use super::finalizer;
use super::problem::Problem;
use super::status::{Verdict, set_conditions};
use super::{Controller, Next};
use crate::deadline::{CALL, within};
use crate::index::host::CompactCondition;
use crate::index::object::ObjectKey;
use crate::index::stored::Stored;
use crate::index::zone::Zone;
use crate::leader::fence::Fence;
use crate::metrics::{Metrics, ZoneMetrics};
use crate::name::Fqdn;
use crate::provider::Provider;
use crate::provider::lane::ZoneLane;
use crate::provider::rfc2136::server::Server;
use crate::provider::rfc2136::tsig::{Algorithm, TsigKey};
use crate::provider::rfc2136::{KeyError, KeySource, Rfc2136};

/// How often a provider that answers is asked again whether it still does.
const CHECK: Duration = Duration::from_secs(60);

/// The longest pause between attempts to reach a provider that does not answer.
const RECHECK: Duration = Duration::from_secs(2);

/// The shortest time between two looks at one zone: a burst of its hosts is one change of its status.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// The way to a zone's provider, and what is known of it.
pub(super) struct ZoneAccess {
    apex: Fqdn,
    spec: Rfc2136Spec,
    pub lane: ZoneLane,
    pub provider: Arc<dyn Provider>,
    pub readings: Readings,
    health: Mutex<Health>,
    metrics: Arc<ZoneMetrics>,
}

#[derive(Default)]
struct Health {
    /// What the last probe said; `None`: there was none yet.
    probed: Option<Result<(), Problem>>,
    failures: u32,
    /// When to probe again; `None`: now.
    next: Option<Instant>,
}

/// The ways to all zones in use.
pub(super) struct Zones {
    client: kube::Client,
    fence: Arc<Fence>,
    metrics: Arc<Metrics>,
    known: Mutex<HashMap<ObjectKey, Arc<ZoneAccess>>>,
}

impl Zones {
    /// TSIG keys are read through `client`, and nothing is sent when the fence is closed.
    pub(super) fn new(client: kube::Client, fence: Arc<Fence>, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            fence,
            metrics,
            known: Mutex::default(),
        }
    }

    /// The way to this zone's provider, made anew where the spec has changed; `None` where the
    /// spec cannot be used.
    pub(super) fn access(&self, zone: &Zone) -> Option<Arc<ZoneAccess>> {
        let spec = zone.spec.as_ref().ok()?;
        let mut zones = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let former = zones.get(&zone.meta.key);
        if let Some(access) = former
            && access.apex == spec.apex
            && access.spec == spec.rfc2136
        {
            return Some(access.clone());
        }
        let servers = spec.rfc2136.servers.iter();
        let servers = servers.filter_map(|s| s.parse::<Server>().ok()).collect();
        let namespace = &zone.meta.key.namespace;
        let key_source = key_source(self.client.clone(), namespace, &spec.rfc2136);
        let metrics = match former {
            Some(former) => former.metrics.clone(),
            None => self.metrics.of_zone(&zone.meta.key),
        };
        let provider = Rfc2136::new(spec.apex.clone(), servers, key_source, &self.fence);
        let provider: Arc<dyn Provider> = Arc::new(provider.counted_in(metrics.clone()));
        let access = Arc::new(ZoneAccess {
            apex: spec.apex.clone(),
            spec: spec.rfc2136.clone(),
            lane: ZoneLane::new(provider.clone(), metrics.clone()),
            provider,
            readings: Readings::default(),
            health: Mutex::default(),
            metrics,
        });
        zones.insert(zone.meta.key.clone(), access.clone());
        Some(access)
    }

    fn forget(&self, zone: &ObjectKey) {
        let mut zones = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        zones.remove(zone);
    }
}

impl ZoneAccess {
    /// A change failed: the provider is probed at the zone's next look, unless it is known to fail
    /// already. While no server answers, no further change waits for one: it would hold up the
    /// hosts of other zones. What only this host has met holds up no other.
    pub(super) fn failed(&self, problem: &Problem) {
        self.pause_where_unavailable(problem);
        let is_the_hosts_own = matches!(
            problem,
            Problem::Foreign(_) | Problem::Refused(_) | Problem::Prefix(_)
        );
        let mut health = self.health();
        if health.failures == 0 && !is_the_hosts_own {
            health.next = None;
        }
    }

    fn pause_where_unavailable(&self, problem: &Problem) {
        if let Problem::Unavailable { detail, .. } = problem {
            self.lane.pause(detail);
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Probes the provider where that is due; the verdict, the time to the next probe, and whether
    /// the provider has come back.
    async fn check(&self) -> (Result<(), Problem>, Duration, bool) {
        if let Health {
            probed: Some(verdict),
            next: Some(next),
            ..
        } = &*self.health()
            && let wait = next.saturating_duration_since(Instant::now())
            && !wait.is_zero()
        {
            return (verdict.clone(), wait, false);
        }
        let verdict = self.provider.probe().await.map_err(Problem::from);
        let mut health = self.health();
        let came_back = verdict.is_ok() && health.failures > 0;
        let wait = match &verdict {
            Ok(()) => {
                health.failures = 0;
                self.lane.resume();
                CHECK
            }
            Err(problem) => {
                health.failures = health.failures.saturating_add(1);
                // One alone may be a server that was slow for a moment.
                if health.failures > 1 {
                    self.pause_where_unavailable(problem);
                }
                problem
                    .retry(health.failures - 1)
                    .unwrap_or(RECHECK)
                    .min(RECHECK)
            }
        };
        health.probed = Some(verdict.clone());
        health.next = Some(Instant::now() + wait);
        (verdict, wait, came_back)
    }
}

/// Reads the TSIG key from the Secret that the zone names, in the zone's own namespace.
fn key_source(client: kube::Client, namespace: &str, spec: &Rfc2136Spec) -> KeySource {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let tsig = spec.tsig.clone();
    Box::new(move || {
        let (api, tsig) = (api.clone(), tsig.clone());
        Box::pin(async move {
            let reference = &tsig.secret_ref;
            let secret = within(CALL, api.get_opt(&reference.name))
                .await
                .map_err(|e| KeyError::Unavailable(e.to_string()))?;
            let data = secret.and_then(|secret| secret.data);
            let secret = data.and_then(|mut data| data.remove(&reference.key));
            let secret = secret.ok_or_else(|| {
                KeyError::NotFound(format!("Secret {}, key {}", reference.name, reference.key))
            })?;
            Ok(TsigKey::new(
                &tsig.key_name,
                algorithm(tsig.algorithm),
                &secret.0,
            )?)
        })
    })
}

fn algorithm(algorithm: TsigAlgorithm) -> Algorithm {
    match algorithm {
        TsigAlgorithm::HmacSha1 => Algorithm::HmacSha1,
        TsigAlgorithm::HmacSha256 => Algorithm::HmacSha256,
        TsigAlgorithm::HmacSha384 => Algorithm::HmacSha384,
        TsigAlgorithm::HmacSha512 => Algorithm::HmacSha512,
    }
}

/// Hosts that are looked at without letting go of the index.
const CHUNK: usize = 256;

impl Controller {
    /// Brings a zone's finalizer and status to what they should be.
    pub(super) async fn sync_zone(&self, key: &ObjectKey) -> Next {
        let Some(zone) = self.index.zone(key) else {
            self.zones.forget(key);
            self.forget_zones_deletions(key);
            self.drift.forget_zone(key);
            return Next::Idle;
        };
        self.drift.watch(key);
        let hosts = self.count_hosts(key);
        if let Err(error) = within(CALL, self.keep_zone_finalizer(&zone, &hosts)).await {
            tracing::warn!(zone = %key, %error, "finalizer not written");
            return Next::After(Duration::from_secs(1));
        }
        let (accepted, ready, next) = match (&zone.spec, self.zones.access(&zone)) {
            (Ok(_), Some(access)) => {
                let (verdict, wait, came_back) = access.check().await;
                if came_back {
                    self.retry_hosts_of(key);
                    // It may have come back with other records.
                    self.drift.ask_for(key);
                }
                let ready = match verdict {
                    Ok(()) => Verdict::of(Reason::Ready)
                        .saying("the name server answers and takes our credentials"),
                    Err(problem) => Verdict::of(problem.reason()).saying(problem.to_string()),
                };
                (Verdict::of(Reason::Accepted), ready, Next::After(wait))
            }
            (spec, _) => {
                let why = spec.as_ref().err().map_or("", |why| why);
                let invalid = Verdict::of(Reason::Invalid).saying(format!("spec: {why}"));
                (invalid.clone(), invalid, Next::Idle)
            }
        };
        let paused = self.paused_deletions(&zone);
        let paused = paused.map(|paused| (ConditionType::DeletionPaused, paused));
        let verdicts = [
            (ConditionType::Accepted, accepted),
            (ConditionType::Ready, ready),
        ];
        let verdicts = verdicts.into_iter().chain(paused);
        let former = &zone.conditions;
        let conditions = set_conditions(verdicts, zone.meta.generation, former, Timestamp::now());
        match within(CALL, self.write_zone_status(&zone, &hosts, &conditions)).await {
            Ok(()) => next,
            Err(error) => {
                tracing::warn!(zone = %key, %error, "status not written");
                Next::After(Duration::from_secs(1))
            }
        }
    }

    fn count_hosts(&self, zone: &ObjectKey) -> HostsOfZone {
        let ids = self.index.view().ids_of_zone(zone);
        let mut hosts = HostsOfZone::default();
        for some in ids.chunks(CHUNK) {
            let view = self.index.view();
            for host in some.iter().filter_map(|id| view.host_of_zone(*id, zone)) {
                let admitted = view.admission(&host).is_ok();
                hosts.admitted += u32::from(admitted);
                hosts.in_dns |=
                    host.finalizer && (host.is_known() || host.meta.deleting && admitted);
            }
        }
        hosts
    }

    async fn keep_zone_finalizer(
        &self,
        zone: &Zone,
        hosts: &HostsOfZone,
    ) -> Result<(), kube::Error> {
        let zone = match (zone.meta.deleting, zone.finalizer) {
            (false, false) if hosts.admitted > 0 => {
                self.metrics.count_api_write("zone_finalizer");
                finalizer::add::<Stored<DynamicZone>>(&self.client, &zone.meta, ZONE_FINALIZER)
                    .await?
            }
            (true, true) if !hosts.in_dns => {
                self.metrics.count_api_write("zone_finalizer");
                finalizer::remove::<Stored<DynamicZone>>(&self.client, &zone.meta, ZONE_FINALIZER)
                    .await?
            }
            _ => None,
        };
        if let Some(zone) = zone.as_ref().and_then(Zone::new) {
            self.index.apply_zone_reply(zone);
        }
        Ok(())
    }

    async fn write_zone_status(
        &self,
        zone: &Zone,
        hosts: &HostsOfZone,
        conditions: &[CompactCondition],
    ) -> Result<(), kube::Error> {
        let same = zone.conditions == conditions
            && zone.hosts == Some(hosts.admitted)
            && zone.observed_generation == Some(zone.meta.generation);
        if same {
            return Ok(());
        }
        let status: Vec<_> = conditions.iter().map(CompactCondition::to_status).collect();
        let patch = json!({
            "metadata": {"uid": &*zone.meta.uid},
            "status": {
                "observedGeneration": zone.meta.generation,
                "hosts": hosts.admitted,
                "conditions": status,
            },
        });
        let key = &zone.meta.key;
        let api: Api<Stored<DynamicZone>> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PatchParams {
            field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.metrics.count_api_write("zone_status");
        match api
            .patch_status(&key.name, &params, &Patch::Merge(patch))
            .await
        {
            Ok(object) => {
                self.events.zone_conditions_changed(zone, conditions);
                if let Some(zone) = Zone::new(&object) {
                    self.index.apply_zone_reply(zone);
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            // The zone does not fit the schema; a change of it brings us back.
            Err(kube::Error::Api(status)) if status.code == 422 => {
                tracing::warn!(zone = %key, error = %status.message, "status refused");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// The hosts that name a zone.
#[derive(Debug, Default)]
struct HostsOfZone {
    admitted: u32,
    /// Some of them may have records in DNS.
    in_dns: bool,
}

#[cfg(test)]
mod tests {
    use dynhost_crds::conditions::Reason;
    use futures::future::{BoxFuture, FutureExt, ready};
    use serde_json::json;

    use super::*;
    use crate::name::RecordName;
    use crate::provider::{Applied, ApplyError};
    use crate::record::change::{Found, HostChange};

    /// A server that answers, or does not.
    struct Server {
        answers: bool,
    }

    impl Provider for Server {
        fn apply<'a>(
            &'a self,
            _: &'a [HostChange],
        ) -> BoxFuture<'a, Vec<Result<Applied, ApplyError>>> {
            unreachable!("nothing is changed")
        }

        fn read<'a>(&'a self, _: &'a RecordName) -> BoxFuture<'a, Result<Found, ApplyError>> {
            unreachable!("nothing is read")
        }

        fn probe(&self) -> BoxFuture<'_, Result<(), ApplyError>> {
            let detail = "nobody answers".to_owned();
            let retry_after = None;
            let error = ApplyError::Unavailable {
                detail,
                retry_after,
            };
            ready(self.answers.then_some(()).ok_or(error)).boxed()
        }
    }

    fn access(answers: bool) -> ZoneAccess {
        let provider = Arc::new(Server { answers });
        let spec = json!({
            "servers": ["192.0.2.1"],
            "tsig": {"keyName": "dyn-key", "secretRef": {"name": "tsig", "key": "secret"}},
        });
        ZoneAccess {
            apex: Fqdn::parse("dyn.example.org").unwrap(),
            spec: serde_json::from_value(spec).unwrap(),
            lane: ZoneLane::new(provider.clone(), Arc::default()),
            provider,
            readings: Readings::default(),
            health: Mutex::default(),
            metrics: Arc::default(),
        }
    }

    #[tokio::test]
    async fn only_a_server_that_does_not_answer_keeps_the_changes_of_all_hosts_back() {
        async fn check(problem: Problem, pauses: bool, probes: bool) {
            let access = access(true);
            let _ = access.check().await;
            access.failed(&problem);
            assert_eq!(access.lane.is_paused(), pauses, "{problem:?}");
            assert_eq!(access.health().next.is_none(), probes, "{problem:?}");
            assert_eq!(access.check().await.0, Ok(()));
            assert!(!access.lane.is_paused(), "{problem:?}");
        }
        let text = || "why".to_owned();
        let unavailable = Problem::from(ApplyError::Unavailable {
            detail: text(),
            retry_after: None,
        });
        check(unavailable, true, true).await;
        let unknown = Problem::from(ApplyError::Unknown(text()));
        assert_eq!(unknown.reason(), Reason::ProviderUnavailable);
        check(unknown, false, true).await;
        check(Problem::Unsettled(text()), false, true).await;
        check(Problem::CredentialsRejected(text()), false, true).await;
        check(Problem::Foreign(text()), false, false).await;
        check(Problem::Refused(text()), false, false).await;
    }

    #[tokio::test]
    async fn a_server_that_fails_its_probes_keeps_changes_back() {
        let access = access(false);
        for (probe, pauses) in [(1, false), (2, true), (3, true)] {
            access.health().next = None;
            let (verdict, ..) = access.check().await;
            assert!(verdict.is_err());
            assert_eq!(access.lane.is_paused(), pauses, "after probe {probe}");
        }
    }
}
