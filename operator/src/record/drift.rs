//! What DNS holds of many hosts, against what was published of them.
//!
//! What is as published costs a bit, and only what differs is kept: so a zone of any size may be
//! looked through record by record.

use std::collections::HashMap;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use dynhost_crds::host::AliasType;

use super::alias::Alias;
use super::change::{Found, Known, RrsetChange};
use super::contents::Data;
use super::desired::Desired;
use super::marker::{HostDigest, Marker, Nonce, OwnerId};
use crate::name::{Fqdn, RecordName};

/// What stands before a name in the name of its marker.
const MARKER_LABEL: &str = "_dynhost.";

/// Markers without a host that are kept; of more only the number.
const MOST_ORPHANS: usize = 1000;

/// What DNS should hold of a host: what was published, as far as it is ours to say.
///
/// The TTL is not looked at: a server may keep another one than it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    /// At its own name the host's family is left as DNS has it: nobody has reported it.
    keeps_ipv4: bool,
    keeps_ipv6: bool,
    aliases: Box<[Alias]>,
    /// `None`: the zone's records have none.
    marker: Option<(HostDigest, Nonce)>,
}

impl Expected {
    /// Of a host that is published as `known` under `marker`; `desired` tells which families are
    /// left as DNS has them.
    pub fn new(known: &Known, marker: Option<&Marker>, desired: &Desired) -> Self {
        Self {
            ipv4: known.ipv4,
            ipv6: known.ipv6,
            keeps_ipv4: desired.ipv4 == RrsetChange::Keep,
            keeps_ipv6: desired.ipv6 == RrsetChange::Keep,
            aliases: known.aliases.clone(),
            marker: marker.map(|marker| (marker.host, marker.nonce)),
        }
    }

    /// What stands at one of the host's names: 0 is its own, and then its aliases follow.
    fn at(&self, place: usize) -> AtPlace {
        let alias = place
            .checked_sub(1)
            .and_then(|alias| self.aliases.get(alias));
        let is_cname = alias.is_some_and(|alias| alias.kind == AliasType::Cname);
        AtPlace {
            ipv4: self.ipv4.filter(|_| !is_cname),
            ipv6: self.ipv6.filter(|_| !is_cname),
            keeps_ipv4: self.keeps_ipv4 && alias.is_none(),
            keeps_ipv6: self.keeps_ipv6 && alias.is_none(),
            is_cname,
            has_marker: self.marker.is_some(),
        }
    }
}

/// What stands at one name.
struct AtPlace {
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    keeps_ipv4: bool,
    keeps_ipv6: bool,
    /// A CNAME to the host's own name.
    is_cname: bool,
    has_marker: bool,
}

impl AtPlace {
    /// Whether what was seen as expected is all that is expected, and what was found beside it is
    /// of no account.
    fn is_held(&self, seen: Seen, odd: Option<&Found>) -> bool {
        let all = seen.marker == self.has_marker
            && (seen.ipv4 == self.ipv4.is_some() || self.keeps_ipv4)
            && (seen.ipv6 == self.ipv6.is_some() || self.keeps_ipv6)
            && seen.cname == self.is_cname;
        let is_clean = odd.is_none_or(|odd| {
            (odd.marker_texts.is_empty() || !self.has_marker)
                && (odd.ipv4.is_empty() || self.keeps_ipv4)
                && (odd.ipv6.is_empty() || self.keeps_ipv6)
                && odd.cname.is_none()
        });
        all && is_clean
    }
}

/// What was seen at a name as it was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    marker: bool,
    ipv4: bool,
    ipv6: bool,
    cname: bool,
}

/// A host that is not as it was published, and what was found of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifted {
    /// What was published when it was compared: where that is another by now, this says nothing.
    pub expected: Expected,
    found: Vec<(RecordName, Found)>,
}

impl Drifted {
    /// Whether a marker of the host was found that is not the published one: somebody of ours has
    /// written it.
    pub fn has_another_marker(&self) -> bool {
        let Some((host, nonce)) = self.expected.marker else {
            return false;
        };
        let mut texts = self.found.iter().flat_map(|(_, found)| &found.marker_texts);
        texts.any(|text| {
            let marker = Marker::parse(text);
            marker.is_ok_and(|marker| marker.host == host && marker.nonce != nonce)
        })
    }

