//! Events: transitions of conditions, changes of addresses, and calls in vain, within a budget.

mod failures;
mod sending;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::index::host::{CompactCondition, Host};
use crate::index::object::{Meta, ObjectKey};
use crate::index::zone::Zone;
use crate::leader::fence::Fence;
use crate::metrics::Metrics;
use crate::name::Fqdn;
use failures::Told;
pub use sending::{EventQueue, send};
use sending::{Failure, Item, Senders};

/// Events a second of those that are neither warnings nor of zones; of all there is one more, so
/// that those are sent in any case.
const OTHERS_BUDGET: NonZeroU32 = NonZeroU32::new(4).unwrap();

/// What happens again and again is told at most once per host in this time.
const PAUSE: Duration = Duration::from_secs(600);

/// Hosts for which that is remembered: more than the budget lets through in that time.
const MOST_REMEMBERED: usize = 3000;

/// The kind of zones.
const ZONE: &str = "DynamicZone";

/// What happens again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Repeated {
    AddressChanged,
    ClientAddressNotPublic,
}

/// When what was last told, by the UID of the host.
type LastTold = HashMap<(Repeated, Arc<str>), Instant>;

/// Takes Events from everywhere. Those of zones and then warnings go first, and wait for their
/// turn; the others are dropped and counted where they are over the budget.
#[derive(Clone)]
pub struct Events {
    senders: Arc<Senders>,
    others_budget: Arc<DefaultDirectRateLimiter>,
    told: Arc<Mutex<LastTold>>,
    fence: Arc<Fence>,
    metrics: Arc<Metrics>,
}

impl Events {
    pub fn new(metrics: Arc<Metrics>) -> (Self, EventQueue) {
        let (senders, queue) = sending::queues();
        let events = Self {
            senders: Arc::new(senders),
            others_budget: Arc::new(RateLimiter::direct(Quota::per_second(OTHERS_BUDGET))),
            told: Arc::default(),
            fence: Arc::new(Fence::open()),
            metrics,
        };
        (events, queue)
    }

    /// The same, for a writer: what it tells is not sent any more when its fence is closed.
    pub fn behind(&self, fence: Arc<Fence>) -> Self {
        Self {
            fence,
            ..self.clone()
        }
    }

    /// Whether it will be told.
    fn publish(
        &self,
        about: ObjectReference,
        type_: EventType,
        reason: &str,
        note: String,
    ) -> bool {
        let item = self.item(about, type_, reason, note);
        match (item.about.kind.as_deref(), type_) {
            (Some(ZONE), _) => self.queue(&self.senders.zones, item),
            (_, EventType::Warning) => self.queue(&self.senders.warnings, item),
            (_, EventType::Normal) => self.queue_other(item),
        }
    }

    fn item(&self, about: ObjectReference, type_: EventType, reason: &str, note: String) -> Item {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        Item {
            event,
            about,
            fence: self.fence.clone(),
        }
    }

    fn queue_other(&self, item: Item) -> bool {
        if self.others_budget.check().is_err() {
            self.metrics.count_dropped_event();
            return false;
        }
        self.queue(&self.senders.others, item)
    }

    fn queue(&self, queue: &mpsc::Sender<Item>, item: Item) -> bool {
        let is_queued = queue.try_send(item).is_ok();
        if !is_queued {
            self.metrics.count_dropped_event();
        }
        is_queued
    }

    /// At most once per host in [`PAUSE`].
    fn publish_seldom(&self, what: Repeated, host: &Host, type_: EventType, note: String) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < PAUSE);
        let this = (what, host.meta.uid.clone());
        if told.contains_key(&this) || told.len() >= MOST_REMEMBERED {
            return self.metrics.count_dropped_event();
        }
        let reason = match what {
            Repeated::AddressChanged => "AddressChanged",
            Repeated::ClientAddressNotPublic => "ClientAddressNotPublic",
        };
        if self.publish(host_reference(&host.meta), type_, reason, note) {
            told.insert(this, now);
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
            let about = reference(&zone.meta, ZONE);
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
            let about = reference(&zone.meta, ZONE);
            self.publish(about, EventType::Warning, "DeletionPaused", note);
        }
    }

    /// The published address is another one.
    pub fn address_changed(&self, host: &Host, note: String) {
        self.publish_seldom(Repeated::AddressChanged, host, EventType::Normal, note);
    }

    /// A client declares no address, and that of its connection is not published.
    pub fn client_address_not_public(&self, host: &Host, source: Option<IpAddr>) {
        let source = source.map_or_else(
            || "an address that is not known".to_owned(),
            |source| format!("{source}, which is not published"),
        );
        let note = format!(
            "a client declares no address and comes from {source}: have it declare one, or see to \
             it that the proxies in between are trusted and tell the client's"
        );
        let what = Repeated::ClientAddressNotPublic;
        self.publish_seldom(what, host, EventType::Warning, note);
    }

    /// A request that names these has no valid key. Whether there are such hosts is looked up
    /// later, so that the answer takes the same time.
    pub fn authentication_failed(&self, names: Vec<Fqdn>, source: Option<IpAddr>) {
        if !names.is_empty() {
            // Where there are too many, it is enough that some are told of.
            let _ = self.senders.failures.try_send(Failure { names, source });
        }
    }

    /// Whoever calls has the say in how many of these there are: they have no precedence.
    fn authentication_failures(&self, host: &Host, told: &Told) {
        let Told {
            requests, source, ..
        } = told;
        tracing::warn!(
            host = %host.meta.key,
            requests,
            source = source.map(tracing::field::display),
            "requests without a valid key name the host"
        );
        let from = source.map_or_else(String::new, |source| format!("; the last from {source}"));
        let note = format!("{requests} requests that name this host had no valid key{from}");
        let about = host_reference(&host.meta);
        self.queue_other(self.item(about, EventType::Warning, "AuthFailures", note));
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
