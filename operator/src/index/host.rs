//! A DynamicHost in compact form.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use dynhost_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use dynhost_crds::host::{
    AddressFrom, AliasType, DeletionPolicy, DynamicHost, DynamicHostSpec, DynamicHostStatus,
    IpFamily, Ipv6FromPrefix, Observed, ObservedPrefix, Published, TokenInUrl, WhenStale,
};
use dynhost_crds::stale_after::StaleAfter;
use dynhost_crds::{HOST_FINALIZER, host};
use jiff::Timestamp;

use super::object::{Meta, ObjectKey};
use super::stored::Stored;
use crate::name::{Fqdn, NameError, RecordName};
use crate::record::alias::Alias;
use crate::record::change::Known;
use crate::record::interface_id::InterfaceId;
use crate::record::marker::Marker;
use crate::update::cidr::Cidr;
use crate::update::proof::PublicKey;
use serde::{Deserialize, Serialize};

/// A DynamicHost as the watch last told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub meta: Meta,
    /// Whether our finalizer is on the object.
    pub finalizer: bool,
    /// A hash of the annotations: changing one is how a person asks for another attempt.
    pub annotations: u64,
    /// The parsed spec, or why it cannot be used.
    pub spec: Result<HostSpec, Box<str>>,
    #[serde(with = "super::packing::observed")]
    pub observed: Observed,
    /// When we have seen its `staleAfter` change: before, its client was noted less often.
    #[serde(with = "super::packing::optional_time")]
    pub stale_after_changed: Option<Timestamp>,
    /// How much of `status` is stored: a JSON patch can only add below what is there.
    pub status_depth: StatusDepth,
    pub published: Option<Arc<PublishedState>>,
    /// Aliases that may be in DNS without `published` saying so.
    pub pending: Box<[Alias]>,
    pub observed_generation: Option<i64>,
    pub conditions: Vec<CompactCondition>,
}

/// How far down the path `status.observed` exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusDepth {
    Nothing,
    Status,
    Observed,
}

/// The parsed spec of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostSpec {
    pub hostname: Fqdn,
    pub zone: ObjectKey,
    pub ttl: Option<u32>,
    pub ipv4: bool,
    pub ipv6: bool,
    /// The Secret of the update key, in the host's namespace.
    pub secret: ObjectKey,
    pub allow_private: bool,
    pub address_from: AddressFrom,
    /// Who may call; empty: everybody.
    pub allowed_sources: Box<[Cidr]>,
    /// The update key may stand in a URL.
    pub token_in_url: bool,
    /// Clients may withdraw addresses.
    pub allow_clear: bool,
    pub public_keys: Box<[PublicKey]>,
    /// The account of the script of 2012, where its requests are taken.
    pub sha1_user: Option<Box<str>>,
    /// How the IPv6 address is made from a prefix, where it is.
    pub from_prefix: Option<Box<FromPrefix>>,
    /// No name twice, and none is the host's own.
    pub aliases: Box<[Alias]>,
    pub stale_after: Option<StaleAfter>,
    pub when_stale: WhenStale,
    pub deletion_policy: DeletionPolicy,
    pub suspend: bool,
}

/// An IPv6 address made from a reported prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromPrefix {
    pub interface_id: InterfaceId,
    /// The host, in the same namespace, whose client reports the prefix.
    pub host: ObjectKey,
}

/// What the controller last wrote to DNS.
#[derive(Clone, Debug, PartialEq, Hash, Serialize, Deserialize)]
pub struct PublishedState {
    pub known: Known,
    pub marker: Option<Marker>,
    #[serde(with = "super::packing::time")]
    pub at: Timestamp,
}

/// A condition without what can be derived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompactCondition {
    pub type_: ConditionType,
    pub status: ConditionStatus,
    pub reason: Reason,
    /// `None`: the reason's own sentence.
    pub message: Option<Box<str>>,
    pub generation: i64,
    #[serde(with = "super::packing::time")]
    pub since: Timestamp,
}

impl Host {
    /// From a watch event or an API server's reply; `None` for metadata that no API server sends.
    ///
    /// An object that does not fit the types (stored while the schema was looser) becomes a host
    /// with an unusable spec, so that the watch goes on for the others.
    pub fn new(object: &Stored<DynamicHost>) -> Option<Self> {
        match &object.0 {
            Ok(host) => Self::from_object(host),
            Err(misfit) => Some(Self {
                finalizer: has_finalizer(misfit.metadata.finalizers.as_deref()),
                annotations: hash_of(&misfit.metadata.annotations),
                meta: Meta::new(&misfit.metadata)?,
                spec: Err(misfit.error.as_str().into()),
                observed: Observed::default(),
                stale_after_changed: None,
                status_depth: StatusDepth::Nothing,
                published: None,
                pending: Box::default(),
                observed_generation: misfit.status("observedGeneration"),
                conditions: CompactCondition::all(
                    &misfit.status::<Vec<_>>("conditions").unwrap_or_default(),
                ),
            }),
        }
    }

