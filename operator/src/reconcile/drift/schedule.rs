//! When which zone is looked through, and what was found that nobody has looked at yet.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{Outcome, PASSES};
use crate::index::object::ObjectKey;
use crate::reconcile::queue::{Limits, Queue};
use crate::record::drift::Drifted;

/// The least time from one pass to the next of the same zone, where something asks for one.
const PAUSE: Duration = Duration::from_secs(10);

/// A pass that could not read the zone is repeated after this time, or the interval if that is shorter.
const AGAIN: Duration = Duration::from_secs(60);

/// Hosts that are not as published and wait to be looked at. A pass that finds more waits, too.
const MOST_WAITING: usize = 1024;

/// What is known of the drift of all zones.
pub(in crate::reconcile) struct Drift {
    interval: Duration,
    state: Mutex<State>,
    /// Something is due sooner than before.
    pub(super) sooner: Notify,
    room: Arc<Semaphore>,
}

struct State {
    queue: Queue<ObjectKey, ()>,
    zones: HashMap<ObjectKey, ZoneState>,
    drifted: HashMap<ObjectKey, Waiting>,
}

struct Waiting {
    drifted: Drifted,
    _room: Option<OwnedSemaphorePermit>,
}

struct ZoneState {
    begun: Option<Instant>,
    /// Something asks for a whole pass.
    is_asked_for: bool,
    /// When the zone was last found or made to be as published, or first seen.
    checked: Timestamp,
    orphans: usize,
}

impl Drift {
    pub(in crate::reconcile) fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: Mutex::new(State {
                queue: Queue::new(Limits {
                    of_share: PASSES,
                    in_all: PASSES,
                    reserved: 0,
                }),
                zones: HashMap::new(),
                drifted: HashMap::new(),
            }),
            sooner: Notify::new(),
            room: Arc::new(Semaphore::new(MOST_WAITING)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The zone exists: it is looked through from now on, at a time of its own.
    pub(in crate::reconcile) fn watch(&self, zone: &ObjectKey) {
        let mut state = self.state();
        if state.zones.contains_key(zone) {
            return;
        }
        let first = ZoneState {
            begun: None,
            is_asked_for: false,
            checked: Timestamp::now(),
            orphans: 0,
        };
        state.zones.insert(zone.clone(), first);
        let at = Instant::now() + self.interval.mul_f64(random());
        state.queue.push(zone.clone(), (), at);
        drop(state);
        self.sooner.notify_one();
    }

    /// The zone is gone.
    pub(in crate::reconcile) fn forget_zone(&self, zone: &ObjectKey) {
        self.state().zones.remove(zone);
    }

    /// Something tells that the zone is not as published: a whole pass is due at once, unless there
    /// was one just now.
    pub(in crate::reconcile) fn ask_for(&self, zone: &ObjectKey) {
        let mut state = self.state();
        let Some(known) = state.zones.get_mut(zone) else {
            return;
        };
        known.is_asked_for = true;
        let now = Instant::now();
        let pause = PAUSE.min(self.interval);
        let at = known.begun.map_or(now, |begun| now.max(begun + pause));
        state.queue.push(zone.clone(), (), at);
        drop(state);
        self.sooner.notify_one();
    }

    /// What was found of a host that is not as published. It is told once.
    pub(in crate::reconcile) fn take(&self, host: &ObjectKey) -> Option<Drifted> {
        let waiting = self.state().drifted.remove(host)?;
        Some(waiting.drifted)
    }

    /// A host is not as published. Waits for room.
    pub(in crate::reconcile) async fn put(&self, host: ObjectKey, drifted: Drifted) {
        // It is never closed.
        let room = self.room.clone().acquire_owned().await.ok();
        let waiting = Waiting {
            drifted,
            _room: room,
        };
        self.state().drifted.insert(host, waiting);
    }

    /// The next zone, and whether a whole pass was asked for.
    pub(super) fn begin(&self, now: Instant) -> Option<(ObjectKey, bool)> {
        let mut state = self.state();
        loop {
            let zone = state.queue.pop(now)?;
            match state.zones.get_mut(&zone) {
                Some(known) => {
                    known.begun = Some(now);
                    let is_asked_for = mem::take(&mut known.is_asked_for);
                    return Some((zone, is_asked_for));
                }
                None => state.queue.done(&zone),
            }
        }
    }

    pub(super) fn end(&self, zone: &ObjectKey, outcome: Option<Outcome>) {
        let mut state = self.state();
        state.queue.done(zone);
        let Some(known) = state.zones.get_mut(zone) else {
            return;
        };
        if outcome.is_none_or(Outcome::is_conclusive) {
            known.checked = Timestamp::now();
        }
        known.is_asked_for |= matches!(outcome, Some(Outcome::Drifted { more: true }));
        let interval = self.interval.mul_f64(0.9 + 0.2 * random());
        let wait = match outcome {
            Some(Outcome::Drifted { more: true }) => interval.min(PAUSE),
            Some(outcome) if !outcome.is_conclusive() => interval.min(AGAIN),
            _ => interval,
        };
        state.queue.push(zone.clone(), (), Instant::now() + wait);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.state().queue.next_due()
    }

    /// The zone that has waited longest was last compared then.
    pub(super) fn oldest_check(&self) -> Option<Timestamp> {
        self.state().zones.values().map(|zone| zone.checked).min()
    }

    /// How many markers without a host the zone has; whether that is news. And those of all zones.
    pub(super) fn set_orphans(&self, zone: &ObjectKey, count: usize) -> (bool, usize) {
        let mut state = self.state();
        let mut is_news = false;
        if let Some(known) = state.zones.get_mut(zone) {
            is_news = mem::replace(&mut known.orphans, count) != count;
        }
        (is_news, state.zones.values().map(|zone| zone.orphans).sum())
    }
}

/// At least 0 and less than 1; 0 where the system has no randomness.
fn random() -> f64 {
    let mut bits = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut bits);
    f64::from(u32::from_be_bytes(bits)) / (f64::from(u32::MAX) + 1.0)
}
