//! Notes when clients were seen that only confirm what is stored: behind the answers, so that no
//! answer waits for it or depends on it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::host_api::{HostApi, status_of};
use crate::index::Index;
use crate::index::host::Host;
use crate::index::object::ObjectKey;
use crate::metrics::Metrics;
use crate::update::heartbeat::{heartbeat_patch, is_due};
use crate::update::patch::Guard;

/// Writes in flight: reports, which clients wait for, shall find the API server free.
const IN_FLIGHT: usize = 2;

/// Pauses before a host's failed write is tried again: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Confirmations that are to be noted, one for each host.
pub(super) struct Heartbeats {
    api: HostApi,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

/// No more than there are hosts: one that is gone leaves at its next attempt.
#[derive(Default)]
struct Waiting {
    /// By the host's UID, those being written included.
    sightings: HashMap<Arc<str>, Sighting>,
    /// When each of the others is written.
    due: BTreeSet<(Instant, Arc<str>)>,
}

/// A host whose client was seen.
#[derive(Clone)]
struct Sighting {
    host: ObjectKey,
    at: Timestamp,
    /// Failed ones.
    attempts: u32,
}

/// Why a sighting is not known to be noted.
#[derive(Debug, thiserror::Error)]
enum NotNoted {
    #[error("the API server refused or did not answer")]
    Failed(#[from] kube::Error),
    /// Others stored something each time.
    #[error("the host changed during each attempt")]
    Contended,
}

impl Heartbeats {
    pub(super) fn new(api: HostApi, index: Arc<Index>, metrics: Arc<Metrics>) -> Self {
        Self {
            api,
            index,
            metrics,
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// A client of the host has confirmed what is stored.
    pub(super) fn seen(&self, host: &Host, now: Timestamp) {
        if !is_due(host, now) {
            return;
        }
        let mut waiting = self.waiting();
        let uid = &host.meta.uid;
        if let Some(known) = waiting.sightings.get_mut(uid) {
            known.at = now;
            return;
        }
        let sighting = Sighting {
            host: host.meta.key.clone(),
            at: now,
            attempts: 0,
        };
        waiting.sightings.insert(uid.clone(), sighting);
        waiting.due.insert((Instant::now(), uid.clone()));
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Writes what comes until `stop`; what then waits is lost, and the client's next call makes up
    /// for it.
    pub(super) async fn write(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut writing = FuturesUnordered::new();
        loop {
            while writing.len() < IN_FLIGHT
                && let Some((uid, sighting)) = self.take()
            {
                writing.push(async move {
                    let noted = self.note(&uid, &sighting).await;
                    (uid, noted)
                });
            }
            let may_write = writing.len() < IN_FLIGHT;
            let next = self.waiting().due.first().map(|(at, _)| *at);
            let next = next.filter(|_| may_write);
            tokio::select! {
                () = &mut stop => return,
                () = self.arrived.notified(), if may_write => {}
                Some((uid, noted)) = writing.next(), if !writing.is_empty() => {
                    self.settle(uid, noted);
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// The next one that is due.
    fn take(&self) -> Option<(Arc<str>, Sighting)> {
        let mut waiting = self.waiting();
        let due = waiting
            .due
            .first()
            .is_some_and(|(at, _)| *at <= Instant::now());
        let (_, uid) = due.then(|| waiting.due.pop_first())??;
        let sighting = waiting.sightings.get(&uid)?.clone();
        Some((uid, sighting))
    }

    fn settle(&self, uid: Arc<str>, noted: Result<(), NotNoted>) {
        let mut waiting = self.waiting();
        let Err(error) = noted else {
            waiting.sightings.remove(&uid);
            return;
        };
        self.metrics.count_failed_heartbeat();
        let Some(sighting) = waiting.sightings.get_mut(&uid) else {
            return;
        };
        let (first, last) = BACKOFF;
        let pause = first
            .saturating_mul(1 << sighting.attempts.min(10))
            .min(last);
        sighting.attempts += 1;
        tracing::debug!(host = %sighting.host, %error, "client not noted as seen");
        waiting.due.insert((Instant::now() + pause, uid));
    }

    /// Stores the time, unless it is no news any more.
    async fn note(&self, uid: &str, sighting: &Sighting) -> Result<(), NotNoted> {
        let mut host = self.index.host(&sighting.host);
        // The last one: also for a time that is stored in another spelling than ours.
        for guard in [Guard::FormerValues, Guard::ResourceVersion] {
            let Some(current) = host.filter(|host| *host.meta.uid == *uid) else {
                return Ok(());
            };
            let Some(patch) = heartbeat_patch(&current, sighting.at, guard) else {
                return Ok(());
            };
            self.metrics.count_api_write("heartbeat");
            match self.api.store(&current, patch).await {
                Ok(()) => return Ok(()),
                Err(error) => match status_of(&error) {
                    Some(404 | 410) => return Ok(()),
                    Some(409 | 422) => {}
                    _ => return Err(error.into()),
                },
            }
            host = self.api.read(&current).await?.map(Arc::new);
        }
        Err(NotNoted::Contended)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
