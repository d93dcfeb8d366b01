//! IO: the one place where the changes of a zone queue.
//!
//! There is no task: who waits at the head of a message sends it for all whose changes are in it,
//! and tells them the outcomes. Whoever is dropped leaves nobody waiting.

mod pace;
mod schedule;

use std::iter;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::pace::Pace;
use self::schedule::{Schedule, Waiting};
use super::{Applied, ApplyError, Provider};
use crate::metrics::ZoneMetrics;
use crate::record::change::HostChange;

/// The queue of one zone. What comes while nothing is in flight is sent at once, and what comes
/// meanwhile collects for the next message.
pub struct ZoneLane(Arc<Lane>);

struct Lane {
    provider: Arc<dyn Provider>,
    schedule: Mutex<Schedule<Waiter>>,
    /// Why changes are refused; `None`: they are not.
    pause: Mutex<Option<String>>,
    metrics: Arc<ZoneMetrics>,
}

type Outcome = Result<Applied, ApplyError>;

/// Where somebody who has made a change is told how it goes on; once.
type Waiter = oneshot::Sender<Turn>;

enum Turn {
    /// Send this message, in which the change is.
    Send(Message),
    Done(Outcome),
}

impl ZoneLane {
    pub fn new(provider: Arc<dyn Provider>, metrics: Arc<ZoneMetrics>) -> Self {
        Self(Arc::new(Lane {
            provider,
            schedule: Mutex::default(),
            pause: Mutex::default(),
            metrics,
        }))
    }

    /// From now on changes are refused as [`ApplyError::Unavailable`], those that wait included, and
    /// for the first reason that is given: another one each time would be news to every host.
    pub fn pause(&self, why: &str) {
        let why = &self.0.pause().get_or_insert_with(|| why.to_owned()).clone();
        let waiting = self.0.schedule().take_waiting();
        self.0.show_depth();
        for Waiting { waiter, .. } in waiting {
            // Who has gone needs no answer; likewise below.
            let _ = waiter.send(Turn::Done(Err(unavailable(why))));
        }
    }

    /// Ends a pause.
    pub fn resume(&self) {
        if self.0.pause().take().is_some() {
            self.0.schedule().forget_pace();
        }
    }

    /// Whether changes are refused now.
    pub fn is_paused(&self) -> bool {
        self.0.pause().is_some()
    }

    /// Applies one change, together with others, when its turn has come. A caller that is dropped
    /// before has changed nothing; later, the outcome is unknown.
    pub async fn apply(&self, change: HostChange) -> Outcome {
        if let Some(why) = self.0.pause().as_deref() {
            return Err(unavailable(why));
        }
        let (waiter, turn) = oneshot::channel();
        let mut place = Place {
            lane: &self.0,
            turn,
        };
        self.0.schedule().push(Waiting { change, waiter });
        self.0.send_what_may_go();
        match (&mut place.turn).await {
            Ok(Turn::Done(outcome)) => outcome,
            Ok(Turn::Send(message)) => message.send().await,
            // Nobody drops a waiter untold.
            Err(_) => Err(ApplyError::Unknown("the change was forgotten".to_owned())),
        }
    }
}

fn unavailable(why: &str) -> ApplyError {
    ApplyError::Unavailable {
        detail: why.to_owned(),
        retry_after: None,
    }
}

impl Lane {
    /// Has the next messages sent, as many as may be in flight.
    fn send_what_may_go(self: &Arc<Self>) {
        while let Some(changes) = self.next_message() {
            let (changes, waiters) = changes
                .into_iter()
                .map(|Waiting { change, waiter }| (change, Some(waiter)))
                .unzip();
            let message = Message {
                lane: self.clone(),
                changes,
                waiters,
                is_sent: false,
            };
            message.hand_over();
        }
        self.show_depth();
    }

    fn show_depth(&self) {
        let depth = self.schedule().number_of_waiting();
        self.metrics.show_lane_depth(depth);
    }

    // The lock ends with the call: telling a waiter may come back here.
    fn next_message(&self) -> Option<Vec<Waiting<Waiter>>> {
        self.schedule().next()
    }

