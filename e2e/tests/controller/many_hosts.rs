//! More hosts than fit into one message, or than the controller looks at at the same time.

use std::time::Duration;

use anyhow::{Result, ensure};
use dynhost_crds::{
    HOST_FINALIZER,
    conditions::{ConditionType, Reason},
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

/// What is asked of the API server for every host takes its time on a busy machine.
const LONG: Duration = LIMIT.saturating_mul(4);

/// Waits until so many hosts of a zone have our finalizer: the last thing before they are written
/// to DNS.
async fn await_finalizers(hosts: &Api<DynamicHost>, number: usize) -> Result<()> {
    let what = format!("{number} hosts have our finalizer");
    await_condition(&what, LONG, async || {
        let all = hosts.list_metadata(&ListParams::default()).await?;
        let found = all
            .iter()
            .filter(|host| host.finalizers() == [HOST_FINALIZER]);
        let found = found.count();
        ensure!(found >= number, "{found}");
        Ok(Some(()))
    })
    .await
}

/// Waits until the records of so many hosts are in DNS, and nothing else.
async fn await_records(stack: &Stack, zone: &Zone, hosts: usize) -> Result<()> {
    let what = format!("the records of {hosts} hosts are there");
    await_condition(&what, LONG, async || {
        let found = records(&stack.bind, zone).await?.len();
        ensure!(found == 2 * hosts, "{found}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_name_server_that_never_answers_does_not_hinder_the_hosts_of_other_zones() -> Result<()> {
    /// More than the controller looks at of one zone at the same time.
    const HOSTS: usize = 420;
    const SHARE: usize = 400;
    let stack = Stack::shared().await?;
    let (hanging, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let other_zone = stack.create_zone(ZoneOptions::default()).await?;
    let other = LiveHost::create_published(stack, &other_zone, "home", "198.51.100.7").await?;
    let hosts = stack.hosts(&hanging.namespace).await?;

    proxy.set_mode(Mode::Hold);
    create_reported(stack, &hanging, HOSTS).await?;
    await_finalizers(&hosts, SHARE).await?;
    other.report("198.51.100.8").await?;
    other.await_a(&["198.51.100.8"]).await?;
    assert_eq!(records(&stack.bind, &hanging).await?, [""; 0]);

    proxy.set_mode(Mode::Pass);
    await_records(stack, &hanging, HOSTS).await
}

#[tokio::test]
async fn what_collects_while_the_name_server_is_away_is_written_in_a_few_messages() -> Result<()> {
    const HOSTS: usize = 300;
    /// A tenth: on a busy machine hosts come slowly, and what is there is sent at once.
    const MESSAGES: u64 = 30;
    let stack = Stack::shared().await?;
    let (zone, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let hosts = stack.hosts(&zone.namespace).await?;

    proxy.set_mode(Mode::Cut);
    create_reported(stack, &zone, HOSTS).await?;
    await_finalizers(&hosts, HOSTS).await?;
    // Status is written after an attempt: then all of them wait for the name server.
    await_condition("all hosts have been tried", LONG, async || {
        let all = hosts.list(&ListParams::default()).await?;
        let reasons = all
            .iter()
            .filter_map(|host| verdict(host, ConditionType::Published));
        let unavailable = Reason::ProviderUnavailable.as_str();
        let tried = reasons.filter(|(_, reason)| *reason == unavailable).count();
        ensure!(tried == HOSTS, "{tried}");
        Ok(Some(()))
    })
    .await?;
    await_zone_reason(stack, &zone, Reason::ProviderUnavailable).await?;
    let before = stack.bind.update_counts(&zone.apex).await?;

    proxy.set_mode(Mode::Pass);
    await_records(stack, &zone, HOSTS).await?;
    let after = stack.bind.update_counts(&zone.apex).await?;
    let messages = after.total() - before.total();
    ensure!(messages <= MESSAGES, "{before:?} -> {after:?}");
    Ok(())
}
