//! How an object lies in the index while nobody looks at it: as a row of octets, a third of what
//! the parsed object takes.
//!
//! Only what this process has parsed is packed, and nothing else is unpacked.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::host::Host;
use super::key::UpdateKey;
use super::object::Meta;

/// An object that the index keeps. Its first field is its [`Meta`].
pub(super) trait Pack: Serialize + for<'a> Deserialize<'a> {
    fn meta(&self) -> &Meta;
}

impl Pack for Host {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Pack for UpdateKey {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// A packed object.
#[derive(Debug)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// `None` for what the format cannot express; no object of ours has such a thing.
    pub(super) fn new(object: &impl Pack) -> Option<Self> {
        let octets = postcard::to_allocvec(object).ok()?;
        Some(Self(octets.into()))
    }

    /// `None` for octets of another type.
    pub(super) fn unpack<T: Pack>(&self) -> Option<T> {
        postcard::from_bytes(&self.0).ok()
    }

    /// Whether it is the object of this namespace and name.
    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        postcard::take_from_bytes::<(&str, &str)>(&self.0)
            .is_ok_and(|(key, _)| key == (namespace, name))
    }
}

/// Seconds from 1970 and nanoseconds: most times are of whole seconds, and nothing has to be divided
/// to have them back.
pub(super) mod time {
    use jiff::Timestamp;
    use serde::de::Error as _;

    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        (time.as_second(), time.subsec_nanosecond()).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let (seconds, nanoseconds) = Deserialize::deserialize(deserializer)?;
        Timestamp::new(seconds, nanoseconds).map_err(D::Error::custom)
    }
}

/// Likewise, where there is one.
pub(super) mod optional_time {
    use jiff::Timestamp;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Time(#[serde(with = "super::time")] Timestamp);

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Time).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let time = Option::<Time>::deserialize(deserializer)?;
        Ok(time.map(|Time(time)| time))
    }
}

/// What clients reported: its own form is for JSON, with fields that are left out.
pub(super) mod observed {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use dynhost_crds::host::{Observation, Observed, ObservedPrefix};
    use ipnet::Ipv6Net;
    use jiff::Timestamp;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Value<A> {
        value: Option<A>,
        #[serde(with = "super::time")]
        changed_at: Timestamp,
        protocol: String,
        client: Option<String>,
    }

    #[derive(Serialize, Deserialize)]
    struct All {
        ipv4: Option<Value<Ipv4Addr>>,
        ipv6: Option<Value<Ipv6Addr>>,
        /// The address and the length.
        prefix: Option<Value<(Ipv6Addr, u8)>>,
        #[serde(with = "super::optional_time")]
        signed_at: Option<Timestamp>,
        #[serde(with = "super::optional_time")]
        last_seen: Option<Timestamp>,
    }

    impl<A> From<Observation<A>> for Value<A> {
        fn from(observed: Observation<A>) -> Self {
            Self {
                value: observed.address,
                changed_at: observed.changed_at,
                protocol: observed.protocol,
                client: observed.client,
            }
        }
    }

    impl<A> From<Value<A>> for Observation<A> {
        fn from(value: Value<A>) -> Self {
            Self {
                address: value.value,
                changed_at: value.changed_at,
                protocol: value.protocol,
                client: value.client,
            }
        }
    }

    impl From<ObservedPrefix> for Value<(Ipv6Addr, u8)> {
        fn from(observed: ObservedPrefix) -> Self {
            Self {
                value: observed.prefix.map(|net| (net.addr(), net.prefix_len())),
                changed_at: observed.changed_at,
                protocol: observed.protocol,
                client: observed.client,
            }
        }
    }

    impl From<Value<(Ipv6Addr, u8)>> for ObservedPrefix {
        fn from(value: Value<(Ipv6Addr, u8)>) -> Self {
            let prefix = value.value;
            Self {
                prefix: prefix.and_then(|(address, length)| Ipv6Net::new(address, length).ok()),
                changed_at: value.changed_at,
                protocol: value.protocol,
                client: value.client,
            }
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        observed: &Observed,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let observed = observed.clone();
        let all = All {
            ipv4: observed.ipv4.map(Into::into),
            ipv6: observed.ipv6.map(Into::into),
            prefix: observed.ipv6_prefix.map(Into::into),
            signed_at: observed.signed_at,
            last_seen: observed.last_seen,
        };
        all.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Observed, D::Error> {
        let all = All::deserialize(deserializer)?;
        Ok(Observed {
            ipv4: all.ipv4.map(Into::into),
            ipv6: all.ipv6.map(Into::into),
            ipv6_prefix: all.prefix.map(Into::into),
            signed_at: all.signed_at,
            last_seen: all.last_seen,
        })
    }
}

/// A token's digest. It has no form of its own that anybody could write down.
pub(super) mod digest {
    use super::super::key::TokenDigest;
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(
        digest: &Option<TokenDigest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        digest.map(|digest| digest.0).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Option<TokenDigest>, D::Error> {
        let octets = Option::<[u8; 32]>::deserialize(deserializer)?;
        Ok(octets.map(TokenDigest))
    }
}

/// The secret of the script of 2012, likewise.
pub(super) mod secret {
    use super::*;
    use crate::update::proof::Sha1Secret;

