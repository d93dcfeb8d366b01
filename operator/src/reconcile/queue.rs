//! PURE: what is to be looked at next, and when.
//!
//! Per object at most one entry waits and at most one look is under way; an object that changes
//! while it is looked at is looked at again. Objects that may have to wait for the same thing have
//! a share together, so that those of a zone whose server is silent do not hold up those of others.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// How many looks may be under way at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of one share.
    pub of_share: usize,
    /// Of all shares, but for what is reserved.
    pub in_all: usize,
    /// What each share may have, whatever the others have.
    pub reserved: usize,
}

/// A queue of objects with the time at which each is due; every call takes O(log n).
#[derive(Debug)]
pub(super) struct Queue<K, S> {
    limits: Limits,
    waiting: HashMap<K, Waiting<S>>,
    busy: HashMap<K, Busy<S>>,
    shares: HashMap<S, Share<K>>,
    /// The first entries of the shares that have less under way than is reserved for them.
    small: BTreeMap<Due, S>,
    /// The first entries of the others that may have more.
    large: BTreeMap<Due, S>,
    next: u64,
}

/// When, and a number that no other entry has.
type Due = (Instant, u64);

#[derive(Debug)]
struct Waiting<S> {
    due: Due,
    share: S,
}

#[derive(Debug)]
struct Busy<S> {
    share: S,
    /// To be looked at again, when this look is over.
    again: Option<(Instant, S)>,
}

#[derive(Debug)]
struct Share<K> {
    waiting: BTreeMap<Due, K>,
    busy: usize,
}

impl<K> Default for Share<K> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            busy: 0,
        }
    }
}