    fn pause(&self) -> MutexGuard<'_, Option<String>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schedule is never left half changed, so that a panic elsewhere does not spoil it.
    fn schedule(&self) -> MutexGuard<'_, Schedule<Waiter>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's place in the queue, which it gives up where it is dropped.
struct Place<'a> {
    lane: &'a Lane,
    turn: oneshot::Receiver<Turn>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let was_told = self.turn.is_terminated();
        self.turn.close();
        // A message that it was to send goes back into the queue.
        drop(self.turn.try_recv());
        if !was_told {
            self.lane.schedule().forget(Waiter::is_closed);
            self.lane.show_depth();
        }
    }
}

/// Changes that are under way in one message. Drop leaves nobody waiting.
struct Message {
    lane: Arc<Lane>,
    changes: Vec<HostChange>,
    /// Of each change; `None`: the one who sends the message, or one who has gone.
    waiters: Vec<Option<Waiter>>,
    is_sent: bool,
}

impl Message {
    /// Lets the first send it who is still there.
    fn hand_over(mut self) {
        for index in 0..self.waiters.len() {
            let Some(waiter) = self.waiters.get_mut(index).and_then(Option::take) else {
                continue;
            };
            match waiter.send(Turn::Send(self)) {
                Err(Turn::Send(message)) => self = message,
                Ok(()) | Err(Turn::Done(_)) => return,
            }
        }
    }

    /// Sends it and tells everybody; the outcome of the sender's own change.
    async fn send(mut self) -> Outcome {
        self.is_sent = true;
        self.lane.metrics.show_batch(self.changes.len());
        let begun = Instant::now();
        let mut outcomes = self.lane.provider.apply(&self.changes).await;
        outcomes.resize_with(self.changes.len(), || unknown("no outcome"));
        let pace = Pace::of(begun.elapsed(), &outcomes);
        self.finish(outcomes, pace)
    }

    fn finish(&mut self, outcomes: Vec<Outcome>, pace: Option<Pace>) -> Outcome {
        let changes = mem::take(&mut self.changes);
        self.lane.schedule().done(&changes, pace);
        // The next message first: its way is longer.
        self.lane.send_what_may_go();
        let mut own = unknown("no outcome");
        for (waiter, outcome) in iter::zip(mem::take(&mut self.waiters), outcomes) {
            match waiter {
                Some(waiter) => drop(waiter.send(Turn::Done(outcome))),
                None => own = outcome,
            }
        }
        own
    }

    fn put_back(&mut self) {
        let waiters = mem::take(&mut self.waiters);
        let mut gone = Vec::new();
        let mut waiting = Vec::new();
        for (change, waiter) in iter::zip(mem::take(&mut self.changes), waiters) {
            match waiter {
                Some(waiter) => waiting.push(Waiting { change, waiter }),
                None => gone.push(change),
            }
        }
        self.lane.schedule().put_back(waiting, &gone);
        self.lane.send_what_may_go();
    }
}

fn unknown(why: &str) -> Outcome {
    Err(ApplyError::Unknown(why.to_owned()))
}

