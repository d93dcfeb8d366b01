//! The reference model: what a zone holds after what has been done to it.

use std::collections::{BTreeMap, BTreeSet};

/// A zone that hosts and others share. Names are relative to the apex, records as
/// `name ttl type data`.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// Records of others, to the letter.
    pub(super) foreign: BTreeSet<String>,
    /// By the objects' names, whose order is that of their creation.
    pub(super) hosts: BTreeMap<String, Host>,
    /// What hosts have in DNS, by their first label.
    pub(super) written: BTreeMap<&'static str, Written>,
    /// The third group of the prefix that the router has reported.
    pub(super) prefix: Option<u16>,
    /// How many hosts have been created.
    pub(super) created: usize,
}

/// A host's spec, and what its client has reported.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) label: &'static str,
    pub(super) ttl: Option<u32>,
    pub(super) only_ipv4: bool,
    pub(super) aliases: bool,
    pub(super) suspend: bool,
    /// It has no client, and its IPv6 address is made from the router's prefix.
    pub(super) is_behind_router: bool,
    /// `None`: never; then the address, unless it was withdrawn.
    pub(super) ipv4: Option<Option<String>>,
    pub(super) ipv6: Option<Option<String>>,
}

/// One host's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) by: String,
    ttl: u32,
    pub(super) ipv4: Option<String>,
    pub(super) ipv6: Option<String>,
    address_alias: bool,
    cname_alias: bool,
}

/// What a host's status must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// This reason of the condition Published.
    Published(&'static str),
    /// It has no claim on the name yet.
    NameConflict,
    /// Nothing is to be done, and whether it has been tried nevertheless nobody knows.
    Anything,
}

impl Written {
    pub(super) fn has_aliases(&self) -> bool {
        self.address_alias || self.cname_alias
    }

    pub(super) fn ipv6_record(&self, label: &str) -> Option<String> {
        let ttl = self.ttl;
        Some(format!("{label} {ttl} AAAA {}", self.ipv6.as_ref()?))
    }
}

impl World {
    /// The host that has the name: the first of those that want it.
    pub(super) fn holder(&self, label: &str) -> Option<(&String, &Host)> {
        self.hosts.iter().find(|(_, host)| host.label == label)
    }

    /// Brings what is written to what the holder of the name wants.
    pub(super) fn settle(&mut self, label: &'static str) {
        let Some((object, host)) = self.holder(label) else {
            return;
        };
        if host.suspend || self.is_in_the_way(label) {
            return;
        }
        let before = self.written.get(label);
        let family = |wanted: bool, observed: &Option<Option<String>>, before: Option<&String>| {
            match observed {
                _ if !wanted => None,
                None => before.cloned(),
                Some(address) => address.clone(),
            }
        };
        let ipv4 = before.and_then(|before| before.ipv4.as_ref());
        let ipv6 = before.and_then(|before| before.ipv6.as_ref());
        let now = Written {
            by: object.clone(),
            ttl: host.ttl.unwrap_or(60),
            ipv4: family(true, &host.ipv4, ipv4),
            ipv6: family(!host.only_ipv4, &self.ipv6_of(host), ipv6),
            address_alias: host.aliases && !self.is_in_the_way(&format!("a.{label}")),
            cname_alias: host.aliases && !self.is_anything_at(&format!("c.{label}")),
        };
        match now.ipv4.is_some() || now.ipv6.is_some() {
            true => self.written.insert(label, now),
            false => self.written.remove(label),
        };
    }

    fn ipv6_of(&self, host: &Host) -> Option<Option<String>> {
        match host.is_behind_router {
            true => Some(Some(format!("2001:db8:{:x}::1234", self.prefix?))),
            false => host.ipv6.clone(),
        }
    }

    /// Whether somebody else's records keep addresses from a name.
    pub(super) fn is_in_the_way(&self, name: &str) -> bool {
        let is_there = |name: &str, kinds: &[&str]| {
            let mut records = self.foreign.iter().map(|record| record.split(' '));
            records.any(|mut parts| {
                parts.next() == Some(name) && parts.nth(1).is_some_and(|kind| kinds.contains(&kind))
            })
        };
        is_there(name, &["A", "AAAA", "CNAME"])
            || is_there(&format!("_dynhost.{name}"), &["TXT", "CNAME"])
    }

    /// A CNAME stands alone.
    fn is_anything_at(&self, name: &str) -> bool {
        let front = format!("{name} ");
        self.is_in_the_way(name) || self.foreign.iter().any(|record| record.starts_with(&front))
    }

    /// Every record of ours, markers by their owner alone.
    pub(super) fn records(&self) -> BTreeSet<String> {
        let mut records = BTreeSet::new();
        for (label, written) in &self.written {
            let ttl = written.ttl;
            let alias = format!("a.{label}");
            let alias = Some(alias.as_str()).filter(|_| written.address_alias);
            for name in [Some(*label), alias].into_iter().flatten() {
                let ipv4 = written
                    .ipv4
                    .iter()
                    .map(|ipv4| format!("{name} {ttl} A {ipv4}"));
                let ipv6 = written
                    .ipv6
                    .iter()
                    .map(|ipv6| format!("{name} {ttl} AAAA {ipv6}"));
                records.extend(ipv4.chain(ipv6));
                records.insert(format!("_dynhost.{name} {ttl} TXT v=1 o=home"));
            }
            if written.cname_alias {
                records.insert(format!("c.{label} {ttl} CNAME {label}.APEX."));
                records.insert(format!("_dynhost.c.{label} {ttl} TXT v=1 o=home"));
            }
        }
        records
    }

    /// What a host's status must say.
    pub(super) fn told(&self, object: &str) -> Told {
        let Some(host) = self.hosts.get(object) else {
            return Told::Anything;
        };
        let label = host.label;
        if self
            .holder(label)
            .is_none_or(|(holder, _)| holder != object)
        {
            return Told::NameConflict;
        }
        let has_reported = host.ipv4.is_some() || self.ipv6_of(host).is_some();
        let wants = |observed: &Option<Option<String>>| matches!(observed, Some(Some(_)));
        let wants = wants(&host.ipv4) || !host.only_ipv4 && wants(&self.ipv6_of(host));
        let alias_is_free = !self.is_in_the_way(&format!("a.{label}"))
            && !self.is_anything_at(&format!("c.{label}"));
        match self.is_in_the_way(label) {
            _ if host.suspend => Told::Published("Suspended"),
            _ if !has_reported => Told::Published("AwaitingFirstUpdate"),
            _ if !wants => Told::Anything,
            true => Told::Published("ForeignRecord"),
            false if host.aliases && !alias_is_free => Told::Published("ForeignRecord"),
            false => Told::Published("Published"),
        }
    }
}