    pub(in super::super) fn serialize<S: Serializer>(
        secret: &Option<Sha1Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let octets = secret.as_ref().map(Sha1Secret::octets);
        octets.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'a, D: Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Option<Sha1Secret>, D::Error> {
        let octets = Option::<Box<[u8]>>::deserialize(deserializer)?;
        Ok(octets.map(Sha1Secret::from_octets))
    }
}

#[cfg(test)]
mod tests {
    use dynhost_crds::host::DynamicHost;
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::{Value, json};

    use super::*;

    fn host(spec: Value, status: Value) -> Host {
        let object = json!({
            "metadata": {"name": "home", "namespace": "family", "uid": "h", "resourceVersion": "7",
                "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"touched": "now"}, "finalizers": ["dynhost.dev/records"]},
            "spec": spec, "status": status,
        });
        let object: DynamicHost = serde_json::from_value(object).unwrap();
        Host::from_object(&object).unwrap()
    }

    #[test]
    fn a_host_comes_out_as_it_went_in() {
        fn check(host: Host) {
            let packed = Packed::new(&host).unwrap();
            assert_eq!(packed.unpack(), Some(host));
            assert!(packed.is("family", "home"));
            assert!(!packed.is("family", "hom") && !packed.is("fam", "ilyhome"));
        }
        let least = json!({"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}});
        check(host(least.clone(), json!({})));
        check(host(
            json!({"hostname": "-", "zoneRef": {"name": "dyn"}}),
            json!({}),
        ));
        let most = json!({
            "hostname": "home.dyn.example.org",
            "zoneRef": {"name": "dyn", "namespace": "dns"}, "ttl": 30, "families": ["IPv6"],
            "auth": {"secretName": "k", "tokenInURL": "Deny", "allowClear": true,
                "publicKeys": ["MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lsQhQqc="],
                "sha1Script": {"user": "alice"}},
            "address": {"from": "Connection", "allowPrivate": true,
                "allowedSources": ["198.51.100.0/24", "2001:db8::/32"]},
            "ipv6": {"interfaceID": "::1234", "prefixFrom": {"name": "router"}},
            "aliases": [{"name": "*.home.dyn.example.org"},
                {"name": "www.home.dyn.example.org", "type": "CNAME"}],
            "staleAfter": "36h", "whenStale": "Remove", "deletionPolicy": "Retain", "suspend": true,
        });
        let mut most_but_keys = most.clone();
        most_but_keys["auth"]["publicKeys"] =
            json!(["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]);
        let at = "2026-01-02T03:04:05.123456Z";
        let observation = |address: &str| json!({"address": address, "changedAt": at, "protocol": "dyndns2", "client": "inadyn/2"});
        let status = json!({
            "observedGeneration": 3,
            "observed": {
                "ipv4": observation("198.51.100.7"),
                "ipv6": {"changedAt": at, "protocol": "duckdns"},
                "ipv6Prefix": {"prefix": "2001:db8:1:2::/64", "changedAt": at, "protocol": "dyndns2"},
                "signedAt": "2026-01-02T03:04:05Z", "lastSeen": "2026-01-02T03:04:05Z",
            },
            "published": {"at": at, "marker": "v=1 o=home h=AAAAAAAAAAAAAAAAAAAAAA n=0123456789abcdef x=y",
                "rrsets": [
                    {"name": "home.dyn.example.org", "type": "A", "ttl": 30, "values": ["198.51.100.7"]},
                    {"name": "www.home.dyn.example.org", "type": "CNAME", "ttl": 30,
                     "values": ["home.dyn.example.org"]}]},
            "pendingAliases": [{"name": "a.home.dyn.example.org"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "m",
                "observedGeneration": 3, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        });
        let full = host(most_but_keys, status.clone());
        assert!(full.spec.is_ok() && full.published.is_some() && full.conditions.len() == 1);
        check(full);
        // A key that cannot be used.
        check(host(most, status));
    }

    #[test]
    fn an_update_key_comes_out_as_it_went_in() {
        fn check(data: Value) {
            let secret = json!({
                "metadata": {"name": "k", "namespace": "family", "uid": "s", "resourceVersion": "7",
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                    "labels": {"dynhost.dev/generated": "true"},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "h"}]},
                "data": data,
            });
            let secret: Secret = serde_json::from_value(secret).unwrap();
            let key = UpdateKey::new(&secret).unwrap();
            let packed = Packed::new(&key).unwrap();
            assert_eq!(packed.unpack(), Some(key));
        }
        check(json!({}));
        check(json!({
            "token": "YWJjZGVmZ2hpamtsbW5vcA==", "previousToken": "cG9ubWxramloZ2ZlZGNiYQ==",
            "sha1Secret": "YQoK",
        }));
    }
}
