//! Who has which names: a host's standing in its zone, and its claims beside those of others.
//!
//! A host whose own name the zone admits, and that is within the limit of its namespace, has
//! *standing*. It claims its own name whatever becomes of its aliases, so that a wrong alias never
//! costs it the name; and it claims the aliases that it may have, unless a host of the same name is
//! older. The oldest claim has the name. Whether a claimant then loses another name to somebody
//! does not matter to its claims: nothing here follows chains of conflicts, and the work for a
//! host grows with the claims on its own names only, not with the zone.

use std::collections::{HashMap, HashSet};
use std::iter::once;

use super::host::{Host, HostSpec};
use super::links::Linked;
use super::object::ObjectKey;
use super::quota::Quota;
use super::slots::Id;
use super::{Affected, Claim, Seniority, State};
use crate::admission::{Admitted, AliasRefusal, Refusal, admit};
use crate::name::{Fqdn, RecordName};

/// What could not be said because [`Refusal::NotYetJudged`] holds of a claimant.
struct NotYetJudged;

/// The oldest host with standing whose own name it is, among those that are judged.
struct Oldest {
    host: Option<ObjectKey>,
    /// False where an older one is not judged yet.
    is_certain: bool,
}

impl From<NotYetJudged> for Refusal {
    fn from(_: NotYetJudged) -> Self {
        Self::NotYetJudged
    }
}

impl State {
    /// Judges a host: its zone's consent, and who was first to claim its names.
    pub(super) fn admission<'a>(&'a self, host: &'a Host) -> Result<Admitted<'a>, Refusal> {
        let admitted = self.standing(host)?;
        let own = RecordName::from(admitted.host.hostname.clone());
        if let Some(winner) = self.older_claimant(host, admitted, &own)? {
            return Err(Refusal::NameConflict(winner));
        }
        for alias in &admitted.host.aliases {
            let refused = |why| Refusal::Alias(alias.name.clone(), why);
            admitted
                .admit_alias(&alias.name, &host.meta.key.namespace)
                .map_err(refused)?;
            if let Some(winner) = self.older_claimant(host, admitted, &alias.name)? {
                return Err(refused(AliasRefusal::Conflict(winner)));
            }
        }
        Ok(admitted)
    }

    /// Judges a host's own name, and the number of hosts, but no claims.
    fn standing<'a>(&'a self, host: &'a Host) -> Result<Admitted<'a>, Refusal> {
        let zone = host.spec.as_ref().ok();
        let zone = zone.and_then(|spec| self.zones.get(&spec.zone));
        let namespace = &host.meta.key.namespace;
        let labels = self.namespaces.get(namespace);
        let admitted = admit(host, zone.map(|z| &**z), labels.map(|l| &**l))?;
        let quotas = self.quotas.get(&admitted.host.zone);
        let quota = quotas.and_then(|quotas| quotas.get(namespace));
        match (quota, admitted.zone.max_per_namespace) {
            (Some(quota), Some(limit)) if !quota.admits(host.meta.seniority()) => {
                Err(Refusal::QuotaExceeded(limit))
            }
            _ => Ok(admitted),
        }
    }

    /// The oldest of the hosts that claim `name`, where that is older than `host`.
    fn older_claimant(
        &self,
        host: &Host,
        admitted: Admitted<'_>,
        name: &RecordName,
    ) -> Result<Option<ObjectKey>, NotYetJudged> {
        let zone = &admitted.host.zone;
        let claim = (zone.clone(), name.clone());
        // So it is of nearly all.
        if let Linked::One(id) = self.claims.get(&claim)
            && self.hosts.is_at(id, &host.meta.key)
        {
            return Ok(None);
        }
        // Many claimants may have one hostname; who has that is found out once.
        let mut oldest_of_name: HashMap<Fqdn, Oldest> = HashMap::new();
        for claimant in self.claimants(claim) {
            let key = &claimant.meta.key;
            if claimant.meta.seniority() >= host.meta.seniority() {
                break;
            }
            let Some(standing) = self.known_standing(&claimant)? else {
                continue;
            };
            let hostname = &standing.host.hostname;
            if name == hostname {
                return Ok(Some(key.clone()));
            }
            if standing.admit_alias(name, &key.namespace).is_err() {
                continue;
            }
            let oldest = oldest_of_name
                .entry(hostname.clone())
                .or_insert_with(|| self.oldest_of_name(zone, hostname));
            if oldest.host.as_ref() == Some(key) {
                return match oldest.is_certain {
                    true => Ok(Some(key.clone())),
                    false => Err(NotYetJudged),
                };
            }
        }
        Ok(None)
    }

    fn oldest_of_name(&self, zone: &ObjectKey, hostname: &Fqdn) -> Oldest {
        let mut is_certain = true;
        for host in self.hosts_named(zone, hostname) {
            match self.known_standing(&host) {
                Ok(Some(_)) => {
                    let host = Some(host.meta.key.clone());
                    return Oldest { host, is_certain };
                }
                Ok(None) => {}
                Err(NotYetJudged) => is_certain = false,
            }
        }
        Oldest {
            host: None,
            is_certain,
        }
    }

    /// The hosts whose own name this is, the oldest first.
    fn hosts_named(&self, zone: &ObjectKey, hostname: &Fqdn) -> impl Iterator<Item = Host> {
        let claimants = self.claimants((zone.clone(), hostname.clone().into()));
        claimants.filter(move |host| own_name(host) == Some(hostname))
    }

