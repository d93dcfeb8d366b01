//! The table of all connections, and which of them goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::limits::Source;
use super::connection::{Connection, Phase, State};
use crate::config::Limits;

/// How many of the longest waiting are found in one look at all connections.
const FOUND_AT_ONCE: usize = 64;

/// A connection in the state that it was seen in.
type Seen = (State, Arc<Connection>);

#[derive(Default)]
pub(super) struct Table {
    by_source: HashMap<Option<Source>, Vec<Arc<Connection>>>,
    count: usize,
    /// Those that have sent a request, and hold buffers for the next one.
    active: Vec<Arc<Connection>>,
    /// Some of those that had waited longest when that was looked at last, the longest first.
    longest: VecDeque<Seen>,
    /// Those that had waited too long when that was looked at last, and which limit that was.
    late: VecDeque<(Seen, &'static str)>,
}

impl Table {
    pub(super) fn add(&mut self, connection: Arc<Connection>) {
        self.count += 1;
        let of_source = self.by_source.entry(connection.source).or_default();
        of_source.push(connection);
    }

    /// Ends it. Nothing more where it is gone already: who displaces one does not wait for its task.
    pub(super) fn remove(&mut self, connection: &Arc<Connection>) {
        connection.end();
        let Some(of_source) = self.by_source.get_mut(&connection.source) else {
            return;
        };
        if take(of_source, connection) {
            self.count -= 1;
            take(&mut self.active, connection);
        }
        if of_source.is_empty() {
            self.by_source.remove(&connection.source);
        }
    }

    pub(super) fn activate(&mut self, connection: Arc<Connection>) {
        self.active.push(connection);
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn count_of(&self, source: Source) -> usize {
        self.by_source.get(&Some(source)).map_or(0, Vec::len)
    }

    pub(super) fn count_active(&self) -> usize {
        self.active.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.by_source.values().flatten()
    }

    /// Displaces the one that has waited longest; `false` where all are busy.
    ///
    /// Whoever has come to wait since the last look at all has waited less than those found then.
    pub(super) fn displace_longest(&mut self) -> bool {
        if self.displace_next() {
            return true;
        }
        let mut waiting = waiting(self.all());
        if waiting.len() > FOUND_AT_ONCE {
            waiting.select_nth_unstable_by_key(FOUND_AT_ONCE, |(state, _)| state.worth());
            waiting.truncate(FOUND_AT_ONCE);
        }
        waiting.sort_unstable_by_key(|(state, _)| state.worth());
        self.longest = waiting.into();
        self.displace_next()
    }

    fn displace_next(&mut self) -> bool {
        while let Some(seen) = self.longest.pop_front() {
            if self.displace(&seen) {
                return true;
            }
        }
        false
    }

    pub(super) fn displace_longest_of(&mut self, source: Source) -> bool {
        let of_source = self.by_source.get(&Some(source));
        let waiting = waiting(of_source.into_iter().flatten());
        self.displace_first(waiting)
    }

    pub(super) fn displace_longest_active(&mut self) -> bool {
        let waiting = waiting(self.active.iter());
        self.displace_first(waiting)
    }

    fn displace_first(&mut self, mut waiting: Vec<Seen>) -> bool {
        waiting.sort_unstable_by_key(|(state, _)| state.worth());
        waiting.iter().any(|seen| self.displace(seen))
    }

    /// `false` where it has done something since it was seen.
    fn displace(&mut self, (state, connection): &Seen) -> bool {
        let has_ended = connection.end_from(*state);
        if has_ended {
            self.remove(connection);
        }
        has_ended
    }

    /// Finds those whose client has taken too long by now.
    pub(super) fn look_for_late(&mut self, now: Duration, limits: &Limits) {
        let late = self.all().filter_map(|connection| {
            let state = connection.state();
            let (limit, name) = match state.phase() {
                Phase::Head => (limits.header_timeout, "header_timeout"),
                Phase::Idle => (limits.idle_timeout, "idle_timeout"),
                // What is answered has its own time limit.
                Phase::Body | Phase::HeldBack | Phase::Busy | Phase::Ended => return None,
            };
            let is_late = now.saturating_sub(state.since()) > limit;
            is_late.then(|| ((state, connection.clone()), name))
        });
        self.late = late.collect();
    }

    /// Ends one of those that were found late, and says which limit it had passed.
    pub(super) fn end_late(&mut self) -> Option<&'static str> {
        while let Some((seen, name)) = self.late.pop_front() {
            if self.displace(&seen) {
                return Some(name);
            }
        }
        None
    }
}

fn take(from: &mut Vec<Arc<Connection>>, connection: &Arc<Connection>) -> bool {
    let mut all = from.iter();
    let at = all.position(|other| Arc::ptr_eq(other, connection));
    at.map(|at| from.swap_remove(at)).is_some()
}

fn waiting<'a>(connections: impl Iterator<Item = &'a Arc<Connection>>) -> Vec<Seen> {
    let seen = connections.map(|connection| (connection.state(), connection));
    let waiting = seen.filter(|(state, _)| state.is_waiting());
    waiting
        .map(|(state, connection)| (state, connection.clone()))
        .collect()
}
