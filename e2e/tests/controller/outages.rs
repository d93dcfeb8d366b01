//! The name server is away while routers report.

use anyhow::Result;
use dynhost_crds::conditions::{ConditionStatus::False, ConditionType, Reason};
use dynhost_e2e::Stack;
use hickory_net::proto::rr::RecordType;

use super::live_host::{LiveHost, verdict};
use super::zone_records::{await_zone_reason, records, zone_on_own_bind};

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
