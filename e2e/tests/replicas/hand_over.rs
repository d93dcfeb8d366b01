//! From one writer to the next.

use anyhow::Result;
use dynhost_e2e::http;

use super::team::{LONG, Team, USUAL, await_leader, await_standby};

#[tokio::test]
async fn one_of_two_writes_and_what_the_other_acknowledges_is_published() -> Result<()> {
    let team = Team::gather().await?;
    let (writer, standby) = team.pair(LONG).await?;
    let host = team.host().await?;
    for (replica, address) in [(&standby, "198.51.100.1"), (&writer, "198.51.100.2")] {
        host.report(replica, address).await?;
        host.await_published(address).await?;
    }
    let holder = team.holder().await?;
    assert_eq!(holder, format!("e2e-{}", writer.update_address().port()));
    // Nobody waits for it to have the lease.
    let ready = http::get(standby.admin_address(), "/readyz", None).await?;
    assert_eq!(ready.status, 200);
    let page = http::get(standby.admin_address(), "/metrics", None).await?;
    assert!(!page.text().contains("dynhost_dns_changes_total{"));
    assert!(writer.is_leader().await? && !standby.is_leader().await?);
    Ok(())
}

#[tokio::test]
async fn who_ends_releases_the_lease_and_the_other_goes_on_at_once() -> Result<()> {
    let team = Team::gather().await?;
    let (writer, standby) = team.pair(LONG).await?;
    let host = team.host().await?;
    host.report(&writer, "198.51.100.1").await?;
    host.await_published("198.51.100.1").await?;
    host.report(&writer, "198.51.100.2").await?;
    let status = writer.terminate().await?;
    assert!(status.success(), "{status}");
    // The lease lasts an hour: it was not waited for.
    await_leader(&standby).await?;
    host.await_published("198.51.100.2").await?;
    host.report(&standby, "198.51.100.3").await?;
    host.await_published("198.51.100.3").await?;
    // The last one releases it, too.
    standby.terminate().await?;
    assert_eq!(team.holder().await?, "");
    Ok(())
}

#[tokio::test]
async fn who_is_killed_is_followed_when_the_lease_ends() -> Result<()> {
    let team = Team::gather().await?;
    let (writer, standby) = team.pair(USUAL).await?;
    let host = team.host().await?;
    host.report(&writer, "198.51.100.1").await?;
    host.await_published("198.51.100.1").await?;
    writer.kill().await?;
    host.report(&standby, "198.51.100.2").await?;
    host.await_published("198.51.100.2").await?;
    await_leader(&standby).await?;
    // Who comes back finds another holder, and waits.
    writer.start_again().await?;
    await_standby(&writer).await?;
    assert!(standby.is_leader().await?);
    host.report(&writer, "198.51.100.3").await?;
    host.await_published("198.51.100.3").await
}

#[tokio::test]
async fn who_is_killed_and_comes_again_under_its_name_goes_on_at_once() -> Result<()> {
    let team = Team::gather().await?;
    let (writer, standby) = team.pair(LONG).await?;
    let host = team.host().await?;
    writer.kill().await?;
    host.report(&standby, "198.51.100.1").await?;
    writer.start_again().await?;
    await_leader(&writer).await?;
    host.await_published("198.51.100.1").await
}
