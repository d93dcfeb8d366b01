//! What is counted, in the Prometheus text formats under the prefix `dynhost_`.
//!
//! No label value comes from outside: they are the names of variants, and of zones that an
//! administrator has made.

mod description;
mod page;
#[cfg(test)]
mod tests;
mod zone;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

pub use description::reference;
use description::*;
pub use page::Format;
pub use zone::ZoneMetrics;
use zone::{Zonal, ZoneLabels};

/// What is looked up when the page is asked for.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Hosts known.
    pub hosts: usize,
    /// How many hosts have each condition.
    pub conditions: Vec<(HostCondition, usize)>,
    /// How long each watch has been silent, by its objects.
    pub silences: Vec<(&'static str, Duration)>,
}

/// A condition of hosts with its status and reason.
pub type HostCondition = (ConditionType, ConditionStatus, Reason);

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    /// Held while a page is made: what is looked up for it must not change meanwhile.
    rendering: Mutex<()>,
    requests: Family<RequestLabels, Counter>,
    authentication_failures: Family<FailureLabels, Counter>,
    update_to_published: Histogram,
    dns_changes: Family<ResultLabels, Counter>,
    zonal: Zonal,
    api_writes: Family<KindLabels, Counter>,
    failed_heartbeats: Counter,
    dropped_events: Counter,
    failed_events: Counter,
    limited_requests: Family<LimitLabels, Counter>,
    closed_connections: Family<ReasonLabels, Counter>,
    drift_passes: Family<PassLabels, Counter>,
    drift_repairs: Counter,
    drift_checked: Gauge,
    orphaned_markers: Gauge,
    hosts: Gauge,
    host_conditions: Family<ConditionLabels, Gauge>,
    watch_age: Family<KindLabels, Gauge<f64, AtomicU64>>,
    paused_deletions: Gauge,
    leader: Gauge,
    tls_reloads: Family<ResultLabels, Counter>,
    tls_certificate_expiry: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    protocol: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    protocol: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    condition: &'static str,
    status: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabels {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    way: &'static str,
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("dynhost");
        let start_time: Gauge = registered(&mut registry, &START_TIME);
        start_time.set(Timestamp::now().as_second());
        let build_info: Family<VersionLabels, Gauge> = registered(&mut registry, &BUILD_INFO);
        let version = env!("CARGO_PKG_VERSION");
        build_info.get_or_create(&VersionLabels { version }).set(1);
        let zonal = Zonal::default();
        register(&mut registry, &DNS_MESSAGES, &zonal.messages);
        register(&mut registry, &DNS_BATCH, &zonal.batch);
        register(&mut registry, &LANE_DEPTH, &zonal.lane_depth);
        register(&mut registry, &ZONE_LAST_CHANGE, &zonal.last_change);
        register(&mut registry, &ZONE_LAST_CONTACT, &zonal.last_contact);
        let update_to_published = Histogram::new(LATENCIES);
        register(&mut registry, &UPDATE_TO_PUBLISHED, &update_to_published);
        Self {
            update_to_published,
            zonal,
            authentication_failures: registered(&mut registry, &AUTHENTICATION_FAILURES),
            failed_events: registered(&mut registry, &FAILED_EVENTS),
            host_conditions: registered(&mut registry, &HOST_CONDITIONS),
            watch_age: registered(&mut registry, &WATCH_AGE),
            requests: registered(&mut registry, &REQUESTS),
            dns_changes: registered(&mut registry, &DNS_CHANGES),
            api_writes: registered(&mut registry, &API_WRITES),
            failed_heartbeats: registered(&mut registry, &FAILED_HEARTBEATS),
            dropped_events: registered(&mut registry, &DROPPED_EVENTS),
            limited_requests: registered(&mut registry, &LIMITED_REQUESTS),
            closed_connections: registered(&mut registry, &CLOSED_CONNECTIONS),
            drift_passes: registered(&mut registry, &DRIFT_PASSES),
            drift_repairs: registered(&mut registry, &DRIFT_REPAIRS),
            drift_checked: registered(&mut registry, &DRIFT_CHECKED),
            orphaned_markers: registered(&mut registry, &ORPHANED_MARKERS),
            hosts: registered(&mut registry, &HOSTS),
            paused_deletions: registered(&mut registry, &PAUSED_DELETIONS),
            leader: registered(&mut registry, &LEADER),
            tls_reloads: registered(&mut registry, &TLS_RELOADS),
            tls_certificate_expiry: registered(&mut registry, &TLS_CERTIFICATE_EXPIRY),
            registry,
            rendering: Mutex::default(),
        }
    }
}

fn registered<M: Metric + Clone + Default>(
    registry: &mut Registry,
    description: &Description,
) -> M {
    let metric = M::default();
    register(registry, description, &metric);
    metric
}

