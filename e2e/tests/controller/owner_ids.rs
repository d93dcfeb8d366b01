//! The owner that a zone's markers name changes while hosts of the zone are published.

use anyhow::{Context, Result, ensure};
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Stack, ZoneOptions, await_condition, stack::LIMIT};
use kube::ResourceExt;
use serde_json::json;

use super::live_host::LiveHost;
use super::zone_records::{marker_text, merge_zone, records, zones};

/// Publishes a host, changes `ownership.id`, and expects that the host's marker names the new owner
/// without an update, beside the same records, which go with the host.
async fn check(before: Option<&str>, after: Option<&str>) -> Result<()> {
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        ownership_id: before.map(str::to_owned),
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7,2001:db8::7").await?;
    let published = records(&stack.bind, &zone).await?;

    merge_zone(stack, &zone, json!({"spec": {"ownership": {"id": after}}})).await?;
    let uid = zones(stack, &zone).await?.get(&zone.name).await?.uid();
    let owner = after.map(str::to_owned).or(uid);
    let marked = format!("v=1 o={} ", owner.context("the zone has no UID")?);
    await_condition(&format!("the marker is {marked}…"), LIMIT, async || {
        let text = marker_text(&stack.bind, &host.hostname).await?;
        ensure!(text.starts_with(&marked), "{text}");
        Ok(Some(()))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))?;
    assert_eq!(records(&stack.bind, &zone).await?, published);

    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn an_owner_id_set_while_a_host_is_published_gets_into_its_marker() -> Result<()> {
    check(None, Some("new")).await
}

#[tokio::test]
async fn an_owner_id_changed_while_a_host_is_published_gets_into_its_marker() -> Result<()> {
    check(Some("old"), Some("new")).await
}

#[tokio::test]
async fn without_its_owner_id_a_zones_uid_gets_into_the_markers() -> Result<()> {
    check(Some("old"), None).await
}

#[tokio::test]
async fn a_host_that_was_not_written_since_its_owner_id_changed_leaves_nothing() -> Result<()> {
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        ownership_id: Some("old".to_owned()),
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    host.merge(json!({"spec": {"suspend": true}})).await?;
    host.await_reason(ConditionType::Published, Reason::Suspended)
        .await?;

    merge_zone(stack, &zone, json!({"spec": {"ownership": {"id": "new"}}})).await?;
    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}
