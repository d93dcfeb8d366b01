//! PURE: which of a zone's waiting changes go out next, together.

use std::collections::{HashSet, VecDeque};

use super::pace::{BatchLimit, Pace};
use crate::name::RecordName;
use crate::record::change::{Basis, HostChange, NameChange, Records, RrsetChange};

/// Messages in flight whatever they hold: the second goes out while the server stores the first.
const ORDINARY: usize = 2;

/// Messages in flight where each further one is full. A server that stores them one by one gains
/// nothing by more; one that stores several at a time (Knot) does.
const MOST: usize = 4;

/// The estimated size of a message, in octets; servers take 65,535 (RFC 1035 section 4.2.2).
const OCTETS: usize = 32_000;

/// A change, and who waits for its outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting<W> {
    pub change: HostChange,
    pub waiter: W,
}

/// The changes of one zone: those that wait, first come first served, and what is under way.
///
/// No two changes that are under way, in one message or in two, have a record name in common, and
/// the changes of one name keep their order.
#[derive(Debug)]
pub(super) struct Schedule<W> {
    waiting: VecDeque<Waiting<W>>,
    /// The names of all that waits, and its estimated octets.
    size: Size,
    /// The names of what is under way.
    busy: HashSet<RecordName>,
    /// Under way.
    messages: usize,
    limit: BatchLimit,
}

impl<W> Default for Schedule<W> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            size: Size::default(),
            busy: HashSet::new(),
            messages: 0,
            limit: BatchLimit::default(),
        }
    }
}

impl<W> Schedule<W> {
    /// A change comes last.
    pub(super) fn push(&mut self, waiting: Waiting<W>) {
        self.size.add(Size::of(&waiting.change));
        self.waiting.push_back(waiting);
    }

    /// Takes the changes of the next message, which is under way until [`Self::done`] or
    /// [`Self::put_back`]; `None`: nothing can be sent now, and what waits collects.
    pub(super) fn next(&mut self) -> Option<Vec<Waiting<W>>> {
        let must_be_full = self.messages >= ORDINARY;
        if self.messages >= MOST || must_be_full && !self.exceeds(self.size) {
            return None;
        }
        let (chosen, is_full) = self.choose();
        if chosen.is_empty() || must_be_full && !is_full {
            return None;
        }
        let mut chosen = chosen.into_iter().peekable();
        let mut message = Vec::new();
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        for (index, waiting) in self.waiting.drain(..).enumerate() {
            match chosen.next_if_eq(&index) {
                Some(_) => message.push(waiting),
                None => rest.push_back(waiting),
            }
        }
        self.waiting = rest;
        self.messages += 1;
        for waiting in &message {
            self.size.subtract(Size::of(&waiting.change));
            self.busy.extend(names(&waiting.change).cloned());
        }
        Some(message)
    }

    /// The indexes of the changes of the next message, and whether no other has room in it.
    fn choose(&self) -> (Vec<usize>, bool) {
        // Of changes in this message, and of those that wait for another.
        let mut claimed: HashSet<&RecordName> = HashSet::new();
        let mut chosen = Vec::new();
        let mut size = Size::default();
        for (index, Waiting { change, .. }) in self.waiting.iter().enumerate() {
            let is_free = |name| !self.busy.contains(name) && !claimed.contains(name);
            if names(change).all(is_free) {
                let mut with_it = size;
                with_it.add(Size::of(change));
                let is_over = with_it.names > self.limit.names() || with_it.octets > OCTETS;
                // One that is over the limit for itself goes alone.
                if is_over && !chosen.is_empty() {
                    return (chosen, true);
                }
                size = with_it;
                chosen.push(index);
                if self.exceeds(size) {
                    return (chosen, true);
                }
            }
            claimed.extend(names(change));
        }
        (chosen, false)
    }

    /// Whether so much fills a message.
    fn exceeds(&self, size: Size) -> bool {
        size.names >= self.limit.names() || size.octets >= OCTETS
    }

    /// A message has come to its end.
    pub(super) fn done<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a HostChange>,
        pace: Option<Pace>,
    ) {
        self.messages -= 1;
        let mut count = 0;
        for name in changes.into_iter().flat_map(names) {
            self.busy.remove(name);
            count += 1;
        }
        if let Some(pace) = pace {
            self.limit.learn(pace, count);
        }
    }

    /// A message was not sent: its changes are the next again. `gone`: nobody waits for these.
    pub(super) fn put_back(&mut self, message: Vec<Waiting<W>>, gone: &[HostChange]) {
        self.done(message.iter().map(|w| &w.change).chain(gone), None);
        for waiting in message.into_iter().rev() {
            self.size.add(Size::of(&waiting.change));
            self.waiting.push_front(waiting);
        }
    }

    pub(super) fn number_of_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes all that waits.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Waiting<W>> {
        self.size = Size::default();
        std::mem::take(&mut self.waiting)
    }

    /// The server was away: what was learned of its pace tells nothing of it any more.
    pub(super) fn forget_pace(&mut self) {
        self.limit = BatchLimit::default();
    }

    /// Forgets what waits for somebody who has gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&W) -> bool) {
        let size = &mut self.size;
        self.waiting.retain(|waiting| {
            let stays = !is_gone(&waiting.waiter);
            if !stays {
                size.subtract(Size::of(&waiting.change));
            }
            stays
        });
    }
}

