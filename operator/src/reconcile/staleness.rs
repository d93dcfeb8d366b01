//! PURE: whether a host's client has been silent for too long.

use std::time::Duration;

use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};
use dynhost_crds::host::WhenStale;
use dynhost_crds::stale_after::StaleAfter;
use jiff::Timestamp;

use super::status::Verdict;
use crate::index::host::Host;
use crate::update::heartbeat::is_of_a_wrong_clock;

/// For so long we must have listened before anybody's silence counts, or for `staleAfter` where
/// that is shorter: an outage of ours is not the silence of all.
const LISTENED: Duration = Duration::from_secs(60 * 60);

/// Looks come a little later than due: times are whole seconds, and clocks differ.
const MARGIN: Duration = Duration::from_secs(1);

/// What is known of a client's silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) last_seen: Option<Timestamp>,
    /// The newest of the reports.
    pub(super) changed_at: Option<Timestamp>,
    /// Silence before it says nothing: the client was refused, or its host had another `staleAfter`
    /// or none.
    pub(super) counted_from: Timestamp,
    /// Why its client is refused, so that its silence says nothing.
    pub(super) refused: Option<Reason>,
    /// The host was called stale, and so it stays until its client calls.
    pub(super) was_stale: bool,
}

/// Whether a host is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staleness {
    /// `staleAfter` is not set.
    NotApplicable,
    /// No client has ever called.
    Awaiting,
    /// Its client is refused, for this reason.
    Refused(Reason),
    /// It is not stale before `until`, if its client does not call.
    Fresh {
        until: Timestamp,
    },
    /// It was stale when we last listened, and whether it is we know in this time.
    StillStale {
        known_in: Duration,
    },
    Stale,
}

/// What is to become of a host's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Records {
    /// DNS says what clients reported.
    AsReported,
    /// DNS is left as it is.
    AsTheyAre,
    /// There shall be none, until a client calls.
    Removed,
}

impl Silence {
    /// `refused`: why the host's client is refused now.
    pub(super) fn of(host: &Host, refused: Option<Reason>, now: Timestamp) -> Self {
        let observed = &host.observed;
        let prefix = observed.ipv6_prefix.as_ref().map(|o| o.changed_at);
        let fresh = host.condition(ConditionType::Fresh);
        let status = fresh.map(|fresh| (fresh.status, fresh.since));
        let counted_from = match status {
            Some((ConditionStatus::True, since)) => since,
            // It is judged, or its client is heard, for the first time.
            _ => now,
        };
        Self {
            last_seen: observed.last_seen,
            changed_at: host.reported_at().max(prefix),
            counted_from: host
                .stale_after_changed
                .map_or(counted_from, |changed| counted_from.max(changed)),
            refused,
            was_stale: status.is_some_and(|(status, _)| status == ConditionStatus::False),
        }
    }
}

/// Judges a client's silence; `in_sync_for`: for how long we have listened without a gap.
///
/// `lastSeen` may be a quarter of `staleAfter` older than the client's last call, so that the silence
/// has to be so much longer.
pub(super) fn judge(
    stale_after: Option<StaleAfter>,
    silence: &Silence,
    in_sync_for: Option<Duration>,
    now: Timestamp,
) -> Staleness {
    let Some(stale_after) = stale_after.map(StaleAfter::get) else {
        return Staleness::NotApplicable;
    };
    let listened = in_sync_for.unwrap_or_default();
    let seen = match silence.last_seen.or(silence.changed_at) {
        None => return Staleness::Awaiting,
        // A call replaces such a time, so that there was none while we listened.
        Some(seen) if is_of_a_wrong_clock(seen, now) => {
            now.checked_sub(listened).unwrap_or(Timestamp::MIN)
        }
        Some(seen) => seen,
    };
    if let Some(reason) = silence.refused {
        return match silence.was_stale {
            true => Staleness::Stale,
            false => Staleness::Refused(reason),
        };
    }
    let counted = match silence.was_stale {
        true => seen,
        false => seen.max(silence.counted_from),
    };
    let stale_at = later(counted, stale_after + stale_after / 4);
    let unknown_for = stale_after.min(LISTENED).saturating_sub(listened);
    if stale_at <= now && unknown_for.is_zero() {
        Staleness::Stale
    } else if stale_at <= now && silence.was_stale {
        Staleness::StillStale {
            known_in: unknown_for,
        }
    } else {
        Staleness::Fresh {
            until: stale_at.max(later(now, unknown_for)),
        }
    }
}

