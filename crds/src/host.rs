//! `DynamicHost`: one name and who may update it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::conditions::Condition;
use crate::stale_after::StaleAfter;

/// A name whose addresses are reported by a client and published in DNS.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "dynhost.dev",
    version = "v1alpha1",
    kind = "DynamicHost",
    namespaced,
    shortname = "dh",
    category = "dynhost",
    status = "DynamicHostStatus",
    derive = "PartialEq",
    doc = "A name whose addresses are reported by a client and published in DNS.",
    printcolumn(name = "Hostname", type_ = "string", json_path = ".spec.hostname"),
    printcolumn(
        name = "IPv4",
        type_ = "string",
        json_path = ".status.observed.ipv4.address"
    ),
    printcolumn(
        name = "IPv6",
        type_ = "string",
        json_path = ".status.observed.ipv6.address"
    ),
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
        name = "Last Seen",
        type_ = "date",
        json_path = ".status.observed.lastSeen"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = Rule::new("!has(self.aliases) || self.aliases.all(a, a.name != self.hostname)").message("an alias is another name than hostname"))]
#[x_kube(validation = Rule::new("self.whenStale != 'Remove' || has(self.staleAfter)").message("whenStale: Remove needs staleAfter"))]
#[serde(rename_all = "camelCase")]
pub struct DynamicHostSpec {
    /// The host's fully qualified name without trailing dot, below the zone's domain. Immutable.
    #[schemars(length(min = 3, max = 244), pattern(r"^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("hostname is immutable"))]
    pub hostname: String,

    /// The DynamicZone in which the name lives. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("zoneRef is immutable"))]
    pub zone_ref: ZoneRef,

    /// TTL of the host's records in seconds. Default: the zone's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400), extend("format" = "int32"))]
    pub ttl: Option<u32>,

    /// Which address families are published. Default: both.
    #[serde(default = "default_families")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub families: Vec<IpFamily>,

    /// Who may update the host.
    #[serde(default)]
    pub auth: Auth,

    /// Which addresses are published.
    #[serde(default)]
    pub address: AddressPolicy,

    /// How the host's IPv6 address is made from a prefix; default: the address that clients report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6FromPrefix>,

    /// Further names of the host, at or below its own unless the zone admits others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub aliases: Vec<Alias>,

    /// How long a host may be without a report before it is stale, such as `36h` or `1h30m`: from
    /// `1m` to `8760h`. Take more than the time between two reports of its client. Default: it is
    /// never stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('8760h')").message("staleAfter is from 1m to 8760h"))]
    pub stale_after: Option<StaleAfter>,

    /// What becomes of the records of a stale host.
    #[serde(default)]
    pub when_stale: WhenStale,

    /// What becomes of the records when the host is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// While true, updates are answered `abuse` and DNS is left as it is.
    #[serde(default)]
    pub suspend: bool,
}

fn default_families() -> Vec<IpFamily> {
    vec![IpFamily::IPv4, IpFamily::IPv6]
}

/// A reference to a DynamicZone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ZoneRef {
    /// The DynamicZone's name.
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,

    /// The DynamicZone's namespace. Default: the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

/// An address family.
#[derive(
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
)]
pub enum IpFamily {
    IPv4,
    IPv6,
}

/// Who may update a host.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// The Secret, in the host's namespace, that holds the update key. It is generated where it is
    /// missing. Hosts may share one. Default: the host's name with `-update-key` behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub secret_name: Option<String>,

    /// Whether the update key may stand in the URL, where proxies write it to their logs. With
    /// `Deny` such a request is answered as with a wrong key; a form body is always allowed.
    #[serde(default, rename = "tokenInURL")]
    pub token_in_url: TokenInUrl,

    /// Clients may withdraw addresses (`clear=true`, `offline=YES`, `/nic/delete`).
    #[serde(default)]
    pub allow_clear: bool,

    /// Ed25519 public keys that signed updates are verified with: the 32 octets of each in base64
    /// (RFC 4648 section 4). Several overlap while clients are being changed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(equal = 44), pattern(r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub public_keys: Vec<String>,

    /// Take the SHA-1-signed requests of the script of 2012 (`/ip.php`). The Secret holds what it
    /// signs with as `sha1Secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1_script: Option<Sha1Script>,
}

