//! Tests of the index: what is told, and what is looked up.

mod claims;

use std::collections::HashSet;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::admission::Refusal;

struct Fixture {
    index: Index,
    affected: mpsc::UnboundedReceiver<Affected>,
}

impl Fixture {
    fn new() -> Self {
        let index = Index::default();
        Self {
            affected: index.subscribe(),
            index,
        }
    }

    fn host(&self, namespace: &str, name: &str, version: u64, spec: Value) {
        self.host_with(namespace, name, version, "2026-01-01T00:00:00Z", spec);
    }

    fn host_with(&self, namespace: &str, name: &str, version: u64, created: &str, spec: Value) {
        let object = json!({
            "metadata": {"namespace": namespace, "name": name,
                         "uid": format!("{namespace}-{name}-{created}"),
                         "resourceVersion": version.to_string(), "creationTimestamp": created},
            "spec": spec,
        });
        let guard: stored::Stored<_> = serde_json::from_value(object).unwrap();
        self.index.apply_host(Host::new(&guard).unwrap());
    }

    fn zone(&self, version: u64, namespaces: Value) {
        self.zone_with(version, json!({"namespaces": namespaces}));
    }

    fn zone_with(&self, version: u64, allowed_hosts: Value) {
        let object = json!({
            "metadata": {"namespace": "dns", "name": "dyn", "uid": "zone",
                         "resourceVersion": version.to_string(),
                         "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"domain": "dyn.example.org", "allowedHosts": allowed_hosts,
                     "rfc2136": {"servers": ["127.0.0.1"],
                                 "tsig": {"keyName": "k", "secretRef": {"name": "s"}}}},
        });
        let guard: stored::Stored<_> = serde_json::from_value(object).unwrap();
        self.index.apply_zone(Zone::new(&guard).unwrap());
    }

    fn key(&self, namespace: &str, name: &str, created: &str, tokens: &[&str]) {
        use base64::Engine as _;
        let b64 = |t: &str| base64::engine::general_purpose::STANDARD.encode(t);
        let mut data = serde_json::Map::new();
        for (key, token) in ["token", "previousToken"].iter().zip(tokens) {
            data.insert((*key).to_owned(), b64(token).into());
        }
        let secret = json!({
            "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"),
                         "resourceVersion": "1", "creationTimestamp": created},
            "data": data,
        });
        let secret = serde_json::from_value(secret).unwrap();
        self.index.apply_key(UpdateKey::new(&secret).unwrap());
    }

    fn affected(&mut self) -> HashSet<String> {
        std::iter::from_fn(|| self.affected.try_recv().ok())
            .map(|affected| match affected {
                Affected::Host(key) => format!("host {key}"),
                Affected::Zone(key) => format!("zone {key}"),
            })
            .collect()
    }

    fn verdict(&self, namespace: &str, name: &str) -> Result<(), Refusal> {
        let host = self.index.host(&ObjectKey::new(namespace, name)).unwrap();
        self.index.view().admission(&host).map(|_| ())
    }

    fn hosts_of(&self, token: &str) -> Vec<String> {
        let digest = TokenDigest::new(token.as_bytes());
        let hosts = self.index.view().hosts_of_token(&digest);
        let mut hosts: Vec<_> = hosts.iter().map(|h| h.meta.key.to_string()).collect();
        hosts.sort();
        hosts
    }
}

fn spec(hostname: &str) -> Value {
    json!({"hostname": hostname, "zoneRef": {"name": "dyn", "namespace": "dns"}})
}

