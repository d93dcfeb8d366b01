//! Which connections there are, what each waits for, and which one goes where there are too many.
//!
//! Slow and silent connections must cost little and never keep others out. So a full house is no
//! reason to turn a new one away: it displaces the one that has waited longest for its client. One
//! whose request is being served is never displaced.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::limits::Source;
use crate::config::Limits;
use crate::metrics::Metrics;

/// How many of the longest waiting are found in one look at all connections.
const FOUND_AT_ONCE: usize = 64;

/// What a connection does. All but [`Phase::Busy`] wait for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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

/// A phase and the time, in µs from the start, from which the connection has been about this
/// request; one word, so that a phase is only ever left from a state that was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    fn new(phase: Phase, since: u64) -> Self {
        Self(since << 3 | phase as u64)
    }

    fn phase(self) -> Phase {
        match self.0 & 7 {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Body,
            3 => Phase::HeldBack,
            4 => Phase::Busy,
            _ => Phase::Ended,
        }
    }

    fn since(self) -> u64 {
        self.0 >> 3
    }

    fn is_waiting(self) -> bool {
        !matches!(self.phase(), Phase::Busy | Phase::Ended)
    }
}

/// A connection as the others see it.
pub(super) struct Connection {
    state: AtomicU64,
    /// Nobody, for a trusted proxy: it has the connections of many.
    source: Option<Source>,
    start: Instant,
    task: AtomicWaker,
}

/// What the task of a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    GoOn,
    /// End after the request under way.
    Finish,
    End,
}

impl Connection {
    fn state(&self) -> State {
        State(self.state.load(Ordering::Relaxed))
    }

    /// Goes on to the state that `next` gives, unless the connection has ended.
    fn advance(&self, next: impl Fn(State) -> Option<State>) -> bool {
        let step = |state| match State(state) {
            ended if ended.phase() == Phase::Ended => None,
            state => next(state).map(|State(next)| next),
        };
        let order = Ordering::Relaxed;
        self.state.fetch_update(order, order, step).is_ok()
    }

    fn now(&self) -> u64 {
        micros(self.start.elapsed())
    }

    /// Octets have come from the client.
    pub(super) fn received(&self) {
        self.advance(|state| match state.phase() {
            Phase::Idle => Some(State::new(Phase::Head, self.now())),
            Phase::Body => Some(State::new(Phase::Busy, state.since())),
            _ => None,
        });
    }

    /// More octets are wanted than have come. While a request is served that can only be its body,
    /// since hyper reads nothing else then (with `half_close`).
    pub(super) fn starved(&self) {
        self.advance(|state| match state.phase() {
            Phase::Busy => Some(State::new(Phase::Body, state.since())),
            _ => None,
        });
    }

    /// A request begins to be served; `false` where the connection ends and it must not be.
    pub(super) fn begin(&self) -> bool {
        self.advance(|state| match state.phase() {
            // The request came together with the one before.
            Phase::Idle => Some(State::new(Phase::Busy, self.now())),
            _ => Some(State::new(Phase::Busy, state.since())),
        })
    }

    /// The answer is held back from here on.
    pub(super) fn hold_back(&self) {
        self.advance(|state| Some(State::new(Phase::HeldBack, state.since())));
    }

    /// The answer is on its way.
    pub(super) fn answered(&self) {
        self.advance(|_| Some(State::new(Phase::Idle, self.now())));
    }

    /// Ends it, where it is still in this state.
    fn end(&self, seen: State) -> bool {
        let ended = State::new(Phase::Ended, seen.since()).0;
        let order = Ordering::Relaxed;
        let has_ended = self
            .state
            .compare_exchange(seen.0, ended, order, order)
            .is_ok();
        if has_ended {
            self.task.wake();
        }
        has_ended
    }
}

/// A connection's place among the others, given up when it is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
}

impl Place {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// What to do; the task is woken when that changes.
    pub(super) fn order(&self, context: &Context<'_>) -> Order {
        self.connection.task.register(context.waker());
        if self.connection.state().phase() == Phase::Ended {
            return Order::End;
        }
        match self.connections.is_stopping.load(Ordering::Relaxed) {
            true => Order::Finish,
            false => Order::GoOn,
        }
    }

