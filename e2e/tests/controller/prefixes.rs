//! IPv6 addresses made from a prefix that a router reported.

use anyhow::{Result, ensure};
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_crds::host::{Ipv6FromPrefix, PrefixFrom};
use dynhost_e2e::{Stack, Zone, ZoneOptions, await_condition, stack::LIMIT};
use futures::future::try_join_all;
use hickory_net::proto::rr::RecordType;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::live_host::LiveHost;
use super::zone_records::records;

fn behind(router: &str, interface_id: &str) -> Ipv6FromPrefix {
    Ipv6FromPrefix {
        interface_id: Some(interface_id.to_owned()),
        mac_address: None,
        prefix_from: Some(PrefixFrom {
            name: router.to_owned(),
        }),
    }
}

async fn report_prefix(router: &LiveHost<'_>, prefix: &str) -> Result<()> {
    router.report(prefix).await
}

async fn await_aaaa(host: &LiveHost<'_>, addresses: &[&str]) -> Result<()> {
    host.stack
        .await_dns(&host.hostname, RecordType::AAAA, addresses)
        .await
}

#[tokio::test]
async fn one_update_of_a_router_moves_every_machine_behind_it() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let router = LiveHost::create(stack, &zone.host("router")).await?;
    let machines: Vec<_> = (1..=30)
        .map(|number| {
            let mut host = zone.host(&format!("m{number}"));
            host.spec.ipv6 = Some(behind("router", &format!("::{number:x}")));
            host
        })
        .collect();
    let machines = try_join_all(machines.iter().map(|m| LiveHost::create(stack, m))).await?;
    for prefix in ["2001:db8:1:2::", "2001:db8:1:3::"] {
        let before = stack.bind.update_counts(&zone.apex).await?;
        report_prefix(&router, &format!("{prefix}/64")).await?;
        for (number, machine) in (1..=30).zip(&machines) {
            await_aaaa(machine, &[&format!("{prefix}{number:x}")]).await?;
        }
        let messages = stack.bind.update_counts(&zone.apex).await?.total() - before.total();
        // Before its first name is written, each is asked for at the API server.
        let most = if prefix == "2001:db8:1:2::" { 30 } else { 10 };
        assert!(messages <= most, "{messages} messages for 30 machines");
    }
    Ok(())
}

#[tokio::test]
async fn a_prefix_makes_the_address_of_its_own_host_and_of_those_that_name_it() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut router = zone.host("router");
    router.spec.ipv6 = Some(Ipv6FromPrefix {
        interface_id: None,
        mac_address: Some("34:56:78:9a:bc:de".to_owned()),
        prefix_from: None,
    });
    let router = LiveHost::create(stack, &router).await?;
    let mut nas = zone.host("nas");
    nas.spec.ipv6 = Some(behind("router", "0:0:0:5::1234"));
    let nas = LiveHost::create(stack, &nas).await?;
    nas.await_reason(ConditionType::Published, Reason::AwaitingFirstUpdate)
        .await?;

    // An address is not a prefix: nothing is made of it.
    router.report("2001:db8:1:ff00::7").await?;
    router.report("198.51.100.7").await?;
    router.await_a(&["198.51.100.7"]).await?;
    await_aaaa(&router, &[]).await?;

    report_prefix(&router, "2001:db8:1:ff00::/56").await?;
    await_aaaa(&router, &["2001:db8:1:ff00:3656:78ff:fe9a:bcde"]).await?;
    await_aaaa(&nas, &["2001:db8:1:ff05::1234"]).await?;

    // The interface ID of the machine lies inside a /64: its record stays as it was.
    report_prefix(&router, "2001:db8:1:2::/64").await?;
    await_aaaa(&router, &["2001:db8:1:2:3656:78ff:fe9a:bcde"]).await?;
    nas.await_reason(ConditionType::Published, Reason::PrefixMismatch)
        .await?;
    await_aaaa(&nas, &["2001:db8:1:ff05::1234"]).await?;

    report_prefix(&router, "2001:db8:7::/48").await?;
    await_aaaa(&nas, &["2001:db8:7:5::1234"]).await?;
    nas.await_reason(ConditionType::Published, Reason::Published)
        .await?;

    // Without the router nobody says that the prefix has gone.
    router.delete().await?;
    router.await_gone().await?;
    nas.touch().await?;
    await_aaaa(&nas, &["2001:db8:7:5::1234"]).await
}

#[tokio::test]
async fn a_prefix_that_is_withdrawn_takes_the_addresses_along() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut router = zone.host("router");
    router.spec.auth.allow_clear = true;
    let router = LiveHost::create(stack, &router).await?;
    let mut nas = zone.host("nas");
    nas.spec.ipv6 = Some(behind("router", "::1234"));
    let nas = LiveHost::create(stack, &nas).await?;
    report_prefix(&router, "2001:db8:1:2::/64").await?;
    await_aaaa(&nas, &["2001:db8:1:2::1234"]).await?;
    let target = format!("/nic/delete?hostname={}", router.hostname);
    let answer = dynhost_e2e::http::get(
        stack.operator.update_address(),
        &target,
        Some(("router", &router.token)),
    )
    .await?;
    ensure!(answer.status == 200, "{}", answer.text());
    await_aaaa(&nas, &[]).await?;
    await_condition("the zone is empty", LIMIT, async || {
        let records = records(&stack.bind, &zone).await?;
        ensure!(records.is_empty(), "{records:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_prefix_of_another_length_makes_no_address() -> Result<()> {
    async fn check(stack: &Stack, zone: &Zone, label: &str, prefix: &str) -> Result<()> {
        let mut host = zone.host(label);
        host.spec.ipv6 = Some(Ipv6FromPrefix {
            interface_id: Some("::1".to_owned()),
            mac_address: None,
            prefix_from: None,
        });
        let host = LiveHost::create(stack, &host).await?;
        // The endpoint takes none; one that an earlier version has stored makes nothing either.
        let answer = host.try_report(prefix).await?;
        ensure!(answer.status == 400, "{}", answer.text());
        let hosts = stack.hosts(&host.namespace).await?;
        let observed = json!({"prefix": prefix, "changedAt": "2026-01-01T00:00:00Z",
                              "protocol": "dyndns2"});
        let patch = json!({"status": {"observed": {"ipv6Prefix": observed}}});
        hosts
            .patch_status(label, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        host.await_reason(ConditionType::Published, Reason::PrefixMismatch)
            .await?;
        // All else is published.
        host.report("198.51.100.7").await?;
        host.await_a(&["198.51.100.7"]).await?;
        await_aaaa(&host, &[]).await?;
        host.merge(json!({"spec": {"families": ["IPv4"]}})).await?;
        host.await_reason(ConditionType::Published, Reason::Published)
            .await?;
        Ok(())
    }
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    check(stack, &zone, "short", "2001:db8::/40").await?;
    check(stack, &zone, "long", "2001:db8:1:2:3::/80").await
}
