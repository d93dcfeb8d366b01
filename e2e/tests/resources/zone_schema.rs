//! Which DynamicZones the API server takes, and what it says of the others.

use dynhost_crds::zone::DynamicZone;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Map, Value, json};

use crate::schema::{Schema, check_change, name_of, store};

#[tokio::test]
async fn domains_are_ldh_names_of_at_most_243_octets() {
    let schema = Schema::of_zones().await;
    let field = "spec.domain";
    for valid in ["org".to_owned(), "dyn.Example.org".to_owned(), name_of(243)] {
        schema.accepts(field, valid.into()).await;
    }
    let malformed = "spec.domain in body should match";
    for invalid in [
        "dyn.example.org.",
        ".",
        "*.example.org",
        "_dyn.example.org",
        "a..b",
    ] {
        schema.refuses(field, invalid.into(), malformed).await;
    }
    let long = "Too long: may not be more than 243 bytes";
    schema.refuses(field, name_of(244).into(), long).await;
    schema
        .refuses(field, "".into(), "at least 1 chars long")
        .await;
    schema.refuses(field, Value::Null, "Required value").await;
}

#[tokio::test]
async fn servers_are_names_or_addresses_with_or_without_port() {
    let schema = Schema::of_zones().await;
    let field = "spec.rfc2136.servers";
    for valid in [
        "bind",
        "ns1.example.org",
        "ns1.example.org.",
        "ns1.example.org:53",
        "ns1.example.org:65535",
        "192.0.2.1",
        "192.0.2.1:1",
        "2001:db8::1",
        "::1",
        "2001:db8::192.0.2.1",
        "[2001:db8::1]",
        "[2001:db8::1]:5353",
    ] {
        schema.accepts(field, json!([valid])).await;
    }
    for invalid in [
        "dns://ns1.example.org",
        "ns1.example.org:",
        "ns1.example.org:dns",
        "ns1.example.org:100000",
        "-ns1.example.org",
        "ns1 .example.org",
        "[2001:db8::1",
        "2001:db8::1]:53",
        "[ns1.example.org]",
        "fe80::1%eth0",
        ":53",
    ] {
        let why = "spec.rfc2136.servers[0] in body should match";
        schema.refuses(field, json!([invalid]), why).await;
    }
    for invalid in [
        "ns1.example.org:0",
        "ns1.example.org:65536",
        "192.0.2.1:99999",
        "[2001:db8::1]:0",
        "[2001:db8::1]:65536",
    ] {
        let why = "a server's port is a number from 1 to 65535";
        schema.refuses(field, json!([invalid]), why).await;
    }
    schema.accepts(field, json!(vec!["ns1"; 8])).await;
    let many = "must have at most 8 items";
    schema.refuses(field, json!(vec!["ns1"; 9]), many).await;
    let none = "should have at least 1 items";
    schema.refuses(field, json!([]), none).await;
    schema.refuses(field, json!([""]), "servers[0]").await;
    let long = "a".repeat(263);
    schema.refuses(field, json!([long]), "Too long").await;
}

#[tokio::test]
async fn exactly_one_provider_must_be_set() {
    let schema = Schema::of_zones().await;
    let why = "exactly one provider must be set: rfc2136";
    schema.refuses("spec.rfc2136", Value::Null, why).await;
    schema
        .refuses("spec.webhook", json!({}), "unknown field \"spec.webhook\"")
        .await;
}

