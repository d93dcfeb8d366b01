//! PURE: for how long the API server has been heard without a gap.
//!
//! Whoever is silent while we listen is silent; who is silent while we were away may have called.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A watch that was silent for longer than this may have missed something. It is renewed every 30 s.
pub const GAP: Duration = Duration::from_secs(45);

/// A moment by two clocks. The one stands still while the machine is suspended, the other jumps
/// when it is set: time has passed where either says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub steady: Instant,
    pub wall: Timestamp,
}

/// One hearing after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbroken {
    since: Instant,
    last: Moment,
}

impl Moment {
    /// How long ago `former` was, by the clock that says more.
    fn after(self, former: Self) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(former.wall));
        let steady = self.steady.saturating_duration_since(former.steady);
        steady.max(wall.unwrap_or_default())
    }
}

impl Unbroken {
    /// After a hearing now: what it goes on from, or begins.
    pub fn heard(former: Option<Self>, now: Moment) -> Self {
        let former = former.filter(|former| now.after(former.last) <= GAP);
        Self {
            since: former.map_or(now.steady, |former| former.since),
            last: now,
        }
    }

    /// When the last hearing was.
    pub fn last(self) -> Instant {
        self.last.steady
    }

    /// For how long there has been no gap; `None`: there is one now.
    pub fn lasts(self, now: Moment) -> Option<Duration> {
        let is_broken = now.after(self.last) > GAP;
        (!is_broken).then(|| now.steady.saturating_duration_since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_by_either_clock_begins_the_time_anew() {
        /// Hearings and the question, in seconds by the steady clock and by the wall's.
        fn check(hearings: &[(u64, i64)], at: (u64, i64), expected: Option<u64>) {
            let start = Instant::now();
            let moment = |(steady, wall): (u64, i64)| Moment {
                steady: start + Duration::from_secs(steady),
                wall: Timestamp::from_second(1_000_000 + wall).unwrap(),
            };
            let heard = |former, at: &(u64, i64)| Some(Unbroken::heard(former, moment(*at)));
            let unbroken = hearings.iter().fold(None, heard);
            let lasts = unbroken.and_then(|unbroken: Unbroken| unbroken.lasts(moment(at)));
            let expected = expected.map(Duration::from_secs);
            assert_eq!(lasts, expected, "{hearings:?} {at:?}");
        }
        check(&[], (0, 0), None);
        check(&[(0, 0)], (0, 0), Some(0));
        check(&[(0, 0)], (45, 45), Some(45));
        check(&[(0, 0)], (46, 46), None);
        check(&[(0, 0), (30, 30), (60, 60)], (61, 61), Some(61));
        check(&[(0, 0), (45, 45)], (90, 90), Some(90));
        // The API server was away, or this process was stopped.
        check(&[(0, 0), (30, 30), (76, 76)], (80, 80), Some(4));
        // The machine was suspended.
        check(&[(0, 0), (30, 30)], (31, 9000), None);
        check(&[(0, 0), (30, 30), (31, 9000)], (32, 9001), Some(1));
        // The clock was set back, which is no time that passed.
        check(&[(0, 0), (30, 30), (60, -9000)], (61, -8999), Some(61));
    }
}
