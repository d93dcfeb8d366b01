//! A lease that is taken from its holder.

use anyhow::Result;
use dynhost_e2e::{
    Mode, Operator, TcpProxy, await_condition,
    stack::{LIMIT, operator_kubeconfig},
};

use super::team::{LONG, SHORT, Team, USUAL, await_leader, await_standby};

#[tokio::test]
async fn who_loses_the_lease_writes_no_more_and_goes_on_as_endpoint() -> Result<()> {
    let team = Team::gather().await?;
    let (writer, standby) = team.pair(LONG).await?;
    let host = team.host().await?;
    host.report(&writer, "198.51.100.1").await?;
    host.await_published("198.51.100.1").await?;
    team.write_holder("somebody").await?;
    await_standby(&writer).await?;
    let updates = host.updates().await?;
    for (replica, other, address) in [
        (&writer, &standby, "198.51.100.2"),
        (&standby, &writer, "198.51.100.3"),
    ] {
        host.report(replica, address).await?;
        host.await_known(other, address).await?;
    }
    assert_eq!(host.published().await?, ["198.51.100.1"]);
    assert_eq!(host.updates().await?, updates);
    // And again, from the beginning, when somebody may.
    team.write_holder("").await?;
    host.await_published("198.51.100.3").await?;
    let leaders = [writer.is_leader().await?, standby.is_leader().await?];
    assert_eq!(leaders.iter().filter(|leads| **leads).count(), 1);
    assert_eq!(writer.terminate().await?.code(), Some(0));
    await_leader(&standby).await
}

#[tokio::test]
async fn a_lease_that_was_deleted_is_made_again_by_its_holder() -> Result<()> {
    let team = Team::gather().await?;
    let (writer, standby) = team.pair(SHORT).await?;
    let host = team.host().await?;
    let leases = team.leases().await?;
    let deleted = leases.get("dynhost").await?.metadata.uid;
    leases.delete("dynhost", &Default::default()).await?;
    await_condition("there is another lease", LIMIT, async || {
        let lease = leases.get_opt("dynhost").await?;
        let is_new = lease.is_some_and(|lease| lease.metadata.uid != deleted);
        Ok(is_new.then_some(()))
    })
    .await?;
    host.report(&standby, "198.51.100.1").await?;
    host.await_published("198.51.100.1").await?;
    assert!(!(writer.is_leader().await? && standby.is_leader().await?));
    Ok(())
}

#[tokio::test]
async fn who_does_not_reach_the_api_server_stops_writing_before_another_begins() -> Result<()> {
    let team = Team::gather().await?;
    let stack = team.stack();
    let proxy = TcpProxy::start(stack.control_plane.api_address()).await?;
    let kubeconfig = operator_kubeconfig(&stack.control_plane, Some(proxy.address())).await?;
    let arguments = ["--lease-duration", USUAL].map(str::to_owned);
    let writer = Operator::start(&kubeconfig, &arguments).await?;
    await_leader(&writer).await?;
    let standby = team.replica(USUAL).await?;
    let host = team.host().await?;
    proxy.set_mode(Mode::Hold);
    // Never both: what the standby says is asked first.
    await_condition("the standby leads", LIMIT, async || {
        let leads = standby.is_leader().await?;
        assert!(!(leads && writer.is_leader().await?), "both lead");
        Ok(leads.then_some(()))
    })
    .await?;
    host.report(&standby, "198.51.100.1").await?;
    host.await_published("198.51.100.1").await?;
    proxy.set_mode(Mode::Pass);
    host.report(&writer, "198.51.100.2").await?;
    host.await_published("198.51.100.2").await?;
    assert!(!writer.is_leader().await? && standby.is_leader().await?);
    Ok(())
}