/// Whether the update key may stand in the path or the query of a URL.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum TokenInUrl {
    /// It may.
    #[default]
    Allow,
    /// It may not.
    Deny,
}

/// The account of the script of 2012.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Sha1Script {
    /// The user name that its requests carry.
    #[schemars(length(min = 1, max = 64))]
    pub user: String,
}

/// Which addresses are published.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AddressPolicy {
    /// Where addresses are taken from.
    #[serde(default)]
    pub from: AddressFrom,

    /// Who may call: requests from elsewhere are answered as with a wrong key. CIDRs or single
    /// addresses; default: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 2, max = 49)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(source, isCIDR(source) || isIP(source))")
            .message("allowedSources are CIDRs or IP addresses")
    )]
    pub allowed_sources: Vec<String>,

    /// Publish private (RFC 1918), shared (RFC 6598), unique local (RFC 4193), link-local and
    /// loopback addresses too.
    #[serde(default)]
    pub allow_private: bool,
}

/// Where a host's addresses are taken from.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum AddressFrom {
    /// What the client declares; where it declares nothing, the address it calls from.
    #[default]
    Any,
    /// Only what the client declares.
    Request,
    /// Only the address that the client calls from.
    Connection,
}

/// An IPv6 address made from a prefix that a client reported and the interface's own part.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("has(self.interfaceID) != has(self.macAddress)").message("exactly one of interfaceID and macAddress must be set"))]
#[serde(rename_all = "camelCase")]
pub struct Ipv6FromPrefix {
    /// The part of the address behind the prefix, written as an IPv6 address: `::1234`, or with a
    /// subnet of a shorter prefix in front, `0:0:0:5::1234`.
    #[serde(
        default,
        rename = "interfaceID",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 3, max = 45))]
    #[x_kube(validation = Rule::new("isIP(self) && cidr('::/48').containsIP(self) && self.matches('[1-9A-Fa-f]')").message("interfaceID is the end of an IPv6 address, such as ::1234: its first 48 bits are zero, not all are"))]
    pub interface_id: Option<String>,

    /// The interface's MAC address, from which the interface ID follows (modified EUI-64, RFC 4291
    /// appendix A).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(equal = 17),
        pattern(r"^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$")
    )]
    pub mac_address: Option<String>,

    /// The DynamicHost, in this host's namespace, whose client reports the prefix. Default: this
    /// host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_from: Option<PrefixFrom>,
}

/// The host that reports a prefix.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PrefixFrom {
    /// The DynamicHost's name.
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// The most aliases that may be about to be written.
pub const MAX_PENDING_ALIASES: usize = 64;

/// A further name of a host.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// Fully qualified, without trailing dot; an asterisk may be the leftmost label.
    #[schemars(length(min = 3, max = 244), pattern(r"^(\*|[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)+$"))]
    pub name: String,

    /// What stands at the name.
    #[serde(default, rename = "type")]
    pub type_: AliasType,
}

/// What stands at an alias.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash,
)]
pub enum AliasType {
    /// The host's addresses.
    #[default]
    Address,
    /// A CNAME to the host's name.
    #[serde(rename = "CNAME")]
    Cname,
}

/// What becomes of a stale host's records.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum WhenStale {
    /// They stay.
    #[default]
    Keep,
    /// They are removed, and come back with the next report.
    Remove,
}

/// What becomes of a host's records when it is deleted.
#[derive(
    Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum DeletionPolicy {
    /// They are removed.
    #[default]
    Delete,
    /// They stay, with their marker.
    Retain,
}