fn names(names: &[&str]) -> HashSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_oldest_admitted_claim_has_the_name() {
    let mut f = Fixture::new();
    f.zone(
        1,
        json!({"from": "Selector", "selector": {"matchLabels": {"team": "yes"}}}),
    );
    let yes = Labels::from([("team".to_owned(), "yes".to_owned())]);
    f.index.apply_namespace("a", Labels::new());
    f.index.apply_namespace("b", yes.clone());
    f.index.apply_namespace("c", yes.clone());
    // The oldest is in a namespace that the zone does not admit: it claims nothing.
    f.host_with(
        "a",
        "old",
        1,
        "2026-01-01T00:00:00Z",
        spec("home.dyn.example.org"),
    );
    f.host_with(
        "b",
        "mid",
        2,
        "2026-01-02T00:00:00Z",
        spec("HOME.dyn.example.org"),
    );
    f.host_with(
        "c",
        "new",
        3,
        "2026-01-03T00:00:00Z",
        spec("home.dyn.example.org"),
    );
    let conflict = |namespace, name| Err(Refusal::NameConflict(ObjectKey::new(namespace, name)));
    assert_eq!(f.verdict("a", "old"), Err(Refusal::NotAllowedByZone));
    assert_eq!(f.verdict("b", "mid"), Ok(()));
    assert_eq!(f.verdict("c", "new"), conflict("b", "mid"));

    f.affected();
    f.index.apply_namespace("a", yes);
    assert_eq!(f.verdict("b", "mid"), conflict("a", "old"));
    let told = names(&["host a/old", "host b/mid", "host c/new", "zone dns/dyn"]);
    assert_eq!(f.affected(), told);

    f.index.remove_host(&ObjectKey::new("a", "old"));
    assert_eq!(f.verdict("b", "mid"), Ok(()));
    let told = names(&["host a/old", "host b/mid", "host c/new", "zone dns/dyn"]);
    assert_eq!(f.affected(), told);
}

#[test]
fn equal_ages_are_ordered_by_namespace_and_name() {
    let f = Fixture::new();
    f.zone(1, json!({"from": "All"}));
    f.host("b", "x", 1, spec("home.dyn.example.org"));
    f.host("a", "z", 2, spec("home.dyn.example.org"));
    f.host("a", "y", 3, spec("home.dyn.example.org"));
    assert_eq!(f.verdict("a", "y"), Ok(()));
    let winner = ObjectKey::new("a", "y");
    assert_eq!(
        f.verdict("a", "z"),
        Err(Refusal::NameConflict(winner.clone()))
    );
    assert_eq!(f.verdict("b", "x"), Err(Refusal::NameConflict(winner)));
}

#[test]
fn a_host_is_judged_by_its_zone() {
    fn check(zone: Option<Value>, hostname: &str, expected: Result<(), Refusal>) {
        let f = Fixture::new();
        if let Some(allowed) = &zone {
            f.zone(1, allowed.clone());
        }
        f.host("team", "h", 1, spec(hostname));
        assert_eq!(f.verdict("team", "h"), expected, "{zone:?} {hostname}");
    }
    let all = Some(json!({"from": "All"}));
    let selector = Some(json!({"from": "Selector", "selector": {}}));
    check(all.clone(), "home.dyn.example.org", Ok(()));
    check(None, "home.dyn.example.org", Err(Refusal::ZoneNotFound));
    check(
        Some(json!({})),
        "home.dyn.example.org",
        Err(Refusal::NotAllowedByZone),
    );
    check(selector, "home.dyn.example.org", Err(Refusal::NotYetJudged));
    check(all.clone(), "dyn.example.org", Err(Refusal::OutsideZone));
    check(all.clone(), "home.example.org", Err(Refusal::OutsideZone));
    check(all, "home.notdyn.example.org", Err(Refusal::OutsideZone));
}

