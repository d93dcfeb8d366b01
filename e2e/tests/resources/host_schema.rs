//! Which DynamicHosts the API server takes, and what it says of the others.

use dynhost_crds::host::DynamicHost;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::schema::{Schema, check_change, name_of, store};

#[tokio::test]
async fn hostnames_are_fully_qualified_ldh_names_of_at_most_244_octets() {
    let schema = Schema::of_hosts().await;
    let field = "spec.hostname";
    for valid in [
        "a.b".to_owned(),
        "home.dyn.example.org".to_owned(),
        "Home.Dyn.Example.ORG".to_owned(),
        "0.xn--bcher-kva.example".to_owned(),
        "a-b--c.d-e".to_owned(),
        format!("{}.example.org", "a".repeat(63)),
        name_of(244),
    ] {
        schema.accepts(field, valid.into()).await;
    }
    let malformed = "spec.hostname in body should match";
    for invalid in [
        "home",
        "home.dyn.example.org.",
        ".example.org",
        "home..example.org",
        "-home.example.org",
        "home-.example.org",
        "ho_me.example.org",
        "*.example.org",
        "bücher.example.org",
        "home.example.org\n",
        "home.example.org/x",
        "a b.example.org",
    ] {
        schema.refuses(field, invalid.into(), malformed).await;
    }
    let label = format!("{}.example.org", "a".repeat(64));
    schema.refuses(field, label.into(), malformed).await;
    let long = "Too long: may not be more than 244 bytes";
    schema.refuses(field, name_of(245).into(), long).await;
    schema
        .refuses(field, "".into(), "at least 3 chars long")
        .await;
    schema.refuses(field, Value::Null, "Required value").await;
}

#[tokio::test]
async fn every_other_field_of_a_host_is_bounded() {
    let schema = Schema::of_hosts().await;
    for (field, value) in [
        ("spec.zoneRef.name", "a".repeat(253).into()),
        ("spec.zoneRef.name", "a.b-c.0".into()),
        ("spec.zoneRef.namespace", "a".repeat(63).into()),
        ("spec.ttl", 1.into()),
        ("spec.ttl", 86400.into()),
        ("spec.families", json!(["IPv4"])),
        ("spec.families", json!(["IPv6", "IPv4"])),
        ("spec.auth", json!({})),
        ("spec.auth.secretName", "a".repeat(253).into()),
        ("spec.address.allowPrivate", true.into()),
        ("spec.deletionPolicy", "Retain".into()),
        ("spec.suspend", true.into()),
    ] {
        schema.accepts(field, value).await;
    }
    for (field, value, why) in [
        ("spec", Value::Null, "spec: Required value"),
        ("spec.zoneRef", Value::Null, "spec.zoneRef: Required value"),
        ("spec.zoneRef", json!({}), "spec.zoneRef.name: Required"),
        ("spec.zoneRef.name", "".into(), "at least 1 chars long"),
        ("spec.zoneRef.name", "A".into(), "should match"),
        ("spec.zoneRef.name", "a/b".into(), "should match"),
        ("spec.zoneRef.name", "a".repeat(254).into(), "Too long"),
        ("spec.zoneRef.namespace", "a.b".into(), "should match"),
        ("spec.zoneRef.namespace", "a".repeat(64).into(), "Too long"),
        ("spec.ttl", 0.into(), "greater than or equal to 1"),
        ("spec.ttl", 86401.into(), "less than or equal to 86400"),
        ("spec.ttl", "60".into(), "must be of type integer"),
        ("spec.families", json!([]), "should have at least 1 items"),
        (
            "spec.families",
            json!(["IPv5"]),
            "supported values: \"IPv4\", \"IPv6\"",
        ),
        (
            "spec.families",
            json!(["IPv4", "IPv4"]),
            "Duplicate value: \"IPv4\"",
        ),
        ("spec.auth.secretName", "".into(), "at least 1 chars long"),
        ("spec.auth.secretName", "Key".into(), "should match"),
        ("spec.auth.secretName", "other/key".into(), "should match"),
        ("spec.auth.secretName", "a".repeat(254).into(), "Too long"),
        (
            "spec.deletionPolicy",
            "Orphan".into(),
            "supported values: \"Delete\", \"Retain\"",
        ),
        ("spec.suspend", "yes".into(), "must be of type boolean"),
        (
            "spec.hostName",
            "x".into(),
            "unknown field \"spec.hostName\"",
        ),
    ] {
        schema.refuses(field, value, why).await;
    }
}

