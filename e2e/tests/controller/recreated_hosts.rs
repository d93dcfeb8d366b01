//! Hosts that come back with empty status: re-created by GitOps, or restored from a backup.

use anyhow::Result;
use dynhost_crds::{
    conditions::{ConditionStatus::True, ConditionType, Reason},
    host::DeletionPolicy,
};
use dynhost_e2e::{Mode, Stack, TcpProxy, Zone, ZoneOptions};
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::live_host::{LiveHost, verdict};
use super::zone_records::{await_zone_gone, await_zone_reason, records, zone_behind_proxy, zones};

const BOTH: &str = "198.51.100.7,2001:db8::7";

/// Expects that a host, created again over its old records, keeps resolving, takes them over with
/// its next update, and takes all of them along in the end.
async fn check_reborn(stack: &Stack, zone: &Zone) -> Result<()> {
    let before = stack.bind.dump(&zone.apex).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    let awaiting = host.get().await?;
    assert_eq!(
        verdict(&awaiting, ConditionType::Ready),
        Some((True, "AwaitingFirstUpdate"))
    );
    host.touch().await?;
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);

    host.report("198.51.100.8").await?;
    host.await_published(&["A 60 198.51.100.8", "AAAA 60 2001:db8::7"])
        .await?;
    assert_eq!(
        records(&stack.bind, zone).await?,
        [
            "_dynhost.home 60 TXT marker",
            "home 60 A 198.51.100.8",
            "home 60 AAAA 2001:db8::7",
        ]
    );

    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, zone).await?, [""; 0]);
    Ok(())
}

async fn create_retained<'a>(stack: &'a Stack, zone: &Zone) -> Result<LiveHost<'a>> {
    let mut retained = zone.host("home");
    retained.spec.deletion_policy = DeletionPolicy::Retain;
    let host = LiveHost::create(stack, &retained).await?;
    host.report(BOTH).await?;
    host.await_published_addresses(BOTH).await?;
    Ok(host)
}

#[tokio::test]
async fn a_host_created_again_after_retain_keeps_resolving_and_takes_over() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = create_retained(stack, &zone).await?;
    host.delete().await?;
    host.await_gone().await?;
    check_reborn(stack, &zone).await
}

/// Publishes a host and makes it go without its records, as where its finalizer is taken off.
async fn lose_host(stack: &Stack, zone: &Zone, proxy: &TcpProxy) -> Result<()> {
    let host = LiveHost::create_published(stack, zone, "home", BOTH).await?;
    proxy.set_mode(Mode::Cut);
    host.delete().await?;
    host.merge(json!({"metadata": {"finalizers": null}}))
        .await?;
    host.await_gone().await?;
    proxy.set_mode(Mode::Pass);
    Ok(())
}

#[tokio::test]
async fn a_host_created_again_after_its_finalizer_was_taken_off_takes_over() -> Result<()> {
    let stack = Stack::shared().await?;
    let (zone, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    lose_host(stack, &zone, &proxy).await?;
    check_reborn(stack, &zone).await
}

#[tokio::test]
async fn a_host_created_again_and_never_updated_takes_its_old_records_along() -> Result<()> {
    let stack = Stack::shared().await?;
    let (zone, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    lose_host(stack, &zone, &proxy).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

/// Deletes a zone and its retained host, and creates the zone again as its manifest says.
async fn rebuild(ownership_id: Option<&str>) -> Result<(&'static Stack, Zone)> {
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        ownership_id: ownership_id.map(str::to_owned),
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let host = create_retained(stack, &zone).await?;
    let zones = zones(stack, &zone).await?;
    let mut manifest = zones.get(&zone.name).await?;
    host.delete().await?;
    host.await_gone().await?;
    zones.delete(&zone.name, &DeleteParams::default()).await?;
    await_zone_gone(stack, &zone).await?;
    manifest.metadata = kube::api::ObjectMeta {
        name: Some(zone.name.clone()),
        ..Default::default()
    };
    manifest.status = None;
    zones.create(&PostParams::default(), &manifest).await?;
    await_zone_reason(stack, &zone, Reason::Ready).await?;
    Ok((stack, zone))
}

#[tokio::test]
async fn a_rebuilt_zone_with_an_ownership_id_knows_its_records_again() -> Result<()> {
    let (stack, zone) = rebuild(Some("home")).await?;
    check_reborn(stack, &zone).await
}

#[tokio::test]
async fn a_rebuilt_zone_without_an_ownership_id_leaves_the_old_records_alone() -> Result<()> {
    let (stack, zone) = rebuild(None).await?;
    let before = stack.bind.dump(&zone.apex).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    host.report("198.51.100.8").await?;
    host.await_reason(ConditionType::Published, Reason::ForeignRecord)
        .await?;
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);
    Ok(())
}
