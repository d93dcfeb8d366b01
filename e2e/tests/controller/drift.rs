//! Records that somebody else has changed, found by looking through the zone.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use dynhost_crds::conditions::{
    ConditionStatus::{False, True},
    ConditionType, Reason,
};
use dynhost_e2e::{
    Software, Stack, StackOptions, UpdateCounts, Zone, ZoneOptions, await_condition, http,
    stack::{LIMIT, LONG_LEASE},
};
use futures::future::try_join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use hickory_net::proto::rr::RecordType;
use kube::ResourceExt;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::events::await_event;
use super::live_host::{LiveHost, verdict};
use super::zone_records::{await_zone_gone, marker_text, records, zone_on_own, zones};

/// A stack that looks through its zones every second, for one test at a time, as its metrics are
/// those of all zones.
async fn looking_stack() -> Result<MutexGuard<'static, Stack>> {
    static STACK: OnceCell<Mutex<Stack>> = OnceCell::const_new();
    let stack =
        STACK.get_or_try_init(async || Ok::<_, anyhow::Error>(Mutex::new(start_looking().await?)));
    Ok(stack.await?.lock().await)
}

async fn start_looking() -> Result<Stack> {
    let arguments = [&["--drift-interval", "1s"][..], &LONG_LEASE].concat();
    let operator_arguments = arguments.into_iter().map(str::to_owned).collect();
    Stack::start(StackOptions {
        operator_arguments,
        ..StackOptions::default()
    })
    .await
}

async fn create_zone(stack: &Stack, allow_transfer: bool, records: &[&str]) -> Result<Zone> {
    let options = ZoneOptions {
        allow_transfer,
        records: records.iter().map(|record| (*record).to_owned()).collect(),
        ..ZoneOptions::default()
    };
    stack.create_zone(options).await
}

/// Somebody else changes a zone, past dynhost: in the script `@` is the host `home` and `#` the
/// name of its marker.
async fn change(stack: &Stack, zone: &Zone, script: &str) -> Result<()> {
    let home = format!("home.{}", zone.apex);
    let script = script
        .replace('#', &format!("_dynhost.{home}"))
        .replace('@', &home);
    stack.bind.nsupdate(&zone.apex, &zone.key, &script).await
}

async fn await_records(stack: &Stack, zone: &Zone, expected: &[String]) -> Result<()> {
    let what = format!("{} holds {} records", zone.apex, expected.len());
    await_condition(&what, LIMIT, async || {
        let records = records(&stack.bind, zone).await?;
        ensure!(records == expected, "{records:#?}");
        Ok(Some(()))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))
}

/// The value of a metric whose line begins with this; 0 where there is none.
async fn metric(stack: &Stack, begin: &str) -> Result<i64> {
    let page = http::get(stack.operator.admin_address(), "/metrics", None).await?;
    let page = page.text();
    let lines = page.lines().filter_map(|line| line.strip_prefix(begin));
    let values = lines.filter_map(|rest| rest.rsplit(' ').next()?.parse::<i64>().ok());
    Ok(values.sum())
}

/// Waits until so many more passes of this kind have ended.
async fn await_passes(stack: &Stack, kind: &str, more: i64) -> Result<()> {
    let name = format!("dynhost_drift_passes_total{{{kind}");
    let before = metric(stack, &name).await?;
    await_condition(&format!("{more} passes {kind}"), LIMIT, async || {
        let now = metric(stack, &name).await?;
        ensure!(now >= before + more, "{before}, then {now}");
        Ok(Some(()))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))
}

/// The UPDATE messages since.
fn since(before: UpdateCounts, after: UpdateCounts) -> UpdateCounts {
    UpdateCounts {
        done: after.done - before.done,
        bad_prerequisite: after.bad_prerequisite - before.bad_prerequisite,
        rejected: after.rejected - before.rejected,
        failed: after.failed - before.failed,
    }
}

