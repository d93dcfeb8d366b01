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
        ("spec.auth.tokenInURL", "Allow".into()),
        ("spec.auth.tokenInURL", "Deny".into()),
        ("spec.auth.allowClear", true.into()),
        ("spec.auth.publicKeys", json!([])),
        ("spec.auth.publicKeys", public_keys(8)),
        ("spec.auth.sha1Script.user", "a".into()),
        ("spec.auth.sha1Script.user", "ü".repeat(64).into()),
        ("spec.address.from", "Any".into()),
        ("spec.address.from", "Request".into()),
        ("spec.address.from", "Connection".into()),
        ("spec.address.allowPrivate", true.into()),
        ("spec.staleAfter", "1m".into()),
        ("spec.staleAfter", "60s".into()),
        ("spec.staleAfter", "36h".into()),
        ("spec.staleAfter", "1h30m".into()),
        ("spec.staleAfter", "8760h".into()),
        ("spec.staleAfter", "99999s99999s99999s".into()),
        ("spec.whenStale", "Keep".into()),
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
            "spec.auth.tokenInURL",
            "allow".into(),
            "supported values: \"Allow\", \"Deny\"",
        ),
        (
            "spec.auth.tokenInUrl",
            "Deny".into(),
            "unknown field \"spec.auth.tokenInUrl\"",
        ),
        (
            "spec.auth.allowClear",
            "yes".into(),
            "must be of type boolean",
        ),
        (
            "spec.auth.publicKeys",
            public_keys(9),
            "must have at most 8 items",
        ),
        (
            "spec.auth.publicKeys",
            json!([PUBLIC_KEY, PUBLIC_KEY]),
            "Duplicate value",
        ),
        (
            "spec.auth.sha1Script",
            json!({}),
            "spec.auth.sha1Script.user: Required value",
        ),
        (
            "spec.auth.sha1Script.user",
            "".into(),
            "at least 1 chars long",
        ),
        (
            "spec.auth.sha1Script.user",
            "a".repeat(65).into(),
            "Too long",
        ),
        (
            "spec.address.from",
            "Client".into(),
            "supported values: \"Any\", \"Request\", \"Connection\"",
        ),
        ("spec.staleAfter", "".into(), "at least 2 chars long"),
        ("spec.staleAfter", "36".into(), "should match"),
        ("spec.staleAfter", "1d".into(), "should match"),
        ("spec.staleAfter", "90000ms".into(), "should match"),
        ("spec.staleAfter", "1.5h".into(), "should match"),
        ("spec.staleAfter", "-1h".into(), "should match"),
        ("spec.staleAfter", "100000s".into(), "should match"),
        ("spec.staleAfter", "1h1h1h1h".into(), "should match"),
        ("spec.staleAfter", 3600.into(), "must be of type string"),
        ("spec.staleAfter", "0001h".repeat(4).into(), "Too long"),
        ("spec.staleAfter", "59s".into(), OUT_OF_BOUNDS),
        ("spec.staleAfter", "0h".into(), OUT_OF_BOUNDS),
        ("spec.staleAfter", "8760h1s".into(), OUT_OF_BOUNDS),
        ("spec.staleAfter", "99999h".into(), OUT_OF_BOUNDS),
        (
            "spec.whenStale",
            "Delete".into(),
            "supported values: \"Keep\", \"Remove\"",
        ),
        (
            "spec.whenStale",
            "Remove".into(),
            "whenStale: Remove needs staleAfter",
        ),
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
async fn a_public_key_is_the_base64_of_32_octets() {
    let schema = Schema::of_hosts().await;
    let field = "spec.auth.publicKeys";
    for valid in [
        PUBLIC_KEY.to_owned(),
        format!("{}8=", "+/".repeat(21)),
        format!("{}A=", "0".repeat(42)),
    ] {
        schema.accepts(field, json!([valid])).await;
    }
    let malformed = "spec.auth.publicKeys[0] in body should match";
    for invalid in [
        // Without padding, with two octets of it, and with something behind it.
        format!("{}A", "0".repeat(43)),
        format!("{}==", "0".repeat(42)),
        format!("{PUBLIC_KEY}\n"),
        // Bits of a 33rd octet.
        format!("{}B=", "0".repeat(42)),
        // The URL's alphabet, and not the alphabet at all.
        format!("{}8=", "-_".repeat(21)),
        format!("{}8=", " *".repeat(21)),
    ] {
        let expected = match invalid.len() {
            44 => malformed,
            _ => "spec.auth.publicKeys[0]",
        };
        schema.refuses(field, json!([invalid]), expected).await;
    }
    let der = format!("MCowBQYDK2VwAyEA{PUBLIC_KEY}");
    schema
        .refuses(field, json!([der]), "Too long: may not be more than 44")
        .await;
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----");
    schema.refuses(field, json!([pem]), "Too long").await;
    schema
        .refuses(field, json!([""]), "at least 44 chars long")
        .await;
}

