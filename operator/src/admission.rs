//! PURE: which host may have which names in which zone.

use dynhost_crds::conditions::Reason;

use crate::index::host::{Host, HostSpec};
use crate::index::object::ObjectKey;
use crate::index::zone::{Labels, Zone, ZoneSpec, admits};
use crate::name::RecordName;

/// A host that its zone admits, with both parsed specs.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    pub host: &'a HostSpec,
    pub zone: &'a ZoneSpec,
}

/// Why a host may not have its names.
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
    /// The zone admits hosts of this namespace, but none with this name.
    NameNotAllowed,
    /// The name is the apex, or does not lie below it.
    OutsideZone,
    /// So many older hosts of the namespace are in the zone, and no more are admitted.
    QuotaExceeded(u32),
    /// This older host has the name.
    NameConflict(ObjectKey),
    /// The host may have its own name, but not this alias.
    Alias(RecordName, AliasRefusal),
}

/// Why a host may not have an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasRefusal {
    /// It is the apex, or does not lie below it.
    OutsideZone,
    /// It lies neither at nor below the host's own name, and the zone does not admit it elsewhere.
    NotAllowed,
    /// This older host has it.
    Conflict(ObjectKey),
}

impl Refusal {
    /// The reason of the condition Accepted; `None` while there is no verdict.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::Invalid(_) => Reason::Invalid,
            Self::ZoneNotFound => Reason::ZoneNotFound,
            Self::NotYetJudged => return None,
            Self::NotAllowedByZone
            | Self::NameNotAllowed
            | Self::Alias(_, AliasRefusal::NotAllowed) => Reason::NotAllowedByZone,
            Self::OutsideZone | Self::Alias(_, AliasRefusal::OutsideZone) => Reason::OutsideZone,
            Self::QuotaExceeded(_) => Reason::QuotaExceeded,
            Self::NameConflict(_) | Self::Alias(_, AliasRefusal::Conflict(_)) => {
                Reason::NameConflict
            }
        })
    }

    /// What to tell the person who reads the condition, beyond the reason's own sentence.
    ///
    /// A tenant learns that a name is taken, not by whom in another namespace.
    pub fn message(&self, host: &ObjectKey) -> Option<String> {
        let claimed = |winner: &ObjectKey| match winner.namespace == host.namespace {
            true => format!("the older DynamicHost {} has claimed it", winner.name),
            false => "an older DynamicHost of another namespace has claimed it".to_owned(),
        };
        match self {
            Self::Invalid(why) => Some(format!("spec: {why}")),
            Self::NameNotAllowed => Some(
                "hostname: the zone's allowedHosts.names does not admit it to this namespace"
                    .to_owned(),
            ),
            Self::QuotaExceeded(limit) => Some(format!(
                "the zone admits {limit} hosts of a namespace, and so many here are older"
            )),
            Self::NameConflict(winner) => Some(format!("hostname: {}", claimed(winner))),
            Self::Alias(alias, why) => Some(format!(
                "alias {alias}: {}",
                match why {
                    AliasRefusal::OutsideZone => "it does not lie below the zone's domain".into(),
                    AliasRefusal::NotAllowed =>
                        "it lies neither below hostname nor where the zone's allowedHosts.names \
                         gives this namespace names of its own"
                            .into(),
                    AliasRefusal::Conflict(winner) => claimed(winner),
                }
            )),
            Self::ZoneNotFound
            | Self::NotYetJudged
            | Self::NotAllowedByZone
            | Self::OutsideZone => None,
        }
    }

    /// Whether the host has no right to its own name, as the objects say now. False where that is
    /// not known, and where only an alias is in the way.
    pub fn loses_name(&self) -> bool {
        match self {
            Self::NotAllowedByZone
            | Self::NameNotAllowed
            | Self::QuotaExceeded(_)
            | Self::NameConflict(_) => true,
            Self::Invalid(_)
            | Self::ZoneNotFound
            | Self::NotYetJudged
            | Self::OutsideZone
            | Self::Alias(..) => false,
        }
    }
}

