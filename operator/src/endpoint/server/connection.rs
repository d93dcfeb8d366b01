//! What one connection does at the moment, in the one word that all can see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::super::limits::Source;

/// What a connection does. All but [`Phase::Busy`] wait for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing of the next request has come.
    Idle,
    /// The head of a request is awaited, or what comes before the first one.
    Head,
    /// The body of a request is awaited.
    Body,
    /// The answer is ready and held back.
    HeldBack,
    /// A request is being served.
    Busy,
    /// It ends, and serves nothing any more.
    Ended,
}

/// A phase, and since when the connection has been about this request or its end, in µs from the
/// start of the server. One word, so that a state is only ever left that has been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(u64);

impl State {
    fn new(phase: Phase, since: u64) -> Self {
        Self(since << 3 | phase as u64)
    }

    pub(super) fn phase(self) -> Phase {
        match self.0 & 7 {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Body,
            3 => Phase::HeldBack,
            4 => Phase::Busy,
            _ => Phase::Ended,
        }
    }

    pub(super) fn since(self) -> Duration {
        Duration::from_micros(self.0 >> 3)
    }

    /// Orders those that wait: who is held back for failing goes first, then who has waited longest.
    pub(super) fn worth(self) -> (bool, Duration) {
        (self.phase() != Phase::HeldBack, self.since())
    }

    pub(super) fn is_waiting(self) -> bool {
        !matches!(self.phase(), Phase::Busy | Phase::Ended)
    }
}

/// A connection as the others see it.
pub(super) struct Connection {
    state: AtomicU64,
    /// Nobody, for a trusted proxy: it has the connections of many.
    pub(super) source: Option<Source>,
    /// When the server was started.
    start: Instant,
    /// Of the connection's task.
    pub(super) waker: AtomicWaker,
}

impl Connection {
    pub(super) fn new(source: Option<Source>, start: Instant) -> Arc<Self> {
        let state = State::new(Phase::Head, micros(start.elapsed()));
        Self::with_state(source, start, state)
    }

    /// The same one, which turns out to be another source's.
    pub(super) fn moved_to(&self, source: Source) -> Arc<Self> {
        Self::with_state(Some(source), self.start, self.state())
    }

    fn with_state(source: Option<Source>, start: Instant, State(state): State) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU64::new(state),
            source,
            start,
            waker: AtomicWaker::new(),
        })
    }

    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Relaxed))
    }

    /// Octets have come from the client; whether another request begins with them.
    pub(super) fn received(&self) -> bool {
        let begins = self.state().phase() == Phase::Idle;
        self.advance(|state| match state.phase() {
            Phase::Idle => Some(self.now(Phase::Head)),
            Phase::Body => Some(State::new(Phase::Busy, micros(state.since()))),
            _ => None,
        });
        begins
    }

    /// More octets are wanted than have come. While a request is served that can only be its body:
    /// hyper reads nothing else then (with `half_close`).
    pub(super) fn starved(&self) {
        self.advance(|state| match state.phase() {
            Phase::Busy => Some(State::new(Phase::Body, micros(state.since()))),
            _ => None,
        });
    }

    /// A request begins to be served; `false` where the connection has ended and it must not be.
    pub(super) fn begin(&self) -> bool {
        self.advance(|_| Some(self.now(Phase::Busy)))
    }

    /// The answer is held back from here on.
    pub(super) fn hold_back(&self) {
        self.advance(|_| Some(self.now(Phase::HeldBack)));
    }

    /// The answer is on its way.
    pub(super) fn answered(&self) {
        self.advance(|_| Some(self.now(Phase::Idle)));
    }

    /// Ends it where it is still in this state.
    pub(super) fn end_from(&self, State(seen): State) -> bool {
        let (ended, order) = (Phase::Ended as u64, Ordering::Relaxed);
        let exchanged = self.state.compare_exchange(seen, ended, order, order);
        if exchanged.is_ok() {
            self.waker.wake();
        }
        exchanged.is_ok()
    }

    /// Its task has ended, or never began.
    pub(super) fn end(&self) {
        self.state.store(Phase::Ended as u64, Ordering::Relaxed);
    }

    fn now(&self, phase: Phase) -> State {
        State::new(phase, micros(self.start.elapsed()))
    }

    /// Goes on to the state that `next` gives, if any, unless it has ended.
    fn advance(&self, next: impl Fn(State) -> Option<State>) -> bool {
        let step = |state| match State(state) {
            ended if ended.phase() == Phase::Ended => None,
            state => next(state).map(|State(next)| next),
        };
        let order = Ordering::Relaxed;
        self.state.fetch_update(order, order, step).is_ok()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_leads_to_its_phase() {
        type Event = fn(&Connection);
        const BEGIN: Event = |connection| assert!(connection.begin());
        let check = |events: &[Event], phase: Phase| {
            let connection = Connection::new(None, Instant::now());
            events.iter().for_each(|event| event(&connection));
            assert_eq!(connection.state().phase(), phase);
        };
        const RECEIVED: Event = |connection| {
            connection.received();
        };
        let starved = Connection::starved;
        let (answered, hold_back) = (Connection::answered, Connection::hold_back);
        check(&[], Phase::Head);
        check(&[RECEIVED, starved], Phase::Head);
        check(&[RECEIVED, BEGIN], Phase::Busy);
        check(&[BEGIN, RECEIVED], Phase::Busy);
        // A body that is slow to come.
        check(&[BEGIN, starved], Phase::Body);
        check(&[BEGIN, starved, RECEIVED], Phase::Busy);
        check(&[BEGIN, starved, RECEIVED, starved], Phase::Body);
        check(&[BEGIN, hold_back], Phase::HeldBack);
        check(&[BEGIN, hold_back, answered], Phase::Idle);
        check(&[BEGIN, answered], Phase::Idle);
        check(&[BEGIN, answered, starved], Phase::Idle);
        check(&[BEGIN, answered, starved, RECEIVED], Phase::Head);
        // Requests that came together.
        check(&[BEGIN, answered, BEGIN], Phase::Busy);
    }

    #[test]
    fn what_waits_is_ended_only_from_the_state_that_was_seen() {
        let connection = Connection::new(None, Instant::now());
        let seen = connection.state();
        assert!(connection.begin());
        assert!(!connection.end_from(seen), "it was busy by then");
        connection.answered();
        assert!(!connection.end_from(seen));
        assert!(connection.end_from(connection.state()));
        // From then on it stays ended, and serves nothing.
        assert!(!connection.begin());
        connection.received();
        connection.answered();
        assert_eq!(connection.state().phase(), Phase::Ended);
        assert!(!connection.state().is_waiting());
    }

    #[test]
    fn octets_one_by_one_do_not_make_a_head_any_younger() {
        let connection = Connection::new(None, Instant::now());
        let seen = connection.state();
        connection.received();
        connection.starved();
        assert_eq!(connection.state(), seen);
    }

    #[test]
    fn who_is_held_back_is_worth_least_and_then_who_has_waited_longest() {
        let worth = |phase, since| State::new(phase, since).worth();
        assert!(worth(Phase::HeldBack, 9) < worth(Phase::Body, 1));
        assert!(worth(Phase::HeldBack, 1) < worth(Phase::HeldBack, 2));
        assert!(worth(Phase::Idle, 1) < worth(Phase::Body, 2));
    }
}