    /// What a future gives that waits for the client, before there is a request; nothing where the
    /// connection is to end.
    pub(super) async fn unless_over<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let next = poll_fn(|context| match self.order(context) {
            Order::GoOn => future.as_mut().poll(context).map(Some),
            Order::Finish | Order::End => Poll::Ready(None),
        });
        next.await
    }

    /// The place under the source that the PROXY protocol tells of; none where that has too many
    /// connections, all of them busy.
    pub(super) fn move_to(self, source: Source) -> Option<Self> {
        let mut table = self.connections.table();
        let state = self.connection.state();
        if state.phase() == Phase::Ended {
            return None;
        }
        table.remove(&self.connection);
        if !self.connections.make_room_for_source(&mut table, source) {
            return None;
        }
        let connection = Arc::new(Connection {
            state: AtomicU64::new(state.0),
            source: Some(source),
            start: self.connection.start,
            task: AtomicWaker::new(),
        });
        table.add(connection.clone());
        drop(table);
        let connections = self.connections.clone();
        Some(Self {
            connections,
            connection,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().remove(&self.connection);
    }
}

/// All connections.
pub(super) struct Connections {
    limits: Limits,
    metrics: Arc<Metrics>,
    start: Instant,
    is_stopping: AtomicBool,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_source: HashMap<Option<Source>, Vec<Arc<Connection>>>,
    count: usize,
    /// Some of those that had waited longest when that was looked at last, the longest first.
    /// Whoever has come to wait since has waited less.
    longest: VecDeque<(State, Arc<Connection>)>,
}

impl Connections {
    pub(super) fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            limits,
            metrics,
            start: Instant::now(),
            is_stopping: AtomicBool::new(false),
            table: Mutex::default(),
        }
    }

    /// A place for a new connection: of this source, or of a trusted proxy (`None`). No place where
    /// there are too many and all of them are busy.
    pub(super) fn admit(self: &Arc<Self>, source: Option<Source>) -> Option<Place> {
        let mut table = self.table();
        if let Some(source) = source
            && !self.make_room_for_source(&mut table, source)
        {
            return None;
        }
        if table.count >= self.limits.max_connections {
            if !table.displace_longest() {
                self.metrics.count_closed_connection("refused");
                return None;
            }
            self.metrics.count_closed_connection("displaced");
        }
        let connection = Arc::new(Connection {
            state: AtomicU64::new(State::new(Phase::Head, micros(self.start.elapsed())).0),
            source,
            start: self.start,
            task: AtomicWaker::new(),
        });
        table.add(connection.clone());
        Some(Place {
            connections: self.clone(),
            connection,
        })
    }

    fn make_room_for_source(&self, table: &mut Table, source: Source) -> bool {
        let of_source = table.by_source.get(&Some(source));
        if of_source.is_none_or(|all| all.len() < self.limits.max_connections_per_source) {
            return true;
        }
        let has_room = table.displace_longest_of(source);
        self.metrics.count_closed_connection(match has_room {
            true => "source_displaced",
            false => "source_refused",
        });
        has_room
    }

    /// Ends connections whose client has taken too long. To be called every [`Self::sweep_every`].
    pub(super) fn sweep(&self) {
        let now = micros(self.start.elapsed());
        let (head, idle) = (self.limits.header_timeout, self.limits.idle_timeout);
        let mut table = self.table();
        for (state, connection) in waiting(table.all()) {
            let (limit, reason) = match state.phase() {
                Phase::Head => (head, "header_timeout"),
                Phase::Idle => (idle, "idle_timeout"),
                // What is answered has its own time limit.
                Phase::Body | Phase::HeldBack | Phase::Busy | Phase::Ended => continue,
            };
            let waited = now.saturating_sub(state.since());
            if waited > micros(limit) && table.displace(state, &connection) {
                self.metrics.count_closed_connection(reason);
            }
        }
    }

    /// Often enough for the time limits, and seldom enough to cost nothing.
    pub(super) fn sweep_every(&self) -> Duration {
        let limit = self.limits.header_timeout.min(self.limits.idle_timeout);
        (limit / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// Has every connection end after the request under way.
    pub(super) fn finish(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        for connection in self.table().all() {
            connection.task.wake();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, connection: Arc<Connection>) {
        self.count += 1;
        let of_source = self.by_source.entry(connection.source).or_default();
        of_source.push(connection);
    }

    /// Ends it; nothing more where it is gone already, since who displaces one does not wait for its
    /// task to end.
    fn remove(&mut self, connection: &Arc<Connection>) {
        let ended = State::new(Phase::Ended, 0).0;
        connection.state.store(ended, Ordering::Relaxed);
        let Some(of_source) = self.by_source.get_mut(&connection.source) else {
            return;
        };
        let is_it = |other: &Arc<Connection>| Arc::ptr_eq(other, connection);
        let Some(at) = of_source.iter().position(is_it) else {
            return;
        };
        of_source.swap_remove(at);
        self.count -= 1;
        if of_source.is_empty() {
            self.by_source.remove(&connection.source);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.by_source.values().flatten()
    }

    /// Displaces the one that has waited longest; `false` where all are busy.
    fn displace_longest(&mut self) -> bool {
        if self.displace_next() {
            return true;
        }
        let mut waiting = waiting(self.all());
        if waiting.len() > FOUND_AT_ONCE {
            waiting.select_nth_unstable_by_key(FOUND_AT_ONCE, |(state, _)| state.since());
            waiting.truncate(FOUND_AT_ONCE);
        }
        waiting.sort_unstable_by_key(|(state, _)| state.since());
        self.longest = waiting.into();
        self.displace_next()
    }

    /// Displaces the first of those found before that has been waiting ever since.
    fn displace_next(&mut self) -> bool {
        while let Some((state, connection)) = self.longest.pop_front() {
            if self.displace(state, &connection) {
                return true;
            }
        }
        false
    }

    fn displace_longest_of(&mut self, source: Source) -> bool {
        let mut waiting = waiting(self.by_source.get(&Some(source)).into_iter().flatten());
        waiting.sort_unstable_by_key(|(state, _)| state.since());
        let mut waiting = waiting.into_iter();
        waiting.any(|(state, connection)| self.displace(state, &connection))
    }

    fn displace(&mut self, seen: State, connection: &Arc<Connection>) -> bool {
        let has_ended = connection.end(seen);
        if has_ended {
            self.remove(connection);
        }
        has_ended
    }
}

/// Those that wait, as they were seen.
fn waiting<'a>(
    connections: impl Iterator<Item = &'a Arc<Connection>>,
) -> Vec<(State, Arc<Connection>)> {
    let seen = connections.map(|connection| (connection.state(), connection.clone()));
    seen.filter(|(state, _)| state.is_waiting()).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
