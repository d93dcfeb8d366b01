//! Records of others, which are never touched.

use std::time::Instant;

use anyhow::Result;
use dynhost_crds::conditions::{
    ConditionStatus::{False, True},
    ConditionType, Reason,
};
use dynhost_e2e::{Stack, Zone, ZoneOptions};
use kube::ResourceExt;

use super::live_host::{LiveHost, verdict};
use super::zone_records::{marker_text, records};

const FOREIGN_MARKER: &str = "v=1 o=stranger h=AAAAAAAAAAAAAAAAAAAAAA n=0123456789abcdef";

async fn zone_with(stack: &Stack, records: &[String]) -> Result<Zone> {
    let options = ZoneOptions {
        records: records.to_vec(),
        ..ZoneOptions::default()
    };
    stack.create_zone(options).await
}

/// Somebody else changes a zone, past dynhost.
async fn change(stack: &Stack, zone: &Zone, script: &str) -> Result<()> {
    stack.bind.nsupdate(&zone.apex, &zone.key, script).await
}

/// Waits for ForeignRecord, and expects that the zone is as it was.
async fn check_untouched(host: &LiveHost<'_>, zone: &Zone, before: &[String]) -> Result<()> {
    let refused = host
        .await_reason(ConditionType::Published, Reason::ForeignRecord)
        .await?;
    let expected = Some((False, "ForeignRecord"));
    assert_eq!(verdict(&refused, ConditionType::Published), expected);
    assert_eq!(verdict(&refused, ConditionType::Ready), expected);
    assert_eq!(
        verdict(&refused, ConditionType::Accepted),
        Some((True, "Accepted"))
    );
    assert_eq!(host.stack.bind.dump(&zone.apex).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_record_in_the_way_of_the_first_write_is_never_touched() -> Result<()> {
    let stack = Stack::shared().await?;
    let in_the_way = [
        ("a", "a", "A 192.0.2.1"),
        ("aaaa", "aaaa", "AAAA 2001:db8:bad::1"),
        ("cname", "cname", "CNAME target.example.net."),
        (
            "marker",
            "_dynhost.marker",
            &format!("TXT \"{FOREIGN_MARKER}\""),
        ),
        ("text", "_dynhost.text", "TXT \"something else\""),
        ("alias", "_dynhost.alias", "CNAME target.example.net."),
    ];
    let lines = in_the_way.map(|(_, owner, data)| format!("{owner} 300 {data}"));
    let zone = zone_with(stack, &lines).await?;
    let before = stack.bind.dump(&zone.apex).await?;
    let mut hosts = Vec::new();
    for (label, ..) in in_the_way {
        let host = LiveHost::create(stack, &zone.host(label)).await?;
        host.report("198.51.100.7,2001:db8::7").await?;
        hosts.push(host);
    }
    for host in &hosts {
        check_untouched(host, &zone, &before).await?;
    }

    for ((_, owner, _), host) in in_the_way.iter().zip(&hosts) {
        change(
            stack,
            &zone,
            &format!("update delete {owner}.{}", zone.apex),
        )
        .await?;
        host.touch().await?;
        host.await_published(&["A 60 198.51.100.7", "AAAA 60 2001:db8::7"])
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_foreign_rrset_of_many_addresses_is_told_once_and_not_tried_again_at_once() -> Result<()>
{
    let stack = Stack::shared().await?;
    // Enough for BIND to answer in another order each time.
    let lines = [1, 2, 3, 4, 5].map(|last| format!("home 300 A 192.0.2.{last}"));
    let zone = zone_with(stack, &lines).await?;
    let before = stack.bind.dump(&zone.apex).await?;
    let elsewhere = stack.create_zone(ZoneOptions::default()).await?;
    let unrelated = LiveHost::create_published(stack, &elsewhere, "home", "198.51.100.1").await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    host.report("198.51.100.7").await?;
    check_untouched(&host, &zone, &before).await?;

    let told = host.get().await?.resource_version();
    let tried = stack.bind.update_counts(&zone.apex).await?.total();
    let begun = Instant::now();
    for last in 2..12 {
        let address = format!("198.51.100.{last}");
        unrelated.report(&address).await?;
        unrelated.await_published_addresses(&address).await?;
        assert_eq!(host.get().await?.resource_version(), told);
    }
    // Of an attempt, which may take a few messages, comes another one after 2 s, 4 s, 8 s.
    let passed = begun.elapsed().as_secs();
    let attempts = (1_u32..).find(|n| passed < 2 << n).unwrap_or_default();
    let counts = stack.bind.update_counts(&zone.apex).await?;
    let most = tried + 4 * u64::from(attempts);
    assert!(
        counts.total() <= most,
        "{tried}, {passed} s later {counts:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_refused_hosts_deletion_leaves_the_foreign_records() -> Result<()> {
    let stack = Stack::shared().await?;
    let foreign = ["home 300 A 192.0.2.1".to_owned()];
    let zone = zone_with(stack, &foreign).await?;
    let before = stack.bind.dump(&zone.apex).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    // Even where the stranger's record says the same.
    host.report("192.0.2.1").await?;
    check_untouched(&host, &zone, &before).await?;
    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);
    Ok(())
}

#[tokio::test]
async fn wildcards_do_not_hinder_and_are_not_touched() -> Result<()> {
    async fn check(wildcards: &[&str]) -> Result<()> {
        let stack = Stack::shared().await?;
        let lines: Vec<_> = wildcards.iter().map(|line| (*line).to_owned()).collect();
        let zone = zone_with(stack, &lines).await?;
        let before = stack.bind.dump(&zone.apex).await?;
        let host = LiveHost::create(stack, &zone.host("home")).await?;
        for address in ["198.51.100.7", "198.51.100.8", "198.51.100.9"] {
            host.report(address).await?;
            host.await_published_addresses(address).await?;
            host.await_a(&[address]).await?;
            // A nonce that is not the last one is found out below a wildcard, too.
            let marker = marker_text(&stack.bind, &host.hostname).await?;
            let (front, _) = marker.rsplit_once('=').unwrap();
            let name = format!("_dynhost.{}", host.hostname);
            let script = format!(
                "update delete {name} TXT\nupdate add {name} 60 TXT \"{front}=0123456789abcdef\""
            );
            change(stack, &zone, &script).await?;
        }
        host.delete().await?;
        host.await_gone().await?;
        assert_eq!(stack.bind.dump(&zone.apex).await?, before, "{wildcards:?}");
        Ok(())
    }
    check(&["* 300 A 192.0.2.1", "* 300 TXT \"wild\""]).await?;
    check(&["* 300 CNAME target.example.net."]).await
}

/// Publishes `198.51.100.7`, and lets somebody else put a wildcard with the same address above it
/// and then change the zone by `script` (see [`expand`]).
async fn published_below_a_late_wildcard(script: &str) -> Result<(LiveHost<'static>, Zone)> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let wildcard = format!("update add *.{} 300 A 198.51.100.7\n", zone.apex);
    change(stack, &zone, &(wildcard + &expand(script, &host))).await?;
    Ok((host, zone))
}

#[tokio::test]
async fn a_host_whose_records_are_gone_below_a_later_wildcard_goes_and_the_wildcard_stays()
-> Result<()> {
    let (host, zone) = published_below_a_late_wildcard("update delete @\nupdate delete #").await?;
    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(
        records(&host.stack.bind, &zone).await?,
        ["* 300 A 198.51.100.7"]
    );
    Ok(())
}

#[tokio::test]
async fn an_update_below_a_later_wildcard_is_published_and_the_wildcard_stays() -> Result<()> {
    for script in [
        "",
        "update delete #",
        "update delete @",
        "update delete @\nupdate delete #",
    ] {
        let (host, zone) = published_below_a_late_wildcard(script).await?;
        host.report("198.51.100.8").await?;
        host.await_published(&["A 60 198.51.100.8"]).await?;
        assert_eq!(
            records(&host.stack.bind, &zone).await?,
            [
                "* 300 A 198.51.100.7",
                "_dynhost.home 60 TXT marker",
                "home 60 A 198.51.100.8",
            ],
            "{script}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn records_of_other_types_beside_a_host_stay() -> Result<()> {
    let stack = Stack::shared().await?;
    let beside = [
        "home 300 MX 10 mail.example.net.",
        "home 300 TXT \"beside\"",
    ];
    let zone = zone_with(stack, &beside.map(str::to_owned)).await?;
    let before = stack.bind.dump(&zone.apex).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let during = stack.bind.dump(&zone.apex).await?;
    assert!(
        before.iter().all(|record| during.contains(record)),
        "{during:#?}"
    );
    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);
    Ok(())
}

/// A script in which `@` stands for the host's name and `#` for its marker's.
fn expand(script: &str, host: &LiveHost<'_>) -> String {
    script
        .replace('#', &format!("_dynhost.{}", host.hostname))
        .replace('@', &host.hostname)
}

/// Publishes a host, lets somebody else change the zone by `script` (see [`expand`]), and reports
/// a new address.
async fn report_after(script: &str) -> Result<(LiveHost<'static>, Zone, Vec<String>)> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7,2001:db8::7").await?;
    change(stack, &zone, &expand(script, &host)).await?;
    let before = stack.bind.dump(&zone.apex).await?;
    host.report("198.51.100.8").await?;
    Ok((host, zone, before))
}

#[tokio::test]
async fn a_cname_put_at_a_hosts_name_is_never_overwritten() -> Result<()> {
    for script in [
        "update delete @\nupdate add @ 300 CNAME target.example.net.",
        "update delete @\nupdate delete #\nupdate add @ 300 CNAME target.example.net.",
    ] {
        let (host, zone, before) = report_after(script).await?;
        check_untouched(&host, &zone, &before).await?;

        change(
            host.stack,
            &zone,
            &format!("update delete {} CNAME", host.hostname),
        )
        .await?;
        host.touch().await?;
        host.await_published(&["A 60 198.51.100.8", "AAAA 60 2001:db8::7"])
            .await?;
        assert_eq!(records(&host.stack.bind, &zone).await?.len(), 3);
    }
    Ok(())
}

#[tokio::test]
async fn a_name_that_a_stranger_took_over_is_never_taken_back() -> Result<()> {
    let stranger = format!(
        "update delete @\nupdate delete #\nupdate add @ 300 A 192.0.2.1\n\
         update add # 300 TXT \"{FOREIGN_MARKER}\""
    );
    for script in [
        stranger.as_str(),
        "update delete @\nupdate delete #\nupdate add @ 300 A 192.0.2.1",
        // Part of what stands there may still be ours; nobody can tell.
        "update delete #\nupdate add @ 300 A 192.0.2.1",
    ] {
        let (host, zone, before) = report_after(script).await?;
        check_untouched(&host, &zone, &before).await?;
        host.delete().await?;
        host.await_gone().await?;
        assert_eq!(host.stack.bind.dump(&zone.apex).await?, before, "{script}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_deleted_is_written_again_with_the_next_change() -> Result<()> {
    for script in [
        "update delete #",
        "update delete @",
        "update delete @\nupdate delete #",
        "update delete @ A",
    ] {
        let (host, zone, _) = report_after(script).await?;
        host.await_published(&["A 60 198.51.100.8", "AAAA 60 2001:db8::7"])
            .await?;
        assert_eq!(
            records(&host.stack.bind, &zone).await?,
            [
                "_dynhost.home 60 TXT marker",
                "home 60 A 198.51.100.8",
                "home 60 AAAA 2001:db8::7",
            ],
            "{script}"
        );
    }
    Ok(())
}
