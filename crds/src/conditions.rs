//! Conditions and their reasons: part of the API.
//!
//! Every reason stands here with one sentence; [`crate::reference`] makes a page of them.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// One condition of a resource, in the shape that Kubernetes' API conventions fix.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,

    pub status: ConditionStatus,

    /// Why, in one word for programs.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,

    /// Why, in a sentence for people.
    #[schemars(length(max = 1024))]
    pub message: String,

    /// The generation of the spec that the condition is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When `status` last changed.
    #[schemars(with = "String", extend("format" = "date-time"), length(max = 40))]
    pub last_transition_time: Timestamp,
}

/// Whether a condition holds.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// The types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// The spec is valid, and for a host: the zone admits it.
    Accepted,
    /// The update key can be used.
    KeyReady,
    /// DNS says what it should.
    Published,
    /// Of a zone, and there only while it is True: too many names would go at once.
    DeletionPaused,
    /// A client has called within `staleAfter`; only where that is set.
    Fresh,
    /// The summary: what `kubectl wait` and GitOps health look at.
    Ready,
}

impl ConditionType {
    /// The `type` of the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::KeyReady => "KeyReady",
            Self::Published => "Published",
            Self::DeletionPaused => "DeletionPaused",
            Self::Fresh => "Fresh",
            Self::Ready => "Ready",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $sentence:literal])+ $name:ident),+ $(,)?) => {
        /// Why a condition is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason { $($(#[doc = $sentence])+ $name),+ }

        impl Reason {
            /// Every reason, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The `reason` of the condition.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// What it means, in one sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => concat!($($sentence),+).trim_ascii()),+ }
            }
        }
    };
}

reasons! {
    /// The spec is valid, and the zone admits the host.
    Accepted,
    /// The DynamicZone that the host names does not exist.
    ZoneNotFound,
    /// The zone's `allowedHosts` does not admit hosts of this namespace, or not with this name or alias.
    NotAllowedByZone,
    /// The host's name, or one of its aliases, does not lie below the zone's domain.
    OutsideZone,
    /// An older host of the same zone has claimed the name, or one of the aliases.
    NameConflict,
    /// The namespace has as many older hosts as the zone's `allowedHosts.maxPerNamespace` lets it have.
    QuotaExceeded,
    /// The spec breaks a rule of its schema (it was stored while the schema was looser), or the Secret's `token` is missing or has fewer than 12 octets; the message says which.
    Invalid,
    /// The update key was generated.
    Generated,
    /// The update key was supplied by the user.
    Supplied,
    /// The Secret of the update key is missing and could not be generated.
    SecretNotFound,
    /// The Secret is not of type `dynhost.dev/update-key`.
    WrongType,
    /// An older Secret holds the same token; that one counts.
    TokenNotUnique,
    /// DNS says what clients reported.
    Published,
    /// No client has reported an address yet; DNS is left as it is.
    AwaitingFirstUpdate,
    /// The host is suspended; DNS is left as it is.
    Suspended,
    /// No name server of the zone answers; it is tried again.
    ProviderUnavailable,
    /// The name server refused the change; a person must change something.
    ProviderRefused,
    /// The name server does not take the zone's credentials, or they are missing.
    CredentialsRejected,
    /// Somebody else's records are at the name, or at one of its aliases; they are left as they are.
    ForeignRecord,
    /// The prefix that was reported and the host's interface ID make no address.
    PrefixMismatch,
    /// Too many names of the zone would lose their records at once; nothing is removed before the zone's administrator approves it.
    DeletionPaused,
    /// A client has called within `staleAfter`.
    Fresh,
    /// No client has called for longer than `staleAfter`; with `whenStale: Remove` the records are removed until one does.
    Stale,
    /// Everything that is known is published.
    Ready,
}

impl Reason {
    /// The status of a condition that carries this reason.
    pub fn status(self) -> ConditionStatus {
        match self {
            Self::Accepted
            | Self::Generated
            | Self::Supplied
            | Self::Published
            | Self::Fresh
            | Self::Ready => ConditionStatus::True,
            Self::AwaitingFirstUpdate | Self::Suspended => ConditionStatus::Unknown,
            _ => ConditionStatus::False,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_sentence_of_its_own() {
        let sentences: std::collections::HashSet<_> =
            Reason::ALL.iter().map(|r| r.sentence()).collect();
        assert_eq!(sentences.len(), Reason::ALL.len());
        assert!(
            sentences
                .iter()
                .all(|s| s.ends_with('.') || s.contains(';'))
        );
    }
}
