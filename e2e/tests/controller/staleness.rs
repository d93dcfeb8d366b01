//! Hosts whose clients are silent. Time is made to pass by setting back what status says of it.

use std::time::Duration;

use anyhow::{Context, Result};
use dynhost_crds::{
    conditions::{
        ConditionStatus::{True, Unknown},
        ConditionType::{Fresh, Published, Ready},
        Reason,
    },
    host::{DynamicHost, WhenStale},
    zone::NamespacesFrom,
};
use dynhost_e2e::{
    Stack, StackOptions, Zone, ZoneOptions, await_condition,
    stack::{LIMIT, condition},
};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::events::await_event;
use super::live_host::{LiveHost, published_rrsets, verdict};
use super::zone_records::{merge_zone, records};

/// What the operator has to have listened for where `staleAfter` is 1 min, and some more.
const LISTENED: Duration = Duration::from_secs(60);
const LISTENED_LIMIT: Duration = LISTENED.saturating_add(LIMIT);

/// A host that is stale after a minute, or that is never stale.
fn host(zone: &Zone, label: &str, when_stale: Option<WhenStale>) -> DynamicHost {
    let mut host = zone.host(label);
    if let Some(when_stale) = when_stale {
        host.spec.stale_after = "1m".parse().ok();
        host.spec.when_stale = when_stale;
    }
    host
}

/// Has the client be silent for an hour, all of which counts.
async fn silence(host: &LiveHost<'_>) -> Result<()> {
    let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    let mut status = host.get().await?.status.context("no status")?;
    for condition in &mut status.conditions {
        condition.last_transition_time = hour_ago;
    }
    let hour_ago = Timestamp::from_second(hour_ago.as_second())?;
    let patch = json!({"status": {
        "observed": {"lastSeen": hour_ago},
        "conditions": status.conditions,
    }});
    let hosts = host.stack.hosts(&host.namespace).await?;
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    hosts.patch_status(&host.name, &params, &patch).await?;
    Ok(())
}

/// What a host has that reports `198.51.100.7,2001:db8::7`.
const BOTH: [&str; 2] = ["A 60 198.51.100.7", "AAAA 60 2001:db8::7"];

fn has_no_records(host: &DynamicHost) -> bool {
    published_rrsets(host).is_empty()
}

/// Checks that exactly these hosts have records, which are [`BOTH`].
async fn check_zone(stack: &Stack, zone: &Zone, labels: &[&str]) -> Result<()> {
    let mut expected = Vec::new();
    for label in labels {
        expected.push(format!("_dynhost.{label} 60 TXT marker"));
        expected.push(format!("{label} 60 A 198.51.100.7"));
        expected.push(format!("{label} 60 AAAA 2001:db8::7"));
    }
    expected.sort();
    assert_eq!(records(&stack.bind, zone).await?, expected);
    Ok(())
}

fn last_seen(host: &DynamicHost) -> Option<Timestamp> {
    host.status.as_ref()?.observed.as_ref()?.last_seen
}

/// Waits until the host is stale, and returns since when.
async fn await_stale(host: &LiveHost<'_>) -> Result<Timestamp> {
    let what = format!("{} is stale", host.name);
    await_condition(&what, LISTENED_LIMIT, async || {
        let host = host.get().await?;
        let fresh = condition(&host, Fresh).context("no condition Fresh")?;
        anyhow::ensure!(fresh.reason == "Stale", "{:#?}", host.status);
        Ok(Some(fresh.last_transition_time))
    })
    .await
    .with_context(|| host.stack.operator.log_tail(20))
}

/// Waits until Fresh is True and exactly these RRsets are published.
async fn await_fresh(host: &LiveHost<'_>, rrsets: &[&str]) -> Result<DynamicHost> {
    let wanted = format!("is fresh with {rrsets:?}");
    host.await_host(&wanted, |host| {
        verdict(host, Fresh) == Some((True, "Fresh")) && published_rrsets(host) == rrsets
    })
    .await
}

#[tokio::test]
async fn who_is_silent_is_told_stale_and_loses_the_records_where_that_is_wanted() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let create = async |label: &str, when_stale| {
        let host = LiveHost::create(&stack, &host(&zone, label, when_stale)).await?;
        host.report("198.51.100.7,2001:db8::7").await?;
        match when_stale {
            Some(_) => await_fresh(&host, &BOTH).await?,
            None => host.await_published(&BOTH).await?,
        };
        Ok::<_, anyhow::Error>(host)
    };
    let removed = create("removed", Some(WhenStale::Remove)).await?;
    let kept = create("kept", Some(WhenStale::Keep)).await?;
    let never = create("never", None).await?;

    // Their time runs out while nobody listens, which is not their silence yet.
    stack.operator.kill().await?;
    for host in [&removed, &kept, &never] {
        let seen = last_seen(&host.get().await?).context("never seen")?;
        assert_eq!(seen.subsec_nanosecond(), 0);
        silence(host).await?;
    }
    let restarted = Timestamp::now();
    stack.operator.start_again().await?;
    let heard = restarted + SignedDuration::try_from(LISTENED)?;
    for host in [&removed, &kept] {
        let since = await_stale(host).await?;
        assert!(since >= heard, "{} since {since}", host.name);
        let event = await_event(&stack, &host.namespace, &host.name, "Stale").await?;
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }
    removed.await_a(&[]).await?;
    check_zone(&stack, &zone, &["kept", "never"]).await?;
    let removed_now = removed.await_host("has no records", has_no_records).await?;
    for host in [&removed_now, &kept.get().await?] {
        assert_eq!(verdict(host, Ready), Some((True, "Ready")));
        assert_eq!(verdict(host, Published), Some((True, "Published")));
    }
    assert_eq!(verdict(&never.get().await?, Fresh), None);

    // What they had is confirmed, and comes back by that.
    for host in [&removed, &kept] {
        host.confirm().await?;
        await_fresh(host, &BOTH).await?;
        await_event(&stack, &host.namespace, &host.name, "Fresh").await?;
    }
    removed.await_a(&["198.51.100.7"]).await?;
    check_zone(&stack, &zone, &["kept", "never", "removed"]).await?;

    // By now we have listened for long enough. A report of one family brings back the other too.
    silence(&removed).await?;
    await_stale(&removed).await?;
    removed.await_host("has no records", has_no_records).await?;
    removed.report("198.51.100.8").await?;
    await_fresh(&removed, &["A 60 198.51.100.8", BOTH[1]]).await?;
    removed.report("198.51.100.7").await?;
    await_fresh(&removed, &BOTH).await?;

    check_that_only_time_that_counts_makes_stale(&stack, &zone).await?;
    check_that_a_restart_makes_nobody_fresh(&stack, &removed, &never).await?;

    removed.delete().await?;
    removed.await_gone().await
}