#[tokio::test]
async fn a_selector_goes_with_from_selector_and_only_with_it() {
    let schema = Schema::of_zones().await;
    let field = "spec.allowedHosts.namespaces";
    for valid in [
        json!({}),
        json!({"from": "Same"}),
        json!({"from": "All"}),
        json!({"from": "Selector", "selector": {}}),
        json!({"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}),
        selector("In", json!(["red"])),
        selector("NotIn", json!(["red", ""])),
        selector("Exists", Value::Null),
        selector("DoesNotExist", json!([])),
    ] {
        schema.accepts(field, valid).await;
    }
    let consent = "selector goes with from: Selector, and only with it";
    let values = "values go with the operators In and NotIn, and only with them";
    for (invalid, why) in [
        (json!({"from": "Selector"}), consent),
        (json!({"from": "Same", "selector": {}}), consent),
        (json!({"from": "All", "selector": {}}), consent),
        (json!({"selector": {}}), consent),
        (
            json!({"from": "Some"}),
            "supported values: \"Same\", \"Selector\", \"All\"",
        ),
        (
            label("a".repeat(318), "v".to_owned()),
            "a label's key has at most 317 characters",
        ),
        (label("team".to_owned(), "v".repeat(64)), "Too long"),
        (selector("In", Value::Null), values),
        (selector("In", json!([])), values),
        (selector("NotIn", json!([])), values),
        (selector("Exists", json!(["red"])), values),
        (selector("DoesNotExist", json!(["red"])), values),
        (selector("Gt", json!(["1"])), "Unsupported value: \"Gt\""),
        (
            selector("In", json!(vec!["red"; 17])),
            "must have at most 16 items",
        ),
        (selector("In", json!(["a".repeat(64)])), "Too long"),
    ] {
        schema.refuses(field, invalid, why).await;
    }
}

/// A consent with one label.
fn label(key: String, value: String) -> Value {
    json!({"from": "Selector", "selector": {"matchLabels": {key: value}}})
}

/// A consent with one requirement.
fn selector(operator: &str, values: Value) -> Value {
    let mut requirement = json!({"key": "team", "operator": operator});
    if !values.is_null() {
        requirement["values"] = values;
    }
    json!({"from": "Selector", "selector": {"matchExpressions": [requirement]}})
}

#[tokio::test]
async fn allowed_names_are_names_below_the_domain_or_all_below_one() {
    let schema = Schema::of_zones().await;
    let field = "spec.allowedHosts.names";
    for valid in [
        json!([]),
        json!(["home.dyn.example.org"]),
        json!(["Home.DYN.Example.org", "*.dyn.example.org"]),
        json!([
            "*.{namespace}.dyn.example.org",
            "{namespace}.dyn.example.org"
        ]),
        json!(["a.{namespace}.b.{namespace}.dyn.example.org"]),
        json!([format!("{}.dyn.example.org", name_of(237))]),
        patterns(64),
    ] {
        schema.accepts(field, valid).await;
    }
    let malformed = "spec.allowedHosts.names[0] in body should match";
    for invalid in [
        "home.dyn.example.org.",
        "home..dyn.example.org",
        ".dyn.example.org",
        "**.dyn.example.org",
        "*.*.dyn.example.org",
        "a.*.dyn.example.org",
        "*home.dyn.example.org",
        "x-{namespace}.dyn.example.org",
        "{namespace}x.dyn.example.org",
        "{Namespace}.dyn.example.org",
        "{name}.dyn.example.org",
        "{}.dyn.example.org",
        "under_score.dyn.example.org",
        "-a.dyn.example.org",
        "home.dyn.example.org\n",
    ] {
        schema.refuses(field, json!([invalid]), malformed).await;
    }
    let outside = "allowedHosts.names lie below the domain";
    for invalid in [
        "dyn.example.org",
        "home.example.org",
        "*.example.org",
        "home.notdyn.example.org",
        "*.notdyn.example.org",
        "{namespace}.example.org",
        "home.dyn.example.org.example.com",
    ] {
        let both = json!(["home.dyn.example.org", invalid]);
        schema.refuses(field, both, outside).await;
    }
    let long = format!("{}.dyn.example.org", name_of(238));
    for (invalid, why) in [
        (json!(["*"]), "at least 3 chars long"),
        (json!([long]), "Too long: may not be more than 253 bytes"),
        (patterns(65), "must have at most 64 items"),
        (
            json!(["*.dyn.example.org", "*.dyn.example.org"]),
            "Duplicate value",
        ),
        (json!("*.dyn.example.org"), "must be of type array"),
    ] {
        schema.refuses(field, invalid, why).await;
    }
}

/// So many different ones.
fn patterns(number: usize) -> Value {
    let pattern = |n| format!("*.{{namespace}}.n{n}.dyn.example.org");
    (0..number).map(pattern).collect()
}

#[tokio::test]
async fn every_other_field_of_a_zone_is_bounded() {
    let schema = Schema::of_zones().await;
    let labels = |count: usize| -> Value {
        let labels = (0..count).map(|n| (format!("l{n}"), "v".into()));
        json!({"from": "Selector", "selector": {"matchLabels": labels.collect::<Map<_, _>>()}})
    };
    for (field, value) in [
        ("spec.ttl", 1.into()),
        ("spec.ttl", 86400.into()),
        ("spec.rfc2136.tsig.algorithm", "hmac-sha1".into()),
        ("spec.rfc2136.tsig.algorithm", "hmac-sha256".into()),
        ("spec.rfc2136.tsig.algorithm", "hmac-sha384".into()),
        ("spec.rfc2136.tsig.algorithm", "hmac-sha512".into()),
        ("spec.rfc2136.tsig.keyName", "dyn_key.example.org.".into()),
        ("spec.rfc2136.tsig.secretRef.name", "a".repeat(253).into()),
        ("spec.rfc2136.tsig.secretRef.key", "tsig.KEY_1".into()),
        ("spec.ownership.id", "a".into()),
        ("spec.ownership.id", "My.home-cluster_1".into()),
        ("spec.ownership.id", "a".repeat(64).into()),
        ("spec.ownership.mode", "Marker".into()),
        ("spec.ownership.mode", "Values".into()),
        ("spec.ownership.mode", "None".into()),
        ("spec.allowedHosts.namespaces", labels(16)),
        ("spec.allowedHosts.maxPerNamespace", 1.into()),
        ("spec.allowedHosts.maxPerNamespace", 100_000.into()),
    ] {
        schema.accepts(field, value).await;
    }
    for (field, value, why) in [
        ("spec", Value::Null, "spec: Required value"),
        ("spec.ttl", 0.into(), "greater than or equal to 1"),
        ("spec.ttl", 86401.into(), "less than or equal to 86400"),
        (
            "spec.rfc2136.servers",
            Value::Null,
            "servers: Required value",
        ),
        ("spec.rfc2136.tsig", Value::Null, "tsig: Required value"),
        (
            "spec.rfc2136.tsig.algorithm",
            "hmac-md5".into(),
            "Unsupported value: \"hmac-md5\"",
        ),
        (
            "spec.rfc2136.tsig.algorithm",
            "HMAC-SHA256".into(),
            "Unsupported value",
        ),
        ("spec.rfc2136.tsig.keyName", Value::Null, "Required value"),
        (
            "spec.rfc2136.tsig.keyName",
            "dyn key".into(),
            "should match",
        ),
        ("spec.rfc2136.tsig.keyName", name_of(255).into(), "Too long"),
        ("spec.rfc2136.tsig.secretRef", Value::Null, "Required value"),
        (
            "spec.rfc2136.tsig.secretRef.name",
            "dns/tsig".into(),
            "should match",
        ),
        (
            "spec.rfc2136.tsig.secretRef.name",
            "a".repeat(254).into(),
            "Too long",
        ),
        (
            "spec.rfc2136.tsig.secretRef.key",
            "a/b".into(),
            "should match",
        ),
        (
            "spec.rfc2136.tsig.secretRef.key",
            "".into(),
            "at least 1 chars long",
        ),
        (
            "spec.rfc2136.tsig.secretRef.namespace",
            "dns".into(),
            "unknown field",
        ),
        ("spec.ownership.id", "".into(), "at least 1 chars long"),
        ("spec.ownership.id", "my cluster".into(), "should match"),
        ("spec.ownership.id", "home-".into(), "should match"),
        ("spec.ownership.id", "a".repeat(65).into(), "Too long"),
        (
            "spec.allowedHosts.namespaces",
            labels(17),
            "must have at most 16 items",
        ),
        (
            "spec.allowedHosts.maxPerNamespace",
            0.into(),
            "greater than or equal to 1",
        ),
        (
            "spec.allowedHosts.maxPerNamespace",
            100_001.into(),
            "less than or equal to 100000",
        ),
        (
            "spec.ownership.mode",
            "none".into(),
            "supported values: \"Marker\", \"Values\", \"None\"",
        ),
    ] {
        schema.refuses(field, value, why).await;
    }
}

#[tokio::test]
async fn a_zone_has_defaults() {
    let schema = Schema::of_zones().await;
    let minimal = schema.with("spec.ttl", Value::Null);
    let created = schema.create(&minimal).await.unwrap();
    let expected = json!({
        "domain": "dyn.example.org",
        "ttl": 60,
        "rfc2136": {
            "servers": ["ns1.example.org:53"],
            "tsig": {
                "keyName": "dyn-key",
                "algorithm": "hmac-sha256",
                "secretRef": {"name": "dyn-tsig", "key": "secret"},
            },
        },
        "allowedHosts": {"namespaces": {"from": "Same"}},
        "ownership": {"mode": "Marker"},
    });
    assert_eq!(created["spec"], expected);
}

#[tokio::test]
async fn the_domain_of_a_zone_never_changes_and_the_rest_may() {
    let zones: Api<DynamicZone> = store(json!({
        "domain": "dyn.example.org",
        "rfc2136": {
            "servers": ["127.0.0.1:1"],
            "tsig": {"keyName": "dyn-key", "secretRef": {"name": "none"}},
        },
    }))
    .await;
    let tsig = |change: Value| json!({"rfc2136": {"tsig": change}});
    for (change, refusal) in [
        (
            json!({"domain": "other.example.org"}),
            Some("domain is immutable"),
        ),
        (
            json!({"rfc2136": null}),
            Some("exactly one provider must be set"),
        ),
        (json!({"ttl": 30}), None),
        (json!({"rfc2136": {"servers": ["127.0.0.1:2"]}}), None),
        (tsig(json!({"keyName": "other"})), None),
        (tsig(json!({"algorithm": "hmac-sha512"})), None),
        (tsig(json!({"secretRef": {"name": "other"}})), None),
        (
            json!({"allowedHosts": {"namespaces": {"from": "All"}}}),
            None,
        ),
        (
            json!({"allowedHosts": {"names": ["*.{namespace}.dyn.example.org"]}}),
            None,
        ),
        (json!({"allowedHosts": {"names": null}}), None),
        (json!({"allowedHosts": {"maxPerNamespace": 10}}), None),
        (json!({"allowedHosts": {"maxPerNamespace": null}}), None),
        (json!({"ownership": {"id": "home"}}), None),
        (json!({"ownership": {"mode": "Values"}}), None),
    ] {
        check_change(&zones, change, refusal).await;
    }
}

#[tokio::test]
async fn a_zone_with_everything_at_its_bound_is_accepted() {
    let server = format!("a{}:65535", "b".repeat(252));
    let labels = (0..16).map(|n| (format!("{n:0317}"), "v".repeat(63).into()));
    let requirement = |n: usize| {
        json!({
            "key": format!("{n:0317}"),
            "operator": "In",
            "values": vec!["v".repeat(63); 16],
        })
    };
    let domain = name_of(243);
    let names: Vec<_> = (0..64).map(|n| format!("*.{n:06}.{domain}")).collect();
    let zones: Api<DynamicZone> = store(json!({
        "domain": domain,
        "ttl": 86400,
        "rfc2136": {
            "servers": vec![server; 8],
            "tsig": {
                "keyName": name_of(254),
                "algorithm": "hmac-sha512",
                "secretRef": {"name": "a".repeat(253), "key": "k".repeat(253)},
            },
        },
        "allowedHosts": {
            "namespaces": {"from": "Selector", "selector": {
                "matchLabels": labels.collect::<Map<_, _>>(),
                "matchExpressions": (0..16).map(requirement).collect::<Vec<_>>(),
            }},
            "names": names,
            "maxPerNamespace": 100_000,
        },
        "ownership": {"mode": "None", "id": "o".repeat(64)},
    }))
    .await;
    let status = json!({"observedGeneration": i64::MAX, "hosts": i32::MAX});
    let params = PatchParams::default().dry_run();
    let patch = Patch::Merge(json!({"status": status}));
    zones.patch_status("one", &params, &patch).await.unwrap();
}
