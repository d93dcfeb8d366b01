//! The JSON patch (RFC 6902) that stores a report, and only where nothing else was stored meanwhile.

use dynhost_crds::host::{Observation, ObservedPrefix};
use jiff::Timestamp;
use json_patch::jsonptr::Pointer;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::decide::{News, Told};
use super::heartbeat::seen_at;
use crate::index::host::{Host, StatusDepth};

/// Where a report came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    pub protocol: &'static str,
    pub client: Option<String>,
}

/// What must not have changed since the host was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The former values of the families to be written: the controller's own writes do not collide.
    FormerValues,
    /// The whole object: also for values that are stored in another spelling than ours.
    ResourceVersion,
}

/// The patch of the status subresource that stores `news`, and that a client was seen.
///
/// Its tests name the object by UID and the former value of each family with its `changedAt`, so
/// that a copy which arrives late, after another write, is refused. A test for `null` passes where
/// the member is missing but its parent exists (the API server's library, evanphx/json-patch).
pub fn guarded_patch(
    host: &Host,
    news: News,
    provenance: &Provenance,
    guard: Guard,
    now: Timestamp,
) -> Patch {
    let former = &host.observed;
    let mut values = Map::new();
    let mut tests = vec![test("/metadata/uid", json!(*host.meta.uid))];
    if guard == Guard::ResourceVersion {
        let version = host.meta.resource_version.to_string();
        tests.push(test("/metadata/resourceVersion", version.into()));
    }
    let News {
        addresses,
        signed_at,
    } = news;
    if let Some(address) = to_store(addresses.ipv4) {
        let changed_at = later_than(former.ipv4.as_ref().map(|o| o.changed_at), now);
        values.insert("ipv4".into(), observation(address, changed_at, provenance));
    }
    if let Some(address) = to_store(addresses.ipv6) {
        let changed_at = later_than(former.ipv6.as_ref().map(|o| o.changed_at), now);
        values.insert("ipv6".into(), observation(address, changed_at, provenance));
    }
    if let Some(prefix) = to_store(addresses.prefix) {
        let changed_at = later_than(former.ipv6_prefix.as_ref().map(|o| o.changed_at), now);
        let observed = json!(ObservedPrefix {
            prefix,
            changed_at,
            protocol: provenance.protocol.to_owned(),
            client: provenance.client.clone(),
        });
        values.insert("ipv6Prefix".into(), observed);
    }
    if let Some(at) = signed_at.and_then(|at| Timestamp::from_second(at).ok()) {
        values.insert("signedAt".into(), json!(at));
    }
    let seen = json!(seen_at(former.last_seen, now));
    let missing = |path| test(path, Value::Null);
    let adds = match host.status_depth {
        StatusDepth::Nothing => {
            values.insert("lastSeen".into(), seen);
            tests.push(missing("/status"));
            vec![add("/status", json!({ "observed": values }))]
        }
        StatusDepth::Status => {
            values.insert("lastSeen".into(), seen);
            tests.push(missing("/status/observed"));
            vec![add("/status/observed", values.into())]
        }
        StatusDepth::Observed => {
            let members = [
                ("ipv4", IPV4, json!(former.ipv4)),
                ("ipv6", IPV6, json!(former.ipv6)),
                ("ipv6Prefix", IPV6_PREFIX, json!(former.ipv6_prefix)),
                ("signedAt", SIGNED_AT, json!(former.signed_at)),
            ];
            let mut adds = Vec::new();
            for (name, path, former) in members {
                let Some(value) = values.remove(name) else {
                    continue;
                };
                if guard == Guard::FormerValues {
                    tests.push(test(path, former));
                }
                adds.push(add(path, value));
            }
            // Not tested: a heartbeat that came in between shall not refuse a report.
            adds.push(add(LAST_SEEN, seen));
            adds
        }
    };
    tests.extend(adds);
    Patch(tests)
}

const IPV4: &str = "/status/observed/ipv4";
const IPV6: &str = "/status/observed/ipv6";
const IPV6_PREFIX: &str = "/status/observed/ipv6Prefix";
const SIGNED_AT: &str = "/status/observed/signedAt";
pub(super) const LAST_SEEN: &str = "/status/observed/lastSeen";

/// The address that a family shall have, or that it shall have none; `None`: it is left alone.
fn to_store<A>(told: Told<A>) -> Option<Option<A>> {
    told.is_something().then(|| told.address())
}

/// The time of a change, in microseconds, and always after the former one: two values never have
/// the same, even where the clock went back.
fn later_than(former: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let after = former.map_or(i64::MIN, |former| former.as_microsecond() + 1);
    Timestamp::from_microsecond(now.as_microsecond().max(after)).unwrap_or(now)
}

fn observation<A: Serialize>(
    address: Option<A>,
    changed_at: Timestamp,
    provenance: &Provenance,
) -> Value {
    json!(Observation {
        address,
        changed_at,
        protocol: provenance.protocol.to_owned(),
        client: provenance.client.clone(),
    })
}

pub(super) fn test(path: &'static str, value: Value) -> PatchOperation {
    let path = Pointer::from_static(path).to_buf();
    PatchOperation::Test(TestOperation { path, value })
}

pub(super) fn add(path: &'static str, value: Value) -> PatchOperation {
    let path = Pointer::from_static(path).to_buf();
    PatchOperation::Add(AddOperation { path, value })
}

#[cfg(test)]
mod tests {
    use super::super::decide::Addresses;
    use super::*;
    use crate::update::fixture;

    const NOW: &str = "2026-01-02T03:04:05.123456789Z";