/// Judges a host's own name without looking at other hosts.
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
    let namespace = &host.meta.key.namespace;
    let consent = &zone_spec.allowed_namespaces;
    match admits(consent, &zone.meta.key.namespace, namespace, labels) {
        None => return Err(Refusal::NotYetJudged),
        Some(false) => return Err(Refusal::NotAllowedByZone),
        Some(true) => {}
    }
    if !spec.hostname.is_below(&zone_spec.apex) {
        return Err(Refusal::OutsideZone);
    }
    let patterns = &zone_spec.allowed_names;
    let name = spec.hostname.as_str();
    let is_guest = *namespace != zone.meta.key.namespace;
    if is_guest && !patterns.is_empty() && !patterns.iter().any(|p| p.admits(name, namespace)) {
        return Err(Refusal::NameNotAllowed);
    }
    Ok(Admitted {
        host: spec,
        zone: zone_spec,
    })
}

impl Admitted<'_> {
    /// Judges an alias of a host of this namespace without looking at other hosts.
    ///
    /// An alias can be added at any time, and would be as old as its host. So that nobody takes the
    /// name of a younger host in this way, a pattern admits an alias only where it admits nobody
    /// else's.
    pub fn admit_alias(&self, alias: &RecordName, namespace: &str) -> Result<(), AliasRefusal> {
        if !alias.is_at_or_below(&self.zone.apex) || *alias == self.zone.apex {
            return Err(AliasRefusal::OutsideZone);
        }
        let is_own = |alias: &RecordName| {
            let patterns = self.zone.allowed_names.iter();
            let mut own = patterns.filter(|pattern| pattern.tells_namespaces_apart());
            own.any(|pattern| pattern.admits(alias.as_str(), namespace))
        };
        match *self.host.zone.namespace == *namespace
            || alias.is_at_or_below(&self.host.hostname)
            || is_own(alias)
        {
            true => Ok(()),
            false => Err(AliasRefusal::NotAllowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_refused_and_never_names_a_host_of_another_namespace() {
        fn check(refusal: Refusal, reason: Option<Reason>, loses_name: bool, says: &str) {
            let said = refusal.message(&ObjectKey::new("red", "home"));
            assert_eq!(said.as_deref().unwrap_or(""), says);
            assert_eq!(refusal.reason(), reason, "{refusal:?}");
            assert_eq!(refusal.loses_name(), loses_name, "{refusal:?}");
        }
        let alias = |why| Refusal::Alias(RecordName::parse("*.a.example.org").unwrap(), why);
        let here = || ObjectKey::new("red", "old");
        let elsewhere = || ObjectKey::new("blue", "old");
        let not_allowed = Some(Reason::NotAllowedByZone);
        let conflict = Some(Reason::NameConflict);
        check(
            Refusal::Invalid("x".into()),
            Some(Reason::Invalid),
            false,
            "spec: x",
        );
        check(Refusal::ZoneNotFound, Some(Reason::ZoneNotFound), false, "");
        check(Refusal::NotYetJudged, None, false, "");
        check(Refusal::OutsideZone, Some(Reason::OutsideZone), false, "");
        check(Refusal::NotAllowedByZone, not_allowed, true, "");
        check(
            Refusal::NameNotAllowed,
            not_allowed,
            true,
            "hostname: the zone's allowedHosts.names does not admit it to this namespace",
        );
        check(
            Refusal::QuotaExceeded(3),
            Some(Reason::QuotaExceeded),
            true,
            "the zone admits 3 hosts of a namespace, and so many here are older",
        );
        check(
            Refusal::NameConflict(here()),
            conflict,
            true,
            "hostname: the older DynamicHost old has claimed it",
        );
        check(
            Refusal::NameConflict(elsewhere()),
            conflict,
            true,
            "hostname: an older DynamicHost of another namespace has claimed it",
        );
        check(
            alias(AliasRefusal::Conflict(here())),
            conflict,
            false,
            "alias *.a.example.org: the older DynamicHost old has claimed it",
        );
        check(
            alias(AliasRefusal::Conflict(elsewhere())),
            conflict,
            false,
            "alias *.a.example.org: an older DynamicHost of another namespace has claimed it",
        );
        check(
            alias(AliasRefusal::NotAllowed),
            not_allowed,
            false,
            "alias *.a.example.org: it lies neither below hostname nor where the zone's \
             allowedHosts.names gives this namespace names of its own",
        );
        check(
            alias(AliasRefusal::OutsideZone),
            Some(Reason::OutsideZone),
            false,
            "alias *.a.example.org: it does not lie below the zone's domain",
        );
    }
}
