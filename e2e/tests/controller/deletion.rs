//! What becomes of DNS, and of the objects, when hosts and zones are deleted.

use std::time::Duration;

use anyhow::{Context, Result};
use dynhost_crds::{
    HOST_FINALIZER, ZONE_FINALIZER,
    conditions::{ConditionStatus::False, ConditionType, Reason},
    host::DeletionPolicy,
};
use dynhost_e2e::{
    Stack, StackOptions, ZoneOptions, await_condition,
    stack::{LIMIT, condition},
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::json;

use super::events::await_event;
use super::live_host::LiveHost;
use super::malformed_objects::store_past_the_schema;
use super::zone_records::{
    await_zone_gone, await_zone_reason, merge_zone, records, zone_on_own_bind, zones,
};

#[tokio::test]
async fn a_deleted_host_takes_its_records_and_its_marker_along_and_nothing_else() -> Result<()> {
    let stack = Stack::shared().await?;
    let records_beside = ["home 300 TXT beside", "_dynhost.other 300 TXT beside"];
    let options = ZoneOptions {
        records: records_beside.map(str::to_owned).to_vec(),
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let before = stack.bind.dump(&zone.apex).await?;
    let both = LiveHost::create_published(stack, &zone, "home", "198.51.100.7,2001:db8::7").await?;
    let never_updated = LiveHost::create(stack, &zone.host("silent")).await?;

    both.delete().await?;
    never_updated.delete().await?;
    both.await_gone().await?;
    never_updated.await_gone().await?;
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);
    Ok(())
}

#[tokio::test]
async fn retained_records_stay_with_their_marker() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut retained = zone.host("home");
    retained.spec.deletion_policy = DeletionPolicy::Retain;
    let host = LiveHost::create(stack, &retained).await?;
    host.report("198.51.100.7,2001:db8::7").await?;
    host.await_published_addresses("198.51.100.7,2001:db8::7")
        .await?;
    let before = stack.bind.dump(&zone.apex).await?;

    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(stack.bind.dump(&zone.apex).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_host_deleted_while_the_name_server_is_down_stays_until_its_records_are_gone()
-> Result<()> {
    let stack = Stack::shared().await?;
    let (zone, bind) = zone_on_own_bind(stack).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7,2001:db8::7").await?;

    bind.stop().await?;
    host.delete().await?;
    host.await_reason(ConditionType::Published, Reason::ProviderUnavailable)
        .await?;
    assert!(host.exists().await?);

    bind.start_again().await?;
    host.await_gone().await?;
    assert_eq!(records(&bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_zone_stays_in_use_until_the_records_of_its_last_host_are_gone() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;

    let zones = zones(stack, &zone).await?;
    zones.delete(&zone.name, &DeleteParams::default()).await?;
    // A router does not know of it: its updates are published as long as the zone is there.
    host.report("198.51.100.8").await?;
    host.await_published(&["A 60 198.51.100.8"]).await?;
    assert_eq!(zones.get(&zone.name).await?.finalizers(), [ZONE_FINALIZER]);

    host.delete().await?;
    host.await_gone().await?;
    await_zone_gone(stack, &zone).await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_zone_its_secret_and_its_hosts_deleted_together_leave_nothing() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut hosts = Vec::new();
    for label in ["one", "two", "three"] {
        hosts.push(LiveHost::create_published(stack, &zone, label, "198.51.100.7").await?);
    }
    let zones = zones(stack, &zone).await?;
    let secrets: Api<Secret> = Api::namespaced(stack.client().await?, &zone.namespace);
    let delete = DeleteParams::default();
    secrets.delete("tsig", &delete).await?;
    zones.delete(&zone.name, &delete).await?;
    for host in &hosts {
        host.delete().await?;
    }
    for host in &hosts {
        host.await_gone().await?;
    }
    await_zone_gone(stack, &zone).await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_its_zone_and_hosts_and_leaves_nothing() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    for label in ["one", "two"] {
        LiveHost::create_published(stack, &zone, label, "198.51.100.7").await?;
    }
    let namespaces: Api<Namespace> = Api::all(stack.client().await?);
    namespaces
        .delete(&zone.namespace, &DeleteParams::default())
        .await?;
    await_condition("the namespace is gone", LET_GO_LIMIT, async || {
        let namespace = namespaces.get_opt(&zone.namespace).await?;
        anyhow::ensure!(namespace.is_none(), "{namespace:#?}");
        Ok(Some(()))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn the_finalizers_of_others_survive_ours() -> Result<()> {
    const OTHER: &str = "example.org/other";
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut host = zone.host("home");
    host.metadata.finalizers = Some(vec![OTHER.to_owned()]);
    let host = LiveHost::create(stack, &host).await?;
    host.report("198.51.100.7").await?;
    let published = host.await_published(&["A 60 198.51.100.7"]).await?;
    assert_eq!(published.finalizers(), [OTHER, HOST_FINALIZER]);

    host.delete().await?;
    host.await_host("has only the other finalizer", |host| {
        host.finalizers() == [OTHER]
    })
    .await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);

    host.merge(json!({"metadata": {"finalizers": null}}))
        .await?;
    host.await_gone().await
}

#[tokio::test]
async fn a_host_that_was_never_updated_waits_for_neither_zone_nor_credentials() -> Result<()> {
    let stack = Stack::shared().await?;
    let zoneless = stack.create_zone(ZoneOptions::default()).await?;
    let without_zone = LiveHost::create(stack, &zoneless.host("home")).await?;
    let keyless = stack.create_zone(ZoneOptions::default()).await?;
    let without_key = LiveHost::create(stack, &keyless.host("home")).await?;

    zones(stack, &zoneless)
        .await?
        .delete(&zoneless.name, &DeleteParams::default())
        .await?;
    await_zone_gone(stack, &zoneless).await?;
    let missing = json!({"spec": {"rfc2136": {"tsig": {"secretRef": {"name": "missing"}}}}});
    merge_zone(stack, &keyless, missing).await?;
    await_zone_reason(stack, &keyless, Reason::CredentialsRejected).await?;

    for host in [&without_zone, &without_key] {
        host.delete().await?;
        host.await_gone().await?;
    }
    Ok(())
}

#[tokio::test]
async fn another_familys_record_that_a_stranger_put_beside_ours_stays() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let add = format!("update add {} 300 AAAA 2001:db8:bad::1", host.hostname);
    stack.bind.nsupdate(&zone.apex, &zone.key, &add).await?;

    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        ["home 300 AAAA 2001:db8:bad::1"]
    );
    Ok(())
}

#[tokio::test]
async fn a_name_that_a_stranger_has_marked_stays_the_strangers() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let marker = "v=1 o=stranger h=AAAAAAAAAAAAAAAAAAAAAA n=0123456789abcdef";
    let name = format!("_dynhost.{}", host.hostname);
    // The address is the one that we published.
    let mark = format!("update delete {name} TXT\nupdate add {name} 60 TXT \"{marker}\"");
    stack.bind.nsupdate(&zone.apex, &zone.key, &mark).await?;
    let before = records(&stack.bind, &zone).await?;

    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, before);
    Ok(())
}

#[tokio::test]
async fn our_finalizer_on_a_tenants_host_that_no_zone_admits_keeps_neither_host_nor_zone()
-> Result<()> {
    let stack = Stack::shared().await?;
    for is_inside in [true, false] {
        let beside = "x 300 A 192.0.2.1".to_owned();
        let options = ZoneOptions {
            records: vec![beside.clone()],
            ..ZoneOptions::default()
        };
        let zone = stack.create_zone(options).await?;
        // The zone's own probe is one.
        let messages = stack.bind.update_counts(&zone.apex).await?;
        let mut host = zone.host("x");
        host.metadata.namespace = Some(stack.control_plane.namespace("tenant").await?);
        host.metadata.finalizers = Some(vec![HOST_FINALIZER.to_owned()]);
        if !is_inside {
            host.spec.hostname = "x.example.com".to_owned();
        }
        let host = LiveHost::create_unready(stack, &host).await?;
        host.await_host("is not accepted", |host| {
            let accepted = condition(host, ConditionType::Accepted);
            accepted.is_some_and(|accepted| accepted.status == False)
        })
        .await?;

        host.delete().await?;
        // Sooner than a host whose zone is gone is let go.
        host.await_gone().await?;
        assert_eq!(records(&stack.bind, &zone).await?, [beside]);
        assert_eq!(stack.bind.update_counts(&zone.apex).await?, messages);

        zones(stack, &zone)
            .await?
            .delete(&zone.name, &DeleteParams::default())
            .await?;
        await_zone_gone(stack, &zone).await?;
    }
    Ok(())
}

/// The operator lets a host go after a minute, at its next attempt.
const LET_GO_LIMIT: Duration = Duration::from_secs(120);

/// In a stack of its own, as Events share a budget.
#[tokio::test]
async fn a_host_whose_records_nobody_can_remove_is_let_go_with_a_warning() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let keyless = stack.create_zone(ZoneOptions::default()).await?;
    let zoneless = stack.create_zone(ZoneOptions::default()).await?;
    let without_key = LiveHost::create_published(&stack, &keyless, "home", "198.51.100.7").await?;
    let without_zone =
        LiveHost::create_published(&stack, &zoneless, "home", "198.51.100.7").await?;

    let secrets: Api<Secret> = Api::namespaced(stack.client().await?, &keyless.namespace);
    secrets.delete("tsig", &DeleteParams::default()).await?;
    merge_zone(&stack, &zoneless, json!({"metadata": {"finalizers": null}})).await?;
    zones(&stack, &zoneless)
        .await?
        .delete(&zoneless.name, &DeleteParams::default())
        .await?;
    // The controller puts its finalizer on again where it is quicker.
    await_condition("the zone is gone", LET_GO_LIMIT, async || {
        let zones = zones(&stack, &zoneless).await?;
        match zones.get_opt(&zoneless.name).await? {
            None => Ok(Some(())),
            Some(_) => {
                let strip = json!({"metadata": {"finalizers": null}});
                merge_zone(&stack, &zoneless, strip).await?;
                Ok(None)
            }
        }
    })
    .await?;
    // It has no key in its memory any more.
    stack.operator.terminate().await?;
    stack.operator.start_again().await?;
    await_zone_reason(&stack, &keyless, Reason::CredentialsRejected).await?;

    // A third cannot be read any more.
    let unreadable_in = stack.create_zone(ZoneOptions::default()).await?;
    let unreadable =
        LiveHost::create_published(&stack, &unreadable_in, "home", "198.51.100.7").await?;
    store_past_the_schema(&stack, &[], async || {
        await_condition("the spec is spoilt", LIMIT, async || {
            unreadable.merge(json!({"spec": {"ttl": "long"}})).await?;
            Ok(Some(()))
        })
        .await
    })
    .await?;

    unreadable.delete().await?;
    without_key.delete().await?;
    without_zone.delete().await?;
    without_key
        .await_reason(ConditionType::Published, Reason::CredentialsRejected)
        .await?;
    without_zone
        .await_reason(ConditionType::Published, Reason::ZoneNotFound)
        .await?;
    for host in [&without_key, &without_zone, &unreadable] {
        let what = format!("host {} is let go", host.namespace);
        await_condition(&what, LET_GO_LIMIT, async || {
            Ok((!host.exists().await?).then_some(()))
        })
        .await
        .with_context(|| stack.operator.log_tail(20))?;
        let event = await_event(&stack, &host.namespace, &host.name, "RecordsLeft").await?;
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }
    for zone in [&keyless, &zoneless, &unreadable_in] {
        assert_eq!(
            records(&stack.bind, zone).await?,
            ["_dynhost.home 60 TXT marker", "home 60 A 198.51.100.7"]
        );
    }
    Ok(())
}
