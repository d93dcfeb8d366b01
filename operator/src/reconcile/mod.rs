//! From stored objects to DNS, conditions and Events.
//!
//! ```text
//! index -> queue -> sync_host: look -> claim -> publish -> status
//!                   sync_zone: finalizer -> probe -> status
//! guard: what would remove many names at once waits for the zone's administrator
//! drift -> queue (beside: a pass through each zone's DNS)
//! ```
//!
//! Each object is looked at by one task at a time, and the hosts of each zone have a share of the
//! looks of their own: some hundreds of one zone can wait for its name server at a time, whose
//! changes so go out together, and hold up no host of another. What has been written to DNS is known here
//! before `status.published` says so; after a restart, `status` and the marker in DNS tell it.

mod cleanup;
mod consent;
mod drift;
pub mod events;
mod finalizer;
mod guard;
mod hold_back;
mod host;
mod key;
mod permit;
pub mod problem;
mod progress;
mod publish;
mod queue;
mod staleness;
pub mod status;
mod termination;
mod zone;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::yield_now;

use crate::index::object::ObjectKey;
use crate::index::{Affected, Index};
use crate::leader::client::Fenced;
use crate::metrics::Metrics;
use crate::under_way::Calls;
use crate::watch::Freshness;
use drift::Drift;
use events::Events;
use permit::Guarding;
use progress::Progresses;
use queue::{Limits, Queue};
use status::{HostOutcome, Outcome};
use zone::Zones;

/// Objects looked at at the same time: of one zone as many as fill the messages that its lane has
/// in flight; in all as many as memory allows, at some kB each.
const LOOKS: Limits = Limits {
    of_share: 400,
    in_all: 1200,
    reserved: 16,
};

/// Hosts that a sweep has looked at next, where nothing else can be.
const CHUNK: usize = 256;

/// Calls of the API server at the same time: each in flight has a connection of its own.
const CALLS: usize = 64;

/// Objects that may have to wait for the same server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Share {
    Zones,
    HostsOf(ObjectKey),
    /// Hosts that are gone, or whose spec names no zone.
    Others,
}

/// When an object is looked at again, unless it changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// When it changes.
    Idle,
    After(Duration),
}

impl Next {
    /// The earlier of two.
    fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(one), Self::After(two)) => Self::After(one.min(two)),
            (Self::Idle, next) | (next, Self::Idle) => next,
        }
    }
}

/// The one writer of DNS and of the controller's part of status.
pub struct Controller {
    client: kube::Client,
    index: Arc<Index>,
    freshness: Arc<Freshness>,
    metrics: Arc<Metrics>,
    events: Events,
    zones: Zones,
    outcomes: mpsc::UnboundedSender<HostOutcome>,
    /// What waits for a name server.
    dns_changes: Arc<Calls>,
    progress: Progresses,
    guarding: Guarding,
    calls: Semaphore,
    drift: Drift,
    /// Objects to look at again, from within.
    again: mpsc::UnboundedSender<Affected>,
    told_again: tokio::sync::Mutex<mpsc::UnboundedReceiver<Affected>>,
}

impl Controller {
    /// Remembers nothing: it begins with what objects and DNS say. Nothing is changed, there or
    /// here, when the fence is closed.
    pub fn new(
        Fenced { client, fence }: Fenced,
        index: Arc<Index>,
        freshness: Arc<Freshness>,
        metrics: Arc<Metrics>,
        events: Events,
        outcomes: mpsc::UnboundedSender<HostOutcome>,
        drift_interval: Duration,
    ) -> Self {
        let (again, told_again) = mpsc::unbounded_channel();
        Self {
            zones: Zones::new(client.clone(), fence),
            client,
            index,
            freshness,
            metrics,
            events,
            outcomes,
            dns_changes: Arc::default(),
            progress: Progresses::default(),
            guarding: Guarding::default(),
            calls: Semaphore::new(CALLS),
            drift: Drift::new(drift_interval),
            again,
            told_again: tokio::sync::Mutex::new(told_again),
        }
    }

    /// What waits for a name server.
    pub fn dns_changes(&self) -> Arc<Calls> {
        self.dns_changes.clone()
    }

