//! PURE: how many names a message may hold, learned from how long the last ones took.

use std::time::Duration;

use crate::provider::{Applied, ApplyError};

/// What a message should take at most: PowerDNS holds the whole zone as long, and stores about
/// 250 names in a second; BIND stores a hundred names in 2 ms.
const AIM: Duration = Duration::from_millis(250);

/// Names of a message at most, aliases included: more gain little, and are lost together.
const MOST: usize = 100;

/// How a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// In less than half the time aimed at.
    Fast,
    Steady,
    /// Longer than aimed at, or without a reply.
    Slow,
}

impl Pace {
    /// `None`: the message was not handled by any server, and so tells nothing.
    pub(super) fn of(took: Duration, outcomes: &[Result<Applied, ApplyError>]) -> Option<Self> {
        let is_unknown = |outcome: &_| matches!(outcome, Err(ApplyError::Unknown(_)));
        let is_handled = |outcome: &_| {
            use ApplyError::{PreconditionFailed, Rejected};
            matches!(outcome, Ok(_) | Err(PreconditionFailed(_) | Rejected(_)))
        };
        if outcomes.iter().any(is_unknown) {
            return Some(Self::Slow);
        }
        outcomes.iter().any(is_handled).then_some(match took {
            _ if took > AIM => Self::Slow,
            _ if took > AIM / 2 => Self::Steady,
            _ => Self::Fast,
        })
    }
}

/// Names of a message: 1 to [`MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchLimit(usize);

impl Default for BatchLimit {
    fn default() -> Self {
        Self(MOST)
    }
}

impl BatchLimit {
    #[cfg(test)]
    pub(super) fn of(names: usize) -> Self {
        Self(names)
    }

    pub(super) fn names(self) -> usize {
        self.0
    }

    /// A message with so many names went at this pace. A fast one that is far from full does not
    /// tell how a larger one would go.
    pub(super) fn learn(&mut self, pace: Pace, names: usize) {
        self.0 = match pace {
            Pace::Slow => self.0 / 2,
            Pace::Fast if 2 * names >= self.0 => self.0 * 2,
            Pace::Fast | Pace::Steady => self.0,
        }
        .clamp(1, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_judged_by_the_time_it_took_and_by_what_came_back() {
        fn check(millis: u64, outcome: Result<Applied, ApplyError>, expected: Option<Pace>) {
            let outcomes = [outcome];
            let pace = Pace::of(Duration::from_millis(millis), &outcomes);
            assert_eq!(pace, expected, "{outcomes:?} after {millis} ms");
        }
        let text = String::new;
        check(2, Ok(Applied), Some(Pace::Fast));
        check(125, Ok(Applied), Some(Pace::Fast));
        check(126, Ok(Applied), Some(Pace::Steady));
        check(250, Ok(Applied), Some(Pace::Steady));
        check(251, Ok(Applied), Some(Pace::Slow));
        check(
            2,
            Err(ApplyError::PreconditionFailed(text())),
            Some(Pace::Fast),
        );
        check(300, Err(ApplyError::Rejected(text())), Some(Pace::Slow));
        check(2, Err(ApplyError::Unknown(text())), Some(Pace::Slow));
        check(2, Err(ApplyError::Unauthorized(text())), None);
        let unavailable = ApplyError::Unavailable {
            detail: text(),
            retry_after: None,
        };
        check(9000, Err(unavailable), None);
    }

    #[test]
    fn the_limit_halves_when_slow_and_doubles_when_full_messages_are_fast() {
        fn check(before: usize, pace: Pace, names: usize, after: usize) {
            let mut limit = BatchLimit(before);
            limit.learn(pace, names);
            assert_eq!(limit.names(), after, "{before} {pace:?} {names}");
        }
        check(100, Pace::Fast, 100, 100);
        check(100, Pace::Slow, 100, 50);
        check(100, Pace::Steady, 100, 100);
        check(100, Pace::Slow, 20, 50);
        check(1, Pace::Slow, 1, 1);
        check(1, Pace::Fast, 1, 2);
        check(50, Pace::Fast, 25, 100);
        check(64, Pace::Fast, 64, 100);
        check(50, Pace::Fast, 24, 50);
    }
}
