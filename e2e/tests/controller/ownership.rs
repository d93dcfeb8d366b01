//! Zones without markers: what each mode can prove, and what it leaves alone.

use anyhow::Result;
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_crds::host::{Alias, AliasType};
use dynhost_crds::zone::OwnershipMode;
use dynhost_e2e::{Stack, Zone, ZoneOptions, await_condition, stack::LIMIT};
use serde_json::json;

use super::live_host::LiveHost;
use super::zone_records::{merge_zone, records};

fn with_alias(zone: &Zone, label: &str) -> dynhost_crds::host::DynamicHost {
    let mut host = zone.host(label);
    host.spec.aliases = vec![Alias {
        name: format!("www.{label}.{}", zone.apex),
        type_: AliasType::Cname,
    }];
    host
}

#[tokio::test]
async fn without_markers_records_live_and_go_and_foreign_ones_stay() -> Result<()> {
    let stack = Stack::shared().await?;
    for mode in [OwnershipMode::Values, OwnershipMode::None] {
        let foreign = ["taken 300 A 192.0.2.1", "home 300 TXT \"beside\""];
        let options = ZoneOptions {
            records: foreign.map(str::to_owned).to_vec(),
            ownership_mode: mode,
            ..ZoneOptions::default()
        };
        let zone = stack.create_zone(options).await?;
        let before = records(&stack.bind, &zone).await?;
        let home = LiveHost::create(stack, &with_alias(&zone, "home")).await?;
        let www = |ttl| format!("CNAME {ttl} {}", home.hostname);
        home.report("198.51.100.7").await?;
        home.await_published(&["A 60 198.51.100.7", &www(60)])
            .await?;
        home.report("198.51.100.8,2001:db8::8").await?;
        home.await_published(&["A 60 198.51.100.8", "AAAA 60 2001:db8::8", &www(60)])
            .await?;
        home.merge(json!({"spec": {"ttl": 90}})).await?;
        home.await_published(&["A 90 198.51.100.8", "AAAA 90 2001:db8::8", &www(90)])
            .await?;
        let taken = LiveHost::create(stack, &zone.host("taken")).await?;
        taken.report("198.51.100.9").await?;
        taken
            .await_reason(ConditionType::Published, Reason::ForeignRecord)
            .await?;
        let home_apex = format!("home.{}.", zone.apex);
        assert_eq!(
            records(&stack.bind, &zone).await?,
            [
                "home 300 TXT beside".to_owned(),
                "home 90 A 198.51.100.8".to_owned(),
                "home 90 AAAA 2001:db8::8".to_owned(),
                "taken 300 A 192.0.2.1".to_owned(),
                format!("www.home 90 CNAME {home_apex}"),
            ],
            "{mode:?}"
        );
        for host in [&home, &taken] {
            host.delete().await?;
            host.await_gone().await?;
        }
        assert_eq!(records(&stack.bind, &zone).await?, before, "{mode:?}");
    }
    Ok(())
}

#[tokio::test]
async fn records_that_somebody_changed_are_foreign_where_values_are_the_proof() -> Result<()> {
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        ownership_mode: OwnershipMode::Values,
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let home = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let script = format!(
        "update delete {0} A\nupdate add {0} 60 A 192.0.2.1",
        home.hostname
    );
    stack.bind.nsupdate(&zone.apex, &zone.key, &script).await?;
    home.report("198.51.100.8").await?;
    home.await_reason(ConditionType::Published, Reason::ForeignRecord)
        .await?;
    assert_eq!(records(&stack.bind, &zone).await?, ["home 60 A 192.0.2.1"]);
    // A record that says already what is to be said is taken for ours.
    let script = format!(
        "update delete {0} A\nupdate add {0} 60 A 198.51.100.8",
        home.hostname
    );
    stack.bind.nsupdate(&zone.apex, &zone.key, &script).await?;
    home.touch().await?;
    home.await_published(&["A 60 198.51.100.8"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_zone_that_changes_its_mode_keeps_its_records() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let home = LiveHost::create(stack, &with_alias(&zone, "home")).await?;
    home.report("198.51.100.7").await?;
    let addresses = [
        "home 60 A 198.51.100.7".to_owned(),
        format!("www.home 60 CNAME home.{}.", zone.apex),
    ];
    for (mode, markers) in [
        ("Values", 0),
        ("Marker", 2),
        ("Values", 0),
        ("None", 0),
        ("Marker", 2),
    ] {
        merge_zone(stack, &zone, json!({"spec": {"ownership": {"mode": mode}}})).await?;
        let what = format!("mode {mode} has {markers} markers");
        await_condition(&what, LIMIT, async || {
            let records = records(&stack.bind, &zone).await?;
            let (marked, others): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|r| r.ends_with(" marker"));
            anyhow::ensure!(others == addresses, "{others:?}");
            Ok((marked.len() == markers).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rebuilt_cluster_finds_its_records_by_its_id_and_without_markers_by_their_values()
-> Result<()> {
    let stack = Stack::shared().await?;
    for (mode, takes_over) in [
        (OwnershipMode::Marker, true),
        (OwnershipMode::Values, false),
    ] {
        let options = ZoneOptions {
            ownership_mode: mode,
            ownership_id: Some("home".to_owned()),
            ..ZoneOptions::default()
        };
        let zone = stack.create_zone(options).await?;
        let home = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
        // As in a cluster restored from manifests: no status, no finalizer, another UID.
        let hosts = stack.hosts(&zone.namespace).await?;
        home.merge(json!({"spec": {"deletionPolicy": "Retain"}}))
            .await?;
        home.await_reason(ConditionType::Published, Reason::Published)
            .await?;
        hosts.delete("home", &Default::default()).await?;
        home.await_gone().await?;
        let reborn = LiveHost::create(stack, &zone.host("home")).await?;
        reborn.report("198.51.100.8").await?;
        if takes_over {
            reborn.await_published(&["A 60 198.51.100.8"]).await?;
        } else {
            reborn
                .await_reason(ConditionType::Published, Reason::ForeignRecord)
                .await?;
            reborn.report("198.51.100.7").await?;
            reborn.await_published(&["A 60 198.51.100.7"]).await?;
        }
    }
    Ok(())
}
