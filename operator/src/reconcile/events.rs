//! Events: transitions of conditions and changes of addresses, within a budget.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynhost_crds::CONTROLLER_FIELD_MANAGER;
use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::deadline::{CALL, within};
use crate::index::host::{CompactCondition, Host};
use crate::index::object::{Meta, ObjectKey};
use crate::index::zone::Zone;
use crate::metrics::Metrics;

/// Events a second in all.
const BUDGET: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// At most one AddressChanged per host in this time.
const ADDRESS_CHANGED_PAUSE: Duration = Duration::from_secs(600);

/// Hosts whose last AddressChanged is remembered: as many as the budget lets through in that time.
const MOST_REMEMBERED: usize = 3000;

/// Events that wait to be sent.
const QUEUE: usize = 64;

/// Takes Events from everywhere; what is over the budget is dropped and counted.
#[derive(Clone)]
pub struct Events {
    waiting: mpsc::Sender<(Event, ObjectReference)>,
    budget: Arc<DefaultDirectRateLimiter>,
    address_changed: Arc<Mutex<HashMap<Arc<str>, Instant>>>,
    metrics: Arc<Metrics>,
}

/// The Events that wait to be sent.
pub type EventQueue = mpsc::Receiver<(Event, ObjectReference)>;

impl Events {
    pub fn new(metrics: Arc<Metrics>) -> (Self, EventQueue) {
        let (waiting, receiver) = mpsc::channel(QUEUE);
        let events = Self {
            waiting,
            budget: Arc::new(RateLimiter::direct(Quota::per_second(BUDGET))),
            address_changed: Arc::default(),
            metrics,
        };
        (events, receiver)
    }

    fn publish(&self, about: ObjectReference, type_: EventType, reason: &str, note: String) {
        if self.budget.check().is_err() {
            return self.metrics.count_dropped_event();
        }
        self.queue(about, type_, reason, note);
    }

    fn queue(&self, about: ObjectReference, type_: EventType, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if self.waiting.try_send((event, about)).is_err() {
            self.metrics.count_dropped_event();
        }
    }

    /// Tells every condition, but for the summary, that now has another reason or status.
    pub fn host_conditions_changed(&self, host: &Host, now: &[CompactCondition]) {
        for condition in now.iter().filter(|c| c.type_ != ConditionType::Ready) {
            let former = host.condition(condition.type_);
            let same = former
                .is_some_and(|f| (f.status, f.reason) == (condition.status, condition.reason));
            // That is the zone's to tell, once for them all.
            if condition.reason == Reason::DeletionPaused {
                continue;
            }
            // At first sight only a failure is news: a thousand new hosts would use up the budget.
            if same || (former.is_none() && condition.status != ConditionStatus::False) {
                continue;
            }
            let type_ = event_type(condition.status);
            let about = host_reference(&host.meta);
            self.publish(
                about,
                type_,
                condition.reason.as_str(),
                condition.message().to_owned(),
            );
        }
    }

    /// Tells a zone's Ready where it now has another reason or status, and that deleting is paused.
    pub fn zone_conditions_changed(&self, zone: &Zone, now: &[CompactCondition]) {
        for condition in now.iter().filter(|c| c.type_ == ConditionType::Ready) {
            let former = zone.conditions.iter().find(|c| c.type_ == condition.type_);
            if former.is_some_and(|f| (f.status, f.reason) == (condition.status, condition.reason))
            {
                continue;
            }
            let about = reference(&zone.meta, "DynamicZone");
            let type_ = event_type(condition.status);
            self.publish(
                about,
                type_,
                condition.reason.as_str(),
                condition.message().to_owned(),
            );
        }
        let pause = |all: &[CompactCondition]| {
            let mut all = all.iter();
            let pause = all.find(|c| c.type_ == ConditionType::DeletionPaused);
            pause.map(|pause| pause.message().to_owned())
        };
        if let (None, Some(note)) = (pause(&zone.conditions), pause(now)) {
            let about = reference(&zone.meta, "DynamicZone");
            // Outside of the budget, which the hosts of a mass may have used up.
            self.queue(about, EventType::Warning, "DeletionPaused", note);
        }
    }

    /// The published address is another one; told at most once per host in ten minutes.
    pub fn address_changed(&self, host: &Host, note: String) {
        let now = Instant::now();
        let mut told = self
            .address_changed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < ADDRESS_CHANGED_PAUSE);
        if told.contains_key(&host.meta.uid) || told.len() >= MOST_REMEMBERED {
            return self.metrics.count_dropped_event();
        }
        told.insert(host.meta.uid.clone(), now);
        drop(told);
        let about = host_reference(&host.meta);
        self.publish(about, EventType::Normal, "AddressChanged", note);
    }

    /// An update key was generated: a new one, or another one after the former was deleted.
    pub fn key_generated(&self, host: &Host, secret: &ObjectKey) {
        let note = format!("a new update key is in the Secret {}", secret.name);
        let about = host_reference(&host.meta);
        self.publish(about, EventType::Normal, "KeyGenerated", note);
    }

    /// A deleted host was let go although its records may still be in DNS.
    pub fn records_left(&self, host: &Host, note: String) {
        self.publish(
            host_reference(&host.meta),
            EventType::Warning,
            "RecordsLeft",
            note,
        );
    }
}

/// Sends Events until every sender is gone.
pub async fn send(client: kube::Client, mut queue: EventQueue) {
    let recorder = Recorder::new(client, Reporter::from(CONTROLLER_FIELD_MANAGER));
    while let Some((event, about)) = queue.recv().await {
        if let Err(error) = within(CALL, recorder.publish(&event, &about)).await {
            tracing::debug!(%error, reason = event.reason, "event not sent");
        }
    }
}

fn event_type(status: ConditionStatus) -> EventType {
    match status {
        ConditionStatus::False => EventType::Warning,
        ConditionStatus::True | ConditionStatus::Unknown => EventType::Normal,
    }
}

fn host_reference(meta: &Meta) -> ObjectReference {
    reference(meta, "DynamicHost")
}

fn reference(meta: &Meta, kind: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{}/v1alpha1", dynhost_crds::GROUP)),
        kind: Some(kind.to_owned()),
        name: Some(meta.key.name.to_string()),
        namespace: Some(meta.key.namespace.to_string()),
        uid: Some(meta.uid.to_string()),
        resource_version: Some(meta.resource_version.to_string()),
        field_path: None,
    }
}
