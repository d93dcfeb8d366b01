//! PURE: what one client reported for its host, what became of it, and whether DNS is right then.

use std::net::Ipv4Addr;

/// The address of a host's first report; public, as all that follow.
const FIRST: u32 = u32::from_be_bytes([203, 1, 0, 0]);

/// The address that stands for a value.
pub fn address(value: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST + value)
}

/// The value that an address stands for; `None`: no client of ours reports that.
pub fn value(address: Ipv4Addr) -> Option<u32> {
    u32::from(address).checked_sub(FIRST)
}

/// What became of a report, of all attempts at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `good` or `nochg`.
    Acknowledged,
    /// It may have been stored, or not.
    Unknown,
}

/// The reports of one host, of strictly increasing values: its client sends one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<(u32, Outcome)>);

impl History {
    /// Notes what became of a value: of one greater than all before, or again of the last one.
    pub fn note(&mut self, value: u32, outcome: Outcome) {
        match self.0.last_mut() {
            Some((last, known)) if *last == value => {
                if outcome == Outcome::Acknowledged {
                    *known = outcome;
                }
            }
            last => {
                debug_assert!(last.is_none_or(|(last, _)| *last < value));
                self.0.push((value, outcome));
            }
        }
    }

    /// The last value that was acknowledged.
    pub fn acknowledged(&self) -> Option<u32> {
        let mut latest = self.0.iter().rev();
        let last = latest.find(|(_, outcome)| *outcome == Outcome::Acknowledged);
        last.map(|(value, _)| *value)
    }

    fn was_sent(&self, value: u32) -> bool {
        self.0
            .binary_search_by_key(&value, |(sent, _)| *sent)
            .is_ok()
    }
}

/// What DNS says of a host, beside its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The last acknowledged value, or nothing where none was.
    Right,
    /// A value that was sent after the last acknowledged one and may have been stored.
    MayBeRight,
    /// Nothing, though a value was acknowledged.
    Lost,
    /// A value older than the last acknowledged one.
    Stale,
    /// Not one address, or one that the client never sent.
    Strange,
}

impl Verdict {
    /// Whether nothing that was acknowledged is missing.
    pub const fn is_right(self) -> bool {
        matches!(self, Self::Right | Self::MayBeRight)
    }
}

/// Judges the A records that DNS has for a host in the end.
pub fn judge(history: &History, in_dns: &[Ipv4Addr]) -> Verdict {
    let found = match in_dns {
        [] => None,
        [address] => match value(*address) {
            Some(value) if history.was_sent(value) => Some(value),
            _ => return Verdict::Strange,
        },
        _ => return Verdict::Strange,
    };
    match (history.acknowledged(), found) {
        (Some(_), None) => Verdict::Lost,
        (None, None) => Verdict::Right,
        (None, Some(_)) => Verdict::MayBeRight,
        (Some(last), Some(found)) if found < last => Verdict::Stale,
        (Some(last), Some(found)) if found == last => Verdict::Right,
        (Some(_), Some(_)) => Verdict::MayBeRight,
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Acknowledged as A, Unknown as U};
    use super::*;

    /// The client's reports, what DNS has, and what that is.
    type Row = (&'static [(u32, Outcome)], &'static [u32], Verdict);

    #[test]
    fn dns_has_the_last_acknowledged_value_or_a_later_one_that_was_sent() {
        use Verdict::{Lost, MayBeRight, Right, Stale, Strange};
        let rows: [Row; 20] = [
            (&[], &[], Right),
            (&[], &[1], Strange),
            (&[(1, A)], &[1], Right),
            (&[(1, A)], &[], Lost),
            (&[(1, A)], &[2], Strange),
            (&[(1, A)], &[1, 2], Strange),
            (&[(1, U)], &[], Right),
            (&[(1, U)], &[1], MayBeRight),
            (&[(1, A), (2, A)], &[2], Right),
            (&[(1, A), (2, A)], &[1], Stale),
            (&[(1, A), (2, A)], &[], Lost),
            (&[(1, A), (2, U)], &[1], Right),
            (&[(1, A), (2, U)], &[2], MayBeRight),
            (&[(1, A), (2, U)], &[], Lost),
            // What was not acknowledged is no excuse once something later was.
            (&[(1, U), (2, A), (3, U)], &[1], Stale),
            (&[(1, A), (2, U), (4, U)], &[2], MayBeRight),
            // Reported again: once acknowledged is enough.
            (&[(1, A), (2, U), (2, A)], &[1], Stale),
            (&[(1, A), (2, A), (2, U)], &[1], Stale),
            (&[(1, A), (2, U), (2, U)], &[1], Right),
            // Between two that were sent, and never sent itself.
            (&[(1, A), (2, U), (4, U)], &[3], Strange),
        ];
        for (reports, in_dns, expected) in rows {
            let mut history = History::default();
            for (value, outcome) in reports {
                history.note(*value, *outcome);
            }
            let in_dns: Vec<_> = in_dns.iter().copied().map(address).collect();
            let verdict = judge(&history, &in_dns);
            assert_eq!(verdict, expected, "{reports:?} with {in_dns:?}");
        }
        let mut history = History::default();
        history.note(0, A);
        let foreign = Ipv4Addr::new(198, 51, 100, 1);
        assert_eq!(judge(&history, &[foreign]), Strange);
    }
}