    /// From an object that fits the types.
    pub fn from_object(host: &DynamicHost) -> Option<Self> {
        let meta = Meta::new(&host.metadata)?;
        let status = host.status.clone().unwrap_or_default();
        let hostname = Fqdn::parse(&host.spec.hostname).ok();
        Some(Self {
            finalizer: has_finalizer(host.metadata.finalizers.as_deref()),
            annotations: hash_of(&host.metadata.annotations),
            spec: HostSpec::new(&meta.key, &host.spec),
            status_depth: match &host.status {
                None => StatusDepth::Nothing,
                Some(DynamicHostStatus { observed: None, .. }) => StatusDepth::Status,
                Some(_) => StatusDepth::Observed,
            },
            published: status
                .published
                .as_ref()
                .map(|published| PublishedState::new(published, hostname.as_ref()).into()),
            pending: status
                .pending_aliases
                .iter()
                .filter_map(|alias| to_alias(alias).ok())
                .collect(),
            observed_generation: status.observed_generation,
            conditions: CompactCondition::all(&status.conditions),
            observed: status.observed.unwrap_or_default(),
            stale_after_changed: None,
            meta,
        })
    }

    /// Learns from its former version, which it replaces at `now`.
    pub fn succeed(&mut self, former: &Self, now: Timestamp) {
        let stale_after = |host: &Self| host.spec.as_ref().ok().map(|spec| spec.stale_after);
        if former.meta.uid == self.meta.uid {
            self.stale_after_changed = match stale_after(former) == stale_after(self) {
                true => former.stale_after_changed,
                false => Some(now),
            };
        }
    }

    /// Whether anything was ever reported or published: only we and the endpoint write that, so it
    /// shows that the zone once admitted the host.
    pub fn is_known(&self) -> bool {
        self.published.is_some() || self.reported_at().is_some()
    }

    /// When the newest of the reports was made that its records depend on.
    pub fn reported_at(&self) -> Option<Timestamp> {
        let ipv4 = self.observed.ipv4.as_ref().map(|o| o.changed_at);
        let ipv6 = self.observed.ipv6.as_ref().map(|o| o.changed_at);
        let makes_address = self.spec.as_ref().is_ok_and(|s| s.from_prefix.is_some());
        let prefix = self.observed.ipv6_prefix.as_ref().map(|o| o.changed_at);
        ipv4.max(ipv6).max(prefix.filter(|_| makes_address))
    }

    /// Whether there is something that may have been written to DNS without `status` saying so: a
    /// report or a spec that came after `status` last said what is there, or an attempt that failed.
    /// `prefix` is the one that its IPv6 address is made from.
    pub fn has_changed_since_published(&self, prefix: Option<&ObservedPrefix>) -> bool {
        let published = self.condition(ConditionType::Published);
        let reported_at = self
            .reported_at()
            .max(prefix.map(|prefix| prefix.changed_at));
        reported_at > self.published.as_ref().map(|published| published.at)
            || self.observed_generation != Some(self.meta.generation)
            || published.is_some_and(|published| published.status == ConditionStatus::False)
    }