impl Drop for Message {
    fn drop(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        if !self.is_sent {
            return self.put_back();
        }
        let why = || unknown("whoever sent the message has given up");
        let outcomes = iter::repeat_with(why).take(self.changes.len()).collect();
        let _ = self.finish(outcomes, None);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::Poll;

    use futures::future::{BoxFuture, FutureExt};
    use futures::poll;
    use tokio::sync::{Semaphore, mpsc};

    use super::*;
    use crate::name::RecordName;
    use crate::record::change::{Basis, Found, NameChange, Records};

    /// Reports each message that begins, and lets it end when it is told to.
    struct Gate {
        begun: mpsc::UnboundedSender<Vec<u32>>,
        end: Semaphore,
    }

    impl Provider for Gate {
        fn apply<'a>(&'a self, changes: &'a [HostChange]) -> BoxFuture<'a, Vec<Outcome>> {
            async move {
                let numbers = changes.iter().map(|change| change.ttl);
                self.begun.send(numbers.collect()).unwrap();
                self.end.acquire().await.unwrap().forget();
                let outcome = |change: &HostChange| match change.ttl {
                    REFUSED => Err(ApplyError::Rejected(String::new())),
                    _ => Ok(Applied),
                };
                changes.iter().map(outcome).collect()
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

    /// The number of the change that the server refuses.
    const REFUSED: u32 = 9;

    /// What the callers of a lane do, one after the other.
    enum Act {
        /// Changes of hosts by name, numbered throughout.
        Come(&'static [&'static str]),
        /// So many messages come to their end.
        End(usize),
        /// The caller of the change with this number is dropped.
        Leave(usize),
        Pause,
        Resume,
    }
    use Act::{Come, End, Leave, Pause, Resume};

    type Caller<'a> = Option<Pin<Box<dyn Future<Output = Outcome> + 'a>>>;

    /// Acts, each with the messages that begin thereupon, by the numbers of their changes; then
    /// what each caller who stayed was told.
    async fn check(acts: &[(Act, &[&[u32]])], expected: &[&str]) {
        let (begun, mut begins) = mpsc::unbounded_channel();
        let end = Semaphore::new(0);
        let gate = Arc::new(Gate { begun, end });
        let lane = ZoneLane::new(gate.clone(), Arc::default());
        let mut callers: Vec<Caller<'_>> = Vec::new();
        let mut told: Vec<Option<Outcome>> = Vec::new();
        for (number, (act, messages)) in acts.iter().enumerate() {
            match act {
                Come(names) => {
                    for (name, ttl) in iter::zip(*names, callers.len()..) {
                        let change = change(name, u32::try_from(ttl).unwrap());
                        callers.push(Some(Box::pin(lane.apply(change))));
                        told.push(None);
                    }
                }
                End(messages) => gate.end.add_permits(*messages),
                Leave(caller) => callers[*caller] = None,
                Pause => lane.pause("gone"),
                Resume => lane.resume(),
            }
            // Nothing here waits for a timer or another thread: a poll goes as far as it can, and
            // the next lets those go on whom it has given way.
            for _ in 0..3 {
                for (caller, told) in iter::zip(&mut callers, &mut told) {
                    if let Some(future) = caller
                        && let Poll::Ready(outcome) = poll!(future)
                    {
                        *told = Some(outcome);
                        *caller = None;
                    }
                }
            }
            let begun: Vec<_> = iter::from_fn(|| begins.try_recv().ok()).collect();
            assert_eq!(begun, *messages, "after act {number}");
        }
        let told: Vec<_> = told.iter().map(|outcome| word(outcome.as_ref())).collect();
        assert_eq!(told, expected);
        let mut schedule = lane.0.schedule();
        assert!(schedule.take_waiting().is_empty(), "nobody waits");
    }

    fn change(name: &str, ttl: u32) -> HostChange {
        let name = NameChange {
            name: RecordName::parse(&format!("{name}.dyn.example.org")).unwrap(),
            records: Records::NoCname,
            marker: None,
            basis: Basis::Absent,
        };
        HostChange::of_name(ttl, name)
    }

    fn word(outcome: Option<&Outcome>) -> &'static str {
        match outcome {
            None => "-",
            Some(Ok(Applied)) => "ok",
            Some(Err(ApplyError::Unknown(_))) => "unknown",
            Some(Err(ApplyError::Unavailable { .. })) => "unavailable",
            Some(Err(ApplyError::Rejected(_))) => "rejected",
            Some(Err(_)) => "another",
        }
    }

    #[tokio::test]
    async fn the_first_two_go_out_at_once_and_what_comes_meanwhile_in_one_message() {
        check(
            &[
                (Come(&["a"]), &[&[0]]),
                (Come(&["b"]), &[&[1]]),
                (Come(&["c", "d"]), &[]),
                (Come(&["e"]), &[]),
                (End(1), &[&[2, 3, 4]]),
                (End(2), &[]),
            ],
            &["ok"; 5],
        )
        .await;
    }

    #[tokio::test]
    async fn the_changes_of_one_host_are_made_one_by_one_in_order() {
        check(
            &[
                (Come(&["a", "a", "b", "a"]), &[&[0], &[2]]),
                (End(1), &[&[1]]),
                (End(2), &[&[3]]),
                (End(1), &[]),
            ],
            &["ok"; 4],
        )
        .await;
    }

    #[tokio::test]
    async fn each_is_told_the_outcome_of_its_own_change() {
        check(
            &[
                (Come(&["a", "b", "c", "d", "e"]), &[&[0], &[1]]),
                (Come(&["f", "g", "h", "i", "j", "k"]), &[]),
                (End(1), &[&[2, 3, 4, 5, 6, 7, 8, 9, 10]]),
                (End(2), &[]),
            ],
            &[
                "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "rejected", "ok",
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn who_sends_for_others_and_is_dropped_leaves_their_outcomes_unknown() {
        check(
            &[
                (Come(&["a", "b", "c", "d"]), &[&[0], &[1]]),
                (End(1), &[&[2, 3]]),
                (Come(&["e"]), &[]),
                (Leave(2), &[&[4]]),
                (End(2), &[]),
            ],
            &["ok", "ok", "-", "unknown", "ok"],
        )
        .await;
    }

    #[tokio::test]
    async fn who_is_dropped_before_the_turn_has_changed_nothing() {
        check(
            &[
                (Come(&["a", "b", "c", "d", "c"]), &[&[0], &[1]]),
                (Leave(2), &[]),
                (End(1), &[&[3, 4]]),
                (End(2), &[]),
            ],
            &["ok", "ok", "-", "ok", "ok"],
        )
        .await;
    }

    #[tokio::test]
    async fn who_is_dropped_while_somebody_else_sends_holds_up_nobody() {
        check(
            &[
                (Come(&["a", "b", "c", "d"]), &[&[0], &[1]]),
                (End(1), &[&[2, 3]]),
                (Leave(3), &[]),
                (Come(&["d"]), &[]),
                (End(2), &[&[4]]),
                (End(1), &[]),
            ],
            &["ok", "ok", "ok", "-", "ok"],
        )
        .await;
    }

    #[tokio::test]
    async fn a_pause_refuses_what_waits_and_what_comes_but_not_what_is_in_flight() {
        check(
            &[
                (Come(&["a", "b", "c"]), &[&[0], &[1]]),
                (Pause, &[]),
                (Come(&["d"]), &[]),
                (End(2), &[]),
            ],
            &["ok", "ok", "unavailable", "unavailable"],
        )
        .await;
    }

    #[tokio::test]
    async fn after_a_pause_changes_are_taken_again() {
        check(
            &[
                (Pause, &[]),
                (Come(&["a"]), &[]),
                (Resume, &[]),
                (Come(&["b"]), &[&[1]]),
                (End(1), &[]),
            ],
            &["unavailable", "ok"],
        )
        .await;
    }

    #[tokio::test]
    async fn a_message_handed_to_somebody_who_is_dropped_is_sent_by_the_next() {
        let (begun, mut begins) = mpsc::unbounded_channel();
        let end = Semaphore::new(0);
        let gate = Arc::new(Gate { begun, end });
        let lane = ZoneLane::new(gate.clone(), Arc::default());
        let changes = ["a", "b", "c", "d"].map(|name| change(name, 0));
        let mut callers = changes.map(|change| Box::pin(lane.apply(change)));
        for caller in &mut callers {
            assert!(poll!(caller).is_pending());
        }
        let [first, _second, third, fourth] = callers;
        gate.end.add_permits(1);
        assert_eq!(first.await, Ok(Applied));
        // It is to send the message for itself and the fourth, and does not know it yet.
        drop(third);
        gate.end.add_permits(2);
        assert_eq!(fourth.await, Ok(Applied));
        let messages: Vec<_> = iter::from_fn(|| begins.try_recv().ok()).collect();
        assert_eq!(messages, [[0], [0], [0]]);
    }
}
