//! What the watches know, in compact form, shared by endpoint and controller.
//!
//! ```text
//! token -> Secret -> [ hosts ] -> zone
//! name  -> [ claims, oldest first ] -> host
//! ```
//!
//! Every look-up by token, name or key takes constant time. An object enters from its watch, or
//! from the reply to a write of our own; an older version never replaces a newer one.

mod claims;
pub mod host;
pub mod key;
pub mod object;
mod quota;
pub mod stored;
pub mod zone;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dynhost_crds::host::ObservedPrefix;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::admission::{Admitted, Refusal};
use crate::name::{Fqdn, RecordName};
use host::Host;
use key::{TokenDigest, UpdateKey};
use object::ObjectKey;
use quota::Quota;
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
pub struct Index {
    state: RwLock<State>,
    affected: mpsc::UnboundedSender<Affected>,
}

#[derive(Default)]
struct State {
    hosts: HashMap<ObjectKey, Arc<Host>>,
    zones: HashMap<ObjectKey, Arc<Zone>>,
    keys: HashMap<ObjectKey, Arc<UpdateKey>>,
    namespaces: HashMap<Arc<str>, Arc<Labels>>,
    /// By name, the hosts' own and aliases, admitted or not.
    claims: HashMap<Claim, BTreeSet<Seniority>>,
    /// By zone, of those with a limit, and namespace.
    quotas: HashMap<ObjectKey, HashMap<Arc<str>, Quota>>,
    hosts_of_name: HashMap<Fqdn, HashSet<ObjectKey>>,
    hosts_of_zone: HashMap<ObjectKey, HashSet<ObjectKey>>,
    hosts_of_key: HashMap<ObjectKey, HashSet<ObjectKey>>,
    hosts_of_namespace: HashMap<Arc<str>, HashSet<ObjectKey>>,
    /// By the other host that reports their prefix.
    hosts_of_prefix: HashMap<ObjectKey, HashSet<ObjectKey>>,
    keys_of_token: HashMap<TokenDigest, BTreeSet<Seniority>>,
    /// UIDs of the Secrets that went last.
    gone_keys: VecDeque<Arc<str>>,
}

/// Replies to calls that were under way while so many Secrets went are known to be late.
const GONE_KEYS: usize = 1024;

/// A consistent look at the index; keep it short and never across an `await`.
pub struct View<'a>(RwLockReadGuard<'a, State>);

impl Index {
    /// An empty index that tells `affected` of every object to look at again.
    pub fn new(affected: mpsc::UnboundedSender<Affected>) -> Self {
        Self {
            state: RwLock::default(),
            affected,
        }
    }