    /// What was found at a name; nothing where it was not looked at, since it was not published.
    pub fn at(&self, name: &RecordName) -> Found {
        let found = self.found.iter().find(|(at, _)| at == name);
        found.map(|(_, found)| found.clone()).unwrap_or_default()
    }
}

/// A marker of our owner id at a name that no host of the comparison has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pub name: RecordName,
    pub host: HostDigest,
}

/// See the module's documentation. `H` is how the caller knows a host.
pub struct Comparison<H> {
    owner: OwnerId,
    hosts: Vec<Entry<H>>,
    /// The number of the host at a name, and the place of the name among the host's.
    places: HashMap<RecordName, (usize, usize)>,
    /// What is not as published.
    odd: HashMap<(usize, usize), Found>,
    orphans: Vec<Orphan>,
    /// Those that are not kept.
    further_orphans: usize,
}

struct Entry<H> {
    host: H,
    hostname: Fqdn,
    expected: Expected,
    seen: Seen,
    seen_at_aliases: Box<[Seen]>,
}

impl<H> Entry<H> {
    fn name(&self, place: usize) -> RecordName {
        let alias = place
            .checked_sub(1)
            .and_then(|alias| self.expected.aliases.get(alias));
        alias.map_or_else(|| self.hostname.clone().into(), |alias| alias.name.clone())
    }

    fn seen(&self, place: usize) -> Seen {
        match place.checked_sub(1) {
            None => self.seen,
            Some(alias) => self.seen_at_aliases.get(alias).copied().unwrap_or_default(),
        }
    }

    fn seen_mut(&mut self, place: usize) -> &mut Seen {
        let alias = place.checked_sub(1);
        match alias.and_then(|alias| self.seen_at_aliases.get_mut(alias)) {
            Some(seen) => seen,
            None => &mut self.seen,
        }
    }

    fn places(&self) -> RangeInclusive<usize> {
        0..=self.expected.aliases.len()
    }

    /// All that was found at a name: what is odd, and what was seen as published.
    fn found(&self, place: usize, odd: Found, owner: &OwnerId) -> Found {
        let Expected {
            ipv4, ipv6, marker, ..
        } = &self.expected;
        let seen = self.seen(place);
        let marker = marker.filter(|_| seen.marker);
        let marker = marker.map(|(host, nonce)| Marker::new(owner.clone(), host, nonce));
        let mut found = odd;
        found
            .marker_texts
            .extend(marker.map(|marker| marker.to_string()));
        found.ipv4.extend(ipv4.filter(|_| seen.ipv4));
        found.ipv6.extend(ipv6.filter(|_| seen.ipv6));
        if seen.cname {
            found.cname = Some(format!("{}.", self.hostname));
        }
        // As queries tell it.
        found.marker_texts.sort_unstable();
        found.ipv4.sort_unstable();
        found.ipv6.sort_unstable();
        found
    }
}

impl<H> Comparison<H> {
    /// Of about so many hosts, whose markers `owner` writes.
    pub fn new(owner: OwnerId, hosts: usize) -> Self {
        Self {
            owner,
            hosts: Vec::with_capacity(hosts),
            places: HashMap::with_capacity(hosts),
            odd: HashMap::new(),
            orphans: Vec::new(),
            further_orphans: 0,
        }
    }

    /// Adds a host; one that has a name of another is left out, since nobody knows whose it is.
    pub fn expect(&mut self, host: H, hostname: &Fqdn, expected: Expected) {
        let number = self.hosts.len();
        let entry = Entry {
            host,
            hostname: hostname.clone(),
            seen: Seen::default(),
            seen_at_aliases: expected.aliases.iter().map(|_| Seen::default()).collect(),
            expected,
        };
        let mut names = entry.places().map(|place| entry.name(place));
        if names.any(|name| self.places.contains_key(&name)) {
            return;
        }
        for place in entry.places() {
            self.places.insert(entry.name(place), (number, place));
        }
        self.hosts.push(entry);
    }

    /// Whether there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The names of all hosts.
    pub fn names(&self) -> impl Iterator<Item = &RecordName> {
        self.places.keys()
    }

