//! Looks through each zone for what somebody else has changed, and has it published anew.
//!
//! A pass reads and compares; it writes nothing. A host that is not as it was published is looked
//! at again with what was found of it, so that its repair goes out on the basis that holds, under
//! the same prerequisites as any other change. That absence is proved by a transfer and not by
//! queries makes no difference to it: the name server judges.

mod orphans;
mod schedule;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dynhost_crds::zone::OwnershipMode;
use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};
use jiff::Timestamp;
use tokio::task::yield_now;

pub(super) use self::schedule::Drift;
use super::publish::{Subject, wanted};
use super::zone::ZoneAccess;
use super::{Controller, sleep_until};
use crate::index::host::Host;
use crate::index::object::ObjectKey;
use crate::index::zone::Zone;
use crate::index::{Affected, Id, View};
use crate::provider::{ApplyError, TransferError};
use crate::record::contents::Data;
use crate::record::drift::{Comparison, Expected};

/// A zone whose serial has not changed is looked through all the same once in this time: a server
/// may have been given other records under the same serial.
const WHOLE: Duration = Duration::from_secs(3600);

/// How long a zone is asked for by names after its transfer did not work.
const NO_TRANSFER: Duration = Duration::from_secs(3600);

/// Zones that are looked through at a time.
const PASSES: usize = 2;

/// Names that are asked for at a time where a zone is not transferred: each takes four queries, on
/// the connection that changes use.
const NAMES_IN_FLIGHT: usize = 8;

/// Hosts that are published anew after one pass; the others wait for the next, which is soon.
const MOST_REPAIRS: usize = 16_384;

/// Hosts that are looked at between two chances for others.
const CHUNK: usize = 256;

/// What is remembered of reading a zone from its present servers.
#[derive(Default)]
pub(super) struct Readings(Mutex<LastReading>);

#[derive(Default, Clone, Copy)]
struct LastReading {
    serial: Option<u32>,
    /// When the zone was last looked through.
    whole_at: Option<Instant>,
    no_transfer_until: Option<Instant>,
}

impl Readings {
    fn get(&self) -> LastReading {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut LastReading)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What a pass came to; the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The serial is that of the last pass.
    Unchanged,
    AsPublished,
    Drifted {
        /// There are more than may be repaired at a time.
        more: bool,
    },
    /// No server answers.
    Unavailable,
    Unauthorized,
    /// The server does not let us read the zone.
    Refused,
    /// What the server sent was no zone.
    Broken,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::AsPublished => "as_published",
            Self::Drifted { .. } => "drifted",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Broken => "broken",
        }
    }

    fn is_conclusive(self) -> bool {
        matches!(
            self,
            Self::Unchanged | Self::AsPublished | Self::Drifted { .. }
        )
    }
}

impl From<ApplyError> for Outcome {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Unauthorized(_) | ApplyError::CredentialsMissing(_) => Self::Unauthorized,
            ApplyError::Rejected(_) => Self::Refused,
            ApplyError::PreconditionFailed(_)
            | ApplyError::Unavailable { .. }
            | ApplyError::Unknown(_) => Self::Unavailable,
        }
    }
}

/// How a zone was read; the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nothing but its serial.
    Serial,
    Transfer,
    Queries,
}

impl Way {
    fn label(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Transfer => "transfer",
            Self::Queries => "queries",
        }
    }
}

