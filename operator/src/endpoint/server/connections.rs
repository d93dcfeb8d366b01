//! How many connections there may be, and what happens to those that are too many or too slow.
//!
//! Slow and silent connections must cost little and never keep others out. So a full house is no
//! reason to turn a new one away: it displaces the one that has waited longest for its client. One
//! whose request is being served is never displaced.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::super::limits::Source;
use super::connection::{Connection, Phase};
use super::table::Table;
use crate::config::Limits;
use crate::metrics::Metrics;

/// Of thousands that have waited too long at the same time so many are ended at once, and the next
/// ones after a pause: their clients may all come again.
const LATE_AT_ONCE: usize = 32;
const LATE_PAUSE: Duration = Duration::from_millis(25);

/// What the task of a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    GoOn,
    /// End after the request under way.
    Finish,
    End,
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
        self.connection.waker.register(context.waker());
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
    /// connections, all of them busy, or where this one has ended.
    pub(super) fn move_to(self, source: Source) -> Option<Self> {
        let mut table = self.connections.table();
        if self.connection.state().phase() == Phase::Ended {
            return None;
        }
        let connection = self.connection.moved_to(source);
        table.remove(&self.connection);
        if !self.connections.make_room_for_source(&mut table, source) {
            return None;
        }
        table.add(connection.clone());
        drop(table);
        let connections = self.connections.clone();
        Some(Self {
            connections,
            connection,
        })
    }

    /// From here on the connection holds buffers; `false` where too many do, all of them busy.
    pub(super) fn activate(&self) -> bool {
        let connections = &self.connections;
        let mut table = connections.table();
        if self.connection.state().phase() == Phase::Ended {
            return false;
        }
        if table.count_active() >= connections.limits.max_active_connections {
            let has_room = table.displace_longest_active();
            connections.count(has_room, "active_displaced", "active_refused");
            if !has_room {
                return false;
            }
        }
        table.activate(self.connection.clone());
        true
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
        let has_share = source.is_none_or(|source| self.make_room_for_source(&mut table, source));
        if !has_share {
            return None;
        }
        if table.count() >= self.limits.max_connections {
            let has_room = table.displace_longest();
            self.count(has_room, "displaced", "refused");
            if !has_room {
                return None;
            }
        }
        let connection = Connection::new(source, self.start);
        table.add(connection.clone());
        let connections = self.clone();
        Some(Place {
            connections,
            connection,
        })
    }

    fn make_room_for_source(&self, table: &mut Table, source: Source) -> bool {
        if table.count_of(source) < self.limits.max_connections_per_source {
            return true;
        }
        let has_room = table.displace_longest_of(source);
        self.count(has_room, "source_displaced", "source_refused");
        has_room
    }

    fn count(&self, has_room: bool, displaced: &'static str, refused: &'static str) {
        let reason = if has_room { displaced } else { refused };
        self.metrics.count_closed_connection(reason);
    }

    /// Ends some connections whose client has taken too long, and says after which time to do it
    /// again.
    pub(super) fn sweep(&self) -> Duration {
        let mut table = self.table();
        for _ in 0..LATE_AT_ONCE {
            let Some(reason) = table.end_late() else {
                table.look_for_late(self.start.elapsed(), &self.limits);
                return self.sweep_every();
            };
            self.metrics.count_closed_connection(reason);
        }
        LATE_PAUSE
    }

    /// Often enough for the time limits, and seldom enough to cost nothing.
    fn sweep_every(&self) -> Duration {
        let limit = self.limits.header_timeout.min(self.limits.idle_timeout);
        (limit / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// Has every connection end after the request under way.
    pub(super) fn finish(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        for connection in self.table().all() {
            connection.waker.wake();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures::task::noop_waker_ref;

    use super::*;

    fn connections(limits: Limits) -> Arc<Connections> {
        Arc::new(Connections::new(limits, Arc::default()))
    }

    fn source(last: u8) -> Option<Source> {
        Some(Source::V4(Ipv4Addr::new(198, 51, 100, last)))
    }

    impl Place {
        fn has_ended(&self) -> bool {
            self.order(&Context::from_waker(noop_waker_ref())) == Order::End
        }
    }

    #[test]
    fn whatever_waits_is_displaced_and_what_is_served_is_not() {
        type Event = fn(&Connection);
        const BEGIN: Event = |connection| assert!(connection.begin());
        let check = |events: &[Event], expected: bool| {
            let connections = connections(Limits {
                max_connections: 1,
                ..Limits::default()
            });
            let first = connections.admit(source(1)).unwrap();
            events.iter().for_each(|event| event(first.connection()));
            let second = connections.admit(source(2));
            assert_eq!(second.is_some(), expected);
            assert_eq!(first.has_ended(), expected);
            assert_eq!(connections.table().count(), 1);
        };
        check(&[], true);
        check(&[BEGIN], false);
        check(&[BEGIN, Connection::starved], true);
        check(&[BEGIN, Connection::hold_back], true);
        check(&[BEGIN, Connection::answered], true);
        check(&[BEGIN, Connection::answered, BEGIN], false);
    }

    #[test]
    fn those_with_buffers_have_a_bound_of_their_own() {
        let connections = connections(Limits {
            max_active_connections: 2,
            ..Limits::default()
        });
        let admit = |last| connections.admit(source(last)).unwrap();
        let (first, second, third, fourth) = (admit(1), admit(2), admit(3), admit(4));
        assert!(second.activate() && third.activate());
        assert!(third.connection().begin());
        // The first has waited longer, and holds nothing.
        assert!(fourth.activate());
        assert!(second.has_ended() && !first.has_ended());
        assert!(fourth.connection().begin());
        assert!(!first.activate(), "all others are busy");
        drop(third);
        assert!(first.activate());
        assert_eq!(connections.table().count_active(), 2);
    }

    #[test]
    fn places_are_given_up_once() {
        let connections = connections(Limits {
            max_connections: 2,
            max_connections_per_source: 1,
            ..Limits::default()
        });
        let first = connections.admit(source(1)).unwrap();
        let second = connections.admit(source(1)).unwrap();
        assert!(first.has_ended() && !first.activate());
        // It turns out to be another one's, or ended meanwhile.
        let moved = second.move_to(Source::V4(Ipv4Addr::LOCALHOST)).unwrap();
        assert!(first.move_to(Source::V4(Ipv4Addr::LOCALHOST)).is_none());
        assert!(!moved.has_ended());
        let _third = connections.admit(source(1)).unwrap();
        assert!(!moved.has_ended());
        assert_eq!(connections.table().count(), 2);
        drop(moved);
        assert_eq!(connections.table().count(), 1);
    }

    #[test]
    fn thousands_that_are_late_do_not_end_at_once() {
        let connections = connections(Limits {
            header_timeout: Duration::ZERO,
            ..Limits::default()
        });
        let places: Vec<_> = (0..100).map(|_| connections.admit(None).unwrap()).collect();
        let ended = || places.iter().filter(|place| place.has_ended()).count();
        let mut rounds = Vec::new();
        for _ in 0..5 {
            rounds.push((connections.sweep() == LATE_PAUSE, ended()));
        }
        let expected = [(false, 0), (true, 32), (true, 64), (true, 96), (false, 100)];
        assert_eq!(rounds, expected);
    }
}