    /// Reads several things at one moment.
    pub fn view(&self) -> View<'_> {
        View(self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The host, where it exists.
    pub fn host(&self, key: &ObjectKey) -> Option<Arc<Host>> {
        self.view().host(key).cloned()
    }

    /// The zone, where it exists.
    pub fn zone(&self, key: &ObjectKey) -> Option<Arc<Zone>> {
        self.view().zone(key).cloned()
    }

    /// The update key's Secret, where it exists with the right type.
    pub fn key(&self, key: &ObjectKey) -> Option<Arc<UpdateKey>> {
        self.view().key(key).cloned()
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, affected: impl IntoIterator<Item = Affected>) {
        for object in affected {
            // The receiver is gone only while the process ends.
            let _ = self.affected.send(object);
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
            let is_another = known.is_some_and(|known| known.meta.uid != key.meta.uid);
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
    pub fn retain_hosts(&self, listed: &HashSet<ObjectKey>) {
        for key in self.missing(listed, |state| &state.hosts) {
            self.remove_host(&key);
        }
    }

    pub fn retain_zones(&self, listed: &HashSet<ObjectKey>) {
        for key in self.missing(listed, |state| &state.zones) {
            self.remove_zone(&key);
        }
    }

    pub fn retain_keys(&self, listed: &HashSet<ObjectKey>) {
        for key in self.missing(listed, |state| &state.keys) {
            self.remove_key(&key);
        }
    }

    pub fn retain_namespaces(&self, listed: &HashSet<ObjectKey>) {
        let names: HashSet<&str> = listed.iter().map(|key| &*key.name).collect();
        self.write()
            .namespaces
            .retain(|name, _| names.contains(&**name));
    }

    fn missing<V>(
        &self,
        listed: &HashSet<ObjectKey>,
        map: impl Fn(&State) -> &HashMap<ObjectKey, V>,
    ) -> Vec<ObjectKey> {
        let view = self.view();
        let known = map(&view.0).keys();
        known.filter(|key| !listed.contains(key)).cloned().collect()
    }
}

impl View<'_> {
    /// The host, where it exists.
    pub fn host(&self, key: &ObjectKey) -> Option<&Arc<Host>> {
        self.0.hosts.get(key)
    }

    /// The hosts that this token may update; empty where it authenticates nothing.
    ///
    /// Where several Secrets hold the token, the oldest counts.
    pub fn hosts_of_token(&self, token: &TokenDigest) -> Vec<Arc<Host>> {
        self.0
            .keys_of_token
            .get(token)
            .and_then(BTreeSet::first)
            .and_then(|(_, secret)| self.0.hosts_of_key.get(secret))
            .into_iter()
            .flatten()
            .filter_map(|host| self.0.hosts.get(host).cloned())
            .collect()
    }

    /// The hosts of this name, in every zone, whether they are admitted or not.
    pub fn hosts_of_name(&self, name: &Fqdn) -> Vec<Arc<Host>> {
        let hosts = self.0.hosts_of_name.get(name).into_iter().flatten();
        hosts
            .filter_map(|host| self.0.hosts.get(host).cloned())
            .collect()
    }

    /// The update key's Secret, where it exists with the right type.
    pub fn key(&self, key: &ObjectKey) -> Option<&Arc<UpdateKey>> {
        self.0.keys.get(key)
    }

    /// The zone, where it exists.
    pub fn zone(&self, key: &ObjectKey) -> Option<&Arc<Zone>> {
        self.0.zones.get(key)
    }

    /// The hosts that name this zone, whether it admits them or not.
    pub fn hosts_of_zone(&self, zone: &ObjectKey) -> impl Iterator<Item = &Arc<Host>> {
        let hosts = self.0.hosts_of_zone.get(zone).into_iter().flatten();
        hosts.filter_map(|host| self.0.hosts.get(host))
    }

    /// The prefix that a host's IPv6 address is made from, as reported for the host itself or the one
    /// that it names.
    pub fn prefix_of<'a>(&'a self, host: &'a Host) -> Option<&'a ObservedPrefix> {
        let from = host.spec.as_ref().ok()?.from_prefix.as_deref()?;
        let observed = match from.host == host.meta.key {
            true => &host.observed,
            false => &self.0.hosts.get(&from.host)?.observed,
        };
        observed.ipv6_prefix.as_ref()
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.0.hosts.values()
    }

    /// The older Secret that holds one of this Secret's tokens.
    pub fn older_key_with_same_token(&self, key: &UpdateKey) -> Option<&ObjectKey> {
        key.digests().find_map(|digest| {
            let (_, oldest) = self.0.keys_of_token.get(&digest)?.first()?;
            (*oldest != key.meta.key).then_some(oldest)
        })
    }

    /// Judges a host: its zone's consent, and who was first to claim its names.
    pub fn admission<'a>(&'a self, host: &'a Host) -> Result<Admitted<'a>, Refusal> {
        self.0.admission(host)
    }
}

impl State {
    fn apply_host(&mut self, mut host: Host) -> Vec<Affected> {
        let key = host.meta.key.clone();
        if let Some(known) = self.hosts.get(&key)
            && !host.meta.supersedes(&known.meta)
        {
            return Vec::new();
        }
        let former = self.hosts.get(&key).cloned();
        if let Some(former) = &former {
            host.succeed(former, Timestamp::now());
        }
        // Status alone changes often, and touches none of the other maps.
        let same_links = former
            .as_ref()
            .is_some_and(|former| former.spec == host.spec && former.meta.uid == host.meta.uid);
        let mut affected = vec![Affected::Host(key.clone())];
        if !same_links {
            if former.is_some() {
                affected.extend(self.remove_host(&key));
            }
            self.link_host(&host);
            if let Ok(spec) = &host.spec {
                affected.push(Affected::Zone(spec.zone.clone()));
            }
            affected.extend(self.link_claims(&host));
            affected.extend(self.rivals(&host).into_iter().map(Affected::Host));
        }
        let former = former
            .as_ref()
            .and_then(|f| f.observed.ipv6_prefix.as_ref());
        if former != host.observed.ipv6_prefix.as_ref() {
            affected.extend(affected_hosts(self.hosts_of_prefix.get(&key)));
        }
        self.hosts.insert(key, Arc::new(host));
        affected
    }

    fn remove_host(&mut self, key: &ObjectKey) -> Vec<Affected> {
        let Some(host) = self.hosts.remove(key) else {
            return Vec::new();
        };
        let mut affected = vec![Affected::Host(key.clone())];
        remove_link(&mut self.hosts_of_namespace, &key.namespace, key);
        if let Ok(spec) = &host.spec {
            remove_link(&mut self.hosts_of_name, &spec.hostname, key);
            remove_link(&mut self.hosts_of_zone, &spec.zone, key);
            remove_link(&mut self.hosts_of_key, &spec.secret, key);
            if let Some(from) = &spec.from_prefix {
                remove_link(&mut self.hosts_of_prefix, &from.host, key);
            }
            affected.push(Affected::Zone(spec.zone.clone()));
        }
        affected.extend(self.unlink_claims(&host));
        affected.extend(self.rivals(&host).into_iter().map(Affected::Host));
        affected
    }

    fn link_host(&mut self, host: &Host) {
        let key = &host.meta.key;
        insert_link(&mut self.hosts_of_namespace, &key.namespace, key);
        if let Ok(spec) = &host.spec {
            insert_link(&mut self.hosts_of_name, &spec.hostname, key);
            insert_link(&mut self.hosts_of_zone, &spec.zone, key);
            insert_link(&mut self.hosts_of_key, &spec.secret, key);
            if let Some(from) = spec.from_prefix.as_ref().filter(|from| from.host != *key) {
                insert_link(&mut self.hosts_of_prefix, &from.host, key);
            }
        }
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
        affected_hosts(self.hosts_of_zone.get(zone))
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
        for digest in key.digests() {
            self.keys_of_token
                .entry(digest)
                .or_default()
                .insert((key.meta.created, name.clone()));
        }
        affected.extend(self.hosts_of_same_tokens(&key));
        affected.extend(affected_hosts(self.hosts_of_key.get(&name)));
        self.keys.insert(name, Arc::new(key));
        affected
    }

    fn remove_key(&mut self, name: &ObjectKey) -> Vec<Affected> {
        if !self.keys.contains_key(name) {
            // It was forgotten when its deletion began; now its name is free again.
            return affected_hosts(self.hosts_of_key.get(name));
        }
        self.unlink_key(name, "")
    }

    /// Takes out the Secret of this name, to put one with the UID `successor` in its place.
    fn unlink_key(&mut self, name: &ObjectKey, successor: &str) -> Vec<Affected> {
        let Some(key) = self.keys.remove(name) else {
            return Vec::new();
        };
        if *key.meta.uid != *successor {
            self.gone_keys.push_back(key.meta.uid.clone());
            if self.gone_keys.len() > GONE_KEYS {
                self.gone_keys.pop_front();
            }
        }
        for digest in key.digests() {
            if let Some(secrets) = self.keys_of_token.get_mut(&digest) {
                secrets.remove(&(key.meta.created, name.clone()));
                if secrets.is_empty() {
                    self.keys_of_token.remove(&digest);
                }
            }
        }
        let mut affected = self.hosts_of_same_tokens(&key);
        affected.extend(affected_hosts(self.hosts_of_key.get(name)));
        affected
    }

    /// Hosts of other Secrets with one of these tokens: which of the Secrets counts may be another one now.
    fn hosts_of_same_tokens(&self, key: &UpdateKey) -> Vec<Affected> {
        key.digests()
            .filter_map(|digest| self.keys_of_token.get(&digest))
            .flatten()
            .filter(|(_, secret)| *secret != key.meta.key)
            .flat_map(|(_, secret)| affected_hosts(self.hosts_of_key.get(secret)))
            .collect()
    }

    fn apply_namespace(&mut self, name: &str, labels: Labels) -> Vec<Affected> {
        if self.namespaces.get(name).is_some_and(|l| **l == labels) {
            return Vec::new();
        }
        // A name may have another winner now, and a zone another number of hosts.
        let mut affected = self.rivals_of_namespace(name);
        self.namespaces.insert(name.into(), Arc::new(labels));
        affected.extend(self.rivals_of_namespace(name));
        let hosts = self.hosts_of_namespace.get(name);
        for host in hosts
            .into_iter()
            .flatten()
            .filter_map(|h| self.hosts.get(h))
        {
            affected.insert(Affected::Host(host.meta.key.clone()));
            if let Ok(spec) = &host.spec {
                affected.insert(Affected::Zone(spec.zone.clone()));
            }
        }
        affected.into_iter().collect()
    }

    fn rivals_of_namespace(&self, name: &str) -> HashSet<Affected> {
        let hosts = self.hosts_of_namespace.get(name).into_iter().flatten();
        let hosts = hosts.filter_map(|host| self.hosts.get(host));
        hosts
            .flat_map(|h| self.rivals(h))
            .map(Affected::Host)
            .collect()
    }
}

fn affected_hosts(hosts: Option<&HashSet<ObjectKey>>) -> Vec<Affected> {
    let hosts = hosts.into_iter().flatten();
    hosts.map(|key| Affected::Host(key.clone())).collect()
}

fn insert_link<K: Eq + Hash + Clone>(
    links: &mut HashMap<K, HashSet<ObjectKey>>,
    from: &K,
    to: &ObjectKey,
) {
    links.entry(from.clone()).or_default().insert(to.clone());
}

fn remove_link<K: Eq + Hash>(links: &mut HashMap<K, HashSet<ObjectKey>>, from: &K, to: &ObjectKey) {
    if let Some(set) = links.get_mut(from) {
        set.remove(to);
        if set.is_empty() {
            links.remove(from);
        }
    }
}

#[cfg(test)]
mod tests;
