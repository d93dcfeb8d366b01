//! The operator is killed after DNS was written and before status was.

use anyhow::Result;
use dynhost_e2e::{Mode, Stack, TcpProxy, Zone, ZoneOptions};
use hickory_net::proto::rr::RecordType;
use serde_json::json;

use super::live_host::{LiveHost, published_rrsets};
use super::restarted_stack::restarted_stack;
use super::zone_records::{records, zone_behind_proxy};

/// Reports `address`, and kills the operator when BIND has it and nobody else knows.
async fn kill_between_dns_and_status(
    stack: &Stack,
    proxy: &TcpProxy,
    host: &LiveHost<'_>,
    address: &str,
) -> Result<()> {
    let before = published_rrsets(&host.get().await?);
    proxy.set_mode(Mode::SwallowReplies);
    host.report(address).await?;
    host.await_a(&[address]).await?;
    stack.operator.kill().await?;
    assert_eq!(published_rrsets(&host.get().await?), before);
    Ok(())
}

async fn check_home(stack: &Stack, zone: &Zone, address: &str) -> Result<()> {
    let record = format!("home 60 A {address}");
    assert_eq!(
        records(&stack.bind, zone).await?,
        ["_dynhost.home 60 TXT marker", record.as_str()]
    );
    Ok(())
}

/// Killed after `198.51.100.8` has replaced `198.51.100.7` in DNS; then another replica of the
/// endpoint stores `newest`, where there is one.
async fn check_killed_after_a_change(newest: Option<&str>, expected: &str) -> Result<()> {
    let stack = restarted_stack().await?;
    let (zone, proxy) = zone_behind_proxy(&stack, ZoneOptions::default()).await?;
    let host = LiveHost::create_published(&stack, &zone, "home", "198.51.100.7").await?;

    kill_between_dns_and_status(&stack, &proxy, &host, "198.51.100.8").await?;
    if let Some(newest) = newest {
        host.store_ipv4(newest).await?;
    }
    proxy.set_mode(Mode::Pass);
    stack.operator.start_again().await?;
    host.await_a(&[expected]).await?;
    host.await_published_addresses(expected).await?;
    check_home(&stack, &zone, expected).await
}

#[tokio::test]
async fn what_was_written_before_a_crash_is_found_again() -> Result<()> {
    check_killed_after_a_change(None, "198.51.100.8").await
}

#[tokio::test]
async fn an_address_that_changes_after_a_crash_is_published() -> Result<()> {
    check_killed_after_a_change(Some("198.51.100.9"), "198.51.100.9").await
}

#[tokio::test]
async fn an_address_that_changes_back_after_a_crash_is_published() -> Result<()> {
    check_killed_after_a_change(Some("198.51.100.7"), "198.51.100.7").await
}

#[tokio::test]
async fn a_host_deleted_after_a_crash_in_its_first_write_leaves_nothing() -> Result<()> {
    let stack = restarted_stack().await?;
    let (zone, proxy) = zone_behind_proxy(&stack, ZoneOptions::default()).await?;
    let host = LiveHost::create(&stack, &zone.host("home")).await?;

    kill_between_dns_and_status(&stack, &proxy, &host, "198.51.100.7").await?;
    check_home(&stack, &zone, "198.51.100.7").await?;
    host.delete().await?;
    assert!(host.exists().await?);
    proxy.set_mode(Mode::Pass);
    stack.operator.start_again().await?;
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_host_narrowed_and_deleted_after_a_crash_leaves_nothing() -> Result<()> {
    let stack = restarted_stack().await?;
    let (zone, proxy) = zone_behind_proxy(&stack, ZoneOptions::default()).await?;
    let host = LiveHost::create_published(&stack, &zone, "home", "198.51.100.7").await?;

    proxy.set_mode(Mode::SwallowReplies);
    host.report("2001:db8::7").await?;
    stack
        .await_dns(&host.hostname, RecordType::AAAA, &["2001:db8::7"])
        .await?;
    stack.operator.kill().await?;
    host.merge(json!({"spec": {"families": ["IPv4"]}})).await?;
    host.delete().await?;
    proxy.set_mode(Mode::Pass);
    stack.operator.start_again().await?;
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_restart_with_everything_in_dns_writes_nothing() -> Result<()> {
    let stack = restarted_stack().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(&stack, &zone, "home", "198.51.100.7").await?;
    let before = stack.bind.dump(&zone.apex).await?;
    let status = host.get().await?.status;

    stack.operator.terminate().await?;
    stack.operator.start_again().await?;
    let later = LiveHost::create_published(&stack, &zone, "later", "198.51.100.8").await?;
    assert_eq!(host.get().await?.status, status);
    later.delete().await?;
    later.await_gone().await?;
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);
    Ok(())
}