    /// The condition of this type, where it is set.
    pub fn condition(&self, type_: ConditionType) -> Option<&CompactCondition> {
        self.conditions.iter().find(|c| c.type_ == type_)
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn has_finalizer(finalizers: Option<&[String]>) -> bool {
    finalizers.is_some_and(|all| all.iter().any(|f| f == HOST_FINALIZER))
}

impl HostSpec {
    fn new(key: &ObjectKey, spec: &DynamicHostSpec) -> Result<Self, Box<str>> {
        let hostname = Fqdn::parse(&spec.hostname).map_err(|e| format!("hostname: {e}"))?;
        let zone_namespace = spec.zone_ref.namespace.as_deref();
        let secret = match &spec.auth.secret_name {
            Some(name) => name.clone(),
            None => format!("{}-update-key", key.name),
        };
        Ok(Self {
            zone: ObjectKey {
                namespace: zone_namespace.map_or_else(|| key.namespace.clone(), Arc::from),
                name: spec.zone_ref.name.as_str().into(),
            },
            ttl: spec.ttl,
            ipv4: spec.families.contains(&IpFamily::IPv4),
            ipv6: spec.families.contains(&IpFamily::IPv6),
            secret: ObjectKey {
                namespace: key.namespace.clone(),
                name: secret.into(),
            },
            allow_private: spec.address.allow_private,
            address_from: spec.address.from,
            allowed_sources: all(
                &spec.address.allowed_sources,
                "address.allowedSources",
                |text| text.parse::<Cidr>(),
            )?,
            token_in_url: spec.auth.token_in_url == TokenInUrl::Allow,
            allow_clear: spec.auth.allow_clear,
            public_keys: all(&spec.auth.public_keys, "auth.publicKeys", PublicKey::parse)?,
            sha1_user: spec
                .auth
                .sha1_script
                .as_ref()
                .map(|script| script.user.as_str().into()),
            from_prefix: spec
                .ipv6
                .as_ref()
                .map(|ipv6| FromPrefix::new(key, ipv6).map(Box::new))
                .transpose()?,
            aliases: aliases(&hostname, &spec.aliases)?,
            stale_after: spec.stale_after,
            when_stale: spec.when_stale,
            deletion_policy: spec.deletion_policy,
            suspend: spec.suspend,
            hostname,
        })
    }
}

impl FromPrefix {
    fn new(key: &ObjectKey, spec: &Ipv6FromPrefix) -> Result<Self, Box<str>> {
        let interface_id = match (&spec.interface_id, &spec.mac_address) {
            (Some(text), None) => {
                InterfaceId::parse(text).map_err(|e| format!("ipv6.interfaceID: {e}"))?
            }
            (None, Some(text)) => {
                InterfaceId::from_mac(text).map_err(|e| format!("ipv6.macAddress: {e}"))?
            }
            _ => return Err("ipv6: exactly one of interfaceID and macAddress must be set".into()),
        };
        let host = spec.prefix_from.as_ref();
        let host = host.map_or_else(|| key.name.clone(), |from| from.name.as_str().into());
        Ok(Self {
            interface_id,
            host: ObjectKey {
                namespace: key.namespace.clone(),
                name: host,
            },
        })
    }
}

fn aliases(hostname: &Fqdn, specs: &[host::Alias]) -> Result<Box<[Alias]>, Box<str>> {
    let mut names = HashSet::from([RecordName::from(hostname.clone())]);
    let alias = |spec: &host::Alias| {
        let alias = to_alias(spec).map_err(|e| format!("aliases: {e}"))?;
        match names.insert(alias.name.clone()) {
            true => Ok(alias),
            false => Err(format!("aliases: {} is there twice", alias.name).into()),
        }
    };
    specs.iter().map(alias).collect()
}

fn to_alias(alias: &host::Alias) -> Result<Alias, NameError> {
    Ok(Alias {
        name: RecordName::parse(&alias.name)?,
        kind: alias.type_,
    })
}

impl HostSpec {
    /// Whether a request from this address is heard at all; `None`: the address is not known.
    pub fn may_call(&self, caller: Option<IpAddr>) -> bool {
        let is_in = |source: &Cidr| caller.is_some_and(|caller| source.contains(caller));
        self.allowed_sources.is_empty() || self.allowed_sources.iter().any(is_in)
    }
}

/// Parses each entry of a list, or says which field is wrong.
fn all<T, E: fmt::Display>(
    texts: &[String],
    field: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Box<[T]>, Box<str>> {
    let parse = |text: &String| parse(text).map_err(|e| format!("{field}: {e}").into());
    texts.iter().map(parse).collect()
}

impl PublishedState {
    /// `hostname` tells the host's own records from its aliases'; without it none are told.
    fn new(published: &Published, hostname: Option<&Fqdn>) -> Self {
        let mut known = Known {
            ttl: published.rrsets.first().map_or(0, |rrset| rrset.ttl),
            ..Known::default()
        };
        let mut aliases: Vec<Alias> = Vec::new();
        for rrset in &published.rrsets {
            let Ok(name) = RecordName::parse(&rrset.name) else {
                continue;
            };
            let value = rrset.values.first();
            match (rrset.rtype.as_str(), hostname.is_some_and(|h| name == *h)) {
                ("A", true) => known.ipv4 = value.and_then(|v| v.parse().ok()),
                ("AAAA", true) => known.ipv6 = value.and_then(|v| v.parse().ok()),
                ("CNAME", false) => aliases.push(Alias {
                    name,
                    kind: AliasType::Cname,
                }),
                ("A" | "AAAA", false) if aliases.last().is_none_or(|a| a.name != name) => {
                    aliases.push(Alias {
                        name,
                        kind: AliasType::Address,
                    });
                }
                _ => {}
            }
        }
        known.aliases = aliases.into();
        Self {
            known,
            marker: published
                .marker
                .as_deref()
                .and_then(|m| Marker::parse(m).ok()),
            at: published.at,
        }
    }

    /// The status field, for a host of this name.
    pub fn to_status(&self, hostname: &Fqdn) -> Published {
        let Known {
            ttl,
            ipv4,
            ipv6,
            aliases,
        } = &self.known;
        let rrset = |name: &str, rtype: &str, value: String| host::PublishedRrset {
            name: name.to_owned(),
            rtype: rtype.to_owned(),
            ttl: *ttl,
            values: vec![value],
        };
        let addresses = |name: &str| {
            let ipv4 = ipv4.map(|a| rrset(name, "A", a.to_string()));
            let ipv6 = ipv6.map(|a| rrset(name, "AAAA", a.to_string()));
            ipv4.into_iter().chain(ipv6).collect::<Vec<_>>()
        };
        let mut rrsets = addresses(hostname.as_str());
        for alias in aliases {
            let name = alias.name.as_str();
            match alias.kind {
                AliasType::Address => rrsets.extend(addresses(name)),
                AliasType::Cname => rrsets.push(rrset(name, "CNAME", hostname.to_string())),
            }
        }
        Published {
            rrsets,
            marker: self.marker.as_ref().map(ToString::to_string),
            at: self.at,
        }
    }
}

impl CompactCondition {
    /// Those of our types and reasons.
    pub fn all(conditions: &[Condition]) -> Vec<Self> {
        conditions.iter().filter_map(Self::new).collect()
    }

    /// `None` for a type or reason of another version.
    pub fn new(condition: &Condition) -> Option<Self> {
        let type_ = [
            ConditionType::Accepted,
            ConditionType::KeyReady,
            ConditionType::Published,
            ConditionType::DeletionPaused,
            ConditionType::Fresh,
            ConditionType::Ready,
        ]
        .into_iter()
        .find(|t| t.as_str() == condition.type_)?;
        let reason = Reason::ALL
            .iter()
            .copied()
            .find(|r| r.as_str() == condition.reason)?;
        let message = condition.message.as_str();
        Some(Self {
            type_,
            status: condition.status,
            reason,
            message: (message != reason.sentence()).then(|| message.into()),
            generation: condition.observed_generation.unwrap_or_default(),
            since: condition.last_transition_time,
        })
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or(self.reason.sentence())
    }

    /// The status field.
    pub fn to_status(&self) -> Condition {
        Condition {
            type_: self.type_.as_str().to_owned(),
            status: self.status,
            reason: self.reason.as_str().to_owned(),
            message: self.message().to_owned(),
            observed_generation: Some(self.generation),
            last_transition_time: self.since,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_came_after_status_last_told_of_dns_may_be_in_dns() {
        fn check(published: Option<u32>, ipv4: Option<u32>, ipv6: Option<u32>, expected: bool) {
            let time = |second: Option<u32>| second.map(|s| format!("2026-01-01T00:00:{s:02}Z"));
            let report = |address: &str, second| {
                let report =
                    |at| json!({"address": address, "changedAt": at, "protocol": "dyndns2"});
                time(second).map_or(Value::Null, report)
            };
            let host = host(json!({
                "observedGeneration": 3,
                "observed": {
                    "ipv4": report("198.51.100.7", ipv4), "ipv6": report("2001:db8::7", ipv6),
                },
                "published": time(published).map(|at| json!({"at": at})),
            }));
            let changed = host.has_changed_since_published(None);
            assert_eq!(changed, expected, "{published:?} {ipv4:?} {ipv6:?}");
        }
        check(None, None, None, false);
        check(None, Some(1), None, true);
        check(Some(2), None, None, false);
        check(Some(2), Some(1), Some(2), false);
        check(Some(2), Some(3), None, true);
        check(Some(2), Some(1), Some(3), true);

        let older_spec =
            json!({"observedGeneration": 2, "published": {"at": "2026-01-01T00:00:00Z"}});
        assert!(host(older_spec).has_changed_since_published(None));

        for (status, expected) in [("True", false), ("False", true)] {
            let failed = json!({
                "observedGeneration": 3,
                "published": {"at": "2026-01-01T00:00:00Z"},
                "conditions": [{
                    "type": "Published", "status": status, "reason": "ProviderUnavailable",
                    "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            });
            let changed = host(failed).has_changed_since_published(None);
            assert_eq!(changed, expected, "Published is {status}");
        }
    }

    /// A host of generation 3 with this status.
    fn host(status: Value) -> Host {
        let object = json!({
            "metadata": {"name": "home", "namespace": "family", "uid": "h", "resourceVersion": "1",
                         "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
            "status": status,
        });
        Host::from_object(&serde_json::from_value(object).unwrap()).unwrap()
    }
}