    fn patch_of(status: Value, guard: Guard) -> Value {
        let host = fixture::object(json!({ "status": status }));
        let addresses = Addresses {
            ipv4: Told::Address("198.51.100.7".parse().unwrap()),
            ipv6: Told::Address("2001:db8::7".parse().unwrap()),
            prefix: Told::Nothing,
        };
        let news = News {
            addresses,
            signed_at: None,
        };
        let provenance = Provenance {
            protocol: "dyndns2",
            client: Some("curl/7.88.1".into()),
        };
        json!(guarded_patch(
            &host,
            news,
            &provenance,
            guard,
            NOW.parse().unwrap()
        ))
    }

    fn observed(address: &str, changed_at: &str) -> Value {
        json!({"address": address, "changedAt": changed_at, "protocol": "dyndns2", "client": "curl/7.88.1"})
    }

    #[test]
    fn the_patch_adds_below_what_is_stored() {
        fn check(status: Value, expected: Value) {
            let mut operations =
                json!([{"op": "test", "path": "/metadata/uid", "value": "uid-home"}]);
            let all = operations.as_array_mut().unwrap();
            all.extend(expected.as_array().unwrap().iter().cloned());
            assert_eq!(patch_of(status, Guard::FormerValues), operations);
        }
        let new4 = || observed("198.51.100.7", "2026-01-02T03:04:05.123456Z");
        let new6 = || observed("2001:db8::7", "2026-01-02T03:04:05.123456Z");
        let seen = "2026-01-02T03:04:05Z";
        let all = || json!({"ipv4": new4(), "ipv6": new6(), "lastSeen": seen});
        check(
            Value::Null,
            json!([
                {"op": "test", "path": "/status", "value": null},
                {"op": "add", "path": "/status", "value": {"observed": all()}},
            ]),
        );
        check(
            json!({"observedGeneration": 1}),
            json!([
                {"op": "test", "path": "/status/observed", "value": null},
                {"op": "add", "path": "/status/observed", "value": all()},
            ]),
        );
        let former4 = || observed("198.51.100.1", "2026-01-01T00:00:00.5Z");
        check(
            json!({"observed": {"ipv4": former4(), "lastSeen": "2026-01-01T00:00:00Z"}}),
            json!([
                {"op": "test", "path": "/status/observed/ipv4", "value": former4()},
                {"op": "test", "path": "/status/observed/ipv6", "value": null},
                {"op": "add", "path": "/status/observed/ipv4", "value": new4()},
                {"op": "add", "path": "/status/observed/ipv6", "value": new6()},
                {"op": "add", "path": "/status/observed/lastSeen", "value": seen},
            ]),
        );
    }

    #[test]
    fn a_withdrawal_a_prefix_and_the_time_of_a_signed_request_are_stored_too() {
        let signed_at = "2026-01-01T00:00:00Z";
        let host = fixture::object(json!({"status": {"observed": {"signedAt": signed_at}}}));
        let addresses = Addresses {
            ipv4: Told::Withdrawn,
            ipv6: Told::Nothing,
            prefix: Told::Address("2001:db8:1:2::/64".parse().unwrap()),
        };
        let news = News {
            addresses,
            signed_at: Some(1_767_323_045),
        };
        let provenance = Provenance {
            protocol: "signed",
            client: None,
        };
        let now = NOW.parse().unwrap();
        let patch = guarded_patch(&host, news, &provenance, Guard::FormerValues, now);
        let at = "2026-01-02T03:04:05.123456Z";
        let expected = json!([
            {"op": "test", "path": "/metadata/uid", "value": "uid-home"},
            {"op": "test", "path": "/status/observed/ipv4", "value": null},
            {"op": "test", "path": "/status/observed/ipv6Prefix", "value": null},
            {"op": "test", "path": "/status/observed/signedAt", "value": signed_at},
            {"op": "add", "path": "/status/observed/ipv4",
             "value": {"changedAt": at, "protocol": "signed"}},
            {"op": "add", "path": "/status/observed/ipv6Prefix",
             "value": {"prefix": "2001:db8:1:2::/64", "changedAt": at, "protocol": "signed"}},
            {"op": "add", "path": "/status/observed/signedAt", "value": "2026-01-02T03:04:05Z"},
            {"op": "add", "path": "/status/observed/lastSeen", "value": "2026-01-02T03:04:05Z"},
        ]);
        assert_eq!(json!(patch), expected);
    }

    #[test]
    fn the_last_attempt_tests_the_resource_version_instead_of_values() {
        let former = observed("198.51.100.1", "2026-01-01T00:00:00Z");
        let patch = patch_of(
            json!({"observed": {"ipv4": former}}),
            Guard::ResourceVersion,
        );
        let operations = patch.as_array().unwrap();
        assert_eq!(operations.len(), 5);
        assert_eq!(
            operations[1],
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"})
        );
    }

    #[test]
    fn every_change_is_later_than_the_one_before() {
        fn check(former: Option<&str>, expected: &str) {
            let former = former.map(|t| t.parse().unwrap());
            assert_eq!(
                later_than(former, NOW.parse().unwrap()).to_string(),
                expected
            );
        }
        check(None, "2026-01-02T03:04:05.123456Z");
        check(
            Some("2026-01-02T03:04:05.123455Z"),
            "2026-01-02T03:04:05.123456Z",
        );
        check(
            Some("2026-01-02T03:04:05.123456Z"),
            "2026-01-02T03:04:05.123457Z",
        );
        check(
            Some("2026-01-02T03:04:05.123456789Z"),
            "2026-01-02T03:04:05.123457Z",
        );
        check(Some("2027-01-01T00:00:00Z"), "2027-01-01T00:00:00.000001Z");
    }
}
