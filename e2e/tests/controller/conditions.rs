//! Conditions: there from the first sight on, with the reason of what is wrong.

use anyhow::Result;
use dynhost_crds::{
    conditions::{
        Condition,
        ConditionStatus::{self, False, True, Unknown},
        ConditionType::{Accepted, KeyReady, Published, Ready},
        Reason,
    },
    host::DynamicHost,
    zone::NamespacesFrom,
};
use dynhost_e2e::{Stack, ZoneOptions, free_port};
use serde_json::json;

use super::live_host::{LiveHost, published_rrsets, verdict};
use super::zone_records::{await_host_count, await_zone_reason, merge_zone, records};

fn conditions(host: &DynamicHost) -> &[Condition] {
    host.status
        .as_ref()
        .map_or(&[], |status| &status.conditions)
}

/// Each condition's type, status and reason.
fn verdicts(host: &DynamicHost) -> Vec<(&str, ConditionStatus, &str)> {
    let conditions = conditions(host).iter();
    conditions
        .map(|c| (c.type_.as_str(), c.status, c.reason.as_str()))
        .collect()
}

#[tokio::test]
async fn all_conditions_are_set_on_first_sight_and_their_time_moves_only_with_their_status()
-> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create(stack, &zone.host("home")).await?;
    let first = host.get().await?;
    assert_eq!(
        verdicts(&first),
        [
            ("Accepted", True, "Accepted"),
            ("KeyReady", True, "Generated"),
            ("Published", Unknown, "AwaitingFirstUpdate"),
            ("Ready", True, "AwaitingFirstUpdate"),
        ]
    );

    host.report("198.51.100.7").await?;
    let second = host.await_published(&["A 60 198.51.100.7"]).await?;
    assert_eq!(
        verdicts(&second),
        [
            ("Accepted", True, "Accepted"),
            ("KeyReady", True, "Generated"),
            ("Published", True, "Published"),
            ("Ready", True, "Ready"),
        ]
    );
    let moved: Vec<_> = conditions(&first)
        .iter()
        .zip(conditions(&second))
        .map(|(first, second)| first.last_transition_time != second.last_transition_time)
        .collect();
    assert_eq!(moved, [false, false, true, false]);

    host.merge(json!({"spec": {"ttl": 30}})).await?;
    let third = host.await_published(&["A 30 198.51.100.7"]).await?;
    for (second, third) in conditions(&second).iter().zip(conditions(&third)) {
        assert_eq!(third.last_transition_time, second.last_transition_time);
        assert_eq!(second.observed_generation, Some(1), "{second:?}");
        assert_eq!(third.observed_generation, Some(2), "{third:?}");
    }
    assert_eq!(third.status.unwrap().observed_generation, Some(2));
    Ok(())
}