#[tokio::test]
async fn allowed_sources_are_ranges_or_addresses() {
    let schema = Schema::of_hosts().await;
    let field = "spec.address.allowedSources";
    for valid in [
        json!([]),
        json!(["198.51.100.0/24"]),
        json!(["198.51.100.7", "2001:db8::7"]),
        json!(["0.0.0.0/0", "::/0"]),
        json!(["::"]),
        json!(["2001:db8::/32", "2001:DB8:0:0::/33"]),
        // Host bits are taken for zeros.
        json!(["198.51.100.7/24", "2001:db8::7/64"]),
        sources(64),
    ] {
        schema.accepts(field, valid).await;
    }
    let not_sources = "allowedSources are CIDRs or IP addresses";
    for invalid in [
        "198.51.100.0/33",
        "198.51.100.0/",
        "198.51.100.0/24 ",
        "198.51.100/24",
        "198.051.100.0/24",
        "198.51.100.0/255.255.255.0",
        "198.51.100.1-198.51.100.9",
        "2001:db8::/129",
        "[2001:db8::7]",
        "2001:db8::7%eth0",
        "fe80::7%eth0/64",
        // Such a caller has an IPv4 address, and so must the range.
        "::ffff:198.51.100.0/120",
        "::ffff:198.51.100.7",
        "router.example.org",
        "*/",
    ] {
        schema.refuses(field, json!([invalid]), not_sources).await;
    }
    let one_is_wrong = json!(["198.51.100.0/24", "198.51.100.256"]);
    schema.refuses(field, one_is_wrong, not_sources).await;
    for (invalid, why) in [
        (json!([""]), "at least 2 chars long"),
        (json!(["x".repeat(50)]), "Too long"),
        (sources(65), "must have at most 64 items"),
        (json!(["::1", "::1"]), "Duplicate value"),
        (json!("198.51.100.0/24"), "must be of type array"),
    ] {
        schema.refuses(field, invalid, why).await;
    }
}

