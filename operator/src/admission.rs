//! PURE: which host may have which name in which zone.

use dynhost_crds::conditions::Reason;

use crate::index::host::{Host, HostSpec};
use crate::index::object::ObjectKey;
use crate::index::zone::{Labels, Zone, ZoneSpec, admits};

/// A host that its zone admits, with both parsed specs.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    pub host: &'a HostSpec,
    pub zone: &'a ZoneSpec,
}

/// Why a host may not have its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The host's own spec cannot be used.
    Invalid(Box<str>),
    /// There is no such zone, or its spec cannot be used.
    ZoneNotFound,
    /// The zone's consent depends on labels of a namespace that has not been seen yet: ask again.
    NotYetJudged,
    /// The zone does not admit hosts of this namespace.
    NotAllowedByZone,
    /// The name is the apex, or does not lie below it.
    OutsideZone,
    /// This older host has the name.
    NameConflict(ObjectKey),
}

impl Refusal {
    /// The reason of the condition Accepted; `None` while there is no verdict.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::Invalid(_) => Reason::Invalid,
            Self::ZoneNotFound => Reason::ZoneNotFound,
            Self::NotYetJudged => return None,
            Self::NotAllowedByZone => Reason::NotAllowedByZone,
            Self::OutsideZone => Reason::OutsideZone,
            Self::NameConflict(_) => Reason::NameConflict,
        })
    }

    /// Whether the zone has taken the name from the host, so that its records go.
    pub fn loses_name(&self) -> bool {
        matches!(self, Self::NotAllowedByZone | Self::NameConflict(_))
    }

    /// What to tell the person who reads the condition, beyond the reason's own sentence.
    ///
    /// A tenant learns that a name is taken, not by whom in another namespace.
    pub fn message(&self, host: &ObjectKey) -> Option<String> {
        match self {
            Self::Invalid(why) => Some(format!("spec: {why}")),
            Self::NameConflict(winner) if winner.namespace == host.namespace => Some(format!(
                "the older DynamicHost {} has claimed the name",
                winner.name
            )),
            _ => None,
        }
    }
}

/// Judges a host without looking at other hosts' claims.
pub fn admit<'a>(
    host: &'a Host,
    zone: Option<&'a Zone>,
    labels: Option<&Labels>,
) -> Result<Admitted<'a>, Refusal> {
    let spec = host
        .spec
        .as_ref()
        .map_err(|e| Refusal::Invalid(e.clone()))?;
    let zone = zone.ok_or(Refusal::ZoneNotFound)?;
    let zone_spec = zone.spec.as_ref().map_err(|_| Refusal::ZoneNotFound)?;
    match admits(
        &zone_spec.allowed_namespaces,
        &zone.meta.key.namespace,
        &host.meta.key.namespace,
        labels,
    ) {
        None => return Err(Refusal::NotYetJudged),
        Some(false) => return Err(Refusal::NotAllowedByZone),
        Some(true) => {}
    }
    if !spec.hostname.is_below(&zone_spec.apex) {
        return Err(Refusal::OutsideZone);
    }
    Ok(Admitted {
        host: spec,
        zone: zone_spec,
    })
}
