//! IO: the one place where the changes of a zone queue.

use std::collections::HashMap;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::{Applied, ApplyError, Provider};
use crate::name::RecordName;
use crate::record::change::HostChange;

/// Messages in flight per zone. BIND stores them one by one, so that more gain nothing there;
/// servers that store several at a time gain by a few.
const IN_FLIGHT: usize = 4;

/// The queue of one zone: first come, first served; a few messages in flight, one per host, so that
/// a host's changes reach the server in the order in which they were made.
pub struct ZoneLane {
    provider: Arc<dyn Provider>,
    slots: Semaphore,
    turns: Mutex<HashMap<RecordName, Arc<AsyncMutex<()>>>>,
    paused: AtomicBool,
}

impl ZoneLane {
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self {
            provider,
            slots: Semaphore::new(IN_FLIGHT),
            turns: Mutex::default(),
            paused: AtomicBool::new(false),
        }
    }

    /// From now on changes are refused as [`ApplyError::Unavailable`], those that wait included.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
    }

    /// Whether changes are refused now.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Applies one change when its turn has come. A caller that is dropped while it waits for its
    /// turn has changed nothing; later, the outcome is unknown.
    pub async fn apply(&self, change: HostChange) -> Result<Applied, ApplyError> {
        let turns = change.names.iter().map(|name| Turn::new(self, &name.name));
        let turns: Vec<_> = turns.collect();
        let mut _held = Vec::new();
        for turn in &turns {
            _held.push(turn.lock.lock().await);
        }
        let _slot = self.slots.acquire().await.map_err(|_| closed())?;
        if self.is_paused() {
            return Err(ApplyError::Unavailable {
                detail: "no name server of the zone answers".to_owned(),
                retry_after: None,
            });
        }
        let outcomes = self.provider.apply(slice::from_ref(&change)).await;
        let outcome = outcomes.into_iter().next();
        outcome.unwrap_or_else(|| Err(ApplyError::Unknown("no outcome".to_owned())))
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<RecordName, Arc<AsyncMutex<()>>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slots are never closed, but their type can be.
fn closed() -> ApplyError {
    ApplyError::Unavailable {
        detail: "the zone's lane is closed".to_owned(),
        retry_after: None,
    }
}

/// A place in the queue of one host, which is forgotten when the last has left it.
struct Turn<'a> {
    lane: &'a ZoneLane,
    name: RecordName,
    lock: Arc<AsyncMutex<()>>,
}

impl<'a> Turn<'a> {
    fn new(lane: &'a ZoneLane, name: &RecordName) -> Self {
        let lock = Arc::clone(lane.turns().entry(name.clone()).or_default());
        Self {
            lane,
            name: name.clone(),
            lock,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.lane.turns();
        // The map's and this one.
        if Arc::strong_count(&self.lock) == 2 {
            turns.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;
    use std::task::Poll;

    use futures::future::{BoxFuture, FutureExt, join_all};
    use futures::poll;
    use tokio::sync::mpsc;

    use super::*;
    use crate::record::change::{Basis, Found, NameChange, Records};

    /// Reports each change that begins, and lets it end when it is told to.
    struct Gate {
        begun: mpsc::UnboundedSender<HostChange>,
        end: Semaphore,
    }

    impl Provider for Gate {
        fn apply<'a>(
            &'a self,
            changes: &'a [HostChange],
        ) -> BoxFuture<'a, Vec<Result<Applied, ApplyError>>> {
            async move {
                for change in changes {
                    self.begun.send(change.clone()).unwrap();
                    self.end.acquire().await.unwrap().forget();
                }
                changes.iter().map(|_| Ok(Applied)).collect()
            }
            .boxed()
        }

        fn read<'a>(&'a self, _: &'a RecordName) -> BoxFuture<'a, Result<Found, ApplyError>> {
            unreachable!("the lane does not read")
        }

        fn probe(&self) -> BoxFuture<'_, Result<(), ApplyError>> {
            unreachable!("the lane does not probe")
        }
    }

    /// Changes of hosts by name, told apart by their TTL, which counts up; then steps, each with
    /// how many messages end and which begin thereupon.
    async fn check(names: &[&str], steps: &[(usize, &[(&str, u32)])]) {
        let (begun, mut begins) = mpsc::unbounded_channel();
        let end = Semaphore::new(0);
        let gate = Arc::new(Gate { begun, end });
        let lane = ZoneLane::new(gate.clone());
        let changes = iter::zip(names, 0..).map(|(name, ttl)| {
            let name = NameChange {
                name: RecordName::parse(&format!("{name}.dyn.example.org")).unwrap(),
                records: Records::NoCname,
                marker: None,
                basis: Basis::Absent,
            };
            lane.apply(HostChange::of_name(ttl, name))
        });
        let mut all = join_all(changes);
        for (ends, expected) in steps {
            gate.end.add_permits(*ends);
            // Nothing here waits for a timer or another thread: a poll goes as far as it can, and
            // the next lets those go on whom it has given way.
            let mut outcome = poll!(&mut all);
            if outcome.is_pending() {
                outcome = poll!(&mut all);
            }
            let mut order = Vec::new();
            while let Ok(change) = begins.try_recv() {
                order.push((change.names[0].name.to_string(), change.ttl));
            }
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, ttl)| (format!("{name}.dyn.example.org"), *ttl))
                .collect();
            assert_eq!(order, expected, "{names:?} after {ends} have ended");
            if let Poll::Ready(outcomes) = outcome {
                assert_eq!(outcomes, vec![Ok(Applied); names.len()]);
                assert!(
                    lane.turns().is_empty(),
                    "hosts without changes are forgotten"
                );
                return;
            }
        }
        unreachable!("not all changes have come to an end");
    }

    #[tokio::test]
    async fn at_most_four_messages_are_in_flight() {
        check(
            &["a", "b", "c", "d", "e", "f"],
            &[
                (0, &[("a", 0), ("b", 1), ("c", 2), ("d", 3)]),
                (1, &[("e", 4)]),
                (1, &[("f", 5)]),
                (4, &[]),
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn the_changes_of_one_host_are_made_one_by_one_in_order() {
        check(
            &["a", "a", "b", "a"],
            &[
                (0, &[("a", 0), ("b", 2)]),
                (1, &[("a", 1)]),
                (2, &[("a", 3)]),
                (1, &[]),
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn a_host_with_many_changes_does_not_hold_the_slots_of_others() {
        check(
            &["a", "a", "a", "a", "a", "b"],
            &[
                (0, &[("a", 0), ("b", 5)]),
                (6, &[("a", 1), ("a", 2), ("a", 3), ("a", 4)]),
            ],
        )
        .await;
    }
}
