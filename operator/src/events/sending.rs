//! In what order Events go out, how many, and the one place that sends them.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dynhost_crds::CONTROLLER_FIELD_MANAGER;
use governor::clock::{Clock as _, DefaultClock};
use governor::{Quota, RateLimiter};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Events;
use super::failures::Failures;
use crate::deadline::{CALL, within};
use crate::index::Index;
use crate::leader::fence::Fence;
use crate::name::Fqdn;

/// Events a second in all.
const BUDGET: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Events of zones that wait to be sent.
const ZONES: usize = 64;

/// Warnings about hosts that wait to be sent: what is told of more at once, zones and metrics tell.
const WARNINGS: usize = 512;

/// Other Events that wait to be sent.
const OTHERS: usize = 64;

/// Requests without a valid key whose names were not looked up yet.
const FAILURES: usize = 256;

/// How often it is looked which failures are to be told.
const LOOK: Duration = Duration::from_secs(5);

/// An Event, whom it is about, and until when it may be sent.
pub(super) struct Item {
    pub(super) event: Event,
    pub(super) about: ObjectReference,
    pub(super) fence: Arc<Fence>,
}

/// What was named by a request without a valid key.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) names: Vec<Fqdn>,
    pub(super) source: Option<IpAddr>,
}

/// Where Events wait.
pub(super) struct Senders {
    pub(super) zones: mpsc::Sender<Item>,
    pub(super) warnings: mpsc::Sender<Item>,
    pub(super) others: mpsc::Sender<Item>,
    pub(super) failures: mpsc::Sender<Failure>,
}

/// What waits to be sent.
pub struct EventQueue {
    zones: mpsc::Receiver<Item>,
    warnings: mpsc::Receiver<Item>,
    others: mpsc::Receiver<Item>,
    failures: mpsc::Receiver<Failure>,
}

pub(super) fn queues() -> (Senders, EventQueue) {
    let (zones, zones_queue) = mpsc::channel(ZONES);
    let (warnings, warnings_queue) = mpsc::channel(WARNINGS);
    let (others, others_queue) = mpsc::channel(OTHERS);
    let (failures, failures_queue) = mpsc::channel(FAILURES);
    let senders = Senders {
        zones,
        warnings,
        others,
        failures,
    };
    let queue = EventQueue {
        zones: zones_queue,
        warnings: warnings_queue,
        others: others_queue,
        failures: failures_queue,
    };
    (senders, queue)
}

/// What there is to do.
pub(super) enum Word {
    Send(Box<Item>),
    Failure(Failure),
}

impl EventQueue {
    /// The most urgent; `None`: all senders are gone.
    pub(super) async fn next(&mut self) -> Option<Word> {
        tokio::select! {
            biased;
            Some(item) = self.zones.recv() => Some(Word::Send(Box::new(item))),
            Some(item) = self.warnings.recv() => Some(Word::Send(Box::new(item))),
            Some(item) = self.others.recv() => Some(Word::Send(Box::new(item))),
            Some(failure) = self.failures.recv() => Some(Word::Failure(failure)),
            else => None,
        }
    }
}

/// Sends Events within the budget, for ever.
pub async fn send(client: kube::Client, index: Arc<Index>, events: Events, mut queue: EventQueue) {
    let recorder = Recorder::new(client, Reporter::from(CONTROLLER_FIELD_MANAGER));
    let budget = RateLimiter::direct(Quota::per_second(BUDGET));
    let clock = DefaultClock::default();
    let mut failures = Failures::default();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let Item {
            event,
            about,
            fence,
        } = tokio::select! {
            Some(word) = queue.next() => match word {
                Word::Send(item) => *item,
                Word::Failure(Failure { names, source }) => {
                    for host in names.iter().flat_map(|name| index.view().hosts_of_name(name)) {
                        failures.add(host.meta.key.clone(), source, Instant::now());
                    }
                    continue;
                }
            },
            _ = look.tick() => {
                for told in failures.due(Instant::now()) {
                    if let Some(host) = index.host(&told.host) {
                        events.authentication_failures(&host, &told);
                    }
                }
                continue;
            }
        };
        while let Err(spent) = budget.check() {
            tokio::time::sleep(spent.wait_time_from(clock.now())).await;
        }
        if let Err(error) = fence.check() {
            tracing::debug!(%error, reason = event.reason, "event not sent");
            continue;
        }
        if let Err(error) = within(CALL, recorder.publish(&event, &about)).await {
            events.metrics.count_failed_event();
            tracing::debug!(%error, reason = event.reason, "event not sent");
        }
    }
}
