//! What is known of a host beyond its object: what was written to DNS before `status` says so, and
//! which attempt failed, why, and until when it is not repeated.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dynhost_crds::host::{Observed, ObservedPrefix};
use jiff::Timestamp;

use super::Next;
use super::problem::Problem;
use crate::index::host::{Host, PublishedState};
use crate::index::object::{Meta, ObjectKey};
use crate::index::zone::Zone;
use crate::name::RecordName;

/// How long a deleted host waits for its zone or credentials to come back before it is let go.
pub(super) const LET_GO: Duration = Duration::from_secs(60);

/// What an attempt depends on. A failed one is not repeated before its time while this is the
/// same: our own status comes back as a change of the object, and is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inputs {
    generation: i64,
    annotations: u64,
    deleting: bool,
    observed: Observed,
    prefix: Option<ObservedPrefix>,
    zone: Option<ZoneInputs>,
    /// The host is stale, and shall have no records.
    pub(super) is_removed: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct ZoneInputs {
    uid: Arc<str>,
    generation: i64,
    adopt: Option<RecordName>,
}

impl Inputs {
    pub(super) fn new(host: &Host, prefix: Option<&ObservedPrefix>, zone: Option<&Zone>) -> Self {
        Self {
            generation: host.meta.generation,
            annotations: host.annotations,
            deleting: host.meta.deleting,
            observed: Observed {
                // A client that only confirms what is stored changes nothing.
                last_seen: None,
                ..host.observed.clone()
            },
            prefix: prefix.cloned(),
            zone: zone.map(|zone| ZoneInputs {
                uid: zone.meta.uid.clone(),
                generation: zone.meta.generation,
                adopt: zone.adopt.clone(),
            }),
            is_removed: false,
        }
    }
}

/// The progress of every host that has been published or has failed since the start.
#[derive(Default)]
pub(super) struct Progresses(Mutex<All>);

#[derive(Default)]
struct All {
    /// Of those of which status does not tell all.
    open: HashMap<ObjectKey, Box<Progress>>,
    /// By the number of their UID, the others: what status told when it told all. They are nearly
    /// all, so little is kept of them.
    settled: HashMap<u128, u64>,
}

#[derive(Debug)]
struct Progress {
    uid: Arc<str>,
    /// What is in DNS, as of our last write.
    published: Option<Arc<PublishedState>>,
    /// When that was noted.
    noted: Timestamp,
    /// The last attempt, where it failed: DNS may say something else since.
    failure: Option<Box<Failure>>,
}

#[derive(Debug)]
struct Failure {
    problem: Problem,
    inputs: Inputs,
    /// Not repeated before.
    until: Instant,
    /// In a row.
    attempts: u32,
    /// Since when a deletion cannot go on for want of zone or credentials.
    blocked_since: Option<Instant>,
}

impl Progresses {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the progress of this very host, not at that of a former one of the same name.
    fn of<T>(&self, meta: &Meta, look: impl FnOnce(&Progress) -> T) -> Option<T> {
        let all = self.all();
        let progress = all.open.get(&meta.key).filter(|p| p.uid == meta.uid)?;
        Some(look(progress))
    }

    /// What is in DNS: as of our last write, or else as status says. Status that tells of a later
    /// write than ours is right: we began with an old list, or another instance has written since.
    pub(super) fn published(&self, host: &Host) -> Option<Arc<PublishedState>> {
        let known = self.current(host, |progress| progress.published.clone());
        known.unwrap_or_else(|| host.published.clone())
    }

    /// Looks at the progress of this host, unless status knows of a later write.
    fn current<T>(&self, host: &Host, look: impl FnOnce(&Progress) -> T) -> Option<T> {
        let told = host.published.as_ref().map(|published| published.at);
        let current = self.of(&host.meta, |progress| {
            let noted = progress.published.as_ref().map(|p| p.at);
            (told <= Some(noted.unwrap_or(progress.noted))).then(|| look(progress))
        });
        current.flatten()
    }

    /// Whether this very host was published by us, or was tried to be.
    pub(super) fn knows(&self, meta: &Meta) -> bool {
        let is_settled = self.all().settled.contains_key(&number_of(&meta.uid));
        is_settled || self.of(meta, |_| ()).is_some()
    }

    /// Whether DNS may say something else than [`Self::published`].
    /// `prefix` is the one that the host's IPv6 address is made from.
    pub(super) fn is_in_doubt(&self, host: &Host, prefix: Option<&ObservedPrefix>) -> bool {
        let known = self.current(host, |progress| progress.failure.is_some());
        let settled = || {
            let told = *self.all().settled.get(&number_of(&host.meta.uid))?;
            // Somebody else has written status since.
            Some(told != hash_of(&host.published))
        };
        known
            .or_else(settled)
            .unwrap_or_else(|| host.has_changed_since_published(prefix))
    }

