//! What the watches know, in compact form, shared by endpoint and controller.
//!
//! ```text
//! token -> Secret -> [ hosts ] -> zone
//! name  -> [ claims, oldest first ] -> host
//! ```
//!
//! Every look-up by token, name or key takes constant time. An object enters from its watch, or
//! from the reply to a write of our own; an older version never replaces a newer one. Hosts and keys
//! lie here packed, and whoever looks one up gets a copy of his own.

mod claims;
pub mod host;
pub mod key;
mod links;
pub mod object;
mod packing;
mod quota;
mod slots;
pub mod stored;
mod tally;
mod view;
pub mod zone;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::name::{Fqdn, RecordName};
use crate::request_id::Traces;
use host::Host;
use key::{TokenDigest, UpdateKey};
use links::Links;
use object::{Listed, ObjectKey};
use quota::Quota;
pub use slots::Id;
use slots::Slots;
use tally::Tally;
pub use view::View;
use zone::{Labels, Zone};

/// An object whose outcome may be another one now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Affected {
    Host(ObjectKey),
    Zone(ObjectKey),
}

/// A name in a zone.
type Claim = (ObjectKey, RecordName);

/// Orders by age, then by namespace and name.
type Seniority = (Timestamp, ObjectKey);

/// See the module's documentation.
#[derive(Default)]
pub struct Index {
    state: RwLock<State>,
    affected: Mutex<Option<mpsc::UnboundedSender<Affected>>>,
    /// Which requests the changes come from that are not in DNS yet.
    pub traces: Traces,
}

#[derive(Default)]
struct State {
    /// Somebody is told what is affected.
    is_told: bool,
    hosts: Slots<Host>,
    conditions: Tally,
    zones: HashMap<ObjectKey, Arc<Zone>>,
    keys: Slots<UpdateKey>,
    namespaces: HashMap<Arc<str>, Arc<Labels>>,
    /// By name, the hosts' own and aliases, admitted or not.
    claims: Links<Claim>,
    /// By zone, of those with a limit, and namespace.
    quotas: HashMap<ObjectKey, HashMap<Arc<str>, Quota>>,
    hosts_of_name: Links<Fqdn>,
    hosts_of_zone: HashMap<ObjectKey, HashSet<Id>>,
    hosts_of_key: Links<ObjectKey>,
    hosts_of_namespace: HashMap<Arc<str>, HashSet<Id>>,
    /// By the other host that reports their prefix.
    hosts_of_prefix: Links<ObjectKey>,
    keys_of_token: Links<TokenDigest>,
    /// UIDs of the Secrets that went last.
    gone_keys: VecDeque<Arc<str>>,
}

/// Replies to calls that were under way while so many Secrets went are known to be late.
const GONE_KEYS: usize = 1024;

impl Index {
    /// Tells the caller, and nobody else, of every object to look at again from now on. What there
    /// is already it finds by [`View::zones`] and [`View::hosts_from`].
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Affected> {
        let (sender, affected) = mpsc::unbounded_channel();
        *self.affected() = Some(sender);
        self.write().is_told = true;
        affected
    }

