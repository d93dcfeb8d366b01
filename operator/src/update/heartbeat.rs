//! When a client was last seen, and whether that has to be noted.
//!
//! What clients report is noted with its time; what they only confirm would cost a write each time,
//! and is noted now and then: often enough to tell a silent client from a faithful one.

use std::time::Duration;

use dynhost_crds::stale_after::StaleAfter;
use jiff::Timestamp;
use json_patch::Patch;
use serde_json::{Value, json};

use super::patch::{Guard, LAST_SEEN, add, test};
use crate::index::host::{Host, StatusDepth};

/// How often a client is noted at least, where it calls that often.
const LONGEST_INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

/// A time that is so far ahead of the clock comes from another that was wrong. Less than that may
/// be two clocks that differ: what the one wrote, the other leaves.
pub const WRONG_CLOCK: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a client is noted that only confirms what is stored.
fn interval(stale_after: Option<StaleAfter>) -> Duration {
    let quarter = stale_after.map(|after| after.get() / 4);
    quarter.map_or(LONGEST_INTERVAL, |quarter| quarter.min(LONGEST_INTERVAL))
}

/// Whether a confirmation at this time is to be noted.
pub fn is_due(host: &Host, now: Timestamp) -> bool {
    let stale_after = host.spec.as_ref().ok().and_then(|spec| spec.stale_after);
    let Some(seen) = host.observed.last_seen else {
        return true;
    };
    match Duration::try_from(now.duration_since(seen)) {
        Ok(since) => since >= interval(stale_after),
        Err(_) => is_of_a_wrong_clock(seen, now),
    }
}

/// Whether a stored time tells nothing: it is too far ahead.
pub fn is_of_a_wrong_clock(seen: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(seen.duration_since(now)).is_ok_and(|ahead| ahead > WRONG_CLOCK)
}

/// The time to store for a client that is seen now, in whole seconds: not before the stored one,
/// unless that one tells nothing.
pub(super) fn seen_at(former: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let seen = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let former = former.filter(|former| !is_of_a_wrong_clock(*former, now));
    former.map_or(seen, |former| former.max(seen))
}

