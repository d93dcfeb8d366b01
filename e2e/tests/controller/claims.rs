//! Who may have a name: two zones for one domain, and two hosts for one name.

use anyhow::{Result, ensure};
use dynhost_crds::{
    conditions::{ConditionStatus::False, ConditionType, Reason},
    zone::NamespacesFrom,
};
use dynhost_e2e::{Stack, Zone, ZoneOptions, await_condition, stack::LIMIT};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use super::live_host::{LiveHost, verdict};
use super::zone_records::{await_zone_reason, records, zones};

/// A second DynamicZone for the same domain, in a namespace of its own, with the same TSIG key.
async fn second_zone(stack: &Stack, first: &Zone) -> Result<Zone> {
    let second = Zone {
        namespace: stack.control_plane.namespace("second").await?,
        ..first.clone()
    };
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "tsig"}, "stringData": {"secret": first.key.secret},
    }))?;
    let secrets: Api<Secret> = Api::namespaced(stack.client().await?, &second.namespace);
    secrets.create(&PostParams::default(), &secret).await?;
    let mut resource = zones(stack, first).await?.get(&first.name).await?;
    resource.metadata = kube::api::ObjectMeta {
        name: Some(second.name.clone()),
        ..Default::default()
    };
    resource.status = None;
    let zones = zones(stack, &second).await?;
    zones.create(&PostParams::default(), &resource).await?;
    await_zone_reason(stack, &second, Reason::Ready).await?;
    Ok(second)
}

#[tokio::test]
async fn of_two_zones_for_one_domain_the_first_writer_of_a_name_keeps_it() -> Result<()> {
    let stack = Stack::shared().await?;
    let first_zone = stack.create_zone(ZoneOptions::default()).await?;
    let second_zone = second_zone(stack, &first_zone).await?;
    let first = LiveHost::create_published(stack, &first_zone, "home", "198.51.100.7").await?;
    let before = stack.bind.dump(&first_zone.apex).await?;

    let second = LiveHost::create(stack, &second_zone.host("home")).await?;
    second.report("198.51.100.1").await?;
    second
        .await_reason(ConditionType::Published, Reason::ForeignRecord)
        .await?;
    assert_eq!(stack.bind.dump(&first_zone.apex).await?, before);
    first.report("198.51.100.8").await?;
    first.await_published(&["A 60 198.51.100.8"]).await?;

    second.delete().await?;
    second.await_gone().await?;
    assert_eq!(
        records(&stack.bind, &first_zone).await?,
        ["_dynhost.home 60 TXT marker", "home 60 A 198.51.100.8"]
    );
    Ok(())
}

/// Waits until an object that is created now is younger than `host`: the API server's times have
/// seconds.
pub(crate) async fn await_younger(host: &LiveHost<'_>) -> Result<()> {
    let created = host.get().await?.creation_timestamp();
    let probe: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "probe-"}}))?;
    let probes: Api<ConfigMap> = Api::namespaced(host.stack.client().await?, &host.namespace);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    await_condition("a second has passed", LIMIT, async || {
        let now = probes.create(&dry_run, &probe).await?.creation_timestamp();
        Ok((now > created).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_squatter_gets_the_name_only_when_the_older_host_is_gone_and_learns_nothing() -> Result<()>
{
    const TOKEN: &str = "squatters-own-token";
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        from: NamespacesFrom::All,
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let mut older = zone.host("home");
    older.metadata.namespace = Some(stack.control_plane.namespace("older").await?);
    let older = LiveHost::create(stack, &older).await?;
    older.report("198.51.100.7").await?;
    older.await_published(&["A 60 198.51.100.7"]).await?;
    await_younger(&older).await?;

    // Both its namespace and its name come first in the alphabet, and letter case is no way round.
    let namespace = stack.control_plane.namespace("a-squatter").await?;
    let mut squatter = zone.host("home");
    squatter.metadata.namespace = Some(namespace.clone());
    squatter.metadata.name = Some("a".to_owned());
    squatter.spec.hostname = squatter.spec.hostname.to_uppercase();
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "a-update-key"}, "type": "dynhost.dev/update-key",
        "stringData": {"token": TOKEN},
    }))?;
    let secrets: Api<Secret> = Api::namespaced(stack.client().await?, &namespace);
    secrets.create(&PostParams::default(), &secret).await?;
    let mut squatter = LiveHost::create_unready(stack, &squatter).await?;
    squatter.token = TOKEN.to_owned();
    let refused = squatter
        .await_reason(ConditionType::Accepted, Reason::NameConflict)
        .await?;
    let expected = Some((False, "NameConflict"));
    assert_eq!(verdict(&refused, ConditionType::Ready), expected);
    let status = serde_json::to_string(&refused.status)?;
    assert!(!status.contains(&older.namespace), "{status}");
    assert!(!status.contains("198.51.100.7"), "{status}");

    let answer = squatter.try_report("198.51.100.1").await?;
    assert_eq!((answer.status, answer.text().as_str()), (404, "nohost"));
    older.report("198.51.100.8").await?;
    older.await_published(&["A 60 198.51.100.8"]).await?;

    older.delete().await?;
    older.await_gone().await?;
    squatter
        .await_reason(ConditionType::Ready, Reason::AwaitingFirstUpdate)
        .await?;
    squatter.report("198.51.100.1").await?;
    squatter.await_published(&["A 60 198.51.100.1"]).await?;
    assert_eq!(
        records(&stack.bind, &zone).await?,
        ["_dynhost.home 60 TXT marker", "home 60 A 198.51.100.1"]
    );
    Ok(())
}

#[tokio::test]
async fn a_younger_host_of_the_same_namespace_is_told_who_has_the_name() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let older = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    await_younger(&older).await?;
    let mut younger = zone.host("again");
    younger.spec.hostname.clone_from(&older.hostname);
    let younger = LiveHost::create_unready(stack, &younger).await?;
    let refused = younger
        .await_reason(ConditionType::Accepted, Reason::NameConflict)
        .await?;
    let status = serde_json::to_string(&refused.status)?;
    ensure!(status.contains("DynamicHost home"), "{status}");

    // The loser's end is nothing to the winner.
    let hosts = stack.hosts(&zone.namespace).await?;
    hosts.delete("again", &DeleteParams::default()).await?;
    younger.await_gone().await?;
    older.report("198.51.100.8").await?;
    older.await_published(&["A 60 198.51.100.8"]).await?;
    Ok(())
}
