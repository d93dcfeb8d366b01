//! PURE: the oldest hosts of a namespace, of which a zone admits a number.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Seniority;
use super::object::ObjectKey;

/// The hosts of one namespace in a zone with a limit.
///
/// Every operation takes O(log n), since admission asks for every request.
#[derive(Debug)]
pub(super) struct Quota {
    limit: usize,
    /// At most `limit`, and all of them older than any of `excess`.
    within: BTreeSet<Seniority>,
    /// Empty while `within` is not full.
    excess: BTreeSet<Seniority>,
}

impl Quota {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            within: BTreeSet::new(),
            excess: BTreeSet::new(),
        }
    }

    /// Whether a host of this age is among the oldest.
    pub(super) fn admits(&self, host: (Timestamp, &ObjectKey)) -> bool {
        self.within.len() < self.limit
            || self
                .within
                .last()
                .is_some_and(|(created, key)| host <= (*created, key))
    }

    /// Adds a host; the one that is within the limit no more.
    pub(super) fn insert(&mut self, host: Seniority) -> Option<ObjectKey> {
        self.within.insert(host);
        if self.within.len() <= self.limit {
            return None;
        }
        let youngest = self.within.pop_last()?;
        let (_, key) = &youngest;
        let key = key.clone();
        self.excess.insert(youngest);
        Some(key)
    }

    /// Takes a host out; the one that comes within the limit for it.
    pub(super) fn remove(&mut self, host: &Seniority) -> Option<ObjectKey> {
        if self.excess.remove(host) || !self.within.remove(host) {
            return None;
        }
        let oldest = self.excess.pop_first()?;
        let (_, key) = &oldest;
        let key = key.clone();
        self.within.insert(oldest);
        Some(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.within.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the plain way: sort, and look where the host stands.
        #[test]
        fn the_oldest_are_admitted_and_each_operation_tells_whose_verdict_it_turned(
            limit in 1_u32..5,
            operations in prop::collection::vec((any::<bool>(), 0_i64..4, 0_u8..5), 0..60),
        ) {
            let mut quota = Quota::new(limit);
            let mut hosts = BTreeSet::new();
            let admitted = |hosts: &BTreeSet<Seniority>| -> BTreeSet<ObjectKey> {
                let oldest = hosts.iter().take(limit as usize);
                oldest.map(|(_, key)| key.clone()).collect()
            };
            for (is_insert, created, name) in operations {
                let key = ObjectKey::new("team", &format!("{name}-of-{created}"));
                let host = (Timestamp::from_second(created).unwrap(), key);
                let before = admitted(&hosts);
                let told = match is_insert {
                    true if hosts.insert(host.clone()) => quota.insert(host.clone()),
                    true => None,
                    false => {
                        hosts.remove(&host);
                        quota.remove(&host)
                    }
                };
                let after = admitted(&hosts);
                let (_, changed) = host;
                let turned: Vec<_> = before.symmetric_difference(&after).collect();
                // The host itself is known to have changed; whoever else was turned has to be told.
                let others = turned.into_iter().filter(|key| **key != changed);
                let told = told.filter(|key| *key != changed);
                prop_assert_eq!(others.collect::<Vec<_>>(), told.iter().collect::<Vec<_>>());
                for (created, key) in &hosts {
                    prop_assert_eq!(quota.admits((*created, key)), after.contains(key));
                }
                prop_assert_eq!(quota.is_empty(), hosts.is_empty());
            }
        }
    }
}
