//! A DynamicZone in compact form.

use std::collections::BTreeMap;

use dynhost_crds::zone::{
    AllowedNamespaces, DynamicZone, LabelOperator, NamespaceSelector, NamespacesFrom,
    OwnershipMode, Rfc2136,
};
use dynhost_crds::{ADOPT_ANNOTATION, APPROVE_DELETIONS_ANNOTATION, ZONE_FINALIZER};
use jiff::Timestamp;

use super::host::CompactCondition;
use super::object::Meta;
use super::stored::Stored;
use crate::name::{Fqdn, RecordName};
use crate::name_pattern::NamePattern;
use crate::provider::rfc2136::server::Server;
use crate::record::marker::OwnerId;

/// The labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// A DynamicZone as the watch last told it.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    pub meta: Meta,
    /// Whether our finalizer is on the object.
    pub finalizer: bool,
    /// The parsed spec, or why it cannot be used.
    pub spec: Result<ZoneSpec, Box<str>>,
    /// The name that the administrator lets dynhost take over.
    pub adopt: Option<RecordName>,
    /// When the administrator has approved that many names go.
    pub approved_deletions: Option<Timestamp>,
    pub hosts: Option<u32>,
    pub observed_generation: Option<i64>,
    pub conditions: Vec<CompactCondition>,
}

/// The parsed spec of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneSpec {
    pub apex: Fqdn,
    pub ttl: u32,
    pub rfc2136: Rfc2136,
    pub allowed_namespaces: AllowedNamespaces,
    /// The names of hosts of other namespaces; empty: every name below the apex.
    pub allowed_names: Box<[NamePattern]>,
    /// How many hosts of one namespace are admitted.
    pub max_per_namespace: Option<u32>,
    pub owner: OwnerId,
    pub ownership: OwnershipMode,
}

impl Zone {
    /// From a watch event; `None` for metadata that no API server sends.
    pub fn new(object: &Stored<DynamicZone>) -> Option<Self> {
        match &object.0 {
            Ok(zone) => Self::from_object(zone),
            Err(misfit) => Some(Self {
                finalizer: has_finalizer(misfit.metadata.finalizers.as_deref()),
                meta: Meta::new(&misfit.metadata)?,
                spec: Err(misfit.error.as_str().into()),
                adopt: None,
                approved_deletions: None,
                hosts: misfit.status("hosts"),
                observed_generation: misfit.status("observedGeneration"),
                conditions: CompactCondition::all(
                    &misfit.status::<Vec<_>>("conditions").unwrap_or_default(),
                ),
            }),
        }
    }

    /// From an object that fits the types.
    pub fn from_object(zone: &DynamicZone) -> Option<Self> {
        let meta = Meta::new(&zone.metadata)?;
        let annotations = zone.metadata.annotations.as_ref();
        let annotation = |key| annotations.and_then(|a| a.get(key));
        let adopt = annotation(ADOPT_ANNOTATION);
        let approved_deletions = annotation(APPROVE_DELETIONS_ANNOTATION);
        let status = zone.status.clone().unwrap_or_default();
        Some(Self {
            finalizer: has_finalizer(zone.metadata.finalizers.as_deref()),
            spec: ZoneSpec::new(&meta, zone),
            adopt: adopt.and_then(|name| RecordName::parse(name).ok()),
            approved_deletions: approved_deletions.and_then(|time| time.parse().ok()),
            hosts: status.hosts,
            observed_generation: status.observed_generation,
            conditions: CompactCondition::all(&status.conditions),
            meta,
        })
    }
}

fn has_finalizer(finalizers: Option<&[String]>) -> bool {
    finalizers.is_some_and(|all| all.iter().any(|f| f == ZONE_FINALIZER))
}

impl ZoneSpec {
    fn new(meta: &Meta, zone: &DynamicZone) -> Result<Self, Box<str>> {
        let spec = &zone.spec;
        let owner = spec.ownership.id.as_deref().unwrap_or(&meta.uid);
        let rfc2136 = spec.rfc2136.clone();
        let rfc2136 = rfc2136.ok_or("exactly one provider must be set")?;
        for server in &rfc2136.servers {
            let invalid = |error| format!("rfc2136.servers: {server:?}: {error}");
            server.parse::<Server>().map_err(invalid)?;
        }
        let apex = Fqdn::parse(&spec.domain).map_err(|e| format!("domain: {e}"))?;
        let names = spec.allowed_hosts.names.iter().map(|text| {
            let invalid = |error| format!("allowedHosts.names: {text:?}: {error}");
            NamePattern::parse(text, &apex).map_err(invalid)
        });
        Ok(Self {
            allowed_names: names.collect::<Result<_, _>>()?,
            max_per_namespace: spec.allowed_hosts.max_per_namespace,
            apex,
            ttl: spec.ttl,
            rfc2136,
            allowed_namespaces: spec.allowed_hosts.namespaces.clone(),
            owner: owner
                .parse::<OwnerId>()
                .map_err(|e| format!("ownership.id: {e}"))?,
            ownership: spec.ownership.mode,
        })
    }
}

