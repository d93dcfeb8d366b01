//! The guard against mass deletion: many names go only where the zone's administrator says so.

use anyhow::Result;
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::Stack;
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};

use super::events::await_event;
use super::live_host::{LiveHost, published_rrsets};
use super::restarted_stack::restarted_stack;
use super::team::{Team, approve, await_no_pause, await_pause, await_paused_names, zone_of_teams};
use super::zone_records::{merge_zone, records};

#[tokio::test]
async fn a_deleted_namespace_with_many_names_waits_for_an_approval_that_counts() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = zone_of_teams(stack).await?;
    let team = Team::create(stack, &zone, "team", 12).await?;
    let before = stack.bind.dump(&zone.apex).await?;

    team.delete_namespace().await?;
    let words = format!("12 of namespace {} (it is being deleted)", team.namespace);
    let pause = await_pause(stack, &zone, &words).await?;
    let event = await_event(stack, &zone.namespace, &zone.name, "DeletionPaused").await?;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    for host in &team.hosts {
        host.await_reason(ConditionType::Published, Reason::DeletionPaused)
            .await?;
    }
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);

    let long_ago = Timestamp::now() - SignedDuration::from_mins(11);
    approve(stack, &pause, long_ago).await?;
    // Hosts are looked at in turn: those that the zone's change concerns have been, by then.
    let other = Team::create(stack, &zone, "other", 1).await?;
    await_pause(stack, &zone, &words).await?;
    let mut now = stack.bind.dump(&zone.apex).await?;
    now.retain(|record| !record.contains("other0") && !record.contains(" SOA "));
    let mut expected = before;
    expected.retain(|record| !record.contains(" SOA "));
    assert_eq!(now, expected);

    approve(stack, &pause, Timestamp::now()).await?;
    team.await_namespace_gone().await?;
    await_no_pause(stack, &zone).await?;
    other.hosts[0]
        .await_published(&["A 60 198.51.100.7"])
        .await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        ["_dynhost.other0 60 TXT marker", "other0 60 A 198.51.100.7"]
    );
    Ok(())
}

#[tokio::test]
async fn a_deleted_namespace_with_few_names_goes_with_them() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = zone_of_teams(stack).await?;
    let team = Team::create(stack, &zone, "team", 8).await?;
    team.delete_namespace().await?;
    team.await_namespace_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn hosts_that_are_deleted_themselves_go_however_many_they_are() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = zone_of_teams(stack).await?;
    let team = Team::create(stack, &zone, "team", 15).await?;
    try_join_all(team.hosts.iter().map(LiveHost::delete)).await?;
    for host in &team.hosts {
        host.await_gone().await?;
    }
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_selector_that_drops_many_names_takes_none_and_mended_has_lost_none() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = zone_of_teams(stack).await?;
    let team = Team::create(stack, &zone, "team", 12).await?;
    let before = stack.bind.dump(&zone.apex).await?;

    let selector = |team: &str| {
        let labels = serde_json::json!({"matchLabels": {"team": team}});
        serde_json::json!({"spec": {"allowedHosts": {"namespaces": {"selector": labels}}}})
    };
    merge_zone(stack, &zone, selector("none")).await?;
    let words = format!(
        "12 of namespace {} (the zone no longer admits them)",
        team.namespace
    );
    await_pause(stack, &zone, &words).await?;
    for host in &team.hosts {
        let reasons = [
            (ConditionType::Accepted, Reason::NotAllowedByZone),
            (ConditionType::Published, Reason::DeletionPaused),
        ];
        for (of, reason) in reasons {
            host.await_reason(of, reason).await?;
        }
    }
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);

    // One of them is deleted by its own people meanwhile.
    team.hosts[0].delete().await?;
    team.hosts[0].await_gone().await?;
    await_pause(stack, &zone, &words.replacen("12", "11", 1)).await?;

    merge_zone(stack, &zone, selector("yes")).await?;
    await_no_pause(stack, &zone).await?;
    for host in &team.hosts[1..] {
        host.await_published(&["A 60 198.51.100.7"]).await?;
    }
    assert_eq!(records(&stack.bind, &zone).await?.len(), 2 * 11);
    Ok(())
}

#[tokio::test]
async fn a_pause_outlives_the_operator_and_does_not_melt_away() -> Result<()> {
    let stack = restarted_stack().await?;
    let stack = &*stack;
    let zone = zone_of_teams(stack).await?;
    let team = Team::create(stack, &zone, "team", 8).await?;
    let other = Team::create(stack, &zone, "other", 4).await?;
    let before = records(&stack.bind, &zone).await?;
    team.label("no").await?;
    other.label("no").await?;
    await_pause(stack, &zone, "removing 12 names").await?;

    stack.operator.kill().await?;
    other.label("yes").await?;
    stack.operator.start_again().await?;
    // Eight alone would be few.
    await_paused_names(stack, 8).await?;
    let pause = await_pause(stack, &zone, "removing 8 names").await?;
    for host in &team.hosts {
        host.await_reason(ConditionType::Published, Reason::DeletionPaused)
            .await?;
    }
    for host in &other.hosts {
        host.await_published(&["A 60 198.51.100.7"]).await?;
    }
    assert_eq!(records(&stack.bind, &zone).await?, before);

    approve(stack, &pause, Timestamp::now()).await?;
    for host in &team.hosts {
        host.await_host("has nothing in DNS", |host| {
            published_rrsets(host).is_empty()
        })
        .await?;
    }
    await_no_pause(stack, &zone).await?;
    await_paused_names(stack, 0).await?;
    let mut rest = before;
    rest.retain(|record| record.contains("other"));
    assert_eq!(rest.len(), 2 * 4);
    assert_eq!(records(&stack.bind, &zone).await?, rest);
    Ok(())
}
