//! Every metric as `/metrics` shows it, and the reference page made of them.

/// A metric as /metrics shows it.
pub(super) struct Description {
    /// Without the prefix, and without the `_total` of a counter.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static str,
    pub(super) help: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Description {
    /// The name of the metric as queries have it; those of a histogram add `_bucket`, `_sum` and
    /// `_count`.
    pub(super) fn full_name(&self) -> String {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("dynhost_{}{suffix}", self.name)
    }
}

macro_rules! descriptions {
    ($($constant:ident: $kind:ident $name:literal [$labels:literal] $help:literal;)+) => {
        $(pub(super) const $constant: Description = Description {
            name: $name,
            kind: Kind::$kind,
            labels: $labels,
            help: $help,
        };)+

        /// Every metric, in the order of the reference.
        pub(super) const ALL: &[&Description] = &[$(&$constant),+];
    };
}

descriptions! {
    REQUESTS: Counter "requests" ["protocol, result"]
        "Update requests by protocol and result";
    AUTHENTICATION_FAILURES: Counter "authentication_failures" ["protocol, reason"]
        "Requests with credentials that authenticate nothing, or not from there, or not any more, those answered 429 included";
    LIMITED_REQUESTS: Counter "limited_requests" ["limit"]
        "Requests beyond the budget of their source or host";
    CLOSED_CONNECTIONS: Counter "closed_connections" ["reason"]
        "Client connections refused or ended because of a limit";
    UPDATE_TO_PUBLISHED: Histogram "update_to_published_seconds" [""]
        "Time from a report, as changedAt in status tells it, until the name server has taken it; outages and refusals in between included";
    DNS_CHANGES: Counter "dns_changes" ["result"]
        "Changes handed to a provider by result";
    DNS_BATCH: Histogram "dns_batch_changes" [""]
        "Changes that a zone's lane has sent together";
    DNS_MESSAGES: Counter "dns_messages" ["kind, rcode"]
        "UPDATE messages and queries by the rcode of the reply; none: there was no reply";
    LANE_DEPTH: Gauge "lane_depth" ["zone"]
        "Changes of a zone that wait to be sent";
    ZONE_LAST_CHANGE: Gauge "zone_last_change_timestamp_seconds" ["zone"]
        "When the zone was last changed by us, in seconds since the epoch; absent: not since the start";
    ZONE_LAST_CONTACT: Gauge "zone_last_contact_timestamp_seconds" ["zone"]
        "When a name server of the zone last answered us, in seconds since the epoch; absent: not since the start";
    DRIFT_PASSES: Counter "drift_passes" ["way, outcome"]
        "Looks through a zone for records that somebody else has changed, by the way it was read and the outcome";
    DRIFT_REPAIRS: Counter "drift_repairs" [""]
        "Hosts that were not as published in DNS and were written anew";
    DRIFT_CHECKED: Gauge "drift_checked_timestamp_seconds" [""]
        "When the zone that has waited longest was last looked through or first seen, in seconds since the epoch";
    ORPHANED_MARKERS: Gauge "orphaned_markers" [""]
        "Markers of ours whose host does not exist or does not claim the name, in zones that may be transferred";
    PAUSED_DELETIONS: Gauge "paused_deletions" [""]
        "Names whose removal waits for the approval of their zone's administrator";
    HOSTS: Gauge "hosts" [""]
        "DynamicHosts known";
    HOST_CONDITIONS: Gauge "host_conditions" ["condition, status, reason"]
        "DynamicHosts by condition, its status and its reason";
    WATCH_AGE: Gauge "watch_age_seconds" ["kind"]
        "For how long the API server was not heard in the watch of these objects; it is renewed every 30 s";
    LEADER: Gauge "leader" [""]
        "Whether this replica holds the lease and so writes DNS and status: 1 or 0";
    TLS_RELOADS: Counter "tls_reloads" ["result"]
        "Changes of the files of the TLS certificate and its key, by whether they could be used";
    TLS_CERTIFICATE_EXPIRY: Gauge "tls_certificate_expiry_timestamp_seconds" [""]
        "Until when the certificate of the TLS port is valid, in seconds since the epoch; 0 without TLS";
    API_WRITES: Counter "api_writes" ["kind"]
        "Writes sent to the API server by kind";
    FAILED_HEARTBEATS: Counter "failed_heartbeats" [""]
        "Attempts to note that a client was seen that failed and are repeated";
    DROPPED_EVENTS: Counter "dropped_events" [""]
        "Events not sent because of their budget";
    FAILED_EVENTS: Counter "failed_events" [""]
        "Events that the API server did not take";
    START_TIME: Gauge "start_time_seconds" [""]
        "When the process started, in seconds since the epoch";
    BUILD_INFO: Gauge "build_info" ["version"]
        "Always 1; the version is in the label";
}

/// The reference page of all metrics, as Markdown: `docs/reference/metrics.md`.
pub fn reference() -> String {
    let mut page =
        "# Metrics\n\nGenerated by `dynhost reference`. `/metrics` is on the admin port. What to do \
        about them is in [operations.md](../operations.md).\n\n\
        | metric | type | labels | meaning |\n|---|---|---|---|\n"
            .to_owned();
    for description in ALL {
        let Description {
            kind, labels, help, ..
        } = description;
        let (name, kind) = (description.full_name(), kind.word());
        page += &format!("| `{name}` | {kind} | {labels} | {help} |\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        let how = "write it with `dynhost reference --into docs/reference`";
        assert_eq!(committed, reference(), "{how}");
    }
}