/// A published host with an alias of each kind, in a zone of its own.
async fn create_home(stack: &Stack, allow_transfer: bool) -> Result<(LiveHost<'_>, Zone)> {
    let zone = create_zone(stack, allow_transfer, &[]).await?;
    let home = LiveHost::create(stack, &zone.host("home")).await?;
    home.merge(json!({"spec": {"aliases": [
        {"name": format!("*.{}", home.hostname), "type": "Address"},
        {"name": format!("www.{}", home.hostname), "type": "CNAME"},
    ]}}))
    .await?;
    home.report("198.51.100.7,2001:db8::7").await?;
    let records = [
        "*.home 60 A 198.51.100.7".to_owned(),
        "*.home 60 AAAA 2001:db8::7".to_owned(),
        "_dynhost.*.home 60 TXT marker".to_owned(),
        "_dynhost.home 60 TXT marker".to_owned(),
        "_dynhost.www.home 60 TXT marker".to_owned(),
        "home 60 A 198.51.100.7".to_owned(),
        "home 60 AAAA 2001:db8::7".to_owned(),
        format!("www.home 60 CNAME {}.", home.hostname),
    ];
    await_records(stack, &zone, &records).await?;
    Ok((home, zone))
}

#[tokio::test]
async fn what_somebody_else_changed_is_written_anew_at_first_try() -> Result<()> {
    let stack = &*looking_stack().await?;
    for allow_transfer in [true, false] {
        let (home, zone) = create_home(stack, allow_transfer).await?;
        let published = records(&stack.bind, &zone).await?;
        for script in [
            "update delete @ A\nupdate add @ 60 A 192.0.2.1",
            "update add @ 60 A 192.0.2.1",
            "update delete @ AAAA",
            "update delete @ A\nupdate delete @ AAAA",
            "update delete # TXT",
            "update delete @\nupdate delete #",
            "update delete *.@ A",
            "update delete www.@ CNAME\nupdate add www.@ 60 CNAME elsewhere.example.net.",
            "update delete www.@ CNAME",
            "update delete @\nupdate delete #\nupdate delete *.@\nupdate delete _dynhost.*.@\n\
             update delete www.@\nupdate delete _dynhost.www.@",
        ] {
            let context = format!("transfer {allow_transfer}, {script}");
            let repairs = metric(stack, "dynhost_drift_repairs_total").await?;
            let before = stack.bind.update_counts(&zone.apex).await?;
            change(stack, &zone, script)
                .await
                .context(context.clone())?;
            await_records(stack, &zone, &published)
                .await
                .context(context.clone())?;
            let expected = UpdateCounts {
                done: 2,
                ..UpdateCounts::default()
            };
            let after = stack.bind.update_counts(&zone.apex).await?;
            assert_eq!(since(before, after), expected, "{context}");
            await_condition("the repair is counted", LIMIT, async || {
                let now = metric(stack, "dynhost_drift_repairs_total").await?;
                ensure!(now == repairs + 1, "{now}");
                Ok(Some(()))
            })
            .await?;
            let marker = marker_text(&stack.bind, &home.hostname).await?;
            home.await_host("names the marker", |host| {
                super::live_host::published_marker(host) == Some(&marker)
            })
            .await?;
            let host = home.get().await?;
            assert_eq!(
                verdict(&host, ConditionType::Published),
                Some((True, "Published"))
            );
        }
        let way = if allow_transfer {
            "transfer"
        } else {
            "queries"
        };
        assert!(
            metric(
                stack,
                &format!("dynhost_drift_passes_total{{way=\"{way}\",outcome=\"drifted\"}}")
            )
            .await?
                > 0
        );
    }
    Ok(())
}

