//! PURE: what to do about a Lease (coordination.k8s.io/v1), by what was seen of it.
//!
//! Who writes it does so by a PUT of the version that was seen, so that nobody overwrites what he
//! does not know. That makes it safe to judge by old sights: a write on the ground of one is refused.
//!
//! Nobody compares clocks. A lease that somebody else holds ends for us when we have *seen* it
//! unchanged for as long as it lasts; the holder stops writing that long, less a margin, after he
//! *began* the last renewal that was stored, which is before anybody can have seen it.
//!
//! A Lease that somebody deletes has ended for nobody: its holder may not know. Whoever makes it
//! again has seen to it that the holder cannot renew, and writes when the holder's time is over.

use std::time::Duration;

use jiff::Timestamp;

use super::moment::Moment;

/// What a Lease says, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `metadata.resourceVersion`; a later version has a greater one.
    pub version: u64,
    /// `holderIdentity`; `None`: nobody holds it (absent, or empty as client-go leaves it).
    pub holder: Option<Box<str>>,
    /// `leaseDurationSeconds`, where it says one.
    pub duration: Option<Duration>,
    /// `acquireTime`.
    pub acquired: Option<Timestamp>,
    /// `leaseTransitions`: how often it has changed hands.
    pub transitions: i32,
    /// It has a `renewTime`: one that was made in place of a deleted one has none before its holder
    /// may count on it.
    pub is_renewed: bool,
}

/// What is known of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// `None`: there is none.
    pub lease: Option<Record>,
    /// When it was first seen as it is.
    pub since: Moment,
    /// It is what was there when we began to look.
    pub is_first: bool,
}

/// One acquisition. Who acquires the lease the next time makes another one, be it under the same
/// name: whole microseconds, which is what a Lease keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub acquired: Timestamp,
    pub transitions: i32,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Me<'a> {
    pub identity: &'a str,
    /// How long the leases last that we write.
    pub duration: Duration,
    /// What our last acquisition said, whether it was stored or not.
    pub claim: Option<Claim>,
    /// It made the Lease anew, under a holder who may still count on his, and was not renewed yet.
    pub waits_out: bool,
    /// When the lease is to be renewed.
    pub renew_at: Moment,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before this moment, unless the lease changes.
    Wait(Moment),
    /// Make the Lease, held by us: POST, refused where somebody else has made it.
    Create,
    /// Write ourselves into it: PUT of the version seen.
    Acquire,
    /// Write that we still hold it: likewise.
    Renew,
}

/// What to do now.
pub fn decide(sight: &Sight, me: &Me<'_>, now: Moment) -> Decision {
    let Some(lease) = &sight.lease else {
        return Decision::Create;
    };
    match &lease.holder {
        None => Decision::Acquire,
        Some(_) if is_ours(lease, me) && me.waits_out => {
            at(sight.since + me.duration, now, Decision::Renew)
        }
        Some(_) if is_ours(lease, me) => at(me.renew_at, now, Decision::Renew),
        // A former life of ours left it, which is over: whoever starts two processes of one name
        // breaks his word.
        Some(holder) if **holder == *me.identity && sight.is_first && lease.is_renewed => {
            Decision::Acquire
        }
        Some(_) => {
            // The holder may count on his own duration, whoever has written another one since.
            let lasts = lease.duration.unwrap_or_default().max(me.duration);
            at(sight.since + lasts, now, Decision::Acquire)
        }
    }
}

/// Whether it says what our last acquisition said.
pub fn is_ours(lease: &Record, me: &Me<'_>) -> bool {
    let is_our_claim = |claim: Claim| {
        lease.acquired == Some(claim.acquired) && lease.transitions == claim.transitions
    };
    lease.holder.as_deref() == Some(me.identity) && me.claim.is_some_and(is_our_claim)
}

fn at(due: Moment, now: Moment, then: Decision) -> Decision {
    match now < due {
        true => Decision::Wait(due),
        false => then,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: Claim = Claim {
        acquired: Timestamp::UNIX_EPOCH,
        transitions: 3,
    };

    fn second(second: u64) -> Moment {
        Moment::from_nanos(second * 1_000_000_000)
    }

    fn held(holder: &str, duration: Option<u64>, claim: Claim) -> Option<Record> {
        Some(Record {
            version: 7,
            holder: Some(holder.into()).filter(|_| !holder.is_empty()),
            duration: duration.map(Duration::from_secs),
            acquired: Some(claim.acquired),
            transitions: claim.transitions,
            is_renewed: true,
        })
    }

    /// Seen since second 100, by `me` with leases of 6 s, who renews at second 102.
    fn check(lease: &Option<Record>, cases: &[(u64, Decision)]) {
        check_of(lease, false, false, cases);
    }

    fn check_of(
        lease: &Option<Record>,
        is_first: bool,
        waits_out: bool,
        cases: &[(u64, Decision)],
    ) {
        let me = Me {
            identity: "me",
            duration: Duration::from_secs(6),
            claim: Some(CLAIM),
            waits_out,
            renew_at: second(102),
        };
        let sight = Sight {
            lease: lease.clone(),
            since: second(100),
            is_first,
        };
        for (now, expected) in cases {
            let decision = decide(&sight, &me, second(*now));
            assert_eq!(decision, *expected, "{lease:?} at {now}");
        }
    }

    use Decision::{Acquire, Create, Renew, Wait};

    #[test]
    fn a_lease_that_nobody_holds_is_taken_at_once() {
        check(&held("", Some(6), CLAIM), &[(100, Acquire), (200, Acquire)]);
    }

    #[test]
    fn a_lease_that_was_deleted_is_made_again_at_once_and_counts_when_its_holders_time_is_over() {
        check(&None, &[(100, Create), (106, Create)]);
        let made = held("me", Some(6), CLAIM);
        let wait = Wait(second(106));
        check_of(
            &made,
            false,
            true,
            &[(100, wait), (105, wait), (106, Renew)],
        );
    }

    #[test]
    fn a_lease_that_somebody_else_holds_is_taken_when_it_was_seen_unchanged_for_its_time() {
        let longest = |duration, until| {
            let cases = [
                (100, Wait(second(until))),
                (until - 1, Wait(second(until))),
                (until, Acquire),
            ];
            check(&held("other", duration, CLAIM), &cases);
            // Under our own name, but not our claim.
            let another = Claim {
                transitions: 4,
                ..CLAIM
            };
            check(&held("me", duration, another), &cases);
        };
        longest(Some(6), 106);
        longest(Some(15), 115);
        // Whoever wrote a shorter one, or none: the holder may not know of it.
        longest(Some(1), 106);
        longest(None, 106);
    }

    #[test]
    fn our_own_lease_is_renewed_in_time_and_taken_up_again_when_it_is_late() {
        let ours = held("me", Some(6), CLAIM);
        check(
            &ours,
            &[(100, Wait(second(102))), (102, Renew), (999, Renew)],
        );
    }

    #[test]
    fn what_a_former_life_of_ours_has_left_is_taken_at_once_when_we_come_and_not_later() {
        let another = Claim {
            transitions: 4,
            ..CLAIM
        };
        let left = held("me", Some(6), another);
        check_of(&left, true, false, &[(100, Acquire)]);
        check_of(&left, false, false, &[(100, Wait(second(106)))]);
        // It was made in place of another one, whose holder may not know.
        let made = left.map(|left| Record {
            is_renewed: false,
            ..left
        });
        check_of(&made, true, false, &[(100, Wait(second(106)))]);
        let others = held("other", Some(6), another);
        check_of(&others, true, false, &[(100, Wait(second(106)))]);
    }
}
