//! The name server has done it, and its reply was lost.

use anyhow::Result;
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Mode, Stack, ZoneOptions};
use serde_json::json;

use super::events::events;
use super::live_host::{LiveHost, published_marker};
use super::zone_records::{marker_text, records, zone_behind_proxy};

#[tokio::test]
async fn what_became_of_an_update_whose_reply_is_lost_is_found_out_by_reading_back() -> Result<()> {
    let stack = Stack::shared().await?;
    let (zone, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    // The first write, and one after it.
    for address in ["198.51.100.7", "198.51.100.8"] {
        proxy.set_mode(Mode::SwallowReplies);
        host.report(address).await?;
        host.await_a(&[address]).await?;
        let marker = marker_text(&stack.bind, &host.hostname).await?;
        proxy.set_mode(Mode::Pass);
        let rrset = format!("A 60 {address}");
        let published = host.await_published(&[&rrset]).await?;
        // The nonce tells that it was written once.
        assert_eq!(published_marker(&published), Some(marker.as_str()));
        assert_eq!(marker_text(&stack.bind, &host.hostname).await?, marker);
        let record = format!("home 60 A {address}");
        assert_eq!(
            records(&stack.bind, &zone).await?,
            ["_dynhost.home 60 TXT marker", record.as_str()]
        );
    }
    let events = events(stack, &host.namespace, &host.name).await?;
    let foreign = events
        .iter()
        .find(|event| event.reason.as_deref() == Some("ForeignRecord"));
    assert_eq!(foreign, None);
    Ok(())
}

#[tokio::test]
async fn an_address_that_changed_back_while_an_outcome_was_unknown_is_published() -> Result<()> {
    let stack = Stack::shared().await?;
    let (zone, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;

    proxy.set_mode(Mode::SwallowReplies);
    host.report("198.51.100.8").await?;
    host.await_a(&["198.51.100.8"]).await?;
    proxy.set_mode(Mode::Cut);
    host.await_reason(ConditionType::Published, Reason::ProviderUnavailable)
        .await?;
    // Now status says again what it says to be in DNS, and DNS says something else.
    host.report("198.51.100.7").await?;
    proxy.set_mode(Mode::Pass);
    host.await_a(&["198.51.100.7"]).await?;
    host.await_published(&["A 60 198.51.100.7"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_host_deleted_after_a_lost_reply_leaves_nothing() -> Result<()> {
    let stack = Stack::shared().await?;
    let (zone, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;

    proxy.set_mode(Mode::SwallowReplies);
    host.report("198.51.100.7,2001:db8::7").await?;
    host.await_a(&["198.51.100.7"]).await?;
    host.delete().await?;
    proxy.set_mode(Mode::Pass);
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn an_alias_of_a_first_write_goes_with_its_host_though_the_spec_has_forgotten_it()
-> Result<()> {
    let stack = Stack::shared().await?;
    let (zone, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    let alias = json!({"name": format!("www.home.{}", zone.apex), "type": "CNAME"});
    host.merge(json!({"spec": {"aliases": [alias]}})).await?;

    proxy.set_mode(Mode::SwallowReplies);
    host.report("198.51.100.7").await?;
    host.await_a(&["198.51.100.7"]).await?;
    proxy.set_mode(Mode::Cut);
    host.await_reason(ConditionType::Published, Reason::ProviderUnavailable)
        .await?;
    host.merge(json!({"spec": {"aliases": []}})).await?;
    host.delete().await?;
    proxy.set_mode(Mode::Pass);
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}
