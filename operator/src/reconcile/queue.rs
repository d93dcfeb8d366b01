//! PURE: what is to be looked at next, and when.
//!
//! Per object at most one entry waits and at most one look is under way; an object that changes
//! while it is looked at is looked at again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::Instant;

/// A queue of objects with the time at which each is due.
#[derive(Debug)]
pub(super) struct Queue<K> {
    due: BTreeMap<Instant, BTreeSet<u64>>,
    waiting: HashMap<K, (Instant, u64)>,
    keys: HashMap<u64, K>,
    busy: HashSet<K>,
    next: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: BTreeMap::new(),
            waiting: HashMap::new(),
            keys: HashMap::new(),
            busy: HashSet::new(),
            next: 0,
        }
    }
}

impl<K: Eq + Hash + Clone> Queue<K> {
    /// Looks at `key` at this time, or earlier where it waits for an earlier one already.
    pub(super) fn push(&mut self, key: K, at: Instant) {
        if let Some((earlier, _)) = self.waiting.get(&key)
            && *earlier <= at
        {
            return;
        }
        self.remove(&key);
        let number = self.next;
        self.next += 1;
        self.due.entry(at).or_default().insert(number);
        self.keys.insert(number, key.clone());
        self.waiting.insert(key, (at, number));
    }

    /// Takes what is due and not under way, oldest first; it is under way until [`Self::done`].
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        let due = self.due.range(..=now).flat_map(|(_, numbers)| numbers);
        let key = due
            .filter_map(|number| self.keys.get(number))
            .find(|key| !self.busy.contains(key))?
            .clone();
        self.remove(&key);
        self.busy.insert(key.clone());
        Some(key)
    }

    /// The look at `key` is over.
    pub(super) fn done(&mut self, key: &K) {
        self.busy.remove(key);
    }

    /// When the next entry is due that is not under way.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let all = self
            .due
            .iter()
            .flat_map(|(at, numbers)| numbers.iter().map(move |n| (at, n)));
        all.filter(|(_, n)| self.keys.get(n).is_some_and(|key| !self.busy.contains(key)))
            .map(|(at, _)| *at)
            .next()
    }

    fn remove(&mut self, key: &K) {
        if let Some((at, number)) = self.waiting.remove(key) {
            self.keys.remove(&number);
            if let Some(numbers) = self.due.get_mut(&at) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.due.remove(&at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_time_counts_and_nothing_is_looked_at_twice_at_once() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut queue = Queue::default();
        queue.push("a", later);
        queue.push("b", now);
        queue.push("a", now);
        queue.push("a", later);
        assert_eq!(queue.pop(now), Some("b"));
        assert_eq!(queue.pop(now), Some("a"));
        assert_eq!((queue.pop(now), queue.next_due()), (None, None));

        queue.push("a", now);
        assert_eq!((queue.pop(now), queue.next_due()), (None, None));
        queue.done(&"a");
        assert_eq!(queue.next_due(), Some(now));
        assert_eq!(queue.pop(now), Some("a"));
        queue.done(&"a");

        queue.push("a", later);
        assert_eq!((queue.pop(now), queue.next_due()), (None, Some(later)));
        assert_eq!(queue.pop(later), Some("a"));
    }
}
