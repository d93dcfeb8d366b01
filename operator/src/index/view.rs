//! What is looked up in the index.

use std::sync::{Arc, RwLockReadGuard};

use dynhost_crds::host::ObservedPrefix;

use super::State;
use super::host::Host;
use super::key::{TokenDigest, UpdateKey};
use super::object::ObjectKey;
use super::slots::Id;
use super::zone::Zone;
use crate::admission::{Admitted, Refusal};
use crate::metrics::HostCondition;
use crate::name::Fqdn;

/// A consistent look at the index; keep it short and never across an `await`.
pub struct View<'a>(pub(super) RwLockReadGuard<'a, State>);

impl View<'_> {
    /// The host, where it exists.
    pub fn host(&self, key: &ObjectKey) -> Option<Arc<Host>> {
        self.0.hosts.get(key).map(Arc::new)
    }

    /// The hosts that this token may update; empty where it authenticates nothing.
    ///
    /// Where several Secrets hold the token, the oldest counts.
    pub fn hosts_of_token(&self, token: &TokenDigest) -> Vec<Arc<Host>> {
        let Some(key) = self.0.oldest_key(token) else {
            return Vec::new();
        };
        let hosts = self
            .0
            .hosts_of_key
            .get(&key.meta.key)
            .objects(&self.0.hosts);
        let has_key = |host: &Host| host.spec.as_ref().is_ok_and(|s| s.secret == key.meta.key);
        hosts.filter(has_key).map(Arc::new).collect()
    }

    /// The hosts of this name, in every zone, whether they are admitted or not.
    pub fn hosts_of_name(&self, name: &Fqdn) -> Vec<Arc<Host>> {
        let hosts = self.0.hosts_of_name.get(name).objects(&self.0.hosts);
        let has_name = |host: &Host| host.spec.as_ref().is_ok_and(|s| s.hostname == *name);
        hosts.filter(has_name).map(Arc::new).collect()
    }

    /// The update key's Secret, where it exists with the right type.
    pub fn key(&self, key: &ObjectKey) -> Option<UpdateKey> {
        self.0.keys.get(key)
    }

    /// The zone, where it exists.
    pub fn zone(&self, key: &ObjectKey) -> Option<&Arc<Zone>> {
        self.0.zones.get(key)
    }

    /// The hosts that name this zone, whether it admits them or not.
    pub fn hosts_of_zone(&self, zone: &ObjectKey) -> impl Iterator<Item = Arc<Host>> {
        let hosts = self.0.hosts_of_zone.get(zone).into_iter().flatten();
        hosts.filter_map(|id| self.0.hosts.at(*id)).map(Arc::new)
    }

    /// The hosts that name this zone, for [`Self::host_of_zone`]: so that whoever looks at all of them
    /// need not keep the index for so long.
    pub fn ids_of_zone(&self, zone: &ObjectKey) -> Vec<Id> {
        let ids = self.0.hosts_of_zone.get(zone).into_iter().flatten();
        ids.copied().collect()
    }

    /// The host, where it is still there and of the zone.
    pub fn host_of_zone(&self, id: Id, zone: &ObjectKey) -> Option<Arc<Host>> {
        let host = self.0.hosts.at(id)?;
        let is_of_zone = host.spec.as_ref().is_ok_and(|spec| spec.zone == *zone);
        is_of_zone.then(|| Arc::new(host))
    }

    /// The prefix that a host's IPv6 address is made from, as reported for the host itself or the one
    /// that it names.
    pub fn prefix_of(&self, host: &Host) -> Option<ObservedPrefix> {
        let from = host.spec.as_ref().ok()?.from_prefix.as_deref()?;
        match from.host == host.meta.key {
            true => host.observed.ipv6_prefix.clone(),
            false => self.0.hosts.get(&from.host)?.observed.ipv6_prefix,
        }
    }

    /// Every zone.
    pub fn zones(&self) -> impl Iterator<Item = &ObjectKey> {
        self.0.zones.keys()
    }

    /// Some hosts and the place of the next, so that whoever looks at all of them need not keep the
    /// index for so long. The first place is 0; after the last host there is none.
    pub fn hosts_from(&self, place: usize, most: usize) -> (Vec<ObjectKey>, Option<usize>) {
        self.0.hosts.keys_from(place, most)
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = Arc<Host>> {
        self.0.hosts.iter().map(Arc::new)
    }

    /// How many hosts there are.
    pub fn number_of_hosts(&self) -> usize {
        self.0.hosts.len()
    }

    /// How many hosts have each condition with its status and reason.
    pub fn host_conditions(&self) -> Vec<(HostCondition, usize)> {
        self.0.conditions.all()
    }

    /// The older Secret that holds one of this Secret's tokens.
    pub fn older_key_with_same_token(&self, key: &UpdateKey) -> Option<ObjectKey> {
        key.digests().find_map(|digest| {
            let oldest = self.0.oldest_key(&digest)?.meta.key;
            (oldest != key.meta.key).then_some(oldest)
        })
    }

    /// Judges a host: its zone's consent, and who was first to claim its names.
    pub fn admission<'a>(&'a self, host: &'a Host) -> Result<Admitted<'a>, Refusal> {
        self.0.admission(host)
    }
}