    fn known_standing<'a>(&'a self, host: &'a Host) -> Result<Option<Admitted<'a>>, NotYetJudged> {
        match self.standing(host) {
            Ok(admitted) => Ok(Some(admitted)),
            Err(Refusal::NotYetJudged) => Err(NotYetJudged),
            Err(_) => Ok(None),
        }
    }

    /// The hosts that claim a name, the oldest first.
    fn claimants(&self, claim: Claim) -> impl Iterator<Item = Host> {
        let hosts = self.claims.get(&claim).objects(&self.hosts);
        let claims_it = move |host: &Host| {
            let spec = host.spec.as_ref();
            spec.is_ok_and(|spec| claims_of(spec).any(|of_host| of_host == claim))
        };
        hosts.filter(claims_it)
    }

    /// The other hosts whose verdict may depend on this one's: those that claim one of its names,
    /// and those that claim an alias of the host that has its own name without it.
    pub(super) fn rivals(&self, host: &Host) -> HashSet<ObjectKey> {
        let Ok(spec) = &host.spec else {
            return HashSet::new();
        };
        let key = &host.meta.key;
        let mut claims: HashSet<_> = claims_of(spec).collect();
        for heir in self.hosts_named(&spec.zone, &spec.hostname) {
            let standing = match heir.meta.key == *key {
                true => Ok(None),
                false => self.known_standing(&heir),
            };
            // One that is not judged yet may be it.
            if let (Ok(Some(_)) | Err(NotYetJudged), Ok(heir)) = (&standing, &heir.spec) {
                claims.extend(claims_of(heir));
            }
            if let Ok(Some(_)) = standing {
                break;
            }
        }
        let claimants = claims.into_iter().flat_map(|claim| self.claimants(claim));
        let others = claimants.map(|other| other.meta.key);
        others.filter(|other| other != key).collect()
    }

    /// Adds the host's claims; the hosts, beside it and its rivals, whose verdict may be another now.
    pub(super) fn link_claims(&mut self, id: Id, host: &Host) -> Vec<Affected> {
        let Ok(spec) = &host.spec else {
            return Vec::new();
        };
        for claim in claims_of(spec) {
            self.claims.insert(&claim, id, &self.hosts);
        }
        let Some(limit) = self.limit_of(&spec.zone) else {
            return Vec::new();
        };
        let quotas = self.quotas.entry(spec.zone.clone()).or_default();
        let quota = quotas.entry(host.meta.key.namespace.clone());
        let displaced = quota
            .or_insert_with(|| Quota::new(limit))
            .insert(seniority(host));
        self.turned(displaced)
    }

    /// Takes the host's claims out, likewise.
    pub(super) fn unlink_claims(&mut self, id: Id, host: &Host) -> Vec<Affected> {
        let Ok(spec) = &host.spec else {
            return Vec::new();
        };
        let seniority = seniority(host);
        for claim in claims_of(spec) {
            self.claims.remove(&claim, id, host, &self.hosts);
        }
        let namespace = &host.meta.key.namespace;
        let Some(quotas) = self.quotas.get_mut(&spec.zone) else {
            return Vec::new();
        };
        let promoted = quotas
            .get_mut(namespace)
            .and_then(|quota| quota.remove(&seniority));
        if quotas.get(namespace).is_some_and(Quota::is_empty) {
            quotas.remove(namespace);
        }
        self.turned(promoted)
    }

    /// A host that came within the limit, or is over it now, and what depends on it.
    fn turned(&self, host: Option<ObjectKey>) -> Vec<Affected> {
        let rivals = host.as_ref().and_then(|key| self.hosts.get(key));
        let rivals = rivals.map(|host| self.rivals(&host));
        let rivals = rivals.unwrap_or_default();
        host.into_iter().chain(rivals).map(Affected::Host).collect()
    }

    fn limit_of(&self, zone: &ObjectKey) -> Option<u32> {
        self.zones.get(zone)?.spec.as_ref().ok()?.max_per_namespace
    }

    /// Counts the hosts of a zone anew, which has another limit now, or none.
    pub(super) fn count_anew(&mut self, zone: &ObjectKey) {
        self.quotas.remove(zone);
        let Some(limit) = self.limit_of(zone) else {
            return;
        };
        let quotas = self.quotas.entry(zone.clone()).or_default();
        for id in self.hosts_of_zone.get(zone).into_iter().flatten() {
            if let Some(host) = self.hosts.at(*id) {
                let quota = quotas.entry(host.meta.key.namespace.clone());
                quota
                    .or_insert_with(|| Quota::new(limit))
                    .insert(seniority(&host));
            }
        }
    }
}

fn seniority(host: &Host) -> Seniority {
    (host.meta.created, host.meta.key.clone())
}

fn own_name(host: &Host) -> Option<&Fqdn> {
    host.spec.as_ref().ok().map(|spec| &spec.hostname)
}

fn claims_of(spec: &HostSpec) -> impl Iterator<Item = Claim> {
    let own = once(RecordName::from(spec.hostname.clone()));
    let aliases = spec.aliases.iter().map(|alias| alias.name.clone());
    own.chain(aliases).map(|name| (spec.zone.clone(), name))
}
