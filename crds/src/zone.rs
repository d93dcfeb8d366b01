//! `DynamicZone`: where names may live, and how they are written.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::conditions::Condition;

/// A DNS zone in which DynamicHosts may have names, and the name server that holds it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "dynhost.dev",
    version = "v1alpha1",
    kind = "DynamicZone",
    namespaced,
    shortname = "dz",
    category = "dynhost",
    status = "DynamicZoneStatus",
    derive = "PartialEq",
    doc = "A DNS zone in which DynamicHosts may have names, and the name server that holds it.",
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.domain"),
    printcolumn(name = "Hosts", type_ = "integer", json_path = ".status.hosts"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = Rule::new("[has(self.rfc2136)].exists_one(x, x)").message("exactly one provider must be set: rfc2136"))]
#[x_kube(validation = Rule::new("!has(self.allowedHosts) || !has(self.allowedHosts.names) || self.allowedHosts.names.all(n, n.lowerAscii().endsWith('.' + self.domain.lowerAscii()))").message("allowedHosts.names lie below the domain"))]
#[serde(rename_all = "camelCase")]
pub struct DynamicZoneSpec {
    /// The zone's apex without trailing dot, for example `dyn.example.org`. Immutable.
    #[schemars(length(min = 1, max = 243), pattern(r"^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("domain is immutable"))]
    pub domain: String,

    /// TTL in seconds of the records of hosts that set none themselves.
    #[serde(default = "default_ttl")]
    #[schemars(range(min = 1, max = 86400), extend("format" = "int32"))]
    pub ttl: u32,

    /// Write by DNS UPDATE (RFC 2136) over TCP, signed with TSIG (RFC 8945).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rfc2136: Option<Rfc2136>,

    /// Which hosts may have a name in this zone. Default: those of the zone's own namespace.
    #[serde(default)]
    pub allowed_hosts: AllowedHosts,

    /// How records in DNS are known to be dynhost's.
    #[serde(default)]
    pub ownership: Ownership,
}

fn default_ttl() -> u32 {
    60
}

/// A primary server that takes DNS UPDATE messages.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rfc2136 {
    /// Names or addresses of the zone's primary, with or without `:port` (default 53; an IPv6
    /// address with a port is bracketed). Tried in order.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 262), pattern(r"^(\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*|[A-Za-z0-9]([-A-Za-z0-9.]{0,252})(:[0-9]{1,5})?)$")))]
    #[x_kube(validation = Rule::new("self.all(s, !s.matches('(^[^:]*|]):[0-9]+$') || (int(s.substring(s.lastIndexOf(':') + 1)) >= 1 && int(s.substring(s.lastIndexOf(':') + 1)) <= 65535))").message("a server's port is a number from 1 to 65535"))]
    pub servers: Vec<String>,

    /// The key that signs every message.
    pub tsig: Tsig,
}

/// A TSIG key (RFC 8945).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tsig {
    /// The key's name as the name server knows it.
    #[schemars(length(min = 1, max = 254), pattern(r"^[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?)*\.?$"))]
    pub key_name: String,

    /// The key's algorithm.
    #[serde(default)]
    pub algorithm: TsigAlgorithm,

    /// The Secret, in the zone's namespace, that holds the key's secret as base64 text, the way
    /// BIND's `tsig-keygen` prints it.
    pub secret_ref: SecretKeyRef,
}

/// The TSIG algorithms that dynhost signs with.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum TsigAlgorithm {
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha384")]
    HmacSha384,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
    #[serde(rename = "hmac-sha1")]
    HmacSha1,
}

/// One key of a Secret in the namespace of the object that refers to it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,

    /// The key in the Secret's data.
    #[serde(default = "default_secret_key")]
    #[schemars(length(min = 1, max = 253), pattern(r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_secret_key() -> String {
    "secret".to_owned()
}

/// The zone's consent to hosts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AllowedHosts {
    /// From which namespaces.
    #[serde(default)]
    pub namespaces: AllowedNamespaces,

    /// Which names hosts of other namespaces than the zone's own may have: a name, or `*.` and a
    /// name for every name below that one. The label `{namespace}` stands for the host's
    /// namespace: with `*.{namespace}.dyn.example.org` each has the names below its own. Default:
    /// every name below the domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 3, max = 253), pattern(r"^(\*\.)?([A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?|\{namespace\})(\.([A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?|\{namespace\}))*$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,

    /// How many hosts of one namespace the zone admits, its own namespace's included: the oldest.
    /// Every host that names the zone counts. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000), extend("format" = "int32"))]
    pub max_per_namespace: Option<u32>,
}

/// Namespaces whose hosts a zone admits.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector goes with from: Selector, and only with it"))]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// `Same`: the zone's own namespace. `Selector`: those whose labels match `selector`. `All`.
    #[serde(default)]
    pub from: NamespacesFrom,

    /// Labels of the namespaces admitted with `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Where hosts may come from.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum NamespacesFrom {
    #[default]
    Same,
    Selector,
    All,
}

/// A label selector; all requirements must hold, and an empty selector matches every namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that must be there with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), schema_with = "label_map")]
    #[x_kube(validation = Rule::new("self.all(key, size(key) <= 317)").message("a label's key has at most 317 characters"))]
    pub match_labels: BTreeMap<String, String>,

    /// Requirements on single labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelRequirement>,
}

fn label_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// A requirement on one label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)").message("values go with the operators In and NotIn, and only with them"))]
#[serde(rename_all = "camelCase")]
pub struct LabelRequirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,

    /// How the label's value relates to `values`.
    pub operator: LabelOperator,

    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// The operators of a label requirement.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// How records in DNS are known to be dynhost's.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Ownership {
    /// `Marker`: a TXT record beside the records of each name says whose they are. `Values`: the
    /// former records are the proof, and no further record is written. `None`: nothing is proved,
    /// for servers that do not take prerequisites.
    #[serde(default)]
    pub mode: OwnershipMode,

    /// The owner written into every marker. Default: the zone's UID. Set it, so that a cluster
    /// rebuilt from manifests still knows its records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        pattern(r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$")
    )]
    pub id: Option<String>,
}

/// How a zone's records are known to be dynhost's.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum OwnershipMode {
    #[default]
    Marker,
    Values,
    None,
}

/// What the controller says of a zone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DynamicZoneStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How many hosts the zone admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32"))]
    pub hosts: Option<u32>,

    /// Accepted and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
