//! Budgets: how often one source may fail, and how often one host may change.
//!
//! A request with a valid token is never slowed for what others do: only failing answers and
//! address checks count, per source, and no host is ever locked. A request without credentials
//! that is answered 401 counts for nothing, since many clients send them only when challenged.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::InMemoryState;
use governor::state::direct::NotKeyed;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::config::Limits;
use crate::metrics::Metrics;

/// Sources, or hosts, that are counted one by one at a time; about 100 octets each.
const MAX_KEYS: usize = 1 << 16;

/// Signed requests, those of the script of 2012 too, and handshakes of TLS that a source may send for each failing one.
const VERIFICATIONS: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// After so many counts, forgotten are those who have their whole budget again.
const TIDY_EVERY: usize = 1024;

/// Where requests come from, as limits see it: an IPv4 address, or the /64 of an IPv6 address,
/// which is what one line gets at least (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    V4(Ipv4Addr),
    V6([u8; 8]),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The budgets of all sources and hosts.
pub(super) struct Budgets {
    failures: Keyed<Source>,
    verifications: Keyed<Source>,
    changes: Keyed<Arc<str>>,
    metrics: Arc<Metrics>,
}

impl Budgets {
    pub(super) fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        let clock = DefaultClock::default();
        Self {
            failures: Keyed::new(limits.source_rate, 10, MAX_KEYS, clock.clone()),
            verifications: Keyed::new(
                limits.source_rate.saturating_mul(VERIFICATIONS),
                10,
                MAX_KEYS,
                clock.clone(),
            ),
            changes: Keyed::new(limits.host_change_rate, 5, MAX_KEYS, clock),
            metrics,
        }
    }

    /// Counts a request that fails, or an address check, and says whether it is within the budget
    /// of its source. One that is not is answered 429, whatever it would have been answered.
    pub(super) fn may_fail(&self, source: IpAddr) -> bool {
        let within = self.failures.take(&source.into());
        if !within {
            self.metrics.count_limited_request("source");
        }
        within
    }

    /// Counts a request whose signature is to be verified, or a handshake of TLS, and says whether it
    /// is within the budget of its source: fifty times that for failures, since a flood would cost
    /// more than its answers.
    pub(super) fn may_verify(&self, source: impl Into<Source>) -> bool {
        let within = self.verifications.take(&source.into());
        if !within {
            self.metrics.count_limited_request("source");
        }
        within
    }

    /// Counts a change of the host with this UID, before it is written, and says whether it is
    /// within the host's budget. One that is not is answered 503 `911` and not written.
    pub(super) fn may_change(&self, uid: &Arc<str>) -> bool {
        let within = self.changes.take(uid);
        if !within {
            self.metrics.count_limited_request("host");
        }
        within
    }
}

/// A budget for each key, by GCRA; beyond a number of keys, one for all of them.
struct Keyed<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    each: RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
    all: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    max_keys: usize,
    taken: AtomicUsize,
    is_full: AtomicBool,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Keyed<K, C> {
    /// `rate` a second, and `burst` times that at once.
    fn new(rate: NonZeroU32, burst: u32, max_keys: usize, clock: C) -> Self {
        let at_once = rate.saturating_mul(NonZeroU32::MIN.saturating_add(burst - 1));
        let quota = Quota::per_second(rate).allow_burst(at_once);
        Self {
            each: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            all: RateLimiter::new(quota, InMemoryState::default(), clock),
            max_keys,
            taken: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    fn take(&self, key: &K) -> bool {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        if taken % TIDY_EVERY == TIDY_EVERY - 1 {
            self.each.retain_recent();
            self.is_full
                .store(self.each.len() >= self.max_keys, Ordering::Relaxed);
        }
        match self.is_full.load(Ordering::Relaxed) {
            false => self.each.check_key(key).is_ok(),
            true => self.all.check().is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    const RATE: NonZeroU32 = NonZeroU32::new(20).unwrap();

    fn budgets(max_keys: usize) -> (FakeRelativeClock, Keyed<u32, FakeRelativeClock>) {
        let clock = FakeRelativeClock::default();
        (clock.clone(), Keyed::new(RATE, 10, max_keys, clock))
    }

    fn take(budgets: &Keyed<u32, FakeRelativeClock>, key: u32, times: usize) -> usize {
        (0..times).filter(|_| budgets.take(&key)).count()
    }

    #[test]
    fn each_key_has_its_burst_and_then_its_rate() {
        let (clock, budgets) = budgets(100);
        assert_eq!(take(&budgets, 1, 300), 200);
        assert_eq!(take(&budgets, 2, 199), 199, "another one's budget");
        clock.advance(Duration::from_secs(1));
        assert_eq!(take(&budgets, 1, 300), 20);
        clock.advance(Duration::from_secs(60));
        assert_eq!(
            take(&budgets, 1, 300),
            200,
            "no more than the burst is saved up"
        );
    }

    #[test]
    fn any_number_of_sources_takes_limited_memory() {
        let (clock, budgets) = budgets(500);
        // More than there are keys for: they share one budget.
        let within = (0..10_000).filter(|key| budgets.take(key)).count();
        assert_eq!(within, TIDY_EVERY - 1 + 200);
        assert_eq!(budgets.each.len(), TIDY_EVERY - 1);
        // They are forgotten, and a source is counted alone again.
        clock.advance(Duration::from_secs(60));
        take(&budgets, 1, TIDY_EVERY);
        assert!(budgets.each.len() < 2, "{}", budgets.each.len());
        clock.advance(Duration::from_secs(60));
        assert_eq!(take(&budgets, 20_000, 300), 200);
        assert_eq!(take(&budgets, 20_001, 300), 200);
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_subnet() {
        let check = |one: &str, other: &str, same: bool| {
            let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
            assert_eq!(source(one) == source(other), same, "{one} {other}");
        };
        check("198.51.100.7", "198.51.100.7", true);
        check("198.51.100.7", "198.51.100.8", false);
        check("198.51.100.7", "::ffff:198.51.100.7", true);
        check("2001:db8:1:2::7", "2001:db8:1:2:ffff::1", true);
        check("2001:db8:1:2::7", "2001:db8:1:3::7", false);
    }
}