fn register(registry: &mut Registry, description: &Description, metric: &(impl Metric + Clone)) {
    registry.register(description.name, description.help, metric.clone());
}

/// Seconds: from what one update takes to what an outage takes.
const LATENCIES: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0,
];

impl Metrics {
    /// An update request was answered.
    pub fn count_request(&self, protocol: &'static str, result: &'static str) {
        self.requests
            .get_or_create(&RequestLabels { protocol, result })
            .inc();
    }

    /// A request's credentials were refused.
    pub fn count_authentication_failure(&self, protocol: &'static str, reason: &'static str) {
        self.authentication_failures
            .get_or_create(&FailureLabels { protocol, reason })
            .inc();
    }

    /// What was reported so long ago is in DNS.
    pub fn show_published_after(&self, time: Duration) {
        self.update_to_published.observe(time.as_secs_f64());
    }

    /// What is counted of the zone `namespace/name`.
    pub fn of_zone(&self, zone: impl ToString) -> Arc<ZoneMetrics> {
        Arc::new(ZoneMetrics {
            labels: ZoneLabels {
                zone: zone.to_string(),
            },
            shared: self.zonal.clone(),
        })
    }

    /// A change came back from a provider.
    pub fn count_dns_change(&self, result: &'static str) {
        self.dns_changes
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// Something was sent to the API server to be written.
    pub fn count_api_write(&self, kind: &'static str) {
        self.api_writes.get_or_create(&KindLabels { kind }).inc();
    }

    /// That a client was seen could not be noted yet.
    pub fn count_failed_heartbeat(&self) {
        self.failed_heartbeats.inc();
    }

    /// An Event was not sent because of the budget.
    pub fn count_dropped_event(&self) {
        self.dropped_events.inc();
    }

    /// An Event was not taken.
    pub fn count_failed_event(&self) {
        self.failed_events.inc();
    }

    /// A request was beyond the budget of its source or host.
    pub fn count_limited_request(&self, limit: &'static str) {
        self.limited_requests
            .get_or_create(&LimitLabels { limit })
            .inc();
    }

    /// A client's connection was refused or ended because of a limit.
    pub fn count_closed_connection(&self, reason: &'static str) {
        self.closed_connections
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    /// So many names are not removed before somebody approves it.
    pub fn show_paused_deletions(&self, names: usize) {
        self.paused_deletions
            .set(i64::try_from(names).unwrap_or(i64::MAX));
    }

    /// Whether we hold the lease.
    pub fn show_leader(&self, is_leader: bool) {
        self.leader.set(i64::from(is_leader));
    }

    /// The files of the TLS certificate and its key have changed.
    pub fn count_tls_reload(&self, result: &'static str) {
        self.tls_reloads
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// The TLS certificate in use is valid until this time, in seconds since the epoch.
    pub fn set_tls_certificate_expiry(&self, seconds: i64) {
        self.tls_certificate_expiry.set(seconds);
    }

    /// A zone was looked through for drift.
    pub fn count_drift_pass(&self, way: &'static str, outcome: &'static str) {
        self.drift_passes
            .get_or_create(&PassLabels { way, outcome })
            .inc();
    }

    /// A host that was not as published is so again.
    pub fn count_drift_repair(&self) {
        self.drift_repairs.inc();
    }

    /// The zone that has waited longest was last looked through at this time, in seconds since the
    /// epoch.
    pub fn set_drift_checked(&self, seconds: i64) {
        self.drift_checked.set(seconds);
    }

    /// So many markers of all zones have no host.
    pub fn set_orphaned_markers(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.orphaned_markers.set(count);
    }

    /// The page of `/metrics`.
    pub fn render(&self, now: &Snapshot, format: Format) -> Result<String, std::fmt::Error> {
        let lock = self.rendering.lock();
        let _rendering = lock.unwrap_or_else(PoisonError::into_inner);
        self.hosts.set(i64::try_from(now.hosts).unwrap_or(i64::MAX));
        // A reason that no host has any more is gone from the page.
        self.host_conditions.clear();
        for ((type_, status, reason), hosts) in &now.conditions {
            let labels = ConditionLabels {
                condition: type_.as_str(),
                status: word(*status),
                reason: reason.as_str(),
            };
            let hosts = i64::try_from(*hosts).unwrap_or(i64::MAX);
            self.host_conditions.get_or_create(&labels).set(hosts);
        }
        for (kind, silence) in &now.silences {
            let age = self.watch_age.get_or_create(&KindLabels { kind });
            age.set(silence.as_secs_f64());
        }
        let mut page = String::new();
        encode(&mut page, &self.registry)?;
        Ok(match format {
            Format::OpenMetrics => page,
            Format::Plain => page::plain(&page),
        })
    }
}

fn word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}
