//! What is counted of one zone and its provider.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// What is counted of one zone and its provider. The zone's own series end with it.
#[derive(Debug, Default)]
pub struct ZoneMetrics {
    pub(super) labels: ZoneLabels,
    pub(super) shared: Zonal,
}

/// What is counted of all zones.
#[derive(Clone, Debug)]
pub(super) struct Zonal {
    pub(super) messages: Family<MessageLabels, Counter>,
    pub(super) batch: Histogram,
    pub(super) lane_depth: Family<ZoneLabels, Gauge>,
    pub(super) last_change: Family<ZoneLabels, Gauge>,
    pub(super) last_contact: Family<ZoneLabels, Gauge>,
}

impl Default for Zonal {
    fn default() -> Self {
        Self {
            messages: Family::default(),
            batch: Histogram::new([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]),
            lane_depth: Family::default(),
            last_change: Family::default(),
            last_contact: Family::default(),
        }
    }
}

/// The zone's `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ZoneLabels {
    pub(super) zone: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MessageLabels {
    kind: &'static str,
    rcode: &'static str,
}

impl ZoneMetrics {
    /// A message was answered with this rcode, or `none`: it was not answered.
    pub fn count_message(&self, kind: &'static str, rcode: &'static str) {
        let labels = MessageLabels { kind, rcode };
        self.shared.messages.get_or_create(&labels).inc();
    }

    /// So many changes went out together.
    pub fn show_batch(&self, changes: usize) {
        self.shared.batch.observe(as_float(changes));
    }

    /// So many changes wait to be sent.
    pub fn show_lane_depth(&self, changes: usize) {
        let depth = self.shared.lane_depth.get_or_create(&self.labels);
        depth.set(i64::try_from(changes).unwrap_or(i64::MAX));
    }

    /// A name server of the zone has answered.
    pub fn contacted(&self) {
        let contact = self.shared.last_contact.get_or_create(&self.labels);
        contact.set(Timestamp::now().as_second());
    }

    /// The zone was changed by us.
    pub fn changed(&self) {
        let change = self.shared.last_change.get_or_create(&self.labels);
        change.set(Timestamp::now().as_second());
    }
}

impl Drop for ZoneMetrics {
    fn drop(&mut self) {
        let Zonal {
            lane_depth,
            last_change,
            last_contact,
            ..
        } = &self.shared;
        for gauges in [lane_depth, last_change, last_contact] {
            gauges.remove(&self.labels);
        }
    }
}

fn as_float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
