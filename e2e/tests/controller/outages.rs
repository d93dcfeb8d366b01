//! The name server is away while routers report.

use anyhow::{Result, ensure};
use dynhost_crds::{
    HOST_FINALIZER,
    conditions::{
        ConditionStatus::{False, True},
        ConditionType, Reason,
    },
    host::DynamicHost,
};
use dynhost_e2e::{Mode, Stack, ZoneOptions, await_condition, stack::LIMIT};
use futures::{StreamExt, TryStreamExt, stream};
use hickory_net::proto::rr::RecordType;
use kube::{Api, ResourceExt, api::ListParams};

use super::live_host::{LiveHost, verdict};
use super::zone_records::{await_zone_reason, records, zone_behind_proxy, zone_on_own_bind};

#[tokio::test]
async fn updates_during_an_outage_are_accepted_and_the_last_of_each_host_is_published() -> Result<()>
{
    let stack = Stack::shared().await?;
    let (zone, bind) = zone_on_own_bind(stack).await?;
    let known = LiveHost::create_published(stack, &zone, "known", "198.51.100.1").await?;
    let new = LiveHost::create(stack, &zone.host("new")).await?;

    bind.stop().await?;
    for last in 2..5 {
        known.report(&format!("198.51.100.{last}")).await?;
        new.report(&format!("198.51.100.{last},2001:db8::{last}"))
            .await?;
    }
    for host in [&known, &new] {
        let unpublished = host
            .await_reason(ConditionType::Published, Reason::ProviderUnavailable)
            .await?;
        let expected = Some((False, "ProviderUnavailable"));
        assert_eq!(verdict(&unpublished, ConditionType::Published), expected);
        assert_eq!(verdict(&unpublished, ConditionType::Ready), expected);
    }
    let zone_ready = await_zone_reason(stack, &zone, Reason::ProviderUnavailable).await?;
    assert_eq!(zone_ready.status, False);

    bind.start_again().await?;
    known.await_published(&["A 60 198.51.100.4"]).await?;
    new.await_published(&["A 60 198.51.100.4", "AAAA 60 2001:db8::4"])
        .await?;
    await_zone_reason(stack, &zone, Reason::Ready).await?;
    assert_eq!(
        records(&bind, &zone).await?,
        [
            "_dynhost.known 60 TXT marker",
            "_dynhost.new 60 TXT marker",
            "known 60 A 198.51.100.4",
            "new 60 A 198.51.100.4",
            "new 60 AAAA 2001:db8::4",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn what_is_reported_while_the_name_server_hangs_is_published_when_it_goes_on() -> Result<()> {
    let stack = Stack::shared().await?;
    let (zone, bind) = zone_on_own_bind(stack).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.1").await?;

    bind.freeze().await?;
    host.report("198.51.100.2").await?;
    host.report("198.51.100.3").await?;
    bind.thaw().await?;
    host.await_published(&["A 60 198.51.100.3"]).await?;
    let answer = bind.query(&host.hostname, RecordType::A).await?;
    assert_eq!(answer.rdata, ["198.51.100.3"]);
    Ok(())
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

#[tokio::test]
async fn a_name_server_that_never_answers_does_not_hinder_the_hosts_of_other_zones() -> Result<()> {
    /// More than the controller looks at at the same time.
    const HOSTS: usize = 70;
    let stack = Stack::shared().await?;
    let (hanging, proxy) = zone_behind_proxy(stack, ZoneOptions::default()).await?;
    let other_zone = stack.create_zone(ZoneOptions::default()).await?;
    let other = LiveHost::create_published(stack, &other_zone, "home", "198.51.100.7").await?;
    let hosts = stack.hosts(&hanging.namespace).await?;

    proxy.set_mode(Mode::Hold);
    stream::iter(0..HOSTS)
        .map(async |number| {
            let host = hanging.host(&format!("h{number}"));
            let host = LiveHost::create_unready(stack, &host).await?;
            host.store_ipv4("198.51.100.7").await
        })
        .buffer_unordered(8)
        .try_collect::<()>()
        .await?;
    // The last thing before a host is written to DNS.
    await_hosts(&hosts, HOSTS - 6, "have our finalizer", |host| {
        host.finalizers() == [HOST_FINALIZER]
    })
    .await?;
    other.report("198.51.100.8").await?;
    other.await_a(&["198.51.100.8"]).await?;
    other.await_published(&["A 60 198.51.100.8"]).await?;
    assert_eq!(records(&stack.bind, &hanging).await?, [""; 0]);

    proxy.set_mode(Mode::Pass);
    await_hosts(&hosts, HOSTS, "are published", |host| {
        verdict(host, ConditionType::Published) == Some((True, "Published"))
    })
    .await?;
    assert_eq!(records(&stack.bind, &hanging).await?.len(), 2 * HOSTS);
    Ok(())
}