    /// Looks at everything there is, and then at what is affected, until `stop`; then finishes what
    /// is under way, for a limited time.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        // Before all is listed, a zone or a Secret not yet seen would look like a missing one.
        while !self.freshness.is_synced() {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        let mut told_again = self.told_again.lock().await;
        let mut queue = Queue::new(LOOKS);
        let mut affected = self.index.subscribe();
        let zones: Vec<_> = self.index.view().zones().cloned().collect();
        for zone in zones {
            queue.push(Affected::Zone(zone), Share::Zones, Instant::now());
        }
        // The hosts follow as fast as they are looked at: they need not all wait in the queue.
        let mut sweep = Some(0);
        let mut looked: HashMap<ObjectKey, Instant> = HashMap::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            if let Some(place) = sweep
                && queue.next_due().is_none_or(|due| due > now)
            {
                let (hosts, next) = self.index.view().hosts_from(place, CHUNK);
                for host in hosts {
                    self.enqueue(&mut queue, &looked, Affected::Host(host));
                }
                sweep = next;
            }
            while let Some(object) = queue.pop(now) {
                under_way.push(self.look_at(object));
            }
            let next_due = queue.next_due();
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(object) = affected.recv() => self.enqueue(&mut queue, &looked, object),
                Some(object) = told_again.recv() => self.enqueue(&mut queue, &looked, object),
                Some((object, next)) = under_way.next(), if !under_way.is_empty() => {
                    queue.done(&object);
                    if let Affected::Zone(key) = &object {
                        match self.index.zone(key) {
                            Some(_) => drop(looked.insert(key.clone(), Instant::now())),
                            None => drop(looked.remove(key)),
                        }
                    }
                    if let Next::After(pause) = next {
                        let share = self.share(&object);
                        queue.push(object, share, Instant::now() + pause);
                    }
                }
                // All that are looked at wait for something: there may be others that need not.
                () = yield_now(), if sweep.is_some() => {}
                () = sleep_until(next_due), if next_due.is_some() => {}
            }
        }
        let rest = async { while under_way.next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_millis(500), rest).await;
    }

    /// Hosts at once; a zone some time after its last look, so that a burst of its hosts is one
    /// look.
    fn enqueue(
        &self,
        queue: &mut Queue<Affected, Share>,
        looked: &HashMap<ObjectKey, Instant>,
        object: Affected,
    ) {
        let now = Instant::now();
        let at = match &object {
            Affected::Host(_) => now,
            Affected::Zone(key) => looked
                .get(key)
                .map_or(now, |last| now.max(*last + zone::PAUSE)),
        };
        let share = self.share(&object);
        queue.push(object, share, at);
    }

    fn share(&self, object: &Affected) -> Share {
        let Affected::Host(key) = object else {
            return Share::Zones;
        };
        let host = self.index.host(key);
        let spec = host.as_ref().and_then(|host| host.spec.as_ref().ok());
        spec.map_or(Share::Others, |spec| Share::HostsOf(spec.zone.clone()))
    }

    /// Waits until another call of the API server may be made, which ends with the permit.
    async fn may_call(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.calls.acquire().await.ok()
    }

    /// Hundreds of hosts wait for their names to be written at the same time: what is large and
    /// does not wait for that is in boxes, here and below.
    async fn look_at(&self, object: Affected) -> (Affected, Next) {
        let next = match &object {
            Affected::Host(key) => self.sync_host(key).await,
            Affected::Zone(key) => Box::pin(self.sync_zone(key)).await,
        };
        (object, next)
    }

    fn queue_status(&self, host: ObjectKey, outcome: Outcome) {
        // The receiver is gone only while the process ends.
        let _ = self.outcomes.send((host, Box::new(outcome)));
    }

    fn look_at_zone(&self, zone: &ObjectKey) {
        let _ = self.again.send(Affected::Zone(zone.clone()));
    }

    /// The zone's provider has come back: its hosts need not wait for their own next attempt.
    fn retry_hosts_of(&self, zone: &ObjectKey) {
        let view = self.index.view();
        for host in view.hosts_of_zone(zone) {
            if self.progress.repeat(&host.meta.key) {
                let _ = self.again.send(Affected::Host(host.meta.key.clone()));
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
