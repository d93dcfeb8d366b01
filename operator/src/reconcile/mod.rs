//! From stored objects to DNS, conditions and Events.
//!
//! ```text
//! index -> queue -> sync_host: look -> claim -> publish -> status
//!                   sync_zone: finalizer -> probe -> status
//! ```
//!
//! Each object is looked at by one task at a time. What has been written to DNS is known here
//! before `status.published` says so; after a restart, `status` and the marker in DNS tell it.

mod cleanup;
pub mod events;
mod finalizer;
mod hold_back;
mod host;
mod key;
pub mod problem;
mod publish;
mod queue;
pub mod status;
mod zone;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::index::host::{Host, PublishedState};
use crate::index::object::{Meta, ObjectKey};
use crate::index::{Affected, Index};
use crate::metrics::Metrics;
use crate::watch::Freshness;
use events::Events;
use problem::Problem;
use queue::Queue;
use status::Outcome;
use zone::Zones;

/// Objects looked at at the same time.
const CONCURRENCY: usize = 64;

/// How long a deleted host waits for its zone or credentials to come back before it is let go.
const LET_GO: Duration = Duration::from_secs(60);

/// When an object is looked at again, unless it changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// When it changes.
    Idle,
    After(Duration),
}

/// The one writer of DNS and of the controller's part of status.
pub struct Controller {
    client: kube::Client,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
    events: Events,
    zones: Zones,
    outcomes: mpsc::UnboundedSender<(ObjectKey, Outcome)>,
    progress: Mutex<HashMap<ObjectKey, Progress>>,
    /// Objects to look at again, from within.
    again: mpsc::UnboundedSender<Affected>,
    told_again: tokio::sync::Mutex<mpsc::UnboundedReceiver<Affected>>,
}

/// What is known of a host beyond its object.
#[derive(Debug)]
struct Progress {
    uid: Arc<str>,
    /// What is in DNS, as of our last write.
    published: Option<PublishedState>,
    /// An attempt has failed since: DNS may say something else.
    in_doubt: bool,
    /// Failed attempts in a row.
    failures: u32,
    /// Since when its deletion cannot go on.
    blocked_since: Option<Instant>,
}

impl Controller {
    pub fn new(
        client: kube::Client,
        index: Arc<Index>,
        metrics: Arc<Metrics>,
        events: Events,
        outcomes: mpsc::UnboundedSender<(ObjectKey, Outcome)>,
    ) -> Self {
        let (again, told_again) = mpsc::unbounded_channel();
        Self {
            client,
            index,
            metrics,
            events,
            zones: Zones::default(),
            outcomes,
            progress: Mutex::default(),
            again,
            told_again: tokio::sync::Mutex::new(told_again),
        }
    }