/// The patch of the status subresource that notes a client that was seen at this time; `None`: that
/// need not be noted (any more).
///
/// It touches nothing else, and stands back for whoever stored another time meanwhile: an older one
/// never replaces a newer one.
pub fn heartbeat_patch(host: &Host, seen: Timestamp, guard: Guard) -> Option<Patch> {
    if !is_due(host, seen) {
        return None;
    }
    let former = host.observed.last_seen;
    let seen = json!(seen_at(former, seen));
    let (path, former, value) = match host.status_depth {
        StatusDepth::Nothing => (
            "/status",
            Value::Null,
            json!({"observed": {"lastSeen": seen}}),
        ),
        StatusDepth::Status => ("/status/observed", Value::Null, json!({"lastSeen": seen})),
        StatusDepth::Observed => (LAST_SEEN, json!(former), seen),
    };
    let guard = match guard {
        Guard::FormerValues => test(path, former),
        Guard::ResourceVersion => {
            let version = host.meta.resource_version.to_string();
            test("/metadata/resourceVersion", version.into())
        }
    };
    let uid = test("/metadata/uid", json!(*host.meta.uid));
    Some(Patch(vec![uid, guard, add(path, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::fixture;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn host(stale_after: Option<&str>, last_seen: Option<&str>) -> Host {
        fixture::object(json!({
            "spec": {"staleAfter": stale_after},
            "status": {"observed": {"lastSeen": last_seen}},
        }))
    }

    #[test]
    fn a_confirmation_is_noted_after_a_quarter_of_stale_after_or_six_hours() {
        fn check(stale_after: Option<&str>, last_seen: Option<&str>, now: &str, expected: bool) {
            let due = is_due(&host(stale_after, last_seen), time(now));
            assert_eq!(due, expected, "{stale_after:?} {last_seen:?} {now}");
        }
        let seen = Some("2026-01-01T00:00:00Z");
        check(None, None, "2026-01-01T00:00:00Z", true);
        check(None, seen, "2026-01-01T00:00:00Z", false);
        check(None, seen, "2026-01-01T05:59:59.9Z", false);
        check(None, seen, "2026-01-01T06:00:00Z", true);
        check(Some("48h"), seen, "2026-01-01T05:59:59Z", false);
        check(Some("48h"), seen, "2026-01-01T06:00:00Z", true);
        check(Some("1h"), seen, "2026-01-01T00:14:59Z", false);
        check(Some("1h"), seen, "2026-01-01T00:15:00Z", true);
        check(Some("1m"), seen, "2026-01-01T00:00:14Z", false);
        check(Some("1m"), seen, "2026-01-01T00:00:15Z", true);
        // Another clock is ahead of this one, or was wrong.
        check(Some("1m"), seen, "2025-12-31T23:00:00Z", false);
        check(Some("1m"), seen, "2025-12-31T00:00:00Z", false);
        check(Some("1m"), seen, "2025-12-30T23:59:59Z", true);
    }

    #[test]
    fn an_older_time_never_replaces_a_newer_one() {
        fn check(former: Option<&str>, now: &str, expected: &str) {
            let seen = seen_at(former.map(time), time(now));
            assert_eq!(seen.to_string(), expected, "{former:?} {now}");
        }
        let now = "2026-01-02T03:04:05.999Z";
        check(None, now, "2026-01-02T03:04:05Z");
        check(Some("2026-01-02T03:04:04Z"), now, "2026-01-02T03:04:05Z");
        check(Some("2026-01-02T03:04:06Z"), now, "2026-01-02T03:04:06Z");
        check(Some("2026-01-03T03:04:05Z"), now, "2026-01-03T03:04:05Z");
        check(Some("2026-01-03T03:04:06Z"), now, "2026-01-02T03:04:05Z");
    }

    #[test]
    fn a_heartbeat_is_the_time_alone_where_nobody_stored_another() {
        fn check(status: Value, guard: Guard, expected: Value) {
            let host = fixture::object(json!({ "status": status }));
            let patch = heartbeat_patch(&host, time("2026-01-02T03:04:05.6Z"), guard);
            assert_eq!(json!(patch), expected);
        }
        let uid = json!({"op": "test", "path": "/metadata/uid", "value": "uid-home"});
        let now = "2026-01-02T03:04:05Z";
        let path = "/status/observed/lastSeen";
        check(
            Value::Null,
            Guard::FormerValues,
            json!([
                uid,
                {"op": "test", "path": "/status", "value": null},
                {"op": "add", "path": "/status", "value": {"observed": {"lastSeen": now}}},
            ]),
        );
        check(
            json!({"observedGeneration": 1}),
            Guard::FormerValues,
            json!([
                uid,
                {"op": "test", "path": "/status/observed", "value": null},
                {"op": "add", "path": "/status/observed", "value": {"lastSeen": now}},
            ]),
        );
        check(
            json!({"observed": {"signedAt": now}}),
            Guard::FormerValues,
            json!([
                uid,
                {"op": "test", "path": path, "value": null},
                {"op": "add", "path": path, "value": now},
            ]),
        );
        let yesterday = "2026-01-01T03:04:05Z";
        let seen = json!({"observed": {"lastSeen": yesterday}});
        check(
            seen.clone(),
            Guard::FormerValues,
            json!([
                uid,
                {"op": "test", "path": path, "value": yesterday},
                {"op": "add", "path": path, "value": now},
            ]),
        );
        check(
            seen,
            Guard::ResourceVersion,
            json!([
                uid,
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "add", "path": path, "value": now},
            ]),
        );
        check(
            json!({"observed": {"lastSeen": now}}),
            Guard::FormerValues,
            Value::Null,
        );
    }
}
