//! Stores a report through the API server.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::doubt::Doubts;
use super::host_api::{HostApi, status_of};
use super::host_lock::HostLocks;
use super::limits::Budgets;
use super::standstill::Standstill;
use crate::index::Index;
use crate::index::host::Host;
use crate::leader::moment::Moment;
use crate::metrics::Metrics;
use crate::under_way::Calls;
use crate::update::decide::{Addresses, Decision, News, Reliance, SignedTime, decide};
use crate::update::patch::{Guard, Provenance, guarded_patch};
use crate::watch::Freshness;

/// `nochg` is said only where the hosts' watch was heard within this time; it is renewed every 30 s.
const FRESH: Duration = Duration::from_secs(45);

/// How often a report is decided anew before the client is told to come again.
const ATTEMPTS: usize = 3;

/// Patches in flight in all. The API server handles no more than about 8 at a time on two cores,
/// and each takes a connection of its own; the rest of a burst waits here.
const MAX_PATCHES: usize = 24;

/// Stores reports: one patch in flight for each host, a bounded number in all.
pub(super) struct Observer {
    api: HostApi,
    index: Arc<Index>,
    freshness: Arc<Freshness>,
    metrics: Arc<Metrics>,
    budgets: Arc<Budgets>,
    patches: Arc<Calls>,
    permits: Semaphore,
    locks: HostLocks,
    doubts: Doubts,
    standstill: Standstill,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    Stored(News),
    NoChange,
    Suspended,
    /// A signed request that is not newer than the last one.
    Replayed,
    /// The host has changed too often just now; nothing was stored.
    TooOften,
}

/// What a client reported for a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported<'a> {
    pub(super) addresses: Addresses,
    /// Where the request was signed.
    pub(super) signed: Option<SignedTime>,
    pub(super) provenance: &'a Provenance,
}