#[tokio::test]
async fn a_host_has_defaults() {
    let schema = Schema::of_hosts().await;
    let minimal = schema.with("spec.ttl", Value::Null);
    let created = schema.create(&minimal).await.unwrap();
    let expected = json!({
        "hostname": "home.dyn.example.org",
        "zoneRef": {"name": "dyn"},
        "families": ["IPv4", "IPv6"],
        "auth": {},
        "address": {"allowPrivate": false},
        "deletionPolicy": "Delete",
        "suspend": false,
    });
    assert_eq!(created["spec"], expected);
}

#[tokio::test]
async fn hostname_and_zone_of_a_host_never_change_and_the_rest_may() {
    let hosts: Api<DynamicHost> =
        store(json!({"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}})).await;
    for (change, refusal) in [
        (
            json!({"hostname": "other.dyn.example.org"}),
            Some("hostname is immutable"),
        ),
        (
            json!({"hostname": "HOME.dyn.example.org"}),
            Some("hostname is immutable"),
        ),
        (
            json!({"zoneRef": {"name": "other"}}),
            Some("zoneRef is immutable"),
        ),
        (
            json!({"zoneRef": {"namespace": "dns"}}),
            Some("zoneRef is immutable"),
        ),
        (json!({"ttl": 30}), None),
        (json!({"families": ["IPv6"]}), None),
        (json!({"auth": {"secretName": "other"}}), None),
        (json!({"address": {"allowPrivate": true}}), None),
        (json!({"deletionPolicy": "Retain"}), None),
        (json!({"suspend": true}), None),
    ] {
        check_change(&hosts, change, refusal).await;
    }
}

#[tokio::test]
async fn a_host_with_everything_at_its_bound_is_accepted() {
    let hosts: Api<DynamicHost> = store(json!({
        "hostname": name_of(244),
        "zoneRef": {"name": "a".repeat(253), "namespace": "a".repeat(63)},
        "ttl": 86400,
        "families": ["IPv4", "IPv6"],
        "auth": {"secretName": "a".repeat(253)},
        "address": {"allowPrivate": true},
        "deletionPolicy": "Retain",
        "suspend": true,
    }))
    .await;
    let time = "2026-01-01T00:00:00.123456Z";
    let observation = |address: &str| {
        json!({
            "address": address,
            "changedAt": time,
            "protocol": "p".repeat(32),
            "client": "~".repeat(64),
        })
    };
    let rrset = json!({
        "name": name_of(253),
        "type": "T".repeat(16),
        "ttl": 86400,
        "values": vec!["v".repeat(255); 8],
    });
    let condition = |n: usize| {
        json!({
            "type": format!("{n:064}"),
            "status": "Unknown",
            "reason": "R".repeat(64),
            "message": "m".repeat(1024),
            "observedGeneration": i64::MAX,
            "lastTransitionTime": time,
        })
    };
    let status = json!({
        "observedGeneration": i64::MAX,
        "observed": {
            "ipv4": observation("255.255.255.255"),
            "ipv6": observation("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"),
        },
        "published": {"rrsets": vec![rrset; 8], "marker": "m".repeat(255), "at": time},
        "conditions": (0..16).map(condition).collect::<Vec<_>>(),
    });
    let params = PatchParams::default().dry_run();
    let patch = Patch::Merge(json!({"status": status}));
    hosts.patch_status("one", &params, &patch).await.unwrap();
}