/// Whether a zone in `zone_namespace` with this consent admits hosts of `namespace`.
///
/// `labels` are that namespace's labels; `None` means that they are not known yet, and with
/// `from: Selector` the answer is then `None` too.
pub fn admits(
    consent: &AllowedNamespaces,
    zone_namespace: &str,
    namespace: &str,
    labels: Option<&Labels>,
) -> Option<bool> {
    match consent.from {
        NamespacesFrom::Same => Some(zone_namespace == namespace),
        NamespacesFrom::All => Some(true),
        NamespacesFrom::Selector => {
            let selector = consent.selector.as_ref();
            labels.map(|labels| selector.is_some_and(|s| selects(s, labels)))
        }
    }
}

/// Kubernetes' label selector semantics: NotIn and DoesNotExist also match where the key is missing.
fn selects(selector: &NamespaceSelector, labels: &Labels) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed = value.is_some_and(|v| requirement.values.contains(v));
            match requirement.operator {
                LabelOperator::In => listed,
                LabelOperator::NotIn => !listed,
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_that_breaks_a_rule_is_kept_with_what_is_wrong() {
        fn check(change: &str, value: serde_json::Value, expected: Result<(), &str>) {
            let mut zone = serde_json::json!({
                "metadata": {"name": "dyn", "namespace": "dns", "uid": "u", "resourceVersion": "1",
                             "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"domain": "dyn.example.org", "ownership": {}, "allowedHosts": {}, "rfc2136": {
                    "servers": ["ns1"], "tsig": {"keyName": "k", "secretRef": {"name": "s"}}}},
            });
            *zone["spec"].pointer_mut(change).unwrap() = value;
            let zone = Zone::from_object(&serde_json::from_value(zone).unwrap()).unwrap();
            let spec = zone
                .spec
                .as_ref()
                .map(|_| ())
                .map_err(|why| why.to_string());
            match (spec, expected) {
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
                (spec, expected) => assert_eq!(spec.is_ok(), expected.is_ok(), "{change}"),
            }
        }
        check("/domain", "DYN.example.org".into(), Ok(()));
        check(
            "/domain",
            "dyn_.example.org".into(),
            Err("domain: a label has"),
        );
        check(
            "/rfc2136",
            serde_json::Value::Null,
            Err("exactly one provider"),
        );
        check("/rfc2136/servers/0", "::1".into(), Ok(()));
        check(
            "/rfc2136/servers/0",
            ":::".into(),
            Err("rfc2136.servers: \":::\": a server is"),
        );
        check(
            "/rfc2136/servers/0",
            "ns1:65536".into(),
            Err("rfc2136.servers: \"ns1:65536\""),
        );
        check(
            "/ownership",
            serde_json::json!({"id": "a b"}),
            Err("ownership.id: "),
        );
        let names = |pattern: &str| serde_json::json!({"names": ["*.dyn.example.org", pattern]});
        check(
            "/allowedHosts",
            names("{namespace}.dyn.example.org"),
            Ok(()),
        );
        check(
            "/allowedHosts",
            names("x{namespace}.dyn.example.org"),
            Err("allowedHosts.names: \"x{namespace}.dyn.example.org\": a label has"),
        );
        check(
            "/allowedHosts",
            names("*.example.org"),
            Err("allowedHosts.names: \"*.example.org\": it does not lie below the domain"),
        );
    }

    #[test]
    fn consent_is_the_zones_own_namespace_a_selector_or_all() {
        fn check(consent: serde_json::Value, namespace: &str, expected: Option<bool>) {
            let consent: AllowedNamespaces = serde_json::from_value(consent).unwrap();
            let labels = match namespace {
                "unseen" => None,
                "bare" => Some(Labels::new()),
                _ => Some(Labels::from([("team".to_owned(), "red".to_owned())])),
            };
            let answer = admits(&consent, "dns", namespace, labels.as_ref());
            assert_eq!(answer, expected, "{consent:?} {namespace}");
        }
        let selector =
            |s: serde_json::Value| serde_json::json!({"from": "Selector", "selector": s});
        let expression = |operator: &str, values: &[&str]| {
            selector(serde_json::json!({"matchExpressions":
                [{"key": "team", "operator": operator, "values": values}]}))
        };
        check(serde_json::json!({}), "dns", Some(true));
        check(serde_json::json!({}), "red", Some(false));
        check(serde_json::json!({"from": "All"}), "unseen", Some(true));
        check(selector(serde_json::json!({})), "bare", Some(true));
        let red = serde_json::json!({"matchLabels": {"team": "red"}});
        check(selector(red.clone()), "red", Some(true));
        check(selector(red.clone()), "bare", Some(false));
        check(selector(red), "unseen", None);
        check(expression("In", &["red", "blue"]), "red", Some(true));
        check(expression("In", &["blue"]), "red", Some(false));
        check(expression("NotIn", &["red"]), "red", Some(false));
        check(expression("NotIn", &["red"]), "bare", Some(true));
        check(expression("Exists", &[]), "bare", Some(false));
        check(expression("DoesNotExist", &[]), "bare", Some(true));
    }
}