#[test]
fn a_token_stands_for_the_hosts_that_name_its_secret_and_the_older_secret_counts() {
    let mut f = Fixture::new();
    let shared = |hostname: &str| {
        let mut spec = spec(hostname);
        spec["auth"] = json!({"secretName": "shared"});
        spec
    };
    f.host("a", "one", 1, shared("one.dyn.example.org"));
    f.host("a", "two", 2, shared("two.dyn.example.org"));
    f.host("b", "three", 3, shared("three.dyn.example.org"));
    f.key(
        "a",
        "shared",
        "2026-01-02T00:00:00Z",
        &["token-of-team-a", "former-of-team-a"],
    );
    assert_eq!(f.hosts_of("token-of-team-a"), ["a/one", "a/two"]);
    assert_eq!(f.hosts_of("former-of-team-a"), ["a/one", "a/two"]);
    assert!(f.hosts_of("").is_empty());

    f.affected();
    f.key("b", "shared", "2026-01-01T00:00:00Z", &["token-of-team-a"]);
    assert_eq!(
        f.affected(),
        names(&["host a/one", "host a/two", "host b/three"])
    );
    assert_eq!(f.hosts_of("token-of-team-a"), ["b/three"]);
    let key = f.index.key(&ObjectKey::new("a", "shared")).unwrap();
    let older = f.index.view().older_key_with_same_token(&key);
    assert_eq!(older, Some(ObjectKey::new("b", "shared")));

    f.index.remove_key(&ObjectKey::new("b", "shared"));
    assert_eq!(
        f.affected(),
        names(&["host a/one", "host a/two", "host b/three"])
    );
    assert_eq!(f.hosts_of("token-of-team-a"), ["a/one", "a/two"]);
}

#[test]
fn an_older_version_or_a_late_reply_never_replaces_a_newer_state() {
    let mut f = Fixture::new();
    f.host("a", "h", 7, spec("new.dyn.example.org"));
    f.affected();
    f.host("a", "h", 5, spec("old.dyn.example.org"));
    assert!(f.affected().is_empty());
    let host = f.index.host(&ObjectKey::new("a", "h")).unwrap();
    assert_eq!(host.meta.resource_version, 7);

    f.index.remove_host(&host.meta.key);
    f.index.apply_host_reply(Host::clone(&host));
    assert!(f.index.host(&host.meta.key).is_none());
}

#[test]
fn what_a_whole_list_does_not_show_is_gone() {
    let mut f = Fixture::new();
    f.host("a", "stays", 1, spec("one.dyn.example.org"));
    f.host("a", "goes", 2, spec("two.dyn.example.org"));
    f.affected();
    let mut listed = Listed::default();
    listed.insert(&ObjectKey::new("a", "stays"));
    f.index.retain_hosts(&listed);
    assert!(f.index.host(&ObjectKey::new("a", "goes")).is_none());
    assert!(f.index.host(&ObjectKey::new("a", "stays")).is_some());
    assert_eq!(f.affected(), names(&["host a/goes", "zone dns/dyn"]));
}

#[test]
fn whoever_begins_to_listen_finds_everything_and_is_told_what_comes_later() {
    let f = Fixture::new();
    f.zone(1, json!({"from": "All"}));
    let names = |number: usize| format!("h{number:02}");
    for number in 0..10 {
        f.host("a", &names(number), 2, spec("one.dyn.example.org"));
    }
    f.index.remove_host(&ObjectKey::new("a", "h03"));
    let mut former = f.affected;
    while former.try_recv().is_ok() {}
    let mut told = f.index.subscribe();
    let (mut place, mut found) = (Some(0), Vec::new());
    while let Some(from) = place {
        let (hosts, next) = f.index.view().hosts_from(from, 4);
        assert!(hosts.len() <= 4 && next.is_none_or(|next| next > from));
        found.extend(hosts.iter().map(|key| key.name.to_string()));
        place = next;
    }
    let all: Vec<_> = (0..10).filter(|number| *number != 3).map(names).collect();
    assert_eq!(found, all);
    assert_eq!(f.index.view().zones().count(), 1);
    assert!(told.try_recv().is_err());
    f.index.remove_host(&ObjectKey::new("a", "h04"));
    let gone = Affected::Host(ObjectKey::new("a", "h04"));
    assert_eq!(told.try_recv(), Ok(gone));
    assert!(former.try_recv().is_err(), "nobody else is told");
}

