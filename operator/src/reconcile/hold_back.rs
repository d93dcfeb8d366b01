//! PURE: whether status writes wait for a burst of endpoint patches, or of changes in DNS.
//!
//! The API server's writes are the scarce thing, and a client waits for a patch, and everybody for
//! DNS, while nobody waits for a status. So status goes out when the burst is over, or has lasted too long.

use std::time::{Duration, Instant};

/// A burst is over when nothing of it was seen for this long.
const QUIET: Duration = Duration::from_millis(20);

/// Status is never older than this because of a burst.
const LONGEST: Duration = Duration::from_secs(5);

/// How often to look again while holding back.
pub(super) const STEP: Duration = Duration::from_millis(5);

/// Follows bursts.
#[derive(Debug, Default)]
pub(super) struct HoldBack {
    last_seen: Option<Instant>,
    since: Option<Instant>,
}

impl HoldBack {
    /// Whether what waits has to wait on; `is_burst`: it is one now.
    pub(super) fn holds(&mut self, now: Instant, is_burst: bool) -> bool {
        if is_burst {
            self.last_seen = Some(now);
        }
        let is_recent = |last: Instant| now.saturating_duration_since(last) < QUIET;
        if !self.last_seen.is_some_and(is_recent) {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) < LONGEST
    }

    /// Nothing waits any more: the next wait is a new one.
    pub(super) fn nothing_waits(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_waits_for_the_end_of_a_burst_but_not_for_ever() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut hold_back = HoldBack::default();
        let mut check = |millis, patching, expected| {
            let holds = hold_back.holds(at(millis), patching);
            assert_eq!(holds, expected, "at {millis} ms");
        };
        check(0, false, false);
        check(1, true, true);
        check(15, false, true);
        check(21, false, false);
        for millis in (30..5030).step_by(10) {
            check(millis, true, true);
        }
        check(5030, true, false);
        check(5040, true, false);
        hold_back.nothing_waits();
        assert!(hold_back.holds(at(5050), true));
    }
}