const OUT_OF_BOUNDS: &str = "staleAfter is from 1m to 8760h";
#[tokio::test]
async fn aliases_are_other_names_with_an_asterisk_in_front_at_most() {
    let schema = Schema::of_hosts().await;
    let field = "spec.aliases";
    for valid in [
        json!([]),
        json!([{"name": "www.home.dyn.example.org"}]),
        json!([{"name": "*.home.dyn.example.org", "type": "Address"}]),
        json!([{"name": "WWW.home.dyn.example.org", "type": "CNAME"}]),
        // Whether the zone has such a name is judged later.
        json!([{"name": "www.example.com"}]),
        json!([{"name": name_of(244)}]),
        aliases(16),
    ] {
        schema.accepts(field, valid).await;
    }
    let malformed = "spec.aliases[0].name in body should match";
    for invalid in [
        "www",
        "www.home.dyn.example.org.",
        "www..dyn.example.org",
        "a.*.dyn.example.org",
        "*.*.dyn.example.org",
        "*a.dyn.example.org",
        "**.dyn.example.org",
        "_dynhost.home.dyn.example.org",
        "bücher.example.org",
        "www.example.org/x",
        "w w.example.org",
        "www.example.org\n",
        "*.",
    ] {
        let why = match invalid.len() {
            0..3 => "at least 3 chars long",
            _ => malformed,
        };
        schema.refuses(field, json!([{"name": invalid}]), why).await;
    }
    let one = |name: &str| json!({"name": name});
    let twice = json!([one("a.home.dyn.example.org"), one("a.home.dyn.example.org")]);
    let of_both_types = json!([one("a.b"), {"name": "a.b", "type": "CNAME"}]);
    for (invalid, why) in [
        (aliases(17), "must have at most 16 items"),
        (twice, "Duplicate value"),
        (of_both_types, "Duplicate value"),
        (
            json!([one("home.dyn.example.org")]),
            "an alias is another name than hostname",
        ),
        (
            json!([one(&name_of(245))]),
            "Too long: may not be more than 244",
        ),
        (
            json!([{"type": "CNAME"}]),
            "spec.aliases[0].name: Required value",
        ),
        (
            json!([{"name": "a.b", "type": "Cname"}]),
            "supported values: \"Address\", \"CNAME\"",
        ),
        (json!([{"name": "a.b", "target": "c.d"}]), "unknown field"),
        (
            json!(["www.home.dyn.example.org"]),
            "must be of type object",
        ),
    ] {
        schema.refuses(field, invalid, why).await;
    }
}

/// So many different ones.
fn aliases(number: usize) -> Value {
    let alias = |n| json!({"name": format!("a{n}.home.dyn.example.org"), "type": "CNAME"});
    (0..number).map(alias).collect()
}

#[tokio::test]
async fn an_ipv6_address_is_made_from_an_interface_id_or_a_mac_address() {
    let schema = Schema::of_hosts().await;
    let field = "spec.ipv6";
    for valid in [
        json!({"interfaceID": "::1"}),
        json!({"interfaceID": "::1234:5678:9abc:def0"}),
        json!({"interfaceID": "0:0:0:5::1234"}),
        json!({"interfaceID": "::192.0.2.1"}),
        json!({"macAddress": "00:00:5e:00:53:01"}),
        json!({"macAddress": "00-00-5E-00-53-01"}),
        json!({"interfaceID": "::1", "prefixFrom": {"name": "router.of-us"}}),
    ] {
        schema.accepts(field, valid).await;
    }
    let both = "exactly one of interfaceID and macAddress must be set";
    let id = "interfaceID is the end of an IPv6 address, such as ::1234";
    let interface = |id: &str| json!({"interfaceID": id});
    let mac = |mac: &str| json!({"macAddress": mac});
    let from = |from: Value| json!({"interfaceID": "::1", "prefixFrom": from});
    for (invalid, why) in [
        (json!({}), both),
        (json!({"prefixFrom": {"name": "router"}}), both),
        (
            json!({"interfaceID": "::1", "macAddress": "00:00:5e:00:53:01"}),
            both,
        ),
        // Bits of the prefix, which is not the host's to choose.
        (interface("1::1"), id),
        (interface("0:0:1::1"), id),
        (interface("2001:db8::1"), id),
        (interface("::ffff:0:0:0:0:1"), id),
        (interface("0::"), id),
        (interface("0:0:0:0:0:0:0:0"), id),
        (interface("1234"), id),
        (interface("router"), id),
        (interface("192.0.2.1"), id),
        (interface("::1/64"), id),
        (interface("::1%eth0"), id),
        (interface("::"), "at least 3 chars long"),
        (interface(&"0".repeat(46)), "Too long"),
        (mac("00:00:5e:00:53"), "at least 17 chars long"),
        (mac("00:00:5e:00:53:01:02"), "Too long"),
        (mac("00:00:5e:00:53:0g"), "should match"),
        (mac("0000:5e00:5301:00"), "should match"),
        (mac("00005e005301"), "at least 17 chars long"),
        (from(json!({})), "prefixFrom.name: Required value"),
        (from(json!({"name": ""})), "at least 1 chars long"),
        (from(json!({"name": "other/router"})), "should match"),
        (
            from(json!({"name": "router", "namespace": "other"})),
            "unknown field",
        ),
    ] {
        schema.refuses(field, invalid, why).await;
    }
}

