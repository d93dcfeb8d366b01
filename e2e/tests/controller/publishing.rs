//! From a report to DNS, and what changes of the specs make of it.

use anyhow::Result;
use dynhost_crds::conditions::{ConditionStatus, ConditionType, Reason};
use dynhost_e2e::{Stack, ZoneOptions};
use hickory_net::proto::rr::RecordType;
use serde_json::json;

use super::live_host::{LiveHost, published_marker, verdict};
use super::zone_records::{marker_text, merge_zone, records};

#[tokio::test]
async fn an_update_becomes_status_and_then_a_dns_answer() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;

    let answer = host.try_report("198.51.100.7,2001:db8::7").await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "good 198.51.100.7,2001:db8::7")
    );
    // `good` says that it is stored, so there is nothing to wait for.
    let observed = host.get().await?.status.unwrap().observed.unwrap();
    assert_eq!(
        observed.ipv4.unwrap().address.unwrap().to_string(),
        "198.51.100.7"
    );
    assert_eq!(
        observed.ipv6.unwrap().address.unwrap().to_string(),
        "2001:db8::7"
    );
    host.await_a(&["198.51.100.7"]).await?;
    stack
        .await_dns(&host.hostname, RecordType::AAAA, &["2001:db8::7"])
        .await?;

    let published = ["A 60 198.51.100.7", "AAAA 60 2001:db8::7"];
    let settled = host.await_published(&published).await?;
    let marker = marker_text(&stack.bind, &host.hostname).await?;
    assert_eq!(published_marker(&settled), Some(marker.as_str()));
    assert_eq!(
        records(&stack.bind, &zone).await?,
        [
            "_dynhost.home 60 TXT marker",
            "home 60 A 198.51.100.7",
            "home 60 AAAA 2001:db8::7",
        ]
    );

    // A family that the request does not mention is left alone.
    host.report("198.51.100.8").await?;
    host.await_published(&["A 60 198.51.100.8", "AAAA 60 2001:db8::7"])
        .await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        [
            "_dynhost.home 60 TXT marker",
            "home 60 A 198.51.100.8",
            "home 60 AAAA 2001:db8::7",
        ]
    );
    assert_ne!(marker_text(&stack.bind, &host.hostname).await?, marker);
    Ok(())
}

#[tokio::test]
async fn a_hosts_ttl_wins_over_the_zones_and_a_change_of_either_is_published() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut own_ttl = zone.host("own");
    own_ttl.spec.ttl = Some(30);
    let own_ttl = LiveHost::create(stack, &own_ttl).await?;
    let zones_ttl = LiveHost::create(stack, &zone.host("zones")).await?;
    own_ttl.report("198.51.100.7,2001:db8::7").await?;
    zones_ttl.report("198.51.100.8").await?;
    own_ttl
        .await_published(&["A 30 198.51.100.7", "AAAA 30 2001:db8::7"])
        .await?;
    zones_ttl.await_published(&["A 60 198.51.100.8"]).await?;

    own_ttl.merge(json!({"spec": {"ttl": 45}})).await?;
    merge_zone(stack, &zone, json!({"spec": {"ttl": 90}})).await?;
    own_ttl
        .await_published(&["A 45 198.51.100.7", "AAAA 45 2001:db8::7"])
        .await?;
    zones_ttl.await_published(&["A 90 198.51.100.8"]).await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        [
            "_dynhost.own 45 TXT marker",
            "_dynhost.zones 90 TXT marker",
            "own 45 A 198.51.100.7",
            "own 45 AAAA 2001:db8::7",
            "zones 90 A 198.51.100.8",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_family_that_is_no_longer_wanted_is_removed_and_comes_back_when_it_is() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7,2001:db8::7").await?;

    host.merge(json!({"spec": {"families": ["IPv4"]}})).await?;
    host.await_published(&["A 60 198.51.100.7"]).await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        ["_dynhost.home 60 TXT marker", "home 60 A 198.51.100.7"]
    );

    host.merge(json!({"spec": {"families": ["IPv6"]}})).await?;
    host.await_published(&["AAAA 60 2001:db8::7"]).await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        ["_dynhost.home 60 TXT marker", "home 60 AAAA 2001:db8::7"]
    );
    Ok(())
}

#[tokio::test]
async fn an_address_that_the_policy_no_longer_lets_out_is_removed_with_the_marker() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut private = zone.host("home");
    private.spec.address.allow_private = true;
    let host = LiveHost::create(stack, &private).await?;
    host.report("192.168.1.2").await?;
    host.await_published(&["A 60 192.168.1.2"]).await?;

    host.merge(json!({"spec": {"address": {"allowPrivate": false}}}))
        .await?;
    host.await_published(&[]).await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);

    host.report("198.51.100.7").await?;
    host.await_published(&["A 60 198.51.100.7"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_suspended_host_refuses_updates_and_keeps_its_records() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let neighbour = LiveHost::create(stack, &zone.host("neighbour")).await?;

    host.merge(json!({"spec": {"suspend": true, "ttl": 30}}))
        .await?;
    let suspended = host
        .await_reason(ConditionType::Published, Reason::Suspended)
        .await?;
    assert_eq!(
        verdict(&suspended, ConditionType::Published),
        Some((ConditionStatus::Unknown, "Suspended"))
    );
    assert_eq!(
        verdict(&suspended, ConditionType::Ready),
        Some((ConditionStatus::True, "Suspended"))
    );
    let answer = host.try_report("198.51.100.8").await?;
    assert_eq!((answer.status, answer.text().as_str()), (403, "abuse"));
    // Not by the back door either: what a neighbour reports later is published before.
    host.store_ipv4("198.51.100.9").await?;
    neighbour.report("198.51.100.1").await?;
    neighbour.await_published(&["A 60 198.51.100.1"]).await?;
    let answer = stack.bind.query(&host.hostname, RecordType::A).await?;
    assert_eq!(
        (answer.ttl, answer.rdata),
        (Some(60), vec!["198.51.100.7".to_owned()])
    );

    host.merge(json!({"spec": {"suspend": false}})).await?;
    host.await_published(&["A 30 198.51.100.9"]).await?;
    Ok(())
}
