//! A CRD that is deleted takes every host along, and no name unasked. In a stack of its own.

use anyhow::Result;
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Stack, StackOptions, await_condition, stack::LIMIT};
use jiff::Timestamp;

use super::team::{Team, approve, await_pause, zone_of_teams};
use super::zone_records::records;

#[tokio::test]
async fn a_deleted_crd_takes_many_names_only_with_an_approval() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let zone = zone_of_teams(&stack).await?;
    let team = Team::create(&stack, &zone, "team", 12).await?;
    let before = stack.bind.dump(&zone.apex).await?;

    let delete = ["delete", "crd", "dynamichosts.dynhost.dev", "--wait=false"];
    stack.control_plane.kubectl(&delete, "").await?;
    let words = format!(
        "12 of namespace {} (the CRD of hosts is being deleted)",
        team.namespace
    );
    let pause = await_pause(&stack, &zone, &words).await?;
    for host in &team.hosts {
        host.await_reason(ConditionType::Published, Reason::DeletionPaused)
            .await?;
    }
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);

    approve(&stack, &pause, Timestamp::now()).await?;
    await_condition("all records are gone", LIMIT, async || {
        Ok(records(&stack.bind, &zone).await?.is_empty().then_some(()))
    })
    .await?;
    await_condition("the CRD is gone", LIMIT, async || {
        let get = [
            "get",
            "crd",
            "dynamichosts.dynhost.dev",
            "--ignore-not-found",
        ];
        let crd = stack.control_plane.kubectl(&get, "").await?;
        Ok(crd.is_empty().then_some(()))
    })
    .await
}
