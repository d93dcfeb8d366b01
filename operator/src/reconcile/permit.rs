//! The guard against mass deletion, asked by hosts and told of by zones.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};
use jiff::Timestamp;

use super::guard::{Cause, Guard, Permit, Report, Request, Word, counted, is_approved};
use super::status::Verdict;
use super::termination::Terminations;
use super::{Controller, Next};
use crate::index::Affected;
use crate::index::host::{Host, PublishedState};
use crate::index::object::ObjectKey;
use crate::index::zone::Zone;

/// What the guard knows, and why hosts are being deleted.
#[derive(Default)]
pub(super) struct Guarding {
    guard: Mutex<Guard>,
    terminations: Terminations,
}

impl Guarding {
    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Controller {
    /// Whether a host may lose its records for this cause. One that may not has to ask again, or is
    /// brought back by an approval; one that asks no more is to be [withdrawn](Self::withdraw).
    pub(super) fn may_remove(&self, host: &Host, zone: &Zone, cause: Cause) -> Permit {
        let published = self.progress.published(host);
        let request = Request {
            host: &host.meta.key,
            uid: &host.meta.uid,
            zone: &zone.meta.key,
            names: names(published.as_deref()),
            cause,
        };
        let count = |namespace: Option<&str>| {
            let view = self.index.view();
            let hosts = view.hosts_of_zone(&zone.meta.key);
            hosts
                .filter(|host| namespace.is_none_or(|n| *host.meta.key.namespace == *n))
                .filter(|host| host.published.is_some())
                .map(|host| counted(names(host.published.as_deref())))
                .sum()
        };
        let mut guard = self.guarding.guard();
        let was_paused = guard.is_paused(&zone.meta.key);
        let permit = guard.ask(request, word(zone), Instant::now(), count);
        if was_paused || permit == Permit::Paused {
            self.look_at_zone(&zone.meta.key);
        }
        permit
    }

    /// A host is not to lose its records for one of these causes, or has lost them.
    pub(super) fn withdraw(&self, host: &ObjectKey, causes: impl Fn(Cause) -> bool) {
        let zone = self.guarding.guard().withdraw(host, causes, Instant::now());
        if let Some(zone) = zone {
            self.look_at_zone(&zone);
        }
    }

    /// The host is gone.
    pub(super) fn forget_deletion(&self, host: &ObjectKey) {
        self.withdraw(host, |_| true);
        self.guarding.terminations.forget(host);
    }

    /// Whether a host that is being deleted may lose its records: at once where it is deleted for its
    /// own sake, after the guard where all around it is.
    pub(super) async fn may_delete(&self, host: &Host, zone: &Zone) -> Permit {
        let key = &host.meta.key;
        let known = self.guarding.guard().cause(key, &host.meta.uid);
        let is_for_good = |cause: &Cause| matches!(cause, Cause::Namespace | Cause::Definition);
        let cause = match known.filter(is_for_good) {
            Some(cause) => Some(cause),
            None => match self.guarding.terminations.cause(&self.client, key).await {
                Ok(cause) => cause,
                Err(wait) => return Permit::Wait(wait),
            },
        };
        match cause {
            Some(cause) => self.may_remove(host, zone, cause),
            None => {
                self.withdraw(key, |_| true);
                Permit::Granted
            }
        }
    }

    /// The zone's condition, where deleting is paused. Where an approval counts by now, its hosts are
    /// looked at again.
    pub(super) fn paused_deletions(&self, zone: &Zone) -> Option<Verdict> {
        let key = &zone.meta.key;
        let word = word(zone);
        let (report, waiting, paused) = {
            let mut guard = self.guarding.guard();
            let report = guard.report(key, word, Instant::now());
            let waiting = match &report {
                Report::Paused(_) if word.approved => guard.waiting(key),
                _ => Vec::new(),
            };
            (report, waiting, guard.paused_names())
        };
        self.metrics.show_paused_deletions(paused);
        for host in waiting {
            let _ = self.again.send(Affected::Host(host));
        }
        let message = match report {
            Report::NotPaused => return None,
            Report::AsBefore => condition(zone)?,
            Report::Paused(message) => message,
        };
        let verdict = Verdict::of(Reason::DeletionPaused).saying(message);
        Some(Verdict {
            status: ConditionStatus::True,
            ..verdict
        })
    }

    /// The zone is gone.
    pub(super) fn forget_zones_deletions(&self, zone: &ObjectKey) {
        let mut guard = self.guarding.guard();
        guard.forget(zone);
        self.metrics.show_paused_deletions(guard.paused_names());
    }
}

impl Permit {
    /// When a host without permit is looked at again.
    pub(super) fn next(self) -> Next {
        match self {
            Self::Granted | Self::Paused => Next::Idle,
            Self::Wait(wait) => Next::After(wait),
        }
    }
}

/// The names of a host that may have records.
fn names(published: Option<&PublishedState>) -> usize {
    1 + published.map_or(0, |published| published.known.aliases.len())
}

fn word(zone: &Zone) -> Word {
    Word {
        approved: is_approved(zone.approved_deletions, Timestamp::now()),
        paused: condition(zone).is_some(),
    }
}

/// What the zone's status says of a pause.
fn condition(zone: &Zone) -> Option<String> {
    let conditions = zone.conditions.iter();
    let mut paused = conditions
        .filter(|c| c.type_ == ConditionType::DeletionPaused)
        .filter(|c| c.status == ConditionStatus::True);
    paused
        .next()
        .map(|condition| condition.message().to_owned())
}