#[tokio::test]
async fn a_host_that_is_not_admitted_says_why_and_is_admitted_when_that_changes() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let check = async |host: &DynamicHost, reason: Reason| {
        let host = LiveHost::create_unready(stack, host).await?;
        let refused = host.await_reason(Ready, reason).await?;
        let expected = Some((False, reason.as_str()));
        assert_eq!(verdict(&refused, Accepted), expected);
        assert_eq!(verdict(&refused, Ready), expected);
        for unknown in [KeyReady, Published] {
            assert_eq!(verdict(&refused, unknown).unwrap().0, Unknown);
        }
        Ok::<_, anyhow::Error>(host)
    };

    let mut zoneless = zone.host("zoneless");
    zoneless.spec.zone_ref.name = "absent".to_owned();
    check(&zoneless, Reason::ZoneNotFound).await?;

    let mut outside = zone.host("outside");
    outside.spec.hostname = "home.elsewhere.example.net".to_owned();
    check(&outside, Reason::OutsideZone).await?;
    let mut apex = zone.host("apex");
    apex.spec.hostname.clone_from(&zone.apex);
    check(&apex, Reason::OutsideZone).await?;

    let mut stranger = zone.host("stranger");
    stranger.metadata.namespace = Some(stack.control_plane.namespace("stranger").await?);
    let stranger = check(&stranger, Reason::NotAllowedByZone).await?;
    let consent = json!({"spec": {"allowedHosts": {"namespaces": {"from": "All"}}}});
    merge_zone(stack, &zone, consent).await?;
    stranger
        .await_reason(Ready, Reason::AwaitingFirstUpdate)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_host_that_is_no_longer_admitted_loses_its_records_until_it_is_again() -> Result<()> {
    let stack = Stack::shared().await?;
    let options = ZoneOptions {
        from: NamespacesFrom::All,
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let mut host = zone.host("home");
    host.metadata.namespace = Some(stack.control_plane.namespace("tenant").await?);
    let host = LiveHost::create(stack, &host).await?;
    host.report("198.51.100.7").await?;
    host.await_published(&["A 60 198.51.100.7"]).await?;

    let consent = json!({"spec": {"allowedHosts": {"namespaces": {"from": "Same"}}}});
    merge_zone(stack, &zone, consent).await?;
    host.await_reason(Ready, Reason::NotAllowedByZone).await?;
    let answer = host.try_report("198.51.100.8").await?;
    assert_eq!((answer.status, answer.text().as_str()), (404, "nohost"));
    host.await_host("has nothing in DNS", |host| {
        published_rrsets(host).is_empty()
    })
    .await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);

    let consent = json!({"spec": {"allowedHosts": {"namespaces": {"from": "All"}}}});
    merge_zone(stack, &zone, consent).await?;
    host.await_published(&["A 60 198.51.100.7"]).await?;
    host.delete().await?;
    host.await_gone().await?;
    assert_eq!(records(&stack.bind, &zone).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_and_its_host_recovers_when_it_can() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let check = async |label: &str, type_: &str, token: &str, reason: Reason| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": type_,
            "metadata": {"name": format!("{label}-update-key"), "namespace": zone.namespace},
            "stringData": {"token": token},
        });
        let apply = ["apply", "-f", "-"];
        stack
            .control_plane
            .kubectl(&apply, &secret.to_string())
            .await?;
        let host = LiveHost::create_unready(stack, &zone.host(label)).await?;
        let host = host.await_reason(KeyReady, reason).await?;
        let expected = Some((reason.status(), reason.as_str()));
        assert_eq!(verdict(&host, KeyReady), expected);
        if reason.status() == False {
            assert_eq!(verdict(&host, Ready), expected);
        }
        assert_eq!(verdict(&host, Accepted), Some((True, "Accepted")));
        Ok::<_, anyhow::Error>(())
    };
    let key = "dynhost.dev/update-key";
    check("supplied", key, "correct-horse", Reason::Supplied).await?;
    check("opaque", "Opaque", "correct-battery", Reason::WrongType).await?;
    check("short", key, "horse", Reason::Invalid).await?;

    let longer = r#"{"stringData": {"token": "correct-staple"}}"#;
    let patch = [
        "patch",
        "secret",
        "short-update-key",
        "-n",
        &zone.namespace,
        "-p",
        longer,
    ];
    stack.control_plane.kubectl(&patch, "").await?;
    stack
        .await_reason(&zone.namespace, "short", KeyReady, Reason::Supplied)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_zone_counts_its_hosts_and_says_whether_its_provider_answers() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let ready = await_zone_reason(stack, &zone, Reason::Ready).await?;
    assert_eq!((ready.status, ready.observed_generation), (True, Some(1)));
    let hosts = [zone.host("one"), zone.host("two")];
    let one = LiveHost::create(stack, &hosts[0]).await?;
    LiveHost::create(stack, &hosts[1]).await?;
    await_host_count(stack, &zone, 2).await?;
    one.delete().await?;
    await_host_count(stack, &zone, 1).await?;

    // A port on which nothing listens.
    let nowhere = format!("127.0.0.1:{}", free_port()?);
    merge_zone(
        stack,
        &zone,
        json!({"spec": {"rfc2136": {"servers": [nowhere]}}}),
    )
    .await?;
    let unready = await_zone_reason(stack, &zone, Reason::ProviderUnavailable).await?;
    assert_eq!(
        (unready.status, unready.observed_generation),
        (False, Some(2))
    );
    let servers = [nowhere, stack.bind.address().to_string()];
    merge_zone(
        stack,
        &zone,
        json!({"spec": {"rfc2136": {"servers": servers}}}),
    )
    .await?;
    let again = await_zone_reason(stack, &zone, Reason::Ready).await?;
    assert_eq!(again.observed_generation, Some(3));
    Ok(())
}
