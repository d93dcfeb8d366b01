//! What is counted, in the Prometheus text format under the prefix `dynhost_`.
//!
//! No label value comes from outside: they are the names of variants.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    dns_changes: Family<ResultLabels, Counter>,
    api_writes: Family<KindLabels, Counter>,
    dropped_events: Counter,
    hosts: Gauge,
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

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("dynhost");
        let requests = Family::default();
        registry.register(
            "requests",
            "Update requests by protocol and result",
            requests.clone(),
        );
        let dns_changes = Family::default();
        registry.register(
            "dns_changes",
            "Changes handed to a provider, by result",
            dns_changes.clone(),
        );
        let api_writes = Family::default();
        registry.register(
            "api_writes",
            "Writes to the API server, by kind",
            api_writes.clone(),
        );
        let dropped_events = Counter::default();
        registry.register(
            "dropped_events",
            "Events not sent because of their budget",
            dropped_events.clone(),
        );
        let hosts = Gauge::default();
        registry.register("hosts", "DynamicHosts known", hosts.clone());
        Self {
            registry,
            requests,
            dns_changes,
            api_writes,
            dropped_events,
            hosts,
        }
    }
}

impl Metrics {
    /// An update request was answered.
    pub fn count_request(&self, protocol: &'static str, result: &'static str) {
        self.requests
            .get_or_create(&RequestLabels { protocol, result })
            .inc();
    }

    /// A change came back from a provider.
    pub fn count_dns_change(&self, result: &'static str) {
        self.dns_changes
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// Something was written to the API server.
    pub fn count_api_write(&self, kind: &'static str) {
        self.api_writes.get_or_create(&KindLabels { kind }).inc();
    }

    /// An Event was not sent because of the budget.
    pub fn count_dropped_event(&self) {
        self.dropped_events.inc();
    }

    /// The page of `/metrics`.
    pub fn render(&self, hosts: usize) -> Result<String, std::fmt::Error> {
        self.hosts.set(i64::try_from(hosts).unwrap_or(i64::MAX));
        let mut page = String::new();
        encode(&mut page, &self.registry)?;
        Ok(page)
    }
}
