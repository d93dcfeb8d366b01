//! PURE: the guard against mass deletion, per zone and per namespace in it.
//!
//! ```text
//! ask -> waits SETTLE -> granted, while what waits and what was granted in WINDOW is within bounds
//!                     -> paused,  until the administrator approves, or nobody asks any more
//! ```
//!
//! A host counts as a few names at most, and what a namespace's own pause holds does not count in
//! the zone: one tenant's mass is nobody else's.
//!
//! A host that is to lose its records for a [`Cause`] asks first. It waits a short time, so that the
//! whole mass is seen before its first name goes. It is remembered until it is withdrawn: its
//! records are gone, or are to stay. So there is an entry for each host that asks, and one for each
//! zone that exists.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::index::object::ObjectKey;

/// How long the first of a mass waits for the others.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// What was granted is counted for this long.
const WINDOW: Duration = Duration::from_secs(60);

/// So many names may always go within [`WINDOW`].
const LEAST: usize = 10;

/// Or one name in so many (5 %), where that is more.
const ONE_IN: usize = 20;

/// A host counts as so many names at most, so that no host alone is a mass: of itself and 16 aliases.
const MOST_OF_A_HOST: usize = 5;

/// A count of all names is not made anew for each host of a mass.
const COUNT_AGE: Duration = Duration::from_secs(1);

/// How long a pause that status tells of is held after a start, for its hosts to ask again.
const HOLD: Duration = Duration::from_secs(30);

/// How long an approval counts.
const APPROVAL: SignedDuration = SignedDuration::from_mins(10);

/// An approval may be so far ahead of our clock.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Namespaces that a message tells one by one.
const TOLD: usize = 3;

/// Why a host is to lose its records, where nobody has deleted the host itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Its namespace is being deleted.
    Namespace,
    /// The CustomResourceDefinition is being deleted, and with it every host.
    Definition,
    /// Its zone no longer admits it.
    Consent,
    /// It has not been seen for too long, and says that it wants to be removed then.
    Stale,
}

impl Cause {
    fn sentence(self) -> &'static str {
        match self {
            Self::Namespace => "it is being deleted",
            Self::Definition => "the CRD of hosts is being deleted",
            Self::Consent => "the zone no longer admits them",
            Self::Stale => "they are stale",
        }
    }
}

/// What a host of so many names counts as, in a mass and in all names.
pub(super) fn counted(names: usize) -> usize {
    names.min(MOST_OF_A_HOST)
}

/// The answer to a host that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// Its records may go, also at a later attempt, until it is withdrawn.
    Granted,
    /// It has to ask again, so much later.
    Wait(Duration),
    /// Deleting is paused. An approval brings it back.
    Paused,
}

/// A host that asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub host: &'a ObjectKey,
    pub uid: &'a Arc<str>,
    pub zone: &'a ObjectKey,
    /// Its own and its aliases.
    pub names: usize,
    pub cause: Cause,
}

/// What the zone's object says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// Its administrator approves, now.
    pub approved: bool,
    /// Its status says that deleting is paused: what a controller before us has found.
    pub paused: bool,
}

/// What there is to tell of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    NotPaused,
    /// As status says it: its hosts have not asked again since the start.
    AsBefore,
    Paused(String),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Guard {
    candidates: HashMap<ObjectKey, Candidate>,
    zones: HashMap<ObjectKey, ZoneGuard>,
}

#[derive(Debug)]
struct Candidate {
    uid: Arc<str>,
    zone: ObjectKey,
    names: usize,
    cause: Cause,
    since: Instant,
    granted: bool,
}

#[derive(Debug, Default)]
struct ZoneGuard {
    whole: Scope,
    namespaces: BTreeMap<Arc<str>, Scope>,
    held_until: Option<Instant>,
}

/// Hosts that are counted together.
#[derive(Debug, Default)]
struct Scope {
    /// Names, to be told.
    waiting: BTreeMap<Cause, usize>,
    /// What they count as.
    waits: usize,
    granted: VecDeque<(Instant, usize)>,
    is_paused: bool,
    counted: Option<(Instant, usize)>,
}

/// Whether an approval of this time counts now.
pub(super) fn is_approved(approval: Option<Timestamp>, now: Timestamp) -> bool {
    approval.is_some_and(|approval| {
        let age = now.duration_since(approval);
        -SKEW <= age && age <= APPROVAL
    })
}

