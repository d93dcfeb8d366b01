//! PURE: requests without a valid key that name a host, counted for one Event now and then.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::index::object::ObjectKey;

/// How long the first of them waits for others.
const FIRST: Duration = Duration::from_secs(10);

/// The shortest time between two Events about one host.
const PAUSE: Duration = Duration::from_secs(600);

/// Hosts that are told of at once: one a second, since whoever calls has the say in how many there
/// are. The others are told of at a later look.
const AT_ONCE: usize = 5;

/// Hosts that are remembered: what names others meanwhile is told of no one.
const MOST: usize = 3000;

/// The counts of hosts that exist.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<ObjectKey, Count>);

#[derive(Debug)]
struct Count {
    requests: u32,
    source: Option<IpAddr>,
    due: Instant,
}

/// What is to be told of a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) host: ObjectKey,
    pub(super) requests: u32,
    /// Of the last of them.
    pub(super) source: Option<IpAddr>,
}

impl Failures {
    /// A request that named this host had no valid key.
    pub(super) fn add(&mut self, host: ObjectKey, source: Option<IpAddr>, now: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&host) {
            return;
        }
        let count = self.0.entry(host).or_insert(Count {
            requests: 0,
            source,
            due: now + FIRST,
        });
        count.requests = count.requests.saturating_add(1);
        count.source = source;
    }

    /// What is to be told now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        self.0.retain(|host, count| {
            if count.due > now || told.len() == AT_ONCE {
                return true;
            }
            // Nothing has come since the last Event.
            if count.requests == 0 {
                return false;
            }
            told.push(Told {
                host: host.clone(),
                requests: std::mem::take(&mut count.requests),
                source: count.source,
            });
            count.due = now + PAUSE;
            true
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_together_and_seldom() {
        let start = Instant::now();
        let mut failures = Failures::default();
        // At a second: the hosts that requests name, then what is told.
        let mut check = |second: u64, named: &[&str], expected: &[(&str, u32)]| {
            let now = start + Duration::from_secs(second);
            for name in named {
                failures.add(ObjectKey::new("family", name), None, now);
            }
            let mut told = failures.due(now);
            told.sort_by_key(|told| told.host.to_string());
            let told: Vec<_> = told.iter().map(|t| (&*t.host.name, t.requests)).collect();
            assert_eq!(told, expected, "after {second} s");
        };
        check(0, &["home", "home"], &[]);
        check(9, &["home", "office"], &[]);
        check(10, &[], &[("home", 3)]);
        check(11, &["home"], &[]);
        check(19, &[], &[("office", 1)]);
        check(609, &["home"], &[]);
        check(610, &[], &[("home", 2)]);
        // Nothing came: it begins anew.
        check(1210, &[], &[]);
        check(1211, &["home"], &[]);
        check(1221, &[], &[("home", 1)]);
    }

    #[test]
    fn memory_is_bounded_and_a_flood_is_told_of_bit_by_bit() {
        let mut failures = Failures::default();
        let now = Instant::now();
        for number in 0..2 * MOST {
            failures.add(ObjectKey::new("n", &number.to_string()), None, now);
        }
        assert_eq!(failures.0.len(), MOST);
        for _ in 0..MOST / AT_ONCE {
            assert_eq!(failures.due(now + FIRST).len(), AT_ONCE);
        }
        assert_eq!(failures.due(now + FIRST), []);
    }
}