impl<K: Eq + Hash + Clone, S: Eq + Hash + Clone> Queue<K, S> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: HashMap::new(),
            busy: HashMap::new(),
            shares: HashMap::new(),
            small: BTreeMap::new(),
            large: BTreeMap::new(),
            next: 0,
        }
    }

    /// Looks at `key` in this share at this time, or earlier where it waits for an earlier one
    /// already.
    pub(super) fn push(&mut self, key: K, share: S, at: Instant) {
        if let Some(busy) = self.busy.get_mut(&key) {
            let earlier = busy.again.take().map_or(at, |(earlier, _)| earlier.min(at));
            busy.again = Some((earlier, share));
            return;
        }
        let mut due = (at, self.next);
        if let Some(former) = self.waiting.remove(&key) {
            due = due.min(former.due);
            self.change(&former.share, |share| {
                share.waiting.remove(&former.due);
            });
        }
        self.next += 1;
        // All of a share hold one and the same name of it.
        let known = self.shares.get_key_value(&share);
        let share = known.map(|(name, _)| name.clone()).unwrap_or(share);
        self.change(&share, |share| {
            share.waiting.insert(due, key.clone());
        });
        self.waiting.insert(key, Waiting { due, share });
    }

    /// Takes what is due, oldest first; it is under way until [`Self::done`].
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        let (due, share) = self.first().filter(|((at, _), _)| *at <= now)?;
        let (due, share) = (*due, share.clone());
        let mut key = None;
        self.change(&share, |share| {
            key = share.waiting.remove(&due);
            share.busy += 1;
        });
        let key = key?;
        self.waiting.remove(&key);
        let busy = Busy { share, again: None };
        self.busy.insert(key.clone(), busy);
        Some(key)
    }

    /// The look at `key` is over.
    pub(super) fn done(&mut self, key: &K) {
        let Some(Busy { share, again }) = self.busy.remove(key) else {
            return;
        };
        self.change(&share, |share| share.busy -= 1);
        if let Some((at, share)) = again {
            self.push(key.clone(), share, at);
        }
    }

    /// Whether `key` waits or is looked at.
    pub(super) fn has(&self, key: &K) -> bool {
        self.waiting.contains_key(key) || self.busy.contains_key(key)
    }

    /// When the next entry is due that may be taken; `None`: not before a look is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.first().map(|((at, _), _)| *at)
    }

    fn first(&self) -> Option<(&Due, &S)> {
        let small = self.small.first_key_value();
        let is_full = self.busy.len() >= self.limits.in_all;
        let large = self.large.first_key_value().filter(|_| !is_full);
        match (small, large) {
            (Some(small), Some(large)) => Some(if small.0 < large.0 { small } else { large }),
            (one, other) => one.or(other),
        }
    }

    /// Changes a share, and where it stands among the others.
    fn change(&mut self, name: &S, change: impl FnOnce(&mut Share<K>)) {
        let share = self.shares.entry(name.clone()).or_default();
        if let Some((first, _)) = share.waiting.first_key_value() {
            self.small.remove(first);
            self.large.remove(first);
        }
        change(share);
        let busy = share.busy;
        if let Some((first, _)) = share.waiting.first_key_value() {
            if busy < self.limits.reserved {
                self.small.insert(*first, name.clone());
            } else if busy < self.limits.of_share {
                self.large.insert(*first, name.clone());
            }
        } else if busy == 0 {
            self.shares.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits {
        of_share: 4,
        in_all: 6,
        reserved: 2,
    };

    #[test]
    fn the_earliest_time_counts_and_nothing_is_looked_at_twice_at_once() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut queue = Queue::new(LIMITS);
        queue.push("a", (), later);
        queue.push("b", (), now);
        queue.push("a", (), now);
        queue.push("a", (), later);
        assert_eq!(queue.pop(now), Some("b"));
        assert_eq!(queue.pop(now), Some("a"));
        assert_eq!((queue.pop(now), queue.next_due()), (None, None));

        queue.push("a", (), later);
        queue.push("a", (), now);
        queue.push("a", (), later);
        assert_eq!((queue.pop(now), queue.next_due()), (None, None));
        queue.done(&"a");
        assert_eq!(queue.next_due(), Some(now));
        assert_eq!(queue.pop(now), Some("a"));
        queue.done(&"a");

        queue.push("a", (), later);
        assert_eq!((queue.pop(now), queue.next_due()), (None, Some(later)));
        assert_eq!(queue.pop(later), Some("a"));
        queue.done(&"a");
        queue.done(&"b");
        assert!(queue.shares.is_empty() && queue.waiting.is_empty() && queue.busy.is_empty());
    }

    /// Entries as `<share><number>`, all due in this order; then which are taken once those of the
    /// second list are taken and done.
    fn check(entries: &[&'static str], done: &[&'static str], expected: &[&[&str]]) {
        let now = Instant::now();
        let mut queue = Queue::new(LIMITS);
        for entry in entries {
            queue.push(*entry, &entry[..1], now);
        }
        let mut taken = vec![iter::from_fn(|| queue.pop(now)).collect::<Vec<_>>()];
        for entry in done {
            queue.done(entry);
            taken.push(iter::from_fn(|| queue.pop(now)).collect());
        }
        assert_eq!(taken, expected, "{entries:?} {done:?}");
    }

    #[test]
    fn a_share_has_its_limit_and_does_not_hold_up_the_others() {
        check(
            &["a1", "a2", "a3", "a4", "a5", "a6", "b1"],
            &["a2", "b1", "a1"],
            &[&["a1", "a2", "a3", "a4", "b1"], &["a5"], &[], &["a6"]],
        );
    }

    #[test]
    fn where_all_is_taken_each_share_has_what_is_reserved() {
        check(
            &[
                "a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "c1", "c2", "c3",
            ],
            &["a1", "a2", "b1", "c1"],
            &[
                &["a1", "a2", "a3", "a4", "b1", "b2", "c1", "c2"],
                &[],
                &[],
                &["b3"],
                &["b4", "c3"],
            ],
        );
    }

    #[test]
    fn an_object_that_moves_to_another_share_is_still_looked_at_by_one_task_at_a_time() {
        let now = Instant::now();
        let mut queue = Queue::new(LIMITS);
        queue.push("home", "old", now);
        queue.push("home", "new", now + Duration::from_secs(1));
        assert_eq!(queue.pop(now), Some("home"));
        assert_eq!(queue.busy["home"].share, "new");
        queue.push("home", "newest", now);
        assert_eq!(queue.pop(now), None);
        queue.done(&"home");
        assert_eq!(queue.pop(now), Some("home"));
        assert_eq!(queue.busy["home"].share, "newest");
        queue.done(&"home");
        assert!(queue.shares.is_empty());
    }
}
