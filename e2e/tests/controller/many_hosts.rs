//! More hosts than fit into one message, or than the controller looks at at the same time.

use anyhow::{Result, ensure};
use dynhost_crds::{
    HOST_FINALIZER,
    conditions::{ConditionStatus::True, ConditionType, Reason},
    host::DynamicHost,
};
use dynhost_e2e::{Mode, Stack, Zone, ZoneOptions, await_condition, stack::LIMIT};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{Api, ResourceExt, api::ListParams};

use super::live_host::{LiveHost, verdict};
use super::zone_records::{await_zone_reason, records, zone_behind_proxy};

/// Creates so many hosts of a zone, of which addresses are reported.
async fn create_reported(stack: &Stack, zone: &Zone, number: usize) -> Result<()> {
    stream::iter(0..number)
        .map(async |number| {
            let host = zone.host(&format!("h{number}"));
            let host = LiveHost::create_unready(stack, &host).await?;
            host.store_ipv4("198.51.100.7").await
        })
        .buffer_unordered(8)
        .try_collect()
        .await
}

/// Waits until so many of these hosts are as wanted.
async fn await_hosts(
    hosts: &Api<DynamicHost>,
    number: usize,
    wanted: &str,
    is_wanted: impl Fn(&DynamicHost) -> bool,
) -> Result<()> {
    let what = format!("{number} hosts {wanted}");
    await_condition(&what, LIMIT, async || {
        let all = hosts.list(&ListParams::default()).await?;
        let found = all.iter().filter(|host| is_wanted(host)).count();
        ensure!(found >= number, "{found}");
        Ok(Some(()))
    })
    .await
}

fn is_published(host: &DynamicHost) -> bool {
    verdict(host, ConditionType::Published) == Some((True, "Published"))
}

/// The last thing before a host is written to DNS.
fn has_our_finalizer(host: &DynamicHost) -> bool {
    host.finalizers() == [HOST_FINALIZER]
}

#[tokio::test]
async fn a_name_server_that_never_answers_does_not_hinder_the_hosts_of_other_zones() -> Result<()> {
    /// More than the controller looks at of one zone at the same time.
    const HOSTS: usize = 450;
    const SHARE: usize = 400;
    let stack = Stack::shared().await?;
    let (hanging, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let other_zone = stack.create_zone(ZoneOptions::default()).await?;
    let other = LiveHost::create_published(stack, &other_zone, "home", "198.51.100.7").await?;
    let hosts = stack.hosts(&hanging.namespace).await?;

    proxy.set_mode(Mode::Hold);
    create_reported(stack, &hanging, HOSTS).await?;
    await_hosts(&hosts, SHARE, "have our finalizer", has_our_finalizer).await?;
    other.report("198.51.100.8").await?;
    other.await_a(&["198.51.100.8"]).await?;
    other.await_published(&["A 60 198.51.100.8"]).await?;
    assert_eq!(records(&stack.bind, &hanging).await?, [""; 0]);

    proxy.set_mode(Mode::Pass);
    await_hosts(&hosts, HOSTS, "are published", is_published).await?;
    assert_eq!(records(&stack.bind, &hanging).await?.len(), 2 * HOSTS);
    Ok(())
}

#[tokio::test]
async fn what_collects_while_the_name_server_is_away_is_written_in_a_few_messages() -> Result<()> {
    const HOSTS: usize = 300;
    /// What is under way when the rest begins to collect, and messages that are not quite full.
    const MESSAGES: u64 = 15;
    let stack = Stack::shared().await?;
    let (zone, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let hosts = stack.hosts(&zone.namespace).await?;

    proxy.set_mode(Mode::Cut);
    create_reported(stack, &zone, HOSTS).await?;
    let is_tried = |host: &DynamicHost| {
        let verdict = verdict(host, ConditionType::Published);
        verdict.is_some_and(|(_, reason)| reason == Reason::ProviderUnavailable.as_str())
    };
    await_hosts(&hosts, HOSTS, "have been tried", is_tried).await?;
    await_zone_reason(stack, &zone, Reason::ProviderUnavailable).await?;
    let before = stack.bind.update_counts(&zone.apex).await?;

    proxy.set_mode(Mode::Pass);
    await_hosts(&hosts, HOSTS, "are published", is_published).await?;
    let after = stack.bind.update_counts(&zone.apex).await?;
    let messages = after.total() - before.total();
    ensure!(messages <= MESSAGES, "{before:?} -> {after:?}");
    assert_eq!(records(&stack.bind, &zone).await?.len(), 2 * HOSTS);
    Ok(())
}
