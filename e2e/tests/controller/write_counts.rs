//! What a change costs the API server, counted by its own audit log.

use anyhow::Result;
use dynhost_crds::GROUP;
use dynhost_e2e::{AuditEvent, AuditMark, Stack, Zone, ZoneOptions};

use super::live_host::LiveHost;
use super::zone_records::await_host_count;

/// The accepted writes to our objects in the zone's namespace since `mark`.
async fn writes(stack: &Stack, zone: &Zone, mark: AuditMark) -> Result<Vec<AuditEvent>> {
    let events = stack.control_plane.audit_events(mark).await?;
    let of_ours = events
        .into_iter()
        .filter(|event| event.group == GROUP && event.namespace == zone.namespace);
    Ok(of_ours.filter(AuditEvent::is_write).collect())
}

#[tokio::test]
async fn a_change_costs_at_most_two_writes_and_nochg_none() -> Result<()> {
    const CHANGES: usize = 5;
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.1,2001:db8::1").await?;
    let neighbour = LiveHost::create_published(stack, &zone, "neighbour", "198.51.100.1").await?;
    await_host_count(stack, &zone, 2).await?;

    let mark = stack.control_plane.audit_mark().await?;
    for change in 2..2 + CHANGES {
        let addresses = format!("198.51.100.{change},2001:db8::{change}");
        host.report(&addresses).await?;
        host.await_published_addresses(&addresses).await?;
    }
    let changes = writes(stack, &zone, mark).await?;
    assert!(changes.len() <= 2 * CHANGES, "{changes:#?}");

    let mark = stack.control_plane.audit_mark().await?;
    for _ in 0..CHANGES {
        let answer = host.try_report("198.51.100.6,2001:db8::6").await?;
        assert_eq!(answer.text(), "nochg 198.51.100.6,2001:db8::6");
    }
    // Whatever a nochg might have set off comes before what a later change of a neighbour does.
    neighbour.report("198.51.100.2").await?;
    neighbour.await_published_addresses("198.51.100.2").await?;
    let unchanged = writes(stack, &zone, mark).await?;
    let of_host = unchanged.iter().filter(|event| event.name != "neighbour");
    assert_eq!(of_host.count(), 0, "{unchanged:#?}");
    Ok(())
}

#[tokio::test]
async fn a_burst_of_changes_costs_no_more_writes_than_they_do_one_by_one() -> Result<()> {
    const CHANGES: usize = 10;
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.1").await?;
    await_host_count(stack, &zone, 1).await?;

    let mark = stack.control_plane.audit_mark().await?;
    for change in 2..2 + CHANGES {
        host.report(&format!("198.51.100.{change}")).await?;
    }
    host.await_published(&["A 60 198.51.100.11"]).await?;
    host.await_a(&["198.51.100.11"]).await?;
    let changes = writes(stack, &zone, mark).await?;
    assert!(changes.len() <= 2 * CHANGES, "{changes:#?}");
    Ok(())
}