    fn affected(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<Affected>>> {
        self.affected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads several things at one moment.
    pub fn view(&self) -> View<'_> {
        View(self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The host, where it exists.
    pub fn host(&self, key: &ObjectKey) -> Option<Arc<Host>> {
        self.view().host(key)
    }

    /// The zone, where it exists.
    pub fn zone(&self, key: &ObjectKey) -> Option<Arc<Zone>> {
        self.view().zone(key).cloned()
    }

    /// The update key's Secret, where it exists with the right type.
    pub fn key(&self, key: &ObjectKey) -> Option<UpdateKey> {
        self.view().key(key)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, affected: impl IntoIterator<Item = Affected>) {
        let told = self.affected();
        for object in affected {
            // Whoever has ceased to listen begins with everything.
            let _ = told.as_ref().map(|told| told.send(object));
        }
    }

    /// A host was created or changed.
    pub fn apply_host(&self, host: Host) {
        let affected = self.write().apply_host(host);
        self.tell(affected);
    }

    /// A reply to our own write: it must neither undo a newer event nor bring back a deleted host.
    pub fn apply_host_reply(&self, host: Host) {
        let affected = {
            let mut state = self.write();
            match state.hosts.get(&host.meta.key) {
                Some(known) if known.meta.uid == host.meta.uid => state.apply_host(host),
                _ => Vec::new(),
            }
        };
        self.tell(affected);
    }

    /// A host is gone.
    pub fn remove_host(&self, key: &ObjectKey) {
        let affected = self.write().remove_host(key);
        self.tell(affected);
    }

    /// A zone was created or changed.
    pub fn apply_zone(&self, zone: Zone) {
        let affected = self.write().apply_zone(zone);
        self.tell(affected);
    }

    /// A reply to our own write, likewise.
    pub fn apply_zone_reply(&self, zone: Zone) {
        let affected = {
            let mut state = self.write();
            match state.zones.get(&zone.meta.key) {
                Some(known) if known.meta.uid == zone.meta.uid => state.apply_zone(zone),
                _ => Vec::new(),
            }
        };
        self.tell(affected);
    }

    /// A zone is gone.
    pub fn remove_zone(&self, key: &ObjectKey) {
        let affected = self.write().remove_zone(key);
        self.tell(affected);
    }

    /// An update key's Secret was created or changed.
    pub fn apply_key(&self, key: UpdateKey) {
        let affected = self.write().apply_key(key);
        self.tell(affected);
    }

    /// A reply to our own call: a Secret that the watch has seen go, or replaced by another of its
    /// name, must not come back, or a revoked token would authenticate again.
    ///
    /// That a Secret waits for a finalizer is no news where none is known: its host, which asked,
    /// would be told of it, and ask again at once.
    pub fn apply_key_reply(&self, key: UpdateKey) {
        let affected = {
            let mut state = self.write();
            let known = state.keys.get(&key.meta.key);
            let is_another = known
                .as_ref()
                .is_some_and(|known| known.meta.uid != key.meta.uid);
            let is_no_news = known.is_none() && key.meta.deleting;
            match is_another || is_no_news || state.gone_keys.contains(&key.meta.uid) {
                true => Vec::new(),
                false => state.apply_key(key),
            }
        };
        self.tell(affected);
    }

    /// An update key's Secret is gone.
    pub fn remove_key(&self, key: &ObjectKey) {
        let affected = self.write().remove_key(key);
        self.tell(affected);
    }

    /// A namespace was created or its labels may have changed.
    pub fn apply_namespace(&self, name: &str, labels: Labels) {
        let affected = self.write().apply_namespace(name, labels);
        self.tell(affected);
    }

    /// A namespace is gone.
    pub fn remove_namespace(&self, name: &str) {
        self.write().namespaces.remove(name);
    }

    /// The hosts that a whole list did not show are gone; likewise below.
    pub fn retain_hosts(&self, listed: &Listed) {
        let gone = missing(self.view().0.hosts.keys(), listed);
        gone.iter().for_each(|key| self.remove_host(key));
    }

    pub fn retain_zones(&self, listed: &Listed) {
        let gone = missing(self.view().0.zones.keys().cloned(), listed);
        gone.iter().for_each(|key| self.remove_zone(key));
    }

    pub fn retain_keys(&self, listed: &Listed) {
        let gone = missing(self.view().0.keys.keys(), listed);
        gone.iter().for_each(|key| self.remove_key(key));
    }

    pub fn retain_namespaces(&self, listed: &Listed) {
        self.write()
            .namespaces
            .retain(|name, _| listed.contains(&ObjectKey::new("", name)));
    }
}

fn missing(known: impl Iterator<Item = ObjectKey>, listed: &Listed) -> Vec<ObjectKey> {
    known.filter(|key| !listed.contains(key)).collect()
}

impl State {
    fn apply_host(&mut self, mut host: Host) -> Vec<Affected> {
        let key = host.meta.key.clone();
        let former = self.hosts.get(&key);
        if let Some(former) = &former {
            if !host.meta.supersedes(&former.meta) {
                return Vec::new();
            }
            host.succeed(former, Timestamp::now());
        }
        // Status alone changes often, and touches none of the other maps.
        let same_links = former
            .as_ref()
            .is_some_and(|former| former.spec == host.spec && former.meta.uid == host.meta.uid);
        let mut affected = vec![Affected::Host(key.clone())];
        match &former {
            Some(former) if same_links => self.conditions.subtract(former),
            Some(_) => affected.extend(self.remove_host(&key)),
            None => {}
        }
        let Some(id) = self.hosts.insert(&host) else {
            return affected;
        };
        self.conditions.add(&host);
        if !same_links {
            self.link_host(id, &host);
            if let Ok(spec) = &host.spec {
                affected.push(Affected::Zone(spec.zone.clone()));
            }
            affected.extend(self.link_claims(id, &host));
            affected.extend(self.rivals(&host).into_iter().map(Affected::Host));
        }
        let former = former.and_then(|former| former.observed.ipv6_prefix);
        if former != host.observed.ipv6_prefix {
            affected.extend(self.linked_hosts(&self.hosts_of_prefix, &key));
        }
        affected
    }

    fn remove_host(&mut self, key: &ObjectKey) -> Vec<Affected> {
        let Some((id, host)) = self.hosts.remove(key) else {
            return Vec::new();
        };
        self.conditions.subtract(&host);
        let mut affected = vec![Affected::Host(key.clone())];
        remove_link(&mut self.hosts_of_namespace, &key.namespace, id);
        if let Ok(spec) = &host.spec {
            let hosts = &self.hosts;
            self.hosts_of_name.remove(&spec.hostname, id, &host, hosts);
            self.hosts_of_key.remove(&spec.secret, id, &host, hosts);
            if let Some(from) = &spec.from_prefix {
                self.hosts_of_prefix.remove(&from.host, id, &host, hosts);
            }
            remove_link(&mut self.hosts_of_zone, &spec.zone, id);
            affected.push(Affected::Zone(spec.zone.clone()));
        }
        affected.extend(self.unlink_claims(id, &host));
        affected.extend(self.rivals(&host).into_iter().map(Affected::Host));
        affected
    }

    fn link_host(&mut self, id: Id, host: &Host) {
        let key = &host.meta.key;
        insert_link(&mut self.hosts_of_namespace, &key.namespace, id);
        if let Ok(spec) = &host.spec {
            let hosts = &self.hosts;
            self.hosts_of_name.insert(&spec.hostname, id, hosts);
            self.hosts_of_key.insert(&spec.secret, id, hosts);
            if let Some(from) = spec.from_prefix.as_ref().filter(|from| from.host != *key) {
                self.hosts_of_prefix.insert(&from.host, id, hosts);
            }
            insert_link(&mut self.hosts_of_zone, &spec.zone, id);
        }
    }

    /// Those that may name it; to look at one that does not does no harm.
    fn linked_hosts(&self, links: &Links<ObjectKey>, name: &ObjectKey) -> Vec<Affected> {
        let hosts = links.get(name).objects(&self.hosts);
        hosts.map(|host| Affected::Host(host.meta.key)).collect()
    }

    fn apply_zone(&mut self, zone: Zone) -> Vec<Affected> {
        let key = zone.meta.key.clone();
        let former = self.zones.get(&key);
        if let Some(known) = former
            && !zone.meta.supersedes(&known.meta)
        {
            return Vec::new();
        }
        let mut affected = vec![Affected::Zone(key.clone())];
        // A zone's own status is no news to its hosts.
        let news = |former: &Arc<Zone>| {
            former.spec != zone.spec
                || former.adopt != zone.adopt
                || former.approved_deletions != zone.approved_deletions
                || former.finalizer != zone.finalizer
        };
        if former.is_none_or(news) {
            affected.extend(self.affected_hosts_of_zone(&key));
        }
        let limit = |zone: &Zone| zone.spec.as_ref().ok().and_then(|s| s.max_per_namespace);
        let has_other_limit = former.and_then(|former| limit(former)) != limit(&zone);
        self.zones.insert(key.clone(), Arc::new(zone));
        if has_other_limit {
            self.count_anew(&key);
        }
        affected
    }

    fn remove_zone(&mut self, key: &ObjectKey) -> Vec<Affected> {
        self.zones.remove(key);
        self.quotas.remove(key);
        let mut affected = vec![Affected::Zone(key.clone())];
        affected.extend(self.affected_hosts_of_zone(key));
        affected
    }

    fn affected_hosts_of_zone(&self, zone: &ObjectKey) -> Vec<Affected> {
        if !self.is_told {
            return Vec::new();
        }
        let hosts = self.hosts_of_zone.get(zone).into_iter().flatten();
        let hosts = hosts.filter_map(|id| self.hosts.at(*id));
        hosts.map(|host| Affected::Host(host.meta.key)).collect()
    }

    fn apply_key(&mut self, key: UpdateKey) -> Vec<Affected> {
        // A Secret that waits for a finalizer is deleted as far as its user is concerned.
        if key.meta.deleting {
            return self.remove_key(&key.meta.key);
        }
        let name = key.meta.key.clone();
        if let Some(known) = self.keys.get(&name)
            && !key.meta.supersedes(&known.meta)
        {
            return Vec::new();
        }
        let mut affected = self.unlink_key(&name, &key.meta.uid);
        let Some(id) = self.keys.insert(&key) else {
            return affected;
        };
        for digest in key.digests() {
            self.keys_of_token.insert(&digest, id, &self.keys);
        }
        affected.extend(self.hosts_of_same_tokens(&key));
        affected.extend(self.linked_hosts(&self.hosts_of_key, &name));
        affected
    }

    fn remove_key(&mut self, name: &ObjectKey) -> Vec<Affected> {
        if self.keys.id(name).is_none() {
            // It was forgotten when its deletion began; now its name is free again.
            return self.linked_hosts(&self.hosts_of_key, name);
        }
        self.unlink_key(name, "")
    }

    /// Takes out the Secret of this name, to put one with the UID `successor` in its place.
    fn unlink_key(&mut self, name: &ObjectKey, successor: &str) -> Vec<Affected> {
        let Some((id, key)) = self.keys.remove(name) else {
            return Vec::new();
        };
        if *key.meta.uid != *successor {
            self.gone_keys.push_back(key.meta.uid.clone());
            if self.gone_keys.len() > GONE_KEYS {
                self.gone_keys.pop_front();
            }
        }
        for digest in key.digests() {
            self.keys_of_token.remove(&digest, id, &key, &self.keys);
        }
        let mut affected = self.hosts_of_same_tokens(&key);
        affected.extend(self.linked_hosts(&self.hosts_of_key, name));
        affected
    }

    /// The oldest Secret that holds this token.
    fn oldest_key(&self, token: &TokenDigest) -> Option<UpdateKey> {
        self.keys_with(token).next()
    }

    fn keys_with(&self, token: &TokenDigest) -> impl Iterator<Item = UpdateKey> {
        let keys = self.keys_of_token.get(token).objects(&self.keys);
        keys.filter(move |key: &UpdateKey| key.digests().any(|digest| digest == *token))
    }

    /// Hosts of other Secrets with one of these tokens: which of the Secrets counts may be another one now.
    fn hosts_of_same_tokens(&self, key: &UpdateKey) -> Vec<Affected> {
        let mut affected = Vec::new();
        for digest in key.digests() {
            for other in self.keys_with(&digest) {
                if other.meta.key != key.meta.key {
                    affected.extend(self.linked_hosts(&self.hosts_of_key, &other.meta.key));
                }
            }
        }
        affected
    }

    fn apply_namespace(&mut self, name: &str, labels: Labels) -> Vec<Affected> {
        if self.namespaces.get(name).is_some_and(|l| **l == labels) {
            return Vec::new();
        }
        if !self.is_told {
            self.namespaces.insert(name.into(), Arc::new(labels));
            return Vec::new();
        }
        // A name may have another winner now, and a zone another number of hosts.
        let mut affected = self.rivals_of_namespace(name);
        self.namespaces.insert(name.into(), Arc::new(labels));
        affected.extend(self.rivals_of_namespace(name));
        for host in self.hosts_of_namespace(name) {
            if let Ok(spec) = host.spec {
                affected.insert(Affected::Zone(spec.zone));
            }
            affected.insert(Affected::Host(host.meta.key));
        }
        affected.into_iter().collect()
    }

    fn hosts_of_namespace(&self, name: &str) -> impl Iterator<Item = Host> {
        let hosts = self.hosts_of_namespace.get(name).into_iter().flatten();
        hosts.filter_map(|id| self.hosts.at(*id))
    }

    fn rivals_of_namespace(&self, name: &str) -> HashSet<Affected> {
        let hosts = self.hosts_of_namespace(name);
        let rivals = hosts.flat_map(|host| self.rivals(&host));
        rivals.map(Affected::Host).collect()
    }
}

fn insert_link<K: Eq + Hash + Clone>(links: &mut HashMap<K, HashSet<Id>>, from: &K, to: Id) {
    links.entry(from.clone()).or_default().insert(to);
}

fn remove_link<K: Eq + Hash>(links: &mut HashMap<K, HashSet<Id>>, from: &K, to: Id) {
    if let Some(set) = links.get_mut(from) {
        set.remove(&to);
        if set.is_empty() {
            links.remove(from);
        }
    }
}

#[cfg(test)]
mod tests;
