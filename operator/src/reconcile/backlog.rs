//! PURE: the hosts whose outcome found no room, while more is found out than status can tell.
//!
//! Of them only the name is kept: another look finds the same out again, at a fraction of the price
//! of a write.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

use crate::index::object::ObjectKey;

/// Outcomes that are kept while they wait.
const ROOM: usize = 1024;

/// Hosts that are looked at again at a time, once half of the room is free: the looks of two times
/// have room together.
const BATCH: usize = 256;

/// From one time to the next: time enough for the looks.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Backlog {
    hosts: BTreeSet<ObjectKey>,
    /// Who was last: the next one follows it, so that each has its turn.
    last: Option<ObjectKey>,
    asked_at: Option<Instant>,
}

impl Backlog {
    /// Whether another outcome may wait beside so many.
    pub(super) fn has_room(waiting: usize) -> bool {
        waiting < ROOM
    }

    pub(super) fn put(&mut self, host: ObjectKey) {
        self.hosts.insert(host);
    }

    /// When hosts are to be looked at again, where so many outcomes wait.
    pub(super) fn next_due(&self, waiting: usize, now: Instant) -> Option<Instant> {
        let is_due = !self.hosts.is_empty() && waiting < ROOM / 2;
        is_due.then(|| self.asked_at.map_or(now, |asked_at| asked_at + PAUSE))
    }

    /// The hosts that are to be looked at again now, where so many outcomes wait.
    pub(super) fn take_due(&mut self, waiting: usize, now: Instant) -> Vec<ObjectKey> {
        if self.next_due(waiting, now).is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.asked_at = Some(now);
        std::iter::from_fn(|| self.take()).take(BATCH).collect()
    }

    fn take(&mut self) -> Option<ObjectKey> {
        let last = self.last.as_ref();
        let behind = last.map_or(Unbounded, Excluded);
        let next = self.hosts.range((behind, Unbounded)).next();
        let next = next.or_else(|| self.hosts.first())?.clone();
        self.hosts.remove(&next);
        self.last = Some(next.clone());
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: usize) -> ObjectKey {
        ObjectKey::new("family", &format!("host-{number:04}"))
    }

    #[test]
    fn each_host_has_its_turn_while_there_is_room() {
        let mut backlog = Backlog::default();
        let start = Instant::now();
        (0..600).for_each(|number| backlog.put(host(number)));
        let check = |backlog: &mut Backlog, waiting, millis, expected: &[usize]| {
            let now = start + Duration::from_millis(millis);
            let due = backlog.next_due(waiting, now);
            let taken = backlog.take_due(waiting, now);
            let ends = [taken.first(), taken.last()].into_iter().flatten().cloned();
            let expected: Vec<_> = expected.iter().copied().map(host).collect();
            assert_eq!(ends.collect::<Vec<_>>(), expected, "at {millis} ms");
            assert_eq!(due.is_some_and(|due| due <= now), !taken.is_empty());
        };
        check(&mut backlog, ROOM, 0, &[]);
        check(&mut backlog, ROOM / 2, 0, &[]);
        check(&mut backlog, ROOM / 2 - 1, 0, &[0, 255]);
        check(&mut backlog, 0, 99, &[]);
        check(&mut backlog, 0, 100, &[256, 511]);
        // It is put back again and again, and comes after all others.
        backlog.put(host(0));
        check(&mut backlog, 0, 200, &[512, 0]);
        check(&mut backlog, 0, 300, &[]);
    }

    #[test]
    fn what_is_looked_at_again_has_room() {
        assert!(Backlog::has_room(ROOM - 1) && !Backlog::has_room(ROOM));
        const { assert!(ROOM / 2 + 2 * BATCH <= ROOM) };
    }
}