    /// Takes a record of the zone, at a name in lower case and without the dot at its end.
    pub fn take(&mut self, name: &str, data: Data<'_>) {
        let (name, is_marker) = match name.strip_prefix(MARKER_LABEL) {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        match (self.places.get(name), is_marker) {
            (Some(at), true) => self.take_marker(*at, data),
            (Some(at), false) => self.take_record(*at, data),
            (None, true) => self.take_orphan(name, &data),
            (None, false) => {}
        }
    }

    /// Takes what queries said of one of the names.
    pub fn take_found(&mut self, name: &RecordName, found: Found) {
        let Some(at) = self.places.get(name).copied() else {
            return;
        };
        for text in found.marker_texts {
            self.take_marker(at, Data::Text(text.into()));
        }
        for address in found.ipv4 {
            self.take_record(at, Data::Ipv4(address));
        }
        for address in found.ipv6 {
            self.take_record(at, Data::Ipv6(address));
        }
        if let Some(target) = found.cname {
            self.take_record(at, Data::Cname(target.into()));
        }
    }

    fn take_marker(&mut self, at: (usize, usize), data: Data<'_>) {
        let text = match data {
            Data::Text(text) => text.into_owned(),
            // No marker can stand beside it.
            Data::Cname(target) => format!("CNAME {target}"),
            Data::Ipv4(_) | Data::Ipv6(_) | Data::Other(_) => return,
        };
        let Some(entry) = self.hosts.get_mut(at.0) else {
            return;
        };
        let expected = entry.expected.marker;
        let expected = expected.map(|(host, nonce)| Marker::new(self.owner.clone(), host, nonce));
        match expected.is_some_and(|expected| Marker::parse(&text) == Ok(expected)) {
            true => entry.seen_mut(at.1).marker = true,
            false => self.odd.entry(at).or_default().marker_texts.push(text),
        }
    }

    fn take_record(&mut self, at: (usize, usize), data: Data<'_>) {
        let Some(entry) = self.hosts.get_mut(at.0) else {
            return;
        };
        let expected = entry.expected.at(at.1);
        match data {
            Data::Ipv4(address) if expected.ipv4 == Some(address) => {
                entry.seen_mut(at.1).ipv4 = true;
            }
            Data::Ipv4(address) => self.odd.entry(at).or_default().ipv4.push(address),
            Data::Ipv6(address) if expected.ipv6 == Some(address) => {
                entry.seen_mut(at.1).ipv6 = true;
            }
            Data::Ipv6(address) => self.odd.entry(at).or_default().ipv6.push(address),
            Data::Cname(target) => {
                let hostname = entry.hostname.as_str();
                let is_ours = target
                    .strip_suffix('.')
                    .is_some_and(|target| target.eq_ignore_ascii_case(hostname));
                match expected.is_cname && is_ours {
                    true => entry.seen_mut(at.1).cname = true,
                    false => self.odd.entry(at).or_default().cname = Some(target.into_owned()),
                }
            }
            // They may stand beside addresses, and cannot beside a CNAME.
            Data::Text(_) | Data::Other(_) => {}
        }
    }

    fn take_orphan(&mut self, name: &str, data: &Data<'_>) {
        let Data::Text(text) = data else {
            return;
        };
        let marker = Marker::parse(text).ok();
        let marker = marker.filter(|marker| marker.owner == self.owner);
        let (Some(marker), Ok(name)) = (marker, RecordName::parse(name)) else {
            return;
        };
        if self.orphans.len() < MOST_ORPHANS {
            let host = marker.host;
            self.orphans.push(Orphan { name, host });
        } else {
            self.further_orphans += 1;
        }
    }

    /// The markers of our owner id at names that no host here has, and how many more there are.
    pub fn take_orphans(&mut self) -> (Vec<Orphan>, usize) {
        (
            mem::take(&mut self.orphans),
            mem::take(&mut self.further_orphans),
        )
    }

    /// The hosts of which something is not as published, now that all has been taken.
    pub fn drifted(self) -> impl Iterator<Item = (H, Drifted)> {
        let Self {
            owner,
            hosts,
            mut odd,
            ..
        } = self;
        hosts
            .into_iter()
            .enumerate()
            .filter_map(move |(number, entry)| {
                let is_held = |place| {
                    let at = entry.expected.at(place);
                    at.is_held(entry.seen(place), odd.get(&(number, place)))
                };
                if entry.places().all(is_held) {
                    return None;
                }
                let found = entry.places().map(|place| {
                    let odd = odd.remove(&(number, place)).unwrap_or_default();
                    (entry.name(place), entry.found(place, odd, &owner))
                });
                let found = found.collect();
                let expected = entry.expected.clone();
                Some((entry.host, Drifted { expected, found }))
            })
    }
}

#[cfg(test)]
mod tests;
