//! PURE: one candidate for a Lease, from what it sees and is answered.

use std::time::Duration;

use jiff::{Timestamp, TimestampRound, Unit};

use super::decide::{Claim, Decision, Me, Record, Sight, decide, is_ours};
use super::moment::Moment;

/// The times that follow from how long a lease lasts.
///
/// The default of 6 s: killed, a holder is followed at most that long after its last renewal, and
/// so within 8 s DNS is written again. It is renewed every 2 s, so that two renewals may fail; a
/// request may take 2 s. The holder stops 1 s before anybody may follow, for clocks that run
/// unevenly and for what lies between looking at the clock and sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long a lease lasts; whole seconds, which is what a Lease can say.
    pub duration: Duration,
}

impl Times {
    /// From the beginning of one stored request to the next.
    pub fn renewal(self) -> Duration {
        self.duration / 3
    }

    /// How long a request may take; what became of it is unknown then.
    pub fn request(self) -> Duration {
        self.duration / 3
    }

    /// How long the holder may write, from the beginning of a stored request.
    pub fn writing(self) -> Duration {
        self.duration - self.duration / 6
    }

    /// Before what failed is tried again.
    pub fn retry(self) -> Duration {
        self.duration / 12
    }
}

/// A request that is to be made, or is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Who is to hold the lease; `None`: nobody.
    pub holder: Option<Box<str>>,
    pub claim: Claim,
    /// When it was begun.
    pub begun: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// POST.
    Create,
    /// PUT of this version.
    Replace { version: u64 },
    /// GET: what it says now.
    Read,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was stored, as this.
    Stored(Record),
    /// It was read; `None`: there is no Lease.
    Read(Option<Record>),
    /// Somebody else has written, made or deleted it: 409, 404.
    Overtaken,
    /// Refused otherwise, or unknown.
    Failed,
}

/// A candidate, and the holder it may become.
#[derive(Clone, Debug)]
pub struct Candidate {
    identity: Box<str>,
    times: Times,
    /// `None`: nothing was seen yet.
    sight: Option<Sight>,
    claim: Option<Claim>,
    /// The version that `claim` was made for, the inner `None` where there was no Lease: made again
    /// for the same, it is the same, as the first request may be stored yet.
    claimed: Option<Option<u64>>,
    waits_out: bool,
    may_write_until: Option<Moment>,
    renew_at: Moment,
    /// Requests that have failed one after the other.
    failures: u32,
    /// Nothing is asked before.
    pause_until: Moment,
    must_read: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Wait(Moment),
    /// Nothing before something is seen.
    WaitForSight,
    Ask(Request),
}

impl Candidate {
    pub fn new(identity: &str, times: Times, now: Moment) -> Self {
        Self {
            identity: identity.into(),
            times,
            sight: None,
            claim: None,
            claimed: None,
            waits_out: false,
            may_write_until: None,
            renew_at: now,
            failures: 0,
            pause_until: now,
            must_read: false,
        }
    }

    /// Until when we may write, where we hold the lease as far as we know.
    pub fn may_write_until(&self, now: Moment) -> Option<Moment> {
        self.may_write_until.filter(|until| now < *until)
    }

    /// Who holds the lease, as far as was seen.
    pub fn holder(&self) -> Option<&str> {
        let lease = self.sight.as_ref()?.lease.as_ref()?;
        lease.holder.as_deref()
    }

    /// The version that was seen last; `None`: there is no Lease, or none was seen yet.
    pub fn version(&self) -> Option<u64> {
        let lease = self.sight.as_ref()?.lease.as_ref()?;
        Some(lease.version)
    }

    /// The lease is seen like this at `now`; `None`: it is gone. What is older than what we know is
    /// no news.
    pub fn see(&mut self, lease: Option<Record>, now: Moment) {
        let known = self.sight.as_ref().map(|sight| &sight.lease);
        let version = |lease: &Option<Record>| lease.as_ref().map(|lease| lease.version);
        let is_news = match known {
            None => true,
            Some(known) => match (version(known), version(&lease)) {
                (Some(known), Some(seen)) => known < seen,
                (known, seen) => known.is_some() || seen.is_some(),
            },
        };
        if !is_news {
            return;
        }
        let is_lost = lease.as_ref().is_some_and(|lease| !self.is_ours(lease));
        if is_lost {
            self.may_write_until = None;
        }
        self.sight = Some(Sight {
            is_first: self.sight.is_none(),
            lease,
            since: now,
        });
    }