/// What becomes of the records: the one place where staleness removes any.
pub(super) fn records(staleness: Staleness, when_stale: WhenStale) -> Records {
    match (staleness, when_stale) {
        (Staleness::Stale, WhenStale::Remove) => Records::Removed,
        // They were removed, or may be removed when we know.
        (Staleness::StillStale { .. }, WhenStale::Remove) => Records::AsTheyAre,
        _ => Records::AsReported,
    }
}

impl Staleness {
    /// The condition Fresh, where there is one.
    pub(super) fn verdict(self) -> Option<Verdict> {
        Some(match self {
            Self::NotApplicable => return None,
            Self::Awaiting => Verdict::of(Reason::AwaitingFirstUpdate),
            Self::Refused(reason) => Verdict::unknown(reason),
            Self::Fresh { .. } => Verdict::of(Reason::Fresh),
            Self::StillStale { .. } | Self::Stale => Verdict::of(Reason::Stale),
        })
    }

    /// When to judge again, where nothing happens before.
    pub(super) fn look_again(self, now: Timestamp) -> Option<Duration> {
        let after = match self {
            Self::NotApplicable | Self::Awaiting | Self::Refused(_) | Self::Stale => return None,
            Self::Fresh { until } => Duration::try_from(until.duration_since(now)),
            Self::StillStale { known_in } => Ok(known_in),
        };
        Some(after.unwrap_or_default() + MARGIN)
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use Staleness::{Awaiting, Fresh, NotApplicable, Refused, Stale, StillStale};

    /// Minutes after midnight, as times.
    fn at(minutes: i64) -> Timestamp {
        let midnight: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        Timestamp::from_second(midnight.as_second() + minutes * 60).unwrap()
    }

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    const HOUR: i64 = 60;

    /// A host that is fresh since long ago, and was last seen then.
    fn seen(last_seen: i64) -> Silence {
        Silence {
            last_seen: Some(at(last_seen)),
            changed_at: Some(at(-500)),
            counted_from: at(-1000),
            refused: None,
            was_stale: false,
        }
    }

    fn check_at(
        stale_after: Option<&str>,
        silence: Silence,
        in_sync_for: Option<Duration>,
        now: Timestamp,
        expected: Staleness,
    ) {
        let stale_after = stale_after.map(|text| text.parse().unwrap());
        let staleness = judge(stale_after, &silence, in_sync_for, now);
        assert_eq!(
            staleness, expected,
            "{stale_after:?} {silence:?} {in_sync_for:?} {now}"
        );
    }

    /// In sync for a month.
    fn check(stale_after: &str, silence: Silence, now: i64, expected: Staleness) {
        let month = Some(minutes(30 * 24 * 60));
        check_at(Some(stale_after), silence, month, at(now), expected);
    }

    #[test]
    fn a_host_is_stale_after_its_time_and_a_quarter() {
        let until = |minutes| Fresh { until: at(minutes) };
        check("36h", seen(0), 0, until(45 * HOUR));
        check("36h", seen(0), 45 * HOUR - 1, until(45 * HOUR));
        check("36h", seen(0), 45 * HOUR, Stale);
        check("36h", seen(0), 450 * HOUR, Stale);
        check("4m", seen(0), 4, until(5));
        check("4m", seen(0), 5, Stale);
        check("8760h", seen(0), 0, until(10950 * HOUR));
        let month = Some(minutes(30 * 24 * 60));
        check_at(None, seen(0), month, at(450 * HOUR), NotApplicable);

        // What is never noted is not there to be judged; a report without a time of its own is.
        let never = Silence {
            last_seen: None,
            changed_at: None,
            ..seen(0)
        };
        check("36h", never, 450 * HOUR, Awaiting);
        let reported = Silence {
            changed_at: Some(at(60)),
            ..never
        };
        check("36h", reported, 46 * HOUR - 1, until(46 * HOUR));
        check("36h", reported, 46 * HOUR, Stale);
        // lastSeen alone counts where there is one: an older report than that is no news.
        let confirmed = Silence {
            changed_at: Some(at(-9 * HOUR)),
            ..seen(0)
        };
        check("36h", confirmed, 44 * HOUR, until(45 * HOUR));
    }

    #[test]
    fn nobody_is_stale_before_we_have_listened_for_long_enough() {
        fn check(stale_after: &str, listened: Option<u64>, was_stale: bool, expected: Staleness) {
            let silence = Silence {
                was_stale,
                ..seen(0)
            };
            let listened = listened.map(minutes);
            check_at(
                Some(stale_after),
                silence,
                listened,
                at(450 * HOUR),
                expected,
            );
        }
        let until = |minutes| Fresh {
            until: at(450 * HOUR + minutes),
        };
        check("36h", None, false, until(60));
        check("36h", Some(0), false, until(60));
        check("36h", Some(59), false, until(1));
        check("36h", Some(60), false, Stale);
        check("4m", None, false, until(4));
        check("4m", Some(3), false, until(1));
        check("4m", Some(4), false, Stale);
        // A restart makes nobody fresh who was stale.
        let known_in = |minutes_| StillStale {
            known_in: minutes(minutes_),
        };
        check("36h", None, true, known_in(60));
        check("36h", Some(59), true, known_in(1));
        check("36h", Some(60), true, Stale);
    }

    #[test]
    fn both_the_silence_and_our_listening_have_to_last() {
        let day = Some(minutes(10));
        check_at(
            Some("4h"),
            seen(0),
            day,
            at(60),
            Fresh {
                until: at(5 * HOUR),
            },
        );
        check_at(
            Some("4h"),
            seen(0),
            day,
            at(5 * HOUR - 1),
            Fresh {
                until: at(5 * HOUR - 1 + 50),
            },
        );
    }

    #[test]
    fn silence_counts_from_when_the_client_could_have_been_seen() {
        let until = |minutes| Fresh { until: at(minutes) };
        // Suspended until then, or staleAfter was set or shortened.
        let counted = Silence {
            counted_from: at(100 * HOUR),
            ..seen(0)
        };
        check("4h", counted, 100 * HOUR, until(105 * HOUR));
        check("4h", counted, 105 * HOUR, Stale);
        // Who is stale already gets no second life by an edit, but by a longer time.
        let stale = Silence {
            was_stale: true,
            ..counted
        };
        check("4h", stale, 100 * HOUR, Stale);
        check("96h", stale, 100 * HOUR, until(120 * HOUR));
        // And by a call.
        let called = Silence {
            last_seen: Some(at(100 * HOUR)),
            ..stale
        };
        check("4h", called, 100 * HOUR, until(105 * HOUR));
    }

    #[test]
    fn who_is_refused_is_not_silent() {
        let refused = Silence {
            refused: Some(Reason::Suspended),
            ..seen(0)
        };
        check("4h", refused, 450 * HOUR, Refused(Reason::Suspended));
        let was_stale = true;
        let stale = Silence {
            was_stale,
            ..refused
        };
        check("4h", stale, 450 * HOUR, Stale);
    }

    #[test]
    fn what_a_host_tells_of_its_clients_silence() {
        fn check(status: Value, changed: Option<i64>, expected: Silence) {
            let mut host = host(status);
            host.stale_after_changed = changed.map(at);
            assert_eq!(Silence::of(&host, None, at(9)), expected);
        }
        let fresh = |status: &str, reason: &str| {
            json!([{
                "type": "Fresh", "status": status, "reason": reason, "message": "",
                "lastTransitionTime": at(2),
            }])
        };
        let nothing = Silence {
            last_seen: None,
            changed_at: None,
            counted_from: at(9),
            refused: None,
            was_stale: false,
        };
        check(json!({}), None, nothing);
        let report = |minute| json!({"changedAt": at(minute), "protocol": "dyndns2"});
        let observed = json!({
            "ipv4": report(3), "ipv6": report(4), "ipv6Prefix": report(5), "lastSeen": at(6),
        });
        let reported = Silence {
            last_seen: Some(at(6)),
            changed_at: Some(at(5)),
            ..nothing
        };
        check(json!({"observed": observed}), None, reported);
        for (status, reason, changed, counted_from, was_stale) in [
            ("Unknown", "AwaitingFirstUpdate", None, 9, false),
            ("Unknown", "Suspended", None, 9, false),
            ("True", "Fresh", None, 2, false),
            ("True", "Fresh", Some(1), 2, false),
            ("True", "Fresh", Some(4), 4, false),
            ("False", "Stale", None, 9, true),
        ] {
            let expected = Silence {
                counted_from: at(counted_from),
                was_stale,
                ..nothing
            };
            check(
                json!({"conditions": fresh(status, reason)}),
                changed,
                expected,
            );
        }
    }

    /// A host with this status.
    fn host(status: Value) -> Host {
        let object = json!({
            "metadata": {"name": "home", "namespace": "family", "uid": "h", "resourceVersion": "1",
                         "creationTimestamp": "2025-01-01T00:00:00Z"},
            "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
            "status": status,
        });
        Host::from_object(&serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn a_clock_that_is_ahead_makes_fresh_but_not_for_ever() {
        let until = |minutes| Fresh { until: at(minutes) };
        check("4h", seen(24 * HOUR), 0, until(29 * HOUR));
        // Years ahead: the host has not called since we listen.
        check("4h", seen(1_000_000), 0, Stale);
        check("8760h", seen(1_000_000), 0, until(10950 * HOUR - 1000));
        check_at(Some("4h"), seen(1_000_000), None, at(0), until(5 * HOUR));
        // The clock went back.
        check("4h", seen(0), -60, until(5 * HOUR));
    }

    #[test]
    fn the_next_look_is_when_the_verdict_may_be_another() {
        fn check(staleness: Staleness, expected: Option<u64>) {
            let again = staleness.look_again(at(0));
            assert_eq!(again, expected.map(Duration::from_secs), "{staleness:?}");
        }
        check(NotApplicable, None);
        check(Awaiting, None);
        check(Refused(Reason::Suspended), None);
        check(Stale, None);
        check(Fresh { until: at(45) }, Some(45 * 60 + 1));
        check(Fresh { until: at(-1) }, Some(1));
        let known_in = minutes(5);
        check(StillStale { known_in }, Some(5 * 60 + 1));
    }

    #[test]
    fn records_go_only_where_that_is_wanted_and_known() {
        use Records::{AsReported, AsTheyAre, Removed};
        use WhenStale::{Keep, Remove};
        let until = at(0);
        let known_in = minutes(5);
        for (staleness, keep, remove) in [
            (NotApplicable, AsReported, AsReported),
            (Awaiting, AsReported, AsReported),
            (Refused(Reason::Suspended), AsReported, AsReported),
            (Fresh { until }, AsReported, AsReported),
            (StillStale { known_in }, AsReported, AsTheyAre),
            (Stale, AsReported, Removed),
        ] {
            assert_eq!(records(staleness, Keep), keep, "{staleness:?}");
            assert_eq!(records(staleness, Remove), remove, "{staleness:?}");
        }
    }
}
