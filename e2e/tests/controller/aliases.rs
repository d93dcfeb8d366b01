//! Further names of a host: addresses, wildcards and CNAMEs, under the same ownership.

use anyhow::Result;
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Stack, Zone, ZoneOptions};
use serde_json::{Value, json};

use super::live_host::{LiveHost, verdict};
use super::zone_records::{merge_zone, records};

fn aliases(zone: &Zone, labels: &[(&str, &str)]) -> Value {
    let alias = |(label, kind): &(&str, &str)| json!({"name": format!("{label}.{}", zone.apex), "type": kind});
    let aliases: Vec<_> = labels.iter().map(alias).collect();
    json!({"spec": {"aliases": aliases}})
}

async fn await_records(host: &LiveHost<'_>, zone: &Zone, expected: &[&str]) -> Result<()> {
    let target = format!("home.{}.", zone.apex);
    let mut expected: Vec<_> = expected.iter().map(|r| r.replace('@', &target)).collect();
    expected.sort();
    let what = format!("{} has {expected:?}", zone.apex);
    dynhost_e2e::await_condition(&what, dynhost_e2e::stack::LIMIT, async || {
        let records = records(&host.stack.bind, zone).await?;
        anyhow::ensure!(
            records == expected,
            "{records:?}\n{}",
            host.stack.operator.log_tail(5)
        );
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn aliases_come_change_and_go_with_their_host() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let home = LiveHost::create(stack, &zone.host("home")).await?;
    home.merge(aliases(
        &zone,
        &[("*.home", "Address"), ("www.home", "CNAME")],
    ))
    .await?;
    home.report("198.51.100.7").await?;
    let markers = [
        "_dynhost.*.home 60 TXT marker",
        "_dynhost.home 60 TXT marker",
        "_dynhost.www.home 60 TXT marker",
    ];
    let with = |others: &[&'static str]| [&markers[..], others].concat();
    let first = with(&[
        "*.home 60 A 198.51.100.7",
        "home 60 A 198.51.100.7",
        "www.home 60 CNAME @",
    ]);
    await_records(&home, &zone, &first).await?;
    let before = stack.bind.update_counts(&zone.apex).await?;
    home.report("198.51.100.8,2001:db8::8").await?;
    let second = with(&[
        "*.home 60 A 198.51.100.8",
        "*.home 60 AAAA 2001:db8::8",
        "home 60 A 198.51.100.8",
        "home 60 AAAA 2001:db8::8",
        "www.home 60 CNAME @",
    ]);
    await_records(&home, &zone, &second).await?;
    let after = stack.bind.update_counts(&zone.apex).await?;
    assert_eq!(
        after.done - before.done,
        1,
        "all names change in one message"
    );
    let answer = stack
        .bind
        .query(
            &format!("anything.home.{}", zone.apex),
            hickory_net::proto::rr::RecordType::A,
        )
        .await?;
    assert_eq!(answer.rdata, ["198.51.100.8"]);

    // A CNAME becomes addresses, and the other way round.
    home.merge(aliases(
        &zone,
        &[("*.home", "CNAME"), ("www.home", "Address")],
    ))
    .await?;
    let third = with(&[
        "*.home 60 CNAME @",
        "home 60 A 198.51.100.8",
        "home 60 AAAA 2001:db8::8",
        "www.home 60 A 198.51.100.8",
        "www.home 60 AAAA 2001:db8::8",
    ]);
    await_records(&home, &zone, &third).await?;

    home.merge(aliases(&zone, &[])).await?;
    let own = [
        "_dynhost.home 60 TXT marker",
        "home 60 A 198.51.100.8",
        "home 60 AAAA 2001:db8::8",
    ];
    await_records(&home, &zone, &own).await?;
    home.merge(aliases(
        &zone,
        &[("*.home", "Address"), ("www.home", "CNAME")],
    ))
    .await?;
    await_records(&home, &zone, &second).await?;
    home.delete().await?;
    home.await_gone().await?;
    await_records(&home, &zone, &[]).await
}

#[tokio::test]
async fn an_alias_beside_other_data_is_refused_and_the_hosts_own_name_is_right() -> Result<()> {
    let stack = Stack::shared().await?;
    let foreign = [
        "www.home 300 A 192.0.2.1",
        "mail.home 300 MX 10 mx.example.net.",
        "cdn.home 300 CNAME cdn.example.net.",
        "own.home 300 CNAME own.example.net.",
    ];
    let options = ZoneOptions {
        records: foreign.map(str::to_owned).to_vec(),
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let home = LiveHost::create(stack, &zone.host("home")).await?;
    let labels = [
        ("www.home", "CNAME"),
        ("mail.home", "CNAME"),
        ("cdn.home", "Address"),
        ("own.home", "CNAME"),
        ("ok.home", "CNAME"),
    ];
    home.merge(aliases(&zone, &labels)).await?;
    home.report("198.51.100.7").await?;
    let host = home
        .await_reason(ConditionType::Published, Reason::ForeignRecord)
        .await?;
    let message = dynhost_e2e::stack::condition(&host, ConditionType::Published)
        .map(|condition| condition.message.clone())
        .unwrap_or_default();
    for label in ["www.home", "mail.home", "cdn.home", "own.home"] {
        assert!(message.contains(label), "{message}");
    }
    assert!(!message.contains("ok.home"), "{message}");
    assert_eq!(
        verdict(&host, ConditionType::Ready).map(|(_, reason)| reason),
        Some("ForeignRecord")
    );
    let others = [
        "www.home 300 A 192.0.2.1",
        "mail.home 300 MX 10 mx.example.net.",
        "cdn.home 300 CNAME cdn.example.net.",
        "own.home 300 CNAME own.example.net.",
        "_dynhost.home 60 TXT marker",
        "_dynhost.ok.home 60 TXT marker",
        "ok.home 60 CNAME @",
    ];
    await_records(
        &home,
        &zone,
        &[&others[..], &["home 60 A 198.51.100.7"]].concat(),
    )
    .await?;
    home.report("198.51.100.8").await?;
    await_records(
        &home,
        &zone,
        &[&others[..], &["home 60 A 198.51.100.8"]].concat(),
    )
    .await?;

    // The zone's administrator hands one of them over.
    let adopt = json!({"metadata": {"annotations": {
        dynhost_crds::ADOPT_ANNOTATION: format!("www.home.{}", zone.apex)}}});
    merge_zone(stack, &zone, adopt).await?;
    let adopted = [
        "mail.home 300 MX 10 mx.example.net.",
        "cdn.home 300 CNAME cdn.example.net.",
        "own.home 300 CNAME own.example.net.",
        "_dynhost.home 60 TXT marker",
        "_dynhost.ok.home 60 TXT marker",
        "_dynhost.www.home 60 TXT marker",
        "home 60 A 198.51.100.8",
        "ok.home 60 CNAME @",
        "www.home 60 CNAME @",
    ];
    await_records(&home, &zone, &adopted).await?;
    home.delete().await?;
    home.await_gone().await?;
    await_records(&home, &zone, &adopted[..3]).await
}