#[test]
fn an_object_that_does_not_fit_the_types_is_a_host_with_an_unusable_spec() {
    let f = Fixture::new();
    f.host("a", "odd", 1, json!({"hostname": ["not", "a", "string"]}));
    f.host("a", "loose", 2, spec("under_score.dyn.example.org"));
    for name in ["odd", "loose"] {
        assert!(
            matches!(f.verdict("a", name), Err(Refusal::Invalid(_))),
            "{name}"
        );
    }
}

#[test]
fn a_reply_never_brings_a_deleted_or_replaced_key_back() {
    let f = Fixture::new();
    f.host("a", "one", 1, {
        let mut spec = spec("one.dyn.example.org");
        spec["auth"] = json!({"secretName": "k"});
        spec
    });
    f.key("a", "k", "2026-01-01T00:00:00Z", &["token-of-team-a"]);
    let name = ObjectKey::new("a", "k");
    let known = UpdateKey::clone(&f.index.key(&name).unwrap());
    let newer = UpdateKey {
        meta: object::Meta {
            resource_version: 9,
            ..known.meta.clone()
        },
        generated: true,
        ..known.clone()
    };
    f.index.apply_key_reply(newer);
    assert!(f.index.key(&name).unwrap().generated);

    f.index.remove_key(&name);
    f.index.apply_key_reply(known.clone());
    assert!(f.hosts_of("token-of-team-a").is_empty());

    let mut other = known.clone();
    other.meta.uid = "other".into();
    other.token = Some(TokenDigest::new(b"another-token"));
    f.index.apply_key(other);
    f.index.apply_key_reply(known);
    assert!(f.hosts_of("token-of-team-a").is_empty());
    assert_eq!(f.hosts_of("another-token"), ["a/one"]);
}

#[test]
fn a_reply_tells_nobody_of_an_unknown_key_that_waits_for_its_end() {
    let mut f = Fixture::new();
    f.host("a", "one", 1, spec("one.dyn.example.org"));
    let name = ObjectKey::new("a", "one-update-key");
    f.key(
        "a",
        "one-update-key",
        "2026-01-01T00:00:00Z",
        &["token-of-team-a"],
    );
    let known = UpdateKey::clone(&f.index.key(&name).unwrap());
    let mut deleting = known.clone();
    deleting.meta.deleting = true;
    deleting.meta.resource_version = 2;
    // A key that is known is forgotten, and its host asks for another one.
    f.affected();
    f.index.apply_key_reply(deleting.clone());
    assert_eq!(f.affected(), names(&["host a/one"]));
    assert!(f.index.key(&name).is_none());

    // The host of one that never was known has just asked.
    deleting.meta.uid = "held".into();
    f.index.apply_key_reply(deleting.clone());
    assert_eq!(f.affected(), names(&[]));
    // From the watch it is news: the name is free.
    f.index.remove_key(&name);
    assert_eq!(f.affected(), names(&["host a/one"]));
}

#[test]
fn a_change_of_stale_after_is_seen_and_remembered() {
    let fixture = Fixture::new();
    let changed = || {
        let host = fixture.index.host(&ObjectKey::new("a", "home")).unwrap();
        host.stale_after_changed
    };
    let put = |version, fields: Value| {
        let mut spec = json!({"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}});
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        fixture.host("a", "home", version, spec);
        changed()
    };
    // It may have been so for long.
    assert_eq!(put(1, json!({"staleAfter": "36h"})), None);
    assert_eq!(put(2, json!({"staleAfter": "36h", "ttl": 30})), None);
    let first = put(3, json!({"staleAfter": "1h"}));
    assert!(first.is_some());
    assert_eq!(put(4, json!({"staleAfter": "60m", "ttl": 60})), first);
    let second = put(5, json!({}));
    assert!(second > first);
    // An older version changes nothing.
    assert_eq!(put(4, json!({"staleAfter": "36h"})), second);
}