/// Knot then says that it does not know the key.
#[tokio::test]
async fn every_server_is_asked_for_names_where_it_hands_over_no_zone() -> Result<()> {
    let stack = &*looking_stack().await?;
    for software in Software::ALL {
        let (zone, server) = zone_on_own(stack, software).await?;
        let home = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
        let records = async || {
            let records = server.dump(&zone.apex).await?;
            let is_address = |record: &String| record.starts_with(&home.hostname);
            Ok::<Vec<_>, anyhow::Error>(records.into_iter().filter(is_address).collect())
        };
        let published = records().await?;
        let foreign = format!("update add {} 60 A 192.0.2.1", home.hostname);
        server.nsupdate(&zone.apex, &zone.key, &foreign).await?;
        let what = format!("the zone on {software:?} is as published");
        await_condition(&what, LIMIT, async || {
            let records = records().await?;
            ensure!(records == published, "{records:#?}");
            Ok(Some(()))
        })
        .await
        .with_context(|| stack.operator.log_tail(20))?;
    }
    Ok(())
}

/// Published hosts `h0` and so on.
async fn create_hosts<'a>(
    stack: &'a Stack,
    zone: &Zone,
    count: usize,
) -> Result<Vec<LiveHost<'a>>> {
    let create = async |number: usize| {
        let address = format!("198.51.100.{}", number + 1);
        LiveHost::create_published(stack, zone, &format!("h{number}"), &address).await
    };
    // Not all at once: the API server has other tests to serve.
    stream::iter((0..count).map(create))
        .buffered(8)
        .try_collect()
        .await
}