    /// What to do at `now`; `wall` is the time of day, for people who look at the Lease.
    pub fn next(&mut self, now: Moment, wall: Timestamp) -> Next {
        let Some(sight) = &self.sight else {
            return Next::WaitForSight;
        };
        if now < self.pause_until {
            return Next::Wait(self.pause_until);
        }
        if self.must_read {
            return Next::Ask(self.request(Method::Read, unclaimed(wall), now));
        }
        let version = sight.lease.as_ref().map(|lease| lease.version);
        let method = match version {
            Some(version) => Method::Replace { version },
            None => Method::Create,
        };
        let decision = decide(sight, &self.me(), now);
        let claim = match (decision, self.claim) {
            (Decision::Wait(until), _) => return Next::Wait(until),
            (Decision::Renew, Some(claim)) => claim,
            (_, Some(claim)) if self.claimed == Some(version) => claim,
            _ => {
                let former = sight.lease.as_ref().map_or(0, |lease| lease.transitions);
                Claim {
                    transitions: former.saturating_add(1),
                    ..unclaimed(wall)
                }
            }
        };
        if decision != Decision::Renew {
            self.claim = Some(claim);
            self.claimed = Some(version);
            self.waits_out = decision == Decision::Create;
        }
        Next::Ask(self.request(method, claim, now))
    }

    /// What lets others in at once, where the lease is ours; from now on we do not write.
    pub fn release(&mut self, now: Moment, wall: Timestamp) -> Option<Request> {
        self.may_write_until = None;
        if self.must_read {
            return Some(self.request(Method::Read, unclaimed(wall), now));
        }
        let lease = self.sight.as_ref()?.lease.as_ref()?;
        // What we wait out is not ours to give.
        let claim = self
            .claim
            .filter(|_| self.is_ours(lease) && !self.waits_out)?;
        let version = lease.version;
        Some(Request {
            holder: None,
            ..self.request(Method::Replace { version }, claim, now)
        })
    }

    /// What became of `request`, as we hear at `now`.
    pub fn answered(&mut self, request: &Request, answer: Answer, now: Moment) {
        if answer != Answer::Failed {
            self.failures = 0;
        }
        match answer {
            Answer::Stored(lease) => {
                let version = lease.version;
                self.see(Some(lease), now);
                let sight = self.sight.as_ref();
                let seen = sight.and_then(|sight| sight.lease.as_ref());
                // By the time of the answer somebody may have been seen to have taken it.
                let is_latest = seen.is_some_and(|seen| seen.version == version);
                // While our own time lasts, nobody else has any.
                if request.method != Method::Create || self.may_write_until(now).is_some() {
                    self.waits_out = false;
                }
                if is_latest && request.holder.is_some() && !self.waits_out {
                    self.may_write_until = Some(request.begun + self.times.writing());
                    self.renew_at = request.begun + self.times.renewal();
                }
            }
            Answer::Read(lease) => {
                self.must_read = false;
                self.see(lease, now);
            }
            Answer::Overtaken => self.must_read = true,
            Answer::Failed => {
                let pause = self.times.retry() * 2_u32.saturating_pow(self.failures.min(8));
                self.pause_until = now + pause.min(self.times.renewal());
                self.failures += 1;
            }
        }
    }

    fn request(&self, method: Method, claim: Claim, begun: Moment) -> Request {
        Request {
            method,
            holder: Some(self.identity.clone()),
            claim,
            begun,
        }
    }

    fn me(&self) -> Me<'_> {
        Me {
            identity: &self.identity,
            duration: self.times.duration,
            claim: self.claim,
            waits_out: self.waits_out,
            renew_at: self.renew_at,
        }
    }

    fn is_ours(&self, lease: &Record) -> bool {
        is_ours(lease, &self.me())
    }
}

/// A claim of this time, to whole microseconds.
fn unclaimed(wall: Timestamp) -> Claim {
    let to_micros = TimestampRound::new().smallest(Unit::Microsecond);
    Claim {
        acquired: wall.round(to_micros).unwrap_or(wall),
        transitions: 0,
    }
}