/// RFC 8032 section 7.1, TEST 1.
const PUBLIC_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// So many different ones.
fn public_keys(number: usize) -> Value {
    let keys = (0..number).map(|n| format!("{n}{}=", &PUBLIC_KEY[1..43]));
    keys.collect()
}

/// So many different ones, as long as they can be.
fn sources(number: usize) -> Value {
    let range = |n| format!("2001:0db8:ffff:ffff:ffff:ffff:ffff:{n:04x}/128");
    (0..number).map(range).collect()
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
        "auth": {"tokenInURL": "Allow", "allowClear": false},
        "address": {"from": "Any", "allowPrivate": false},
        "whenStale": "Keep",
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
        (json!({"auth": {"tokenInURL": "Deny"}}), None),
        (json!({"auth": {"publicKeys": [PUBLIC_KEY]}}), None),
        (json!({"auth": {"publicKeys": null}}), None),
        (json!({"auth": {"sha1Script": {"user": "alice"}}}), None),
        (json!({"address": {"allowPrivate": true}}), None),
        (json!({"address": {"from": "Request"}}), None),
        (json!({"address": {"allowedSources": ["::/0"]}}), None),
        (
            json!({"whenStale": "Remove"}),
            Some("whenStale: Remove needs staleAfter"),
        ),
        (json!({"staleAfter": "36h", "whenStale": "Remove"}), None),
        (
            json!({"staleAfter": null}),
            Some("whenStale: Remove needs staleAfter"),
        ),
        (json!({"staleAfter": null, "whenStale": "Keep"}), None),
        (json!({"deletionPolicy": "Retain"}), None),
        (json!({"suspend": true}), None),
        (json!({"ipv6": {"interfaceID": "::1"}}), None),
        (
            json!({"ipv6": {"macAddress": "00:00:5e:00:53:01"}}),
            Some("exactly one of interfaceID and macAddress must be set"),
        ),
        (json!({"ipv6": null}), None),
        (json!({"aliases": aliases(2)}), None),
        (json!({"aliases": null}), None),
    ] {
        check_change(&hosts, change, refusal).await;
    }
}

#[tokio::test]
async fn a_host_with_everything_at_its_bound_is_accepted() {
    let alias = |n| json!({"name": format!("a{n:02}.{}", name_of(240)), "type": "Address"});
    let longest_aliases: Vec<_> = (0..16).map(alias).collect();
    let hosts: Api<DynamicHost> = store(json!({
        "hostname": name_of(244),
        "zoneRef": {"name": "a".repeat(253), "namespace": "a".repeat(63)},
        "ttl": 86400,
        "families": ["IPv4", "IPv6"],
        "auth": {
            "secretName": "a".repeat(253),
            "tokenInURL": "Deny",
            "allowClear": true,
            "publicKeys": public_keys(8),
            "sha1Script": {"user": "a".repeat(64)},
        },
        "address": {
            "from": "Connection",
            "allowedSources": sources(64),
            "allowPrivate": true,
        },
        "staleAfter": "99999s99999s99999s",
        "whenStale": "Remove",
        "ipv6": {
            "interfaceID": "0000:0000:0000:ffff:ffff:ffff:255.255.255.255",
            "prefixFrom": {"name": "a".repeat(253)},
        },
        "aliases": longest_aliases,
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
            "ipv6Prefix": {
                "prefix": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
                "changedAt": time,
                "protocol": "p".repeat(32),
                "client": "~".repeat(64),
            },
            "signedAt": time,
            "lastSeen": time,
        },
        "published": {"rrsets": vec![rrset; 40], "marker": "m".repeat(255), "at": time},
        "conditions": (0..16).map(condition).collect::<Vec<_>>(),
    });
    let params = PatchParams::default().dry_run();
    let patch = Patch::Merge(json!({"status": status}));
    hosts.patch_status("one", &params, &patch).await.unwrap();
}