fn names(change: &HostChange) -> impl Iterator<Item = &RecordName> {
    change.names.iter().map(|name| &name.name)
}

/// What changes take up in a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    /// Aliases count.
    names: usize,
    octets: usize,
}

impl Size {
    fn of(change: &HostChange) -> Self {
        Self {
            names: change.names.len(),
            octets: change.names.iter().map(octets).sum(),
        }
    }

    fn add(&mut self, other: Self) {
        self.names += other.names;
        self.octets += other.octets;
    }

    fn subtract(&mut self, other: Self) {
        self.names -= other.names;
        self.octets -= other.octets;
    }
}

/// About how many octets a change of one name takes up as of [`crate::provider::rfc2136::message`].
/// Names in full: hickory compresses those of the first hosts only.
fn octets(change: &NameChange) -> usize {
    /// Type, class, TTL and length (RFC 1035 section 3.2.1).
    const FIXED: usize = 10;
    /// The text of a marker whose owner id is a UID.
    const MARKER: usize = 91;
    let record = FIXED + change.name.as_str().len() + 2;
    let at_marker = record + "_dynhost.".len();
    let replaced = |data: usize| 2 * record + data;
    let basis = match &change.basis {
        Basis::Unchecked => 0,
        Basis::Absent | Basis::Rrsets { .. } => 3 * record + 2 * at_marker,
        Basis::Marker(_) => record + at_marker + MARKER,
        Basis::Adopt { marker_texts } => {
            let texts = marker_texts.iter().map(|text| at_marker + text.len());
            record + at_marker + texts.sum::<usize>()
        }
    };
    let records = match &change.records {
        Records::Addresses { ipv4, ipv6 } => {
            let ipv4 = match ipv4 {
                RrsetChange::Keep => 0,
                RrsetChange::Remove => record,
                RrsetChange::Set(_) => replaced(4),
            };
            let ipv6 = match ipv6 {
                RrsetChange::Keep => 0,
                RrsetChange::Remove => record,
                RrsetChange::Set(_) => replaced(16),
            };
            ipv4 + ipv6
        }
        Records::Cname { target, .. } => replaced(target.as_str().len() + 2),
        Records::NoCname => record,
    };
    let marker = match change.marker {
        Some(_) => 2 * at_marker + MARKER,
        None => at_marker,
    };
    basis + records + marker
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Fqdn;
    use crate::provider::rfc2136::message;
    use crate::record::marker::{HostDigest, Marker, Nonce};

    fn name(label: &str) -> RecordName {
        RecordName::parse(&format!("{label}.dyn.example.org")).unwrap()
    }

    fn marker() -> Marker {
        let owner = "8a9ecb46-2f0f-4ac4-9e1c-7c7bb2f0c3a1".parse().unwrap();
        Marker::new(owner, HostDigest::of("family", "home"), Nonce::from_bits(1))
    }

    /// A first write of a host and its aliases.
    fn change(labels: &[&str]) -> HostChange {
        let names = labels.iter().map(|label| NameChange {
            name: name(label),
            records: Records::Addresses {
                ipv4: RrsetChange::Set([198, 51, 100, 7].into()),
                ipv6: RrsetChange::Keep,
            },
            marker: Some(marker()),
            basis: Basis::Absent,
        });
        HostChange {
            ttl: 60,
            names: names.collect(),
        }
    }

    /// Changes by their names, each told by its place, and steps: which messages have come to an
    /// end, by their number, and which go out thereupon.
    fn check(limit: usize, changes: &[&[&str]], steps: &[(&[usize], &[&[usize]])]) {
        let mut schedule = Schedule {
            limit: BatchLimit::of(limit),
            ..Schedule::default()
        };
        for (waiter, labels) in changes.iter().enumerate() {
            let change = change(labels);
            schedule.push(Waiting { change, waiter });
        }
        let mut sent: Vec<Vec<Waiting<usize>>> = Vec::new();
        for (ended, expected) in steps {
            for number in *ended {
                schedule.done(sent[*number].iter().map(|w| &w.change), None);
            }
            let before = sent.len();
            while let Some(message) = schedule.next() {
                sent.push(message);
            }
            let new = sent[before..].iter();
            let new: Vec<Vec<_>> = new.map(|m| m.iter().map(|w| w.waiter).collect()).collect();
            assert_eq!(new, *expected, "{changes:?} after {ended:?}");
        }
        assert!(schedule.waiting.is_empty() && schedule.messages == 0);
        assert_eq!((schedule.size, schedule.busy.len()), (Size::default(), 0));
    }

    #[test]
    fn all_that_waits_goes_out_in_one_message() {
        check(
            100,
            &[&["a"], &["b"], &["c"]],
            &[(&[], &[&[0, 1, 2]]), (&[0], &[])],
        );
    }

    #[test]
    fn two_messages_are_in_flight_and_up_to_four_where_they_are_full() {
        check(
            2,
            &[&["a"], &["b"], &["c"], &["d"], &["e"]],
            // The fifth change fills no message.
            &[(&[], &[&[0, 1], &[2, 3]]), (&[1], &[&[4]]), (&[0, 2], &[])],
        );
        let six: [&[&str]; 6] = [&["a"], &["b"], &["c"], &["d"], &["e"], &["f"]];
        check(
            1,
            &six,
            &[
                (&[], &[&[0], &[1], &[2], &[3]]),
                (&[0, 3], &[&[4], &[5]]),
                (&[1, 2, 4, 5], &[]),
            ],
        );
    }

    #[test]
    fn aliases_count_and_a_host_with_more_names_than_a_message_takes_goes_alone() {
        check(
            3,
            &[
                &["a", "b"],
                &["c", "d"],
                &["e"],
                &["f", "g", "h", "i"],
                &["j"],
            ],
            &[
                (&[], &[&[0], &[1, 2], &[3]]),
                (&[0, 1], &[&[4]]),
                (&[2, 3], &[]),
            ],
        );
    }

    #[test]
    fn no_name_is_in_two_changes_under_way_and_each_names_changes_keep_their_order() {
        check(
            100,
            &[&["a"], &["a"], &["b"], &["a"]],
            &[
                (&[], &[&[0, 2]]),
                (&[0], &[&[1]]),
                (&[1], &[&[3]]),
                (&[2], &[]),
            ],
        );
        // What waits for one name holds the others of its host for those that come later.
        check(
            100,
            &[&["a"], &["a", "b"], &["b"], &["c"]],
            &[
                (&[], &[&[0, 3]]),
                (&[0], &[&[1]]),
                (&[1], &[&[2]]),
                (&[2], &[]),
            ],
        );
    }

    #[test]
    fn what_was_not_sent_is_next_again_and_what_nobody_waits_for_is_not_sent() {
        let mut schedule = Schedule::default();
        for (waiter, label) in ["a", "b", "a", "c"].iter().enumerate() {
            let change = change(&[label]);
            schedule.push(Waiting { change, waiter });
        }
        let mut message = schedule.next().unwrap();
        let gone = message.remove(0);
        schedule.put_back(message, &[gone.change]);
        schedule.forget(|waiter| *waiter == 3);
        let message = schedule.next().unwrap();
        let waiters: Vec<_> = message.iter().map(|w| w.waiter).collect();
        assert_eq!(waiters, [1, 2]);
        schedule.done(message.iter().map(|w| &w.change), None);
        assert_eq!((schedule.size, schedule.busy.len()), (Size::default(), 0));
    }

    #[test]
    fn messages_are_as_large_as_ever_when_a_server_has_come_back() {
        fn check(comes_back: bool, expected: usize) {
            let mut schedule = Schedule::default();
            schedule.push(Waiting {
                change: change(&["a"]),
                waiter: (),
            });
            let lost = schedule.next().unwrap();
            schedule.done(lost.iter().map(|w| &w.change), Some(Pace::Slow));
            if comes_back {
                schedule.forget_pace();
            }
            for number in 0..60 {
                let change = change(&[&format!("h{number}")]);
                schedule.push(Waiting { change, waiter: () });
            }
            assert_eq!(schedule.next().unwrap().len(), expected);
        }
        check(false, 50);
        check(true, 60);
    }

    #[test]
    fn the_estimated_size_is_near_the_truth() {
        let apex = Fqdn::parse("dyn.example.org").unwrap();
        let mut second = change(&["a"]);
        second.names[0].basis = Basis::Marker(marker());
        let mut cname = change(&["a"]);
        cname.names[0].records = Records::Cname {
            target: Fqdn::parse("router.dyn.example.org").unwrap(),
            stands: false,
        };
        let mut removal = change(&["a"]);
        removal.names[0].marker = None;
        removal.names[0].basis = Basis::Marker(marker());
        removal.names[0].records = Records::NoCname;
        for kind in [change(&["a"]), second, cname, removal] {
            let changes: Vec<_> = (0..100)
                .map(|number| {
                    let mut change = kind.clone();
                    change.names[0].name = name(&format!("h{number}"));
                    change
                })
                .collect();
            let octets = message::update(7, &apex, &changes)
                .unwrap()
                .to_vec()
                .unwrap()
                .len();
            let estimate: usize = changes.iter().map(|change| Size::of(change).octets).sum();
            let near = octets * 9 / 10..octets * 3 / 2;
            assert!(
                near.contains(&estimate),
                "{estimate} for {octets}: {kind:?}"
            );
        }
    }
}
