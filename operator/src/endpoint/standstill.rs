//! Whether the process has stood still just now: stopped, frozen, starved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::leader::moment::Moment;

/// How often [`Standstill::look`] is to be called at least.
pub(super) const PULSE: Duration = Duration::from_millis(500);

/// Nobody gives up so soon: requests are answered within 9 s, and clients wait for 10 s.
const HARMLESS: Duration = Duration::from_secs(2);

/// How long afterwards what is read may have waited meanwhile. All that did is read in much less.
const AFTERMATH: Duration = Duration::from_secs(2);

/// Knows of pauses by how far apart looks at the clock are.
///
/// What waited in a socket meanwhile may be of a client that gave up, and has since stored something
/// newer through another replica. A request does not tell its age, and a connection that was closed
/// looks like that of a client that waits for its answer; so all of them are told to come again.
#[derive(Debug)]
pub(super) struct Standstill {
    /// Nanoseconds of a [`Moment`].
    looked: AtomicU64,
    /// Likewise.
    until: AtomicU64,
}

impl Standstill {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            looked: AtomicU64::new(now.as_nanos()),
            until: AtomicU64::new(0),
        }
    }

    /// Whether what is read now may have waited through a pause.
    pub(super) fn look(&self, now: Moment) -> bool {
        let looked = Moment::from_nanos(self.looked.load(Ordering::Acquire));
        if now.after(looked) > HARMLESS {
            // Before the look is noted: who looks at the same time sees the one or the other.
            let until = now + AFTERMATH;
            self.until.fetch_max(until.as_nanos(), Ordering::AcqRel);
        }
        self.looked.fetch_max(now.as_nanos(), Ordering::AcqRel);
        now.as_nanos() < self.until.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_after_a_pause_may_have_waited_for_some_time() {
        let at = |milliseconds: u64| Moment::from_nanos(1_000_000 * milliseconds);
        // Each look's moment, and what is said then.
        let looks = [
            (10_000, false),
            (10_500, false),
            (12_400, false),
            (15_000, true),
            (15_001, true),
            (16_999, true),
            (17_000, false),
            (17_500, false),
            (30_000, true),
            (31_000, true),
            (32_000, false),
        ];
        let standstill = Standstill::new(at(9_500));
        for (milliseconds, expected) in looks {
            assert_eq!(
                standstill.look(at(milliseconds)),
                expected,
                "{milliseconds}"
            );
        }
    }
}
