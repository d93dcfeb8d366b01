//! Which hosts a zone admits, and what their clients are told.

use dynhost_crds::{
    conditions::{ConditionType, Reason},
    host::DynamicHost,
    zone::{DynamicZone, NamespacesFrom},
};
use dynhost_e2e::{ZoneOptions, await_condition, random_hex, stack::LIMIT};
use hickory_net::proto::rr::RecordType;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::fixture::{ADDRESS, Answer, Fixture, supply};

/// A host of a namespace, with a supplied key: its client is known before the host is admitted.
struct Guest {
    fixture: Fixture,
    host: DynamicHost,
    token: String,
    namespace: String,
}

impl Guest {
    /// A host with this name of a namespace of its own.
    async fn new(fixture: Fixture, hostname: &str) -> Self {
        let control_plane = &fixture.stack.control_plane;
        let namespace = control_plane.namespace("guest").await.unwrap();
        Self::of(fixture, hostname, namespace).await
    }

    async fn of(fixture: Fixture, hostname: &str, namespace: String) -> Self {
        let token = random_hex(16).unwrap();
        let secrets = fixture.secrets_of(&namespace).await;
        supply(&secrets, "guest-update-key", &[("token", &token)]).await;
        let mut host = fixture.zone.host("guest");
        host.metadata.namespace = Some(namespace.clone());
        host.spec.hostname = hostname.to_owned();
        let host = fixture.create_host(&host).await;
        Self {
            fixture,
            host,
            token,
            namespace,
        }
    }

    /// Waits for this verdict, and checks what the client is told then.
    async fn await_verdict(&self, reason: Reason) {
        let accepted = ConditionType::Accepted;
        self.fixture
            .await_reason(&self.host, accepted, reason)
            .await;
        let expected = match reason {
            Reason::Accepted => Answer::Taken,
            Reason::ZoneNotFound => Answer::TryAgain,
            _ => Answer::NoHost,
        };
        self.fixture
            .await_answer(&self.host, &self.token, expected)
            .await;
    }

    /// Waits until the zone says that it admits so many hosts.
    async fn await_count(&self, hosts: u32) {
        let zones = zones(&self.fixture).await;
        await_condition(&format!("the zone admits {hosts}"), LIMIT, async || {
            let status = zones.get(&self.fixture.zone.name).await?.status;
            Ok((status.and_then(|status| status.hosts) == Some(hosts)).then_some(()))
        })
        .await
        .unwrap();
    }