    /// The problem of the last attempt and how long it is not repeated, where that is so.
    pub(super) fn waits(&self, host: &Host, inputs: &Inputs) -> Option<(Problem, Duration)> {
        let waits = self.of(&host.meta, |progress| {
            let failure = progress.failure.as_ref().filter(|f| f.inputs == *inputs)?;
            let wait = failure.until.checked_duration_since(Instant::now())?;
            Some((failure.problem.clone(), wait))
        });
        waits.flatten()
    }

    /// All is published, and this is in DNS now.
    pub(super) fn succeeded(&self, host: &Host, published: Option<Arc<PublishedState>>) {
        let Meta { key, uid, .. } = &host.meta;
        let mut all = self.all();
        if host.published == published {
            all.open.remove(key);
            all.settled.insert(number_of(uid), hash_of(&published));
            return;
        }
        all.settled.remove(&number_of(uid));
        let progress = Progress {
            uid: uid.clone(),
            published,
            noted: Timestamp::now(),
            failure: None,
        };
        all.open.insert(key.clone(), Box::new(progress));
    }

    /// An attempt failed, after which `published` is in DNS as far as we know; when to try again.
    pub(super) fn failed(
        &self,
        host: &Host,
        published: Option<Arc<PublishedState>>,
        inputs: Inputs,
        problem: &Problem,
    ) -> Next {
        let mut all = self.all();
        all.settled.remove(&number_of(&host.meta.uid));
        let former = all
            .open
            .remove(&host.meta.key)
            .filter(|p| p.uid == host.meta.uid);
        let former = former.and_then(|progress| progress.failure);
        let attempts = former.as_ref().map_or(0, |failure| failure.attempts);
        let blocked_since = former.and_then(|failure| failure.blocked_since);
        let wait = problem.retry(attempts);
        let now = Instant::now();
        let failure = Failure {
            problem: problem.clone(),
            until: now + wait.unwrap_or_default(),
            attempts: attempts.saturating_add(1),
            blocked_since: (inputs.deleting && problem.lets_go())
                .then(|| blocked_since.unwrap_or(now)),
            inputs,
        };
        let progress = Progress {
            uid: host.meta.uid.clone(),
            published,
            noted: Timestamp::now(),
            failure: Some(Box::new(failure)),
        };
        all.open.insert(host.meta.key.clone(), Box::new(progress));
        wait.map_or(Next::Idle, Next::After)
    }

    /// Whether a deletion has waited long enough for its zone or credentials.
    pub(super) fn is_blocked_too_long(&self, meta: &Meta) -> bool {
        let since = self.of(meta, |progress| progress.failure.as_ref()?.blocked_since);
        since
            .flatten()
            .is_some_and(|since| since.elapsed() >= LET_GO)
    }

    /// Lets a failed attempt be repeated at once; whether there was one.
    pub(super) fn repeat(&self, host: &ObjectKey) -> bool {
        let mut all = self.all();
        let failure = all.open.get_mut(host).and_then(|p| p.failure.as_mut());
        failure
            .map(|failure| failure.until = Instant::now())
            .is_some()
    }

    /// The host is gone.
    pub(super) fn forget(&self, host: &ObjectKey) {
        self.all().open.remove(host);
    }

    /// The host goes, and has no records any more.
    pub(super) fn ended(&self, host: &Meta) {
        self.forget(&host.key);
        self.all().settled.remove(&number_of(&host.uid));
    }
}

/// A UID as a number; that of one that is no UUID is made up.
fn number_of(uid: &str) -> u128 {
    let mut digits = uid.bytes().filter(|octet| *octet != b'-');
    let number = digits.try_fold((0_u128, 0), |(number, count), digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some((number << 4 | u128::from(digit), count + 1))
    });
    match number {
        Some((number, 32)) => number,
        _ => hash_of(uid).into(),
    }
}

fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn host(metadata: &Value, status: Value) -> Host {
        let mut object = json!({
            "metadata": {"name": "home", "namespace": "family", "uid": "h", "resourceVersion": "1",
                         "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
            "status": status,
        });
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        Host::from_object(&serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn a_failed_attempt_waits_unless_something_it_depends_on_has_changed() {
        fn check(metadata: Value, status: Value, expected: bool) {
            let progresses = Progresses::default();
            let before = host(&json!({}), json!({}));
            let problem = Problem::Foreign("somebody's".to_owned());
            progresses.failed(&before, None, Inputs::new(&before, None, None), &problem);
            let now = host(&metadata, status);
            let waits = progresses.waits(&now, &Inputs::new(&now, None, None));
            assert_eq!(waits.is_some(), expected, "{metadata}");
        }
        let reported = json!({"observed": {"ipv4": {"address": "198.51.100.7",
            "changedAt": "2026-01-01T00:00:00Z", "protocol": "dyndns2"}}});
        check(json!({}), json!({}), true);
        // Our own status.
        check(
            json!({"resourceVersion": "2"}),
            json!({"observedGeneration": 3}),
            true,
        );
        check(json!({"generation": 4}), json!({}), false);
        check(json!({"annotations": {"touched": "now"}}), json!({}), false);
        check(
            json!({"deletionTimestamp": "2026-01-02T00:00:00Z"}),
            json!({}),
            false,
        );
        check(json!({}), reported, false);
        // A heartbeat.
        let seen = json!({"observed": {"lastSeen": "2026-01-01T00:00:00Z"}});
        check(json!({}), seen, true);
        // Another host of the same name.
        check(json!({"uid": "other"}), json!({}), false);
    }

    #[test]
    fn a_repeated_or_successful_attempt_waits_no_longer() {
        let progresses = Progresses::default();
        let host = host(&json!({}), json!({}));
        let inputs = Inputs::new(&host, None, None);
        let problem = Problem::Foreign(String::new());
        assert!(!progresses.repeat(&host.meta.key));
        let Next::After(first) = progresses.failed(&host, None, inputs.clone(), &problem) else {
            panic!("a foreign record is tried again");
        };
        assert!(progresses.repeat(&host.meta.key));
        assert_eq!(progresses.waits(&host, &inputs), None);
        let second = progresses.failed(&host, None, inputs.clone(), &problem);
        assert_eq!(second, Next::After(first * 2));
        assert!(progresses.is_in_doubt(&host, None));
        progresses.succeeded(&host, None);
        assert_eq!(progresses.waits(&host, &inputs), None);
        assert!(!progresses.is_in_doubt(&host, None));
    }

    #[test]
    fn what_status_tells_in_full_is_in_doubt_only_where_somebody_else_writes_it() {
        let published = |address: &str| {
            json!({"observedGeneration": 2, "published": {"at": "2026-01-01T00:00:00Z", "rrsets": [
                {"name": "home.dyn.example.org", "type": "A", "ttl": 60, "values": [address]}]}})
        };
        let progresses = Progresses::default();
        let ours = host(&json!({}), published("198.51.100.1"));
        assert!(!progresses.knows(&ours.meta) && progresses.is_in_doubt(&ours, None));
        progresses.succeeded(&ours, ours.published.clone());
        assert!(progresses.knows(&ours.meta) && !progresses.is_in_doubt(&ours, None));
        assert_eq!(progresses.published(&ours), ours.published);
        let forged = host(&json!({}), published("198.51.100.2"));
        assert!(progresses.is_in_doubt(&forged, None));
        let another = host(&json!({"uid": "other"}), published("198.51.100.1"));
        assert!(!progresses.knows(&another.meta));
        progresses.ended(&ours.meta);
        assert!(!progresses.knows(&ours.meta));
    }

    #[test]
    fn status_that_tells_of_a_later_write_than_ours_is_right() {
        fn check(ours: Option<&str>, theirs: Option<&str>, is_theirs: bool) {
            let published = |at: Option<&str>, address: &str| {
                at.map(|at| {
                    json!({"at": format!("2026-01-01T00:00:0{at}Z"), "rrsets": [
                    {"name": "home.dyn.example.org", "type": "A", "ttl": 60, "values": [address]}]})
                })
            };
            let noted = host(
                &json!({}),
                json!({"published": published(ours, "198.51.100.1")}),
            );
            let now = host(
                &json!({}),
                json!({"published": published(theirs, "198.51.100.2")}),
            );
            let progresses = Progresses::default();
            let before = host(
                &json!({}),
                json!({"published": published(Some("0"), "198.51.100.0")}),
            );
            progresses.succeeded(&before, noted.published.clone());
            let found = progresses.published(&now);
            let expected = if is_theirs {
                now.published
            } else {
                noted.published
            };
            assert_eq!(found, expected, "{ours:?} {theirs:?}");
        }
        check(Some("1"), Some("1"), false);
        check(Some("2"), Some("1"), false);
        check(Some("1"), Some("2"), true);
        check(Some("1"), None, false);
        // What we have removed since is gone, whatever an old list says.
        check(None, Some("1"), false);
    }
}