/// What clients reported, what is in DNS, and what the controller says of the host.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DynamicHostStatus {
    /// The generation of the spec that the conditions are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What clients reported, by family; written by the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,

    /// What the controller last wrote to DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,

    /// Aliases that are about to be written for the first time: they may be in DNS already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pending_aliases: Vec<Alias>,

    /// Accepted, KeyReady, Published, Fresh (where `staleAfter` is set) and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

/// What clients reported, by family.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<ObservedIpv4>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<ObservedIpv6>,

    /// The IPv6 prefix behind the client, for the machines there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_prefix: Option<ObservedPrefix>,

    /// The time in the newest accepted signed request, in whole seconds: each must be newer than
    /// the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"), length(max = 40))]
    pub signed_at: Option<Timestamp>,

    /// When a client last reported or confirmed addresses, in whole seconds. Confirmations are
    /// noted at most once in a quarter of `staleAfter`, or in 6 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"), length(max = 40))]
    pub last_seen: Option<Timestamp>,
}

/// An IPv4 address that a client reported.
pub type ObservedIpv4 = Observation<Ipv4Addr>;

/// An IPv6 address that a client reported.
pub type ObservedIpv6 = Observation<Ipv6Addr>;

/// An address that a client reported.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Observation<A> {
    /// `None`: a client withdrew it, and DNS shall have none.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub address: Option<A>,

    /// When the address was last written, in microseconds: it tells apart two equal addresses
    /// reported one after the other.
    pub changed_at: Timestamp,

    /// The protocol of the request that brought it.
    pub protocol: String,

    /// The client's own name for itself: at most 64 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

fn none<A>() -> Option<A> {
    None
}

impl<A> schemars::JsonSchema for Observation<A> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Observation".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "required": ["changedAt", "protocol"],
            "properties": {
                "address": {
                    "type": "string", "maxLength": 45,
                    "description": "The address; missing where a client withdrew it.",
                },
                "changedAt": {
                    "type": "string", "format": "date-time", "maxLength": 40,
                    "description": "When the address was last written.",
                },
                "protocol": {
                    "type": "string", "maxLength": 32,
                    "description": "The protocol of the request that brought it.",
                },
                "client": {
                    "type": "string", "maxLength": 64,
                    "description": "The client's own name for itself.",
                },
            },
        })
    }
}

/// An IPv6 prefix that a client reported.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ObservedPrefix {
    /// The prefix, such as `2001:db8:1:2::/64`; missing where a client withdrew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 43))]
    pub prefix: Option<Ipv6Net>,

    /// When the prefix was last written, in microseconds.
    #[schemars(with = "String", extend("format" = "date-time"), length(max = 40))]
    pub changed_at: Timestamp,

    /// The protocol of the request that brought it.
    #[schemars(length(max = 32))]
    pub protocol: String,

    /// The client's own name for itself: at most 64 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub client: Option<String>,
}

/// What the controller last wrote to DNS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The RRsets of the host's name and its aliases.
    #[schemars(length(max = 40))]
    #[serde(default)]
    pub rrsets: Vec<PublishedRrset>,

    /// The text of the ownership marker; none where the zone's records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub marker: Option<String>,

    /// When it was written.
    #[schemars(with = "String", extend("format" = "date-time"), length(max = 40))]
    pub at: Timestamp,
}

/// One RRset in DNS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PublishedRrset {
    /// The RRset's owner name, without trailing dot.
    #[schemars(length(max = 253))]
    pub name: String,

    /// `A`, `AAAA` or `CNAME`.
    #[serde(rename = "type")]
    #[schemars(length(max = 16))]
    pub rtype: String,

    /// TTL in seconds.
    #[schemars(extend("format" = "int32"))]
    pub ttl: u32,

    /// The RRset's data, in presentation form.
    #[schemars(length(max = 8), inner(length(max = 255)))]
    pub values: Vec<String>,
}