impl Guard {
    /// Whether a host may lose its records now. `count` tells how many names the zone has, or a
    /// namespace in it, as they are [`counted`].
    pub(super) fn ask(
        &mut self,
        request: Request<'_>,
        word: Word,
        now: Instant,
        count: impl Fn(Option<&str>) -> usize,
    ) -> Permit {
        let known = self.candidates.get(request.host);
        let known = known.filter(|c| c.uid == *request.uid && c.cause == request.cause);
        let since = known.map(|candidate| candidate.since);
        if known.is_some_and(|candidate| candidate.granted) {
            return Permit::Granted;
        }
        if since.is_none() {
            self.withdraw(request.host, |_| true, now);
        }
        let zone = zone_guard(&mut self.zones, request.zone, word, now);
        let namespace = &request.host.namespace;
        if since.is_none() {
            zone.whole.add(request.cause, request.names);
            zone.namespace(namespace).add(request.cause, request.names);
        }
        let candidate = self
            .candidates
            .entry(request.host.clone())
            .or_insert_with(|| Candidate {
                uid: request.uid.clone(),
                zone: request.zone.clone(),
                names: request.names,
                cause: request.cause,
                since: now,
                granted: false,
            });
        let waits = (candidate.since + SETTLE).saturating_duration_since(now);
        if !word.approved {
            // Whose mass it is shows when all of it has asked.
            if !zone.holds(namespace) && !waits.is_zero() {
                return Permit::Wait(waits);
            }
            zone.judge(now, count);
            if zone.holds(namespace) {
                return Permit::Paused;
            }
        }
        candidate.granted = true;
        let (cause, names) = (candidate.cause, candidate.names);
        for scope in [
            &mut zone.whole,
            zone.namespaces.entry(namespace.clone()).or_default(),
        ] {
            scope.remove(cause, names);
            // What was approved is no reason to pause what comes after it.
            if !word.approved {
                scope.granted.push_back((now, counted(names)));
            }
        }
        zone.end_pauses(now);
        Permit::Granted
    }

    /// Why a host asked, where it still does.
    pub(super) fn cause(&self, host: &ObjectKey, uid: &Arc<str>) -> Option<Cause> {
        let candidate = self.candidates.get(host).filter(|c| c.uid == *uid)?;
        Some(candidate.cause)
    }

    /// A host does not ask for one of these causes any more; its zone, where that has a pause.
    pub(super) fn withdraw(
        &mut self,
        host: &ObjectKey,
        causes: impl Fn(Cause) -> bool,
        now: Instant,
    ) -> Option<ObjectKey> {
        if !causes(self.candidates.get(host)?.cause) {
            return None;
        }
        let candidate = self.candidates.remove(host)?;
        let zone = self.zones.get_mut(&candidate.zone)?;
        let had_pause = zone.is_paused();
        if !candidate.granted {
            zone.whole.remove(candidate.cause, candidate.names);
            let namespace = zone.namespace(&host.namespace);
            namespace.remove(candidate.cause, candidate.names);
        }
        zone.end_pauses(now);
        had_pause.then_some(candidate.zone)
    }

    /// Whether a pause is on in the zone.
    pub(super) fn is_paused(&self, zone: &ObjectKey) -> bool {
        self.zones.get(zone).is_some_and(ZoneGuard::is_paused)
    }

    /// The zone is gone.
    pub(super) fn forget(&mut self, zone: &ObjectKey) {
        self.zones.remove(zone);
        self.candidates.retain(|_, c| c.zone != *zone);
    }

    /// What there is to tell of a zone.
    pub(super) fn report(&mut self, zone: &ObjectKey, word: Word, now: Instant) -> Report {
        let guard = zone_guard(&mut self.zones, zone, word, now);
        guard.end_pauses(now);
        guard.whole.forget_old(now);
        guard.namespaces.retain(|_, scope| !scope.is_idle(now));
        let rows = guard.paused();
        match (guard.is_paused(), rows.is_empty()) {
            (false, _) => Report::NotPaused,
            (true, true) => Report::AsBefore,
            (true, false) => Report::Paused(message(zone, &rows)),
        }
    }

    /// Names whose deletion is paused, in all zones.
    pub(super) fn paused_names(&self) -> usize {
        let rows = self.zones.values().flat_map(ZoneGuard::paused);
        rows.map(|(_, _, names)| names).sum()
    }

    /// The hosts of a zone that still ask.
    pub(super) fn waiting(&self, zone: &ObjectKey) -> Vec<ObjectKey> {
        let all = self.candidates.iter();
        all.filter(|(_, c)| c.zone == *zone && !c.granted)
            .map(|(host, _)| host.clone())
            .collect()
    }
}

/// A zone that is seen for the first time is paused as far as its status says so.
fn zone_guard<'a>(
    zones: &'a mut HashMap<ObjectKey, ZoneGuard>,
    zone: &ObjectKey,
    word: Word,
    now: Instant,
) -> &'a mut ZoneGuard {
    let guard = zones.entry(zone.clone()).or_insert_with(|| {
        let mut guard = ZoneGuard::default();
        if word.paused {
            guard.whole.is_paused = true;
            guard.held_until = Some(now + HOLD);
        }
        guard
    });
    if word.approved {
        guard.held_until = None;
    }
    guard
}