/// Deletes all records of these hosts in one message.
async fn wipe(stack: &Stack, zone: &Zone, hosts: &[LiveHost<'_>]) -> Result<()> {
    let lines = hosts.iter().map(|host| {
        let name = &host.hostname;
        format!("update delete {name}\nupdate delete _dynhost.{name}")
    });
    // An empty line would send a message of its own.
    change(stack, zone, &lines.collect::<Vec<_>>().join("\n")).await
}

#[tokio::test]
async fn a_wiped_zone_comes_back_whole_and_nothing_is_refused() -> Result<()> {
    const HOSTS: usize = 50;
    let stack = &*looking_stack().await?;
    for allow_transfer in [true, false] {
        let zone = create_zone(stack, allow_transfer, &[]).await?;
        let hosts = create_hosts(stack, &zone, HOSTS).await?;
        let published = records(&stack.bind, &zone).await?;
        assert_eq!(published.len(), 2 * HOSTS);
        let before = stack.bind.update_counts(&zone.apex).await?;
        wipe(stack, &zone, &hosts).await?;
        await_records(stack, &zone, &published).await?;
        let counts = since(before, stack.bind.update_counts(&zone.apex).await?);
        // One of them is the wipe.
        assert!(counts.done <= 1 + HOSTS as u64, "{counts:?}");
        assert_eq!(counts.total(), counts.done, "{counts:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_change_that_finds_its_marker_gone_has_the_zone_looked_through_at_once() -> Result<()> {
    // Here no pass is due for weeks.
    let stack = Stack::shared().await?;
    let zone = create_zone(stack, true, &[]).await?;
    let hosts = create_hosts(stack, &zone, 5).await?;
    let mut published = records(&stack.bind, &zone).await?;
    wipe(stack, &zone, &hosts).await?;
    hosts[0].report("198.51.100.100").await?;
    for record in &mut published {
        *record = record.replace("h0 60 A 198.51.100.1", "h0 60 A 198.51.100.100");
    }
    await_records(stack, &zone, &published).await
}

#[tokio::test]
async fn a_name_that_somebody_else_has_taken_is_told_and_left_to_them() -> Result<()> {
    let stack = &*looking_stack().await?;
    for allow_transfer in [true, false] {
        for script in [
            "update delete @\nupdate add @ 300 CNAME target.example.net.",
            "update delete @\nupdate delete #\nupdate add @ 300 CNAME target.example.net.",
            "update delete @\nupdate delete #\nupdate add @ 300 A 192.0.2.1",
            "update delete # TXT\nupdate add # 60 TXT \"somebody's\"",
            "update add # 60 TXT \"somebody's\"",
        ] {
            let zone = create_zone(stack, allow_transfer, &[]).await?;
            let home = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
            change(stack, &zone, script).await?;
            let before = stack.bind.dump(&zone.apex).await?;
            let host = home
                .await_reason(ConditionType::Published, Reason::ForeignRecord)
                .await
                .with_context(|| script.to_owned())?;
            let expected = Some((False, "ForeignRecord"));
            assert_eq!(verdict(&host, ConditionType::Ready), expected, "{script}");
            assert_eq!(stack.bind.dump(&zone.apex).await?, before, "{script}");
            await_event(stack, &home.namespace, &home.name, "ForeignRecord").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn below_a_wildcard_the_name_server_says_what_is_there() -> Result<()> {
    let stack = &*looking_stack().await?;
    for allow_transfer in [true, false] {
        for wildcards in [
            &["* 300 A 192.0.2.1", "* 300 TXT \"wild\""][..],
            &["* 300 A 198.51.100.7"],
            &["* 300 CNAME target.example.net."],
        ] {
            let zone = create_zone(stack, allow_transfer, wildcards).await?;
            LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
            let published = records(&stack.bind, &zone).await?;
            for script in [
                "update delete @\nupdate delete #",
                "update delete # TXT",
                "update delete @ A",
            ] {
                change(stack, &zone, script).await?;
                await_records(stack, &zone, &published)
                    .await
                    .with_context(|| format!("{wildcards:?}, {script}"))?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn where_all_is_as_published_nothing_is_written_and_an_unchanged_serial_is_all_that_is_read()
-> Result<()> {
    // Of its own, so that its metrics are those of one zone.
    let stack = &start_looking().await?;
    let zone = create_zone(stack, true, &["other 300 A 192.0.2.1"]).await?;
    let home = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    // The last thing that is written of the zone after its first host.
    let zone_told = await_condition("the zone's status counts the host", LIMIT, async || {
        let zone = zones(stack, &zone).await?.get(&zone.name).await?;
        let hosts = zone.status.as_ref().and_then(|status| status.hosts);
        ensure!(hosts == Some(1), "{hosts:?}");
        Ok(Some(zone))
    })
    .await?;
    await_passes(stack, "way=\"serial\",outcome=\"unchanged\"", 2).await?;
    let told = home.get().await?.resource_version();
    let updates = stack.bind.update_counts(&zone.apex).await?.done;
    // A change of somebody else's record is no drift.
    change(
        stack,
        &zone,
        &format!("update add other.{} 300 A 192.0.2.2", zone.apex),
    )
    .await?;
    await_passes(stack, "way=\"transfer\",outcome=\"as_published\"", 1).await?;
    await_passes(stack, "way=\"serial\",outcome=\"unchanged\"", 2).await?;
    assert_eq!(home.get().await?.resource_version(), told);
    let zone_now = zones(stack, &zone).await?.get(&zone.name).await?;
    assert_eq!(zone_now.resource_version(), zone_told.resource_version());
    let counts = stack.bind.update_counts(&zone.apex).await?;
    assert_eq!(counts.done, updates + 1);
    let checked = metric(stack, "dynhost_drift_checked_timestamp_seconds").await?;
    assert!(checked > 1_700_000_000, "{checked}");
    Ok(())
}

#[tokio::test]
async fn suspended_hosts_and_markers_without_a_host_are_left_alone() -> Result<()> {
    let stack = &*looking_stack().await?;
    let orphans = metric(stack, "dynhost_orphaned_markers").await?;
    let zone = create_zone(stack, true, &[]).await?;
    let home = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let other = LiveHost::create_published(stack, &zone, "other", "198.51.100.8").await?;
    home.merge(json!({"spec": {"suspend": true}})).await?;
    home.await_reason(ConditionType::Published, Reason::Suspended)
        .await?;
    // What a host that was let go leaves behind.
    let marker = marker_text(&stack.bind, &home.hostname).await?;
    let digest = marker
        .split("h=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let left = marker.replace(digest, "AAAAAAAAAAAAAAAAAAAAAA");
    let foreign = left.replace("o=", "o=x");
    change(
        stack,
        &zone,
        &format!(
            "update delete @ A\nupdate delete {other} A\n\
             update add left.{apex} 60 A 192.0.2.1\n\
             update add _dynhost.left.{apex} 60 TXT \"{left}\"\n\
             update add _dynhost.foreign.{apex} 60 TXT \"{foreign}\"",
            other = other.hostname,
            apex = zone.apex,
        ),
    )
    .await?;
    other.await_a(&["198.51.100.8"]).await?;
    await_condition("the orphan is counted", LIMIT, async || {
        let now = metric(stack, "dynhost_orphaned_markers").await?;
        ensure!(now == orphans + 1, "{orphans}, then {now}");
        Ok(Some(()))
    })
    .await?;
    let expected = [
        "_dynhost.foreign 60 TXT marker",
        "_dynhost.home 60 TXT marker",
        "_dynhost.left 60 TXT marker",
        "_dynhost.other 60 TXT marker",
        "left 60 A 192.0.2.1",
        "other 60 A 198.51.100.8",
    ];
    assert_eq!(records(&stack.bind, &zone).await?, expected);

    home.merge(json!({"spec": {"suspend": false}})).await?;
    home.await_a(&["198.51.100.7"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_report_during_a_pass_is_not_undone_by_it() -> Result<()> {
    let stack = &*looking_stack().await?;
    for allow_transfer in [true, false] {
        let zone = create_zone(stack, allow_transfer, &[]).await?;
        let hosts = create_hosts(stack, &zone, 3).await?;
        let passes = metric(stack, "dynhost_drift_passes_total").await?;
        let mut last = BTreeMap::new();
        let mut round = 0_usize;
        while metric(stack, "dynhost_drift_passes_total").await? < passes + 6 {
            round += 1;
            let reports = hosts.iter().map(async |host| {
                let address = format!("198.51.{}.{}", 101 + round / 250, round % 250 + 1);
                host.report(&address).await?;
                Ok::<_, anyhow::Error>((host.hostname.clone(), address))
            });
            last = try_join_all(reports).await?.into_iter().collect();
        }
        for (hostname, address) in &last {
            stack.await_dns(hostname, RecordType::A, &[address]).await?;
        }
        // A repair shows that a whole pass has come after the last report.
        let first = &hosts[0].hostname;
        change(stack, &zone, &format!("update delete {first} A")).await?;
        for (hostname, address) in &last {
            stack.await_dns(hostname, RecordType::A, &[address]).await?;
        }
        let counts = stack.bind.update_counts(&zone.apex).await?;
        assert_eq!(counts.total(), counts.done, "{counts:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_zone_that_cannot_be_read_or_is_deleted_stalls_nothing() -> Result<()> {
    let stack = &*looking_stack().await?;
    let (silent, proxy) = super::zone_records::zone_behind_proxy(
        stack,
        ZoneOptions {
            allow_transfer: true,
            ..ZoneOptions::default()
        },
    )
    .await?;
    let lost = LiveHost::create_published(stack, &silent, "lost", "198.51.100.9").await?;
    let deleted = create_zone(stack, true, &[]).await?;
    let gone = LiveHost::create_published(stack, &deleted, "gone", "198.51.100.10").await?;
    let zone = create_zone(stack, true, &[]).await?;
    LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let published = records(&stack.bind, &zone).await?;

    proxy.set_mode(dynhost_e2e::Mode::Hold);
    zones(stack, &deleted)
        .await?
        .delete(&deleted.name, &Default::default())
        .await?;
    await_passes(stack, "way=\"serial\",outcome=\"unavailable\"", 1).await?;
    change(stack, &zone, "update delete @ A").await?;
    await_records(stack, &zone, &published).await?;
    gone.delete().await?;
    gone.await_gone().await?;
    await_zone_gone(stack, &deleted).await?;

    // Who had no answer meanwhile comes back as it was, by the pass that its return asks for.
    change(
        stack,
        &silent,
        &format!("update delete {} A", lost.hostname),
    )
    .await?;
    proxy.set_mode(dynhost_e2e::Mode::Pass);
    lost.await_a(&["198.51.100.9"]).await
}