/// Why a report is not known to be stored; the client is told to come again.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    /// The host is in doubt from here on.
    #[error("the outcome of the write is unknown")]
    Unknown(#[source] kube::Error),
    /// Nothing was stored.
    #[error("the API server refused")]
    Refused(#[source] kube::Error),
    /// Nothing was stored.
    #[error("the host could not be read")]
    Unreadable(#[source] kube::Error),
    /// Nothing was stored; the watch will tell.
    #[error("the host is gone")]
    Gone,
    /// Others stored something each time.
    #[error("the host changed during each of {ATTEMPTS} attempts")]
    Contended,
    /// Nothing was stored.
    #[error("the process stood still, and the request may be an old one")]
    Old,
    /// Where a write was under way the host is in doubt from here on.
    #[error("there was no time left")]
    TooLate,
}

impl Observer {
    pub(super) fn new(
        api: HostApi,
        index: Arc<Index>,
        freshness: Arc<Freshness>,
        metrics: Arc<Metrics>,
        budgets: Arc<Budgets>,
        patches: Arc<Calls>,
    ) -> Self {
        Self {
            api,
            index,
            freshness,
            metrics,
            budgets,
            patches,
            permits: Semaphore::new(MAX_PATCHES),
            locks: HostLocks::default(),
            doubts: Doubts::default(),
            standstill: Standstill::new(Moment::now()),
        }
    }

    /// Has to be called once in each [`PULSE`](super::standstill::PULSE).
    pub(super) fn pulse(&self) {
        self.standstill.look(Moment::now());
    }

    /// What becomes of a report that needs no write; `None`: it needs one.
    ///
    /// A write under way counts as a doubt, so this says nothing that it could make wrong.
    pub(super) fn without_write(&self, host: &Host, reported: Reported<'_>) -> Option<Observed> {
        news_of(self.decide(host, reported)).err()
    }

    /// Stores what a client reported for `host`, where it is still news when its turn comes.
    ///
    /// May be dropped at any time: a host whose patch was under way then stays in doubt.
    pub(super) async fn observe(
        &self,
        host: &Host,
        reported: Reported<'_>,
    ) -> Result<Observed, ObserveError> {
        if self.standstill.look(Moment::now()) {
            return Err(ObserveError::Old);
        }
        if !self.budgets.may_change(&host.meta.uid) {
            return Ok(Observed::TooOften);
        }
        let _under_way = self.patches.begin();
        let _lock = self.locks.lock(&host.meta.key).await;
        // Never closed, so it cannot fail; and without a permit nothing is worse than slower.
        let _permit = self.permits.acquire().await.ok();
        self.store(host, reported).await
    }

    async fn store(&self, host: &Host, reported: Reported<'_>) -> Result<Observed, ObserveError> {
        // Whoever held the lock before may have stored something.
        let mut current = self.index.host(&host.meta.key).ok_or(ObserveError::Gone)?;
        let mut decision = self.decide(&current, reported);
        for attempt in 1..=ATTEMPTS {
            if current.meta.uid != host.meta.uid {
                return Err(ObserveError::Gone);
            }
            let news = match news_of(decision) {
                Ok(news) => news,
                Err(observed) => return Ok(observed),
            };
            let guard = match attempt {
                ATTEMPTS => Guard::ResourceVersion,
                _ => Guard::FormerValues,
            };
            if self
                .patch(&current, news, reported.provenance, guard)
                .await?
            {
                return Ok(Observed::Stored(news));
            }
            current = Arc::new(self.read(&current).await?);
            let reliance = Reliance {
                fresh: true,
                in_doubt: self.doubts.of(&current.meta.uid),
            };
            decision = decide(&current, reported.addresses, reported.signed, reliance);
        }
        match news_of(decision) {
            Err(observed) => Ok(observed),
            Ok(_) => Err(ObserveError::Contended),
        }
    }

    fn decide(&self, host: &Host, reported: Reported<'_>) -> Decision {
        let reliance = Reliance {
            fresh: self.freshness.heard_within(FRESH),
            in_doubt: self.doubts.of(&host.meta.uid),
        };
        decide(host, reported.addresses, reported.signed, reliance)
    }

    /// Sends one patch, once; false where a test of it failed.
    async fn patch(
        &self,
        host: &Host,
        news: News,
        provenance: &Provenance,
        guard: Guard,
    ) -> Result<bool, ObserveError> {
        let patch = guarded_patch(host, news, provenance, guard, Timestamp::now());
        let (uid, families) = (&host.meta.uid, news.addresses.families());
        let before = self.doubts.enter(uid, families);
        let sent = self.api.store(host, patch).await;
        self.metrics.count_api_write("observed");
        match sent {
            Ok(()) => {
                self.doubts.settle(uid, families);
                Ok(true)
            }
            Err(error) => match status_of(&error) {
                Some(409 | 422) => {
                    self.doubts.restore(uid, before);
                    Ok(false)
                }
                Some(404 | 410) => {
                    self.doubts.restore(uid, before);
                    Err(ObserveError::Gone)
                }
                Some(400..500) => {
                    self.doubts.restore(uid, before);
                    Err(ObserveError::Refused(error))
                }
                _ => {
                    self.doubts.forget_deleted(&self.index.view());
                    Err(ObserveError::Unknown(error))
                }
            },
        }
    }

    /// Reads the host from the API server, which is newer than the index.
    async fn read(&self, host: &Host) -> Result<Host, ObserveError> {
        let read = self
            .api
            .read(host)
            .await
            .map_err(ObserveError::Unreadable)?;
        read.ok_or(ObserveError::Gone)
    }
}

/// What to store, or what became of the report without.
fn news_of(decision: Decision) -> Result<News, Observed> {
    match decision {
        Decision::Store(news) => Ok(news),
        Decision::NoChange => Err(Observed::NoChange),
        Decision::Suspended => Err(Observed::Suspended),
        Decision::Replayed => Err(Observed::Replayed),
    }
}