impl ZoneGuard {
    fn namespace(&mut self, namespace: &Arc<str>) -> &mut Scope {
        self.namespaces.entry(namespace.clone()).or_default()
    }

    fn is_paused(&self) -> bool {
        self.whole.is_paused || self.namespaces.values().any(|scope| scope.is_paused)
    }

    /// Whether nothing of this namespace may go.
    fn holds(&self, namespace: &Arc<str>) -> bool {
        let own = self.namespaces.get(namespace);
        self.whole.is_paused || own.is_some_and(|scope| scope.is_paused)
    }

    /// Pauses what is a mass. What its own namespace's pause holds goes nowhere, and is no reason to
    /// hold what others have.
    fn judge(&mut self, now: Instant, count: impl Fn(Option<&str>) -> usize) {
        for (name, scope) in &mut self.namespaces {
            scope.judge(now, 0, || count(Some(name)));
        }
        let held = self.held();
        self.whole.judge(now, held, || count(None));
    }

    /// What waits for its own namespace's pause to end.
    fn held(&self) -> usize {
        let paused = self.namespaces.values().filter(|scope| scope.is_paused);
        paused.map(|scope| scope.waits).sum()
    }

    /// A pause ends when nobody asks any more, and a zone's when nobody does whom nothing else holds.
    fn end_pauses(&mut self, now: Instant) {
        for scope in self.namespaces.values_mut() {
            scope.is_paused &= scope.waits > 0;
        }
        if self.held_until.is_none_or(|until| until <= now) {
            self.held_until = None;
            self.whole.is_paused &= self.whole.waits > self.held();
        }
    }

    /// The names that wait for an approval, by namespace and cause.
    fn paused(&self) -> Vec<(Arc<str>, Cause, usize)> {
        let scopes = self.namespaces.iter();
        let scopes = scopes.filter(|(_, scope)| self.whole.is_paused || scope.is_paused);
        let rows = |(namespace, scope): (&Arc<str>, &Scope)| {
            let causes = scope.waiting.clone().into_iter();
            let namespace = namespace.clone();
            causes.map(move |(cause, names)| (namespace.clone(), cause, names))
        };
        scopes.flat_map(rows).collect()
    }
}

impl Scope {
    fn add(&mut self, cause: Cause, names: usize) {
        *self.waiting.entry(cause).or_default() += names;
        self.waits += counted(names);
    }

    fn remove(&mut self, cause: Cause, names: usize) {
        self.waits = self.waits.saturating_sub(counted(names));
        if let Some(waiting) = self.waiting.get_mut(&cause) {
            *waiting = waiting.saturating_sub(names);
            if *waiting == 0 {
                self.waiting.remove(&cause);
            }
        }
    }

    /// Pauses what waits from now on, where that is a mass; but for what is `held` elsewhere.
    fn judge(&mut self, now: Instant, held: usize, count: impl FnOnce() -> usize) {
        self.forget_old(now);
        let granted: usize = self.granted.iter().map(|(_, names)| names).sum();
        let names = self.waits.saturating_sub(held) + granted;
        if names > LEAST && !self.is_paused {
            let fresh = |(at, _): &(Instant, usize)| now.saturating_duration_since(*at) < COUNT_AGE;
            let (_, all) = *match self.counted.filter(fresh) {
                Some(counted) => self.counted.insert(counted),
                None => self.counted.insert((now, count())),
            };
            self.is_paused = names > all / ONE_IN;
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, _)) = self.granted.front()
            && now.saturating_duration_since(*at) >= WINDOW
        {
            self.granted.pop_front();
        }
    }

    fn is_idle(&mut self, now: Instant) -> bool {
        self.forget_old(now);
        self.waiting.is_empty() && self.granted.is_empty()
    }
}

/// What the zone's administrator reads: how many names, whose, why, and what to do.
fn message(zone: &ObjectKey, rows: &[(Arc<str>, Cause, usize)]) -> String {
    let all: usize = rows.iter().map(|(_, _, names)| names).sum();
    let mut told: Vec<_> = rows
        .iter()
        .take(TOLD)
        .map(|(namespace, cause, names)| {
            format!("{names} of namespace {namespace} ({})", cause.sentence())
        })
        .collect();
    let rest: usize = rows.iter().skip(TOLD).map(|(_, _, names)| names).sum();
    if rest > 0 {
        told.push(format!("{rest} of others"));
    }
    let ObjectKey { namespace, name } = zone;
    format!(
        "removing {all} names at once is paused: {}. If that is intended: \
         kubectl -n {namespace} annotate dynamiczone {name} --overwrite {}=$(date -u +%FT%TZ)",
        told.join(", "),
        dynhost_crds::APPROVE_DELETIONS_ANNOTATION,
    )
}

#[cfg(test)]
mod tests;