/// Nor does it have to be known again who was stale: no record of such a host is written.
async fn check_that_a_restart_makes_nobody_fresh(
    stack: &Stack,
    stale: &LiveHost<'_>,
    other: &LiveHost<'_>,
) -> Result<()> {
    silence(stale).await?;
    await_stale(stale).await?;
    let before = stale.await_host("has no records", has_no_records).await?;
    stack.operator.kill().await?;
    stack.operator.start_again().await?;
    // By the time that one of them changes, the others have been looked at.
    other.report("198.51.100.9").await?;
    other
        .await_published(&["A 60 198.51.100.9", BOTH[1]])
        .await?;
    assert_eq!(stale.get().await?, before);
    stale.await_a(&[]).await?;
    // But its client's call does.
    stale.confirm().await?;
    await_fresh(stale, &BOTH).await?;
    stale.await_a(&["198.51.100.7"]).await
}

impl LiveHost<'_> {
    /// Reports what is stored.
    async fn confirm(&self) -> Result<()> {
        let answer = self.try_report("198.51.100.7,2001:db8::7").await?;
        assert_eq!(answer.text(), "nochg 198.51.100.7,2001:db8::7");
        Ok(())
    }
}

/// The silence of a client is not its own before its host has a `staleAfter`, and while it is
/// refused.
async fn check_that_only_time_that_counts_makes_stale(stack: &Stack, zone: &Zone) -> Result<()> {
    let host = LiveHost::create_published(stack, zone, "late", "198.51.100.7").await?;
    silence(&host).await?;
    let with = json!({"spec": {"staleAfter": "1m", "whenStale": "Remove"}});
    host.merge(with).await?;
    // It may have called since: it was noted less often.
    let judged = host.await_host("is judged", |host| condition(host, Fresh).is_some());
    assert_eq!(verdict(&judged.await?, Fresh), Some((True, "Fresh")));

    host.merge(json!({"spec": {"suspend": true}})).await?;
    let suspended = host.await_reason(Fresh, Reason::Suspended).await?;
    assert_eq!(verdict(&suspended, Fresh), Some((Unknown, "Suspended")));
    silence(&host).await?;
    let seen = last_seen(&host.get().await?);
    assert_eq!(host.try_report("198.51.100.7").await?.text(), "abuse");
    host.merge(json!({"spec": {"suspend": false}})).await?;
    let generation = host.get().await?.metadata.generation;
    let judged = host.await_host("is judged", |host| {
        let fresh = condition(host, Fresh);
        fresh.is_some_and(|fresh| fresh.observed_generation == generation)
    });
    let judged = judged.await?;
    assert_eq!(verdict(&judged, Fresh), Some((True, "Fresh")));
    assert_eq!(last_seen(&judged), seen);
    assert_eq!(published_rrsets(&judged), ["A 60 198.51.100.7"]);
    host.delete().await?;
    host.await_gone().await
}

#[tokio::test]
async fn the_condition_fresh_is_there_with_stale_after_only() -> Result<()> {
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        from: NamespacesFrom::All,
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let host = LiveHost::create(stack, &host(&zone, "home", Some(WhenStale::Remove))).await?;
    let awaiting = host
        .await_reason(Fresh, Reason::AwaitingFirstUpdate)
        .await?;
    assert_eq!(
        verdict(&awaiting, Fresh),
        Some((Unknown, "AwaitingFirstUpdate"))
    );
    host.report("198.51.100.7").await?;
    let fresh = await_fresh(&host, &["A 60 198.51.100.7"]).await?;
    let conditions = fresh.status.unwrap_or_default().conditions;
    let types: Vec<_> = conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(
        types,
        ["Accepted", "KeyReady", "Published", "Fresh", "Ready"]
    );

    let nobody = json!({"matchLabels": {"example.org/nobody": "here"}});
    let nobody = json!({"namespaces": {"from": "Selector", "selector": nobody}});
    merge_zone(stack, &zone, json!({"spec": {"allowedHosts": nobody}})).await?;
    let refused = host.await_reason(Fresh, Reason::NotAllowedByZone).await?;
    assert_eq!(
        verdict(&refused, Fresh),
        Some((Unknown, "NotAllowedByZone"))
    );

    let without = json!({"spec": {"staleAfter": null, "whenStale": "Keep"}});
    host.merge(without).await?;
    host.await_host("has no Fresh", |host| condition(host, Fresh).is_none())
        .await?;
    Ok(())
}