impl Controller {
    /// Looks through every zone in turn until `stop`, in a task of its own: it reads much, and
    /// nothing waits for it.
    pub async fn watch_drift(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut passes = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            while passes.len() < PASSES
                && let Some((zone, is_asked_for)) = self.drift.begin(now)
            {
                passes.push(self.pass(zone, is_asked_for));
            }
            let is_free = passes.len() < PASSES;
            let next_due = self.drift.next_due().filter(|_| is_free);
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some((zone, outcome)) = passes.next(), if !passes.is_empty() => {
                    self.drift.end(&zone, outcome);
                    let oldest = self.drift.oldest_check();
                    self.metrics.set_drift_checked(oldest.map_or(0, Timestamp::as_second));
                }
                () = self.drift.sooner.notified(), if is_free => {}
                () = sleep_until(next_due), if next_due.is_some() => {}
            }
        }
    }

    /// `None`: the zone has nothing to compare.
    async fn pass(&self, key: ObjectKey, is_asked_for: bool) -> (ObjectKey, Option<Outcome>) {
        let outcome = self.look_through(&key, is_asked_for).await;
        if let Some((way, outcome)) = outcome {
            self.metrics.count_drift_pass(way.label(), outcome.label());
        }
        (key, outcome.map(|(_, outcome)| outcome))
    }

    async fn look_through(&self, key: &ObjectKey, is_asked_for: bool) -> Option<(Way, Outcome)> {
        let zone = self.index.zone(key)?;
        if zone.meta.deleting || !zone.finalizer {
            return None;
        }
        let access = self.zones.access(&zone)?;
        // Its probe says when a server answers again.
        if access.lane.is_paused() {
            return Some((Way::Serial, Outcome::Unavailable));
        }
        let serial = match access.provider.serial().await {
            Ok(serial) => serial,
            Err(error) => {
                tracing::info!(zone = %key, %error, "the zone's serial could not be read");
                return Some((Way::Serial, error.into()));
            }
        };
        let now = Instant::now();
        let last = access.readings.get();
        let is_fresh = last.whole_at.is_some_and(|at| now < at + WHOLE);
        if serial.is_some() && serial == last.serial && is_fresh && !is_asked_for {
            return Some((Way::Serial, Outcome::Unchanged));
        }
        let comparison = self.expectations(key, &zone).await?;
        let (way, read) = match last.no_transfer_until {
            Some(until) if now < until => self.ask_for_names(&access, comparison).await,
            _ => self.transfer(key, &zone, &access, comparison).await,
        };
        let comparison = match read {
            Ok(comparison) => comparison,
            Err(outcome) => return Some((way, outcome)),
        };
        let outcome = self.hand_over(key, &zone, comparison).await;
        access.readings.set(|last| {
            // What changes while names are asked for is seen at the next pass.
            last.serial = serial;
            last.whole_at = Some(now);
        });
        Some((way, outcome))
    }

    /// What DNS should hold of the zone's hosts; `None`: of none anything.
    async fn expectations(&self, key: &ObjectKey, zone: &Zone) -> Option<Comparison<Id>> {
        let owner = zone.spec.as_ref().ok()?.owner.clone();
        let hosts = self.index.view().ids_of_zone(key);
        let mut comparison = Comparison::new(owner, hosts.len());
        for chunk in hosts.chunks(CHUNK) {
            {
                let view = self.index.view();
                for id in chunk {
                    if let Some(host) = view.host_of_zone(*id, key)
                        && let Some(expected) = self.expected(&view, &host, zone)
                        && let Ok(spec) = &host.spec
                    {
                        comparison.expect(*id, &spec.hostname, expected);
                    }
                }
            }
            yield_now().await;
        }
        (!comparison.is_empty()).then_some(comparison)
    }

    /// What DNS should hold of a host; `None` where it is not published, or not for us to change,
    /// or will be looked at anyhow.
    fn expected(&self, view: &View<'_>, host: &Arc<Host>, zone: &Zone) -> Option<Expected> {
        let admitted = view.admission(host).ok()?;
        if host.meta.deleting || admitted.host.suspend || admitted.host.zone != zone.meta.key {
            return None;
        }
        let published = self.progress.published(host)?;
        let prefix = view.prefix_of(host);
        if self.progress.is_in_doubt(host, prefix.as_ref()) {
            return None;
        }
        let mode = zone.spec.as_ref().ok()?.ownership;
        if published.marker.is_some() != (mode == OwnershipMode::Marker) {
            return None;
        }
        let host = host.clone();
        let want = wanted(&Subject { host, prefix }, zone)?;
        let marker = published.marker.as_ref();
        Some(Expected::new(&published.known, marker, &want))
    }

    async fn transfer(
        &self,
        key: &ObjectKey,
        zone: &Zone,
        access: &ZoneAccess,
        mut comparison: Comparison<Id>,
    ) -> (Way, Result<Comparison<Id>, Outcome>) {
        let mut visit = |name: &str, _: u32, data: Data<'_>| comparison.take(name, data);
        let outcome = access.provider.transfer(&mut visit).await;
        let Err(error) = outcome else {
            let (orphans, further) = comparison.take_orphans();
            self.tell_orphans(key, orphans, further).await;
            return (Way::Transfer, Ok(comparison));
        };
        let no_transfer_for_now =
            |last: &mut LastReading| last.no_transfer_until = Some(Instant::now() + NO_TRANSFER);
        tracing::info!(zone = %key, %error, "the zone was not transferred");
        match error {
            // Of a key that may write and ask, and not transfer, Knot says that it does not know
            // it: whether it does, the queries tell.
            TransferError::Refused(_) | TransferError::Unauthorized(_) => {
                // Nothing of it counts.
                let Some(comparison) = self.expectations(key, zone).await else {
                    return (Way::Queries, Err(Outcome::AsPublished));
                };
                let asked = self.ask_for_names(access, comparison).await;
                if asked.1.is_ok() {
                    access.readings.set(no_transfer_for_now);
                }
                asked
            }
            TransferError::Broken(_) => {
                access.readings.set(no_transfer_for_now);
                (Way::Transfer, Err(Outcome::Broken))
            }
            TransferError::Unavailable(_) => (Way::Transfer, Err(Outcome::Unavailable)),
        }
    }

    async fn ask_for_names(
        &self,
        access: &ZoneAccess,
        mut comparison: Comparison<Id>,
    ) -> (Way, Result<Comparison<Id>, Outcome>) {
        let names: Vec<_> = comparison.names().cloned().collect();
        let reads = names.into_iter().map(|name| async move {
            let found = access.provider.read(&name).await;
            (name, found)
        });
        let mut reads = stream::iter(reads).buffer_unordered(NAMES_IN_FLIGHT);
        while let Some((name, found)) = reads.next().await {
            match found {
                Ok(found) => comparison.take_found(&name, found),
                Err(error) => return (Way::Queries, Err(error.into())),
            }
        }
        (Way::Queries, Ok(comparison))
    }

    /// Has the hosts that are not as published looked at again.
    async fn hand_over(
        &self,
        zone_key: &ObjectKey,
        zone: &Zone,
        comparison: Comparison<Id>,
    ) -> Outcome {
        let (mut repairs, mut more) = (0_usize, false);
        for (number, (id, drifted)) in comparison.drifted().enumerate() {
            if number % CHUNK == CHUNK - 1 {
                yield_now().await;
            }
            let host = {
                let view = self.index.view();
                let host = view.host_of_zone(id, zone_key);
                // It was changed meanwhile, by us or in its object: then this says nothing.
                let is_as_before = |host: &Arc<Host>| {
                    self.expected(&view, host, zone).as_ref() == Some(&drifted.expected)
                };
                match host.filter(is_as_before) {
                    Some(host) => host.meta.key.clone(),
                    None => continue,
                }
            };
            if repairs == MOST_REPAIRS {
                more = true;
                break;
            }
            repairs += 1;
            self.drift.put(host.clone(), drifted).await;
            let _ = self.again.send(Affected::Host(host));
        }
        if repairs == 0 {
            return Outcome::AsPublished;
        }
        tracing::warn!(zone = %zone_key, hosts = repairs, "not as published: written anew");
        Outcome::Drifted { more }
    }
}
