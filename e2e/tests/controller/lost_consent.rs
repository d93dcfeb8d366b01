//! A host that has lost its name loses its own records, and no other's.

use anyhow::Result;
use dynhost_crds::{
    conditions::{ConditionType, Reason},
    host::DeletionPolicy,
    zone::NamespacesFrom,
};
use dynhost_e2e::{Mode, Stack, ZoneOptions, stack::condition};
use serde_json::json;

use super::claims::await_younger;
use super::live_host::{LiveHost, published_rrsets};
use super::team::zone_of_teams;
use super::zone_records::{merge_zone, records, zone_behind_proxy, zones};

#[tokio::test]
async fn the_older_host_gets_the_name_as_soon_as_it_is_admitted() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut older = zone.host("home");
    older.metadata.namespace = Some(stack.control_plane.namespace("older").await?);
    let older = LiveHost::create_unready(stack, &older).await?;
    older
        .await_reason(ConditionType::Accepted, Reason::NotAllowedByZone)
        .await?;
    await_younger(&older).await?;
    let mut younger = zone.host("home");
    younger.spec.deletion_policy = DeletionPolicy::Retain;
    let younger = LiveHost::create(stack, &younger).await?;
    younger.report("198.51.100.7").await?;
    younger.await_published(&["A 60 198.51.100.7"]).await?;

    let consent = json!({"spec": {"allowedHosts": {"namespaces": {"from": "All"}}}});
    merge_zone(stack, &zone, consent).await?;
    younger
        .await_reason(ConditionType::Accepted, Reason::NameConflict)
        .await?;
    older.store_ipv4("198.51.100.8").await?;
    older.await_published(&["A 60 198.51.100.8"]).await?;
    younger
        .await_host("has nothing in DNS", |host| {
            published_rrsets(host).is_empty()
        })
        .await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        ["_dynhost.home 60 TXT marker", "home 60 A 198.51.100.8"]
    );
    Ok(())
}

#[tokio::test]
async fn what_a_stranger_has_made_of_the_records_stays() -> Result<()> {
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        from: NamespacesFrom::All,
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let mut host = zone.host("home");
    host.metadata.namespace = Some(stack.control_plane.namespace("tenant").await?);
    let host = LiveHost::create(stack, &host).await?;
    host.report("198.51.100.7").await?;
    host.await_published(&["A 60 198.51.100.7"]).await?;
    let marker = "v=1 o=stranger h=AAAAAAAAAAAAAAAAAAAAAA n=0123456789abcdef";
    let name = format!("_dynhost.{}", host.hostname);
    let mark = format!("update delete {name} TXT\nupdate add {name} 60 TXT \"{marker}\"");
    stack.bind.nsupdate(&zone.apex, &zone.key, &mark).await?;
    let before = records(&stack.bind, &zone).await?;

    let consent = json!({"spec": {"allowedHosts": {"namespaces": {"from": "Same"}}}});
    merge_zone(stack, &zone, consent).await?;
    host.await_host("has nothing of ours in DNS", |host| {
        published_rrsets(host).is_empty()
    })
    .await?;
    assert_eq!(records(&stack.bind, &zone).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_zone_that_is_gone_takes_no_records() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = zone_of_teams(stack).await?;
    let consent =
        json!({"spec": {"allowedHosts": {"namespaces": {"from": "All", "selector": null}}}});
    merge_zone(stack, &zone, consent).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let before = records(&stack.bind, &zone).await?;

    let zones = zones(stack, &zone).await?;
    zones.delete(&zone.name, &Default::default()).await?;
    merge_zone(stack, &zone, json!({"metadata": {"finalizers": null}})).await?;
    let refused = host
        .await_reason(ConditionType::Accepted, Reason::ZoneNotFound)
        .await?;
    assert_eq!(published_rrsets(&refused), ["A 60 198.51.100.7"]);
    assert!(condition(&refused, ConditionType::DeletionPaused).is_none());
    assert_eq!(records(&stack.bind, &zone).await?, before);
    Ok(())
}

#[tokio::test]
async fn what_a_first_write_of_unknown_outcome_has_left_goes_too() -> Result<()> {
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        from: NamespacesFrom::All,
        ..ZoneOptions::default()
    };
    let (zone, proxy) = zone_behind_proxy(stack, options).await?;
    let mut host = zone.host("home");
    host.metadata.namespace = Some(stack.control_plane.namespace("tenant").await?);
    let host = LiveHost::create(stack, &host).await?;
    proxy.set_mode(Mode::SwallowReplies);
    host.report("198.51.100.7").await?;
    host.await_a(&["198.51.100.7"]).await?;
    proxy.set_mode(Mode::Cut);
    let unknown = host
        .await_reason(ConditionType::Published, Reason::ProviderUnavailable)
        .await?;
    assert_eq!(published_rrsets(&unknown), [""; 0]);

    let consent = json!({"spec": {"allowedHosts": {"namespaces": {"from": "Same"}}}});
    merge_zone(stack, &zone, consent).await?;
    host.await_reason(ConditionType::Accepted, Reason::NotAllowedByZone)
        .await?;
    proxy.set_mode(Mode::Pass);
    host.await_reason(ConditionType::Published, Reason::NotAllowedByZone)
        .await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}