    /// Looks at what is affected, until `stop`; then finishes what is under way, for a limited time.
    pub async fn run(
        &self,
        freshness: &Freshness,
        mut affected: mpsc::UnboundedReceiver<Affected>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = std::pin::pin!(stop);
        let mut told_again = self.told_again.lock().await;
        let mut queue = Queue::default();
        let mut looked: HashMap<ObjectKey, Instant> = HashMap::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            // Before all is listed, a zone or a Secret not yet seen would look like a missing one.
            let ready = freshness.is_synced();
            while ready
                && under_way.len() < CONCURRENCY
                && let Some(object) = queue.pop(now)
            {
                under_way.push(self.look_at(object));
            }
            let next_due = match ready {
                true if under_way.len() < CONCURRENCY => queue.next_due(),
                true => None,
                false => Some(now + Duration::from_millis(10)),
            };
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(object) = affected.recv() => enqueue(&mut queue, &looked, object),
                Some(object) = told_again.recv() => enqueue(&mut queue, &looked, object),
                Some((object, next)) = under_way.next(), if !under_way.is_empty() => {
                    queue.done(&object);
                    if let Affected::Zone(key) = &object {
                        looked.insert(key.clone(), Instant::now());
                    }
                    if let Next::After(pause) = next {
                        queue.push(object, Instant::now() + pause);
                    }
                }
                () = sleep_until(next_due), if next_due.is_some() => {}
            }
        }
        let rest = async { while under_way.next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_millis(500), rest).await;
    }

    async fn look_at(&self, object: Affected) -> (Affected, Next) {
        let next = match &object {
            Affected::Host(key) => self.sync_host(key).await,
            Affected::Zone(key) => self.sync_zone(key).await,
        };
        (object, next)
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<ObjectKey, Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in DNS: as of our last write, or else as status says.
    fn published_state(&self, host: &Host) -> Option<PublishedState> {
        match self.progress().get(&host.meta.key) {
            Some(progress) if progress.uid == host.meta.uid => progress.published.clone(),
            _ => host.published.clone(),
        }
    }

    /// Whether DNS may say something else than [`Self::published_state`].
    fn is_in_doubt(&self, host: &Host) -> bool {
        match self.progress().get(&host.meta.key) {
            Some(progress) if progress.uid == host.meta.uid => progress.in_doubt,
            _ => host.has_changed_since_published(),
        }
    }

    fn remember_published(&self, meta: &Meta, published: Option<PublishedState>) {
        let progress = Progress {
            uid: meta.uid.clone(),
            published,
            in_doubt: false,
            failures: 0,
            blocked_since: None,
        };
        self.progress().insert(meta.key.clone(), progress);
    }

    fn remember_problem(&self, meta: &Meta, problem: &Problem) -> Next {
        let published = self
            .index
            .host(&meta.key)
            .and_then(|h| self.published_state(&h));
        let mut all = self.progress();
        // What is known of a former host of this name says nothing about this one.
        if all
            .get(&meta.key)
            .is_some_and(|former| former.uid != meta.uid)
        {
            all.remove(&meta.key);
        }
        let progress = all.entry(meta.key.clone()).or_insert_with(|| Progress {
            uid: meta.uid.clone(),
            published,
            in_doubt: true,
            failures: 0,
            blocked_since: None,
        });
        progress.in_doubt = true;
        let next = problem
            .retry(progress.failures)
            .map_or(Next::Idle, Next::After);
        progress.failures = progress.failures.saturating_add(1);
        match problem.lets_go() {
            true => drop(progress.blocked_since.get_or_insert_with(Instant::now)),
            false => progress.blocked_since = None,
        }
        next
    }

    fn blocked_too_long(&self, meta: &Meta) -> bool {
        let all = self.progress();
        let since = all
            .get(&meta.key)
            .and_then(|progress| progress.blocked_since);
        since.is_some_and(|since| since.elapsed() >= LET_GO)
    }

    fn forget(&self, host: &ObjectKey) {
        self.progress().remove(host);
    }

    fn queue_status(&self, host: ObjectKey, outcome: Outcome) {
        // The receiver is gone only while the process ends.
        let _ = self.outcomes.send((host, outcome));
    }

    fn look_at_zone(&self, zone: &ObjectKey) {
        let _ = self.again.send(Affected::Zone(zone.clone()));
    }

    /// The zone's provider has come back: its hosts need not wait for their own next attempt.
    fn retry_hosts_of(&self, zone: &ObjectKey) {
        let failed: Vec<_> = {
            let progress = self.progress();
            let view = self.index.view();
            let hosts = view.hosts_of_zone(zone).map(|host| &host.meta.key);
            let failed = hosts.filter(|key| progress.get(*key).is_some_and(|p| p.failures > 0));
            failed.cloned().collect()
        };
        for host in failed {
            let _ = self.again.send(Affected::Host(host));
        }
    }
}

/// Hosts at once; a zone some time after its last look, so that a burst of its hosts is one look.
fn enqueue(queue: &mut Queue<Affected>, looked: &HashMap<ObjectKey, Instant>, object: Affected) {
    let now = Instant::now();
    let at = match &object {
        Affected::Host(_) => now,
        Affected::Zone(key) => looked
            .get(key)
            .map_or(now, |last| now.max(*last + zone::PAUSE)),
    };
    queue.push(object, at);
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