    async fn set_consent(&self, namespaces: Value) {
        let patch = json!({"spec": {"allowedHosts": {"namespaces": namespaces}}});
        let zones = zones(&self.fixture).await;
        let (name, params) = (&self.fixture.zone.name, PatchParams::default());
        zones
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Sets the label `team` of the guest's namespace, or takes it away.
    async fn set_team(&self, team: Option<&str>) {
        let patch = json!({"metadata": {"labels": {"team": team}}});
        let namespaces: Api<Namespace> = Api::all(self.fixture.stack.client().await.unwrap());
        let params = PatchParams::default();
        let patch = Patch::Merge(patch);
        namespaces
            .patch(&self.namespace, &params, &patch)
            .await
            .unwrap();
    }
}

async fn zones(fixture: &Fixture) -> Api<DynamicZone> {
    Api::namespaced(
        fixture.stack.client().await.unwrap(),
        &fixture.zone.namespace,
    )
}

async fn with_zone_for_all() -> Fixture {
    Fixture::with(ZoneOptions {
        from: NamespacesFrom::All,
        ..ZoneOptions::default()
    })
    .await
}

#[tokio::test]
async fn consent_follows_the_zone_and_the_namespaces_labels_at_run_time() {
    let fixture = Fixture::new().await;
    let hostname = format!("guest.{}", fixture.zone.apex);
    let guest = Guest::new(fixture, &hostname).await;
    let selector = |selector: Value| {
        json!({"from": "Selector", "selector": {
            "matchLabels": selector["matchLabels"],
            "matchExpressions": selector["matchExpressions"],
        }})
    };
    let red = selector(json!({"matchLabels": {"team": "red"}}));
    let expression = |operator: &str, values: Value| {
        let requirement = json!({"key": "team", "operator": operator, "values": values});
        selector(json!({"matchExpressions": [requirement]}))
    };
    // Each step turns the verdict, so that no step is satisfied by the one before.
    for (team, consent, verdict) in [
        (
            None,
            json!({"from": "Same", "selector": null}),
            Reason::NotAllowedByZone,
        ),
        (
            None,
            json!({"from": "All", "selector": null}),
            Reason::Accepted,
        ),
        (None, red.clone(), Reason::NotAllowedByZone),
        (Some("red"), red.clone(), Reason::Accepted),
        (Some("blue"), red, Reason::NotAllowedByZone),
        (
            Some("blue"),
            expression("In", json!(["red", "blue"])),
            Reason::Accepted,
        ),
        (
            Some("blue"),
            expression("NotIn", json!(["blue"])),
            Reason::NotAllowedByZone,
        ),
        (None, expression("NotIn", json!(["blue"])), Reason::Accepted),
        (
            None,
            expression("Exists", Value::Null),
            Reason::NotAllowedByZone,
        ),
        (
            Some("red"),
            expression("Exists", Value::Null),
            Reason::Accepted,
        ),
        (
            Some("red"),
            expression("DoesNotExist", Value::Null),
            Reason::NotAllowedByZone,
        ),
        (
            None,
            expression("DoesNotExist", Value::Null),
            Reason::Accepted,
        ),
        (
            None,
            json!({"from": "Same", "selector": null}),
            Reason::NotAllowedByZone,
        ),
    ] {
        guest.set_consent(consent).await;
        guest.set_team(team).await;
        guest.await_verdict(verdict).await;
    }
}

#[tokio::test]
async fn a_host_that_is_admitted_no_more_keeps_its_records_until_it_is_deleted() {
    let fixture = with_zone_for_all().await;
    let hostname = format!("guest.{}", fixture.zone.apex);
    let guest = Guest::new(fixture, &hostname).await;
    guest.await_verdict(Reason::Accepted).await;
    let stack = guest.fixture.stack;
    let published = stack.await_dns(&hostname, RecordType::A, &[ADDRESS]);
    published.await.unwrap();
    let before = stack.bind.dump(&guest.fixture.zone.apex).await.unwrap();
    guest.set_consent(json!({"from": "Same"})).await;
    guest.await_verdict(Reason::NotAllowedByZone).await;
    let after = stack.bind.dump(&guest.fixture.zone.apex).await.unwrap();
    assert_eq!(after, before);
    guest.fixture.delete_host(&guest.host).await;
    let removed = stack.await_dns(&hostname, RecordType::A, &[]);
    removed.await.unwrap();
}

#[tokio::test]
async fn the_zones_own_namespace_is_admitted_by_default_but_not_by_any_selector() {
    let fixture = Fixture::new().await;
    let (namespace, apex) = (fixture.zone.namespace.clone(), fixture.zone.apex.clone());
    let guest = Guest::of(fixture, &format!("guest.{apex}"), namespace).await;
    guest.await_verdict(Reason::Accepted).await;
    guest.await_count(1).await;
    let red = json!({"matchLabels": {"team": "red"}});
    guest
        .set_consent(json!({"from": "Selector", "selector": red}))
        .await;
    guest.await_verdict(Reason::NotAllowedByZone).await;
    guest.await_count(0).await;
    guest.set_team(Some("red")).await;
    guest.await_count(1).await;
}

#[tokio::test]
async fn a_host_is_accepted_when_its_zone_appears() {
    let fixture = with_zone_for_all().await;
    let (zones, name) = (zones(&fixture).await, fixture.zone.name.clone());
    let spec = zones.get(&name).await.unwrap().spec;
    zones.delete(&name, &Default::default()).await.unwrap();
    await_condition("the zone is gone", LIMIT, async || {
        Ok(zones.get_opt(&name).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    let hostname = format!("guest.{}", fixture.zone.apex);
    let guest = Guest::new(fixture, &hostname).await;
    guest.await_verdict(Reason::ZoneNotFound).await;
    let zone = DynamicZone::new(&name, spec);
    zones.create(&PostParams::default(), &zone).await.unwrap();
    guest.await_verdict(Reason::Accepted).await;
}

#[tokio::test]
async fn a_zone_without_a_namespace_is_one_of_the_hosts_own() {
    let fixture = with_zone_for_all().await;
    let mut here = fixture.zone.host("here");
    here.spec.zone_ref.namespace = None;
    let mut elsewhere = here.clone();
    elsewhere.metadata.namespace = Some("default".to_owned());
    elsewhere.metadata.name = Some(fixture.zone.namespace.clone());
    for (host, verdict) in [(here, Reason::Accepted), (elsewhere, Reason::ZoneNotFound)] {
        let host = fixture.create_host(&host).await;
        let accepted = ConditionType::Accepted;
        fixture.await_reason(&host, accepted, verdict).await;
        fixture.delete_host(&host).await;
    }
}

#[tokio::test]
async fn a_hosts_name_lies_below_the_zones_by_whole_labels() {
    let fixture = with_zone_for_all().await;
    let zone = fixture.zone.clone();
    let apex = &zone.apex;
    for (hostname, verdict) in [
        (format!("a.{apex}"), Reason::Accepted),
        (format!("b.a.{apex}"), Reason::Accepted),
        (format!("C.{}", apex.to_uppercase()), Reason::Accepted),
        (apex.clone(), Reason::OutsideZone),
        (format!("not{apex}"), Reason::OutsideZone),
        ("example.org".to_owned(), Reason::OutsideZone),
        (format!("{apex}.example.com"), Reason::OutsideZone),
    ] {
        let fixture = Fixture {
            stack: fixture.stack,
            zone: zone.clone(),
        };
        let guest = Guest::new(fixture, &hostname).await;
        guest.await_verdict(verdict).await;
    }
}
