//! Events: transitions, told once. In stacks with little else to tell, as Events share a budget.

use anyhow::{Context, Result};
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Stack, ZoneOptions, await_condition, stack::LIMIT};
use k8s_openapi::api::events::v1::Event;
use kube::Api;

use super::live_host::LiveHost;
use super::restarted_stack::restarted_stack;

/// The Events about an object.
pub(crate) async fn events(stack: &Stack, namespace: &str, name: &str) -> Result<Vec<Event>> {
    let events: Api<Event> = Api::namespaced(stack.client().await?, namespace);
    let mut events = events.list(&Default::default()).await?.items;
    events.retain(|event| {
        let regarding = event.regarding.as_ref();
        regarding.is_some_and(|object| object.name.as_deref() == Some(name))
    });
    Ok(events)
}

/// Waits until an Event with this reason was sent about an object.
pub(crate) async fn await_event(
    stack: &Stack,
    namespace: &str,
    name: &str,
    reason: &str,
) -> Result<Event> {
    let what = format!("Event {reason} about {name}");
    await_condition(&what, LIMIT, async || {
        let mut events = events(stack, namespace, name).await?;
        let reasons: Vec<_> = events.iter().map(|event| event.reason.clone()).collect();
        events.retain(|event| event.reason.as_deref() == Some(reason));
        let event = events.pop();
        Ok(Some(
            event.with_context(|| format!("there are {reasons:?}"))?,
        ))
    })
    .await
}

#[tokio::test]
async fn transitions_are_told_once_and_a_new_address_at_most_once_in_ten_minutes() -> Result<()> {
    let stack = restarted_stack().await?;
    let stack = &*stack;
    let options = ZoneOptions {
        records: vec!["taken 300 A 192.0.2.1".to_owned()],
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let event = async |host: &LiveHost<'_>, reason: &str| {
        await_event(stack, &host.namespace, &host.name, reason).await
    };
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    event(&host, "KeyGenerated").await?;
    host.report("198.51.100.7").await?;
    event(&host, "Published").await?;
    host.report("198.51.100.8").await?;
    let changed = event(&host, "AddressChanged").await?;
    assert_eq!(changed.type_.as_deref(), Some("Normal"));
    assert_eq!(
        changed.note.as_deref(),
        Some("198.51.100.7 -> 198.51.100.8")
    );
    for address in ["198.51.100.9", "198.51.100.10"] {
        host.report(address).await?;
        host.await_published_addresses(address).await?;
    }

    let taken = LiveHost::create(stack, &zone.host("taken")).await?;
    taken.report("198.51.100.7").await?;
    taken
        .await_reason(ConditionType::Published, Reason::ForeignRecord)
        .await?;
    let foreign = event(&taken, "ForeignRecord").await?;
    assert_eq!(foreign.type_.as_deref(), Some("Warning"));

    let events = events(stack, &host.namespace, &host.name).await?;
    let reasons = events.iter().filter_map(|event| event.reason.as_deref());
    let mut reasons: Vec<_> = reasons.collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["AddressChanged", "KeyGenerated", "Published"]);
    Ok(())
}
