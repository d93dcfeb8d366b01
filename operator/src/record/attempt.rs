//! One attempt to bring a host's records to what is desired: which message is next, and what its
//! outcome teaches.
//!
//! All names of a host go out in one message under one new marker. Where that is refused and it is
//! not known which name is to blame, the names go out one by one, under one marker all the same, so
//! that a name which somebody else has taken does not keep the others from being right.

use std::collections::{HashMap, HashSet};
use std::mem;

use dynhost_crds::host::AliasType;
use dynhost_crds::zone::OwnershipMode;

use super::alias::Alias;
use super::change::{Basis, Found, Known, Records, RrsetChange};
use super::desired::Desired;
use super::marker::Marker;
use super::recovery::{AtName, Attempted, Ours, Recovery, recover};
use crate::name::{Fqdn, RecordName};

/// Steps of one attempt for each name.
const STEPS: usize = 8;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Attempt {
    hostname: Fqdn,
    ours: Ours,
    /// What DNS holds of ours, as of the last message that was applied.
    known: Known,
    /// The marker that stands beside it.
    marker: Option<Marker>,
    /// It is written even where it seems to be there.
    in_doubt: bool,
    one_by_one: bool,
    /// Whether all names were refused together before.
    was_refused: bool,
    /// Names that are right already, while they go out one by one.
    settled: HashSet<RecordName>,
    /// What was found out of single names.
    found: HashMap<RecordName, Lookup>,
    refused: HashMap<RecordName, Vec<Basis>>,
    /// Names that somebody else has, and what is there.
    foreign: Vec<(RecordName, String)>,
    passes: u32,
}

#[derive(Debug, Clone)]
struct Lookup {
    basis: Basis,
    /// A CNAME stands at the name.
    cname: bool,
}

/// The next message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub names: Vec<PlannedName>,
    /// What DNS holds of ours once all names are written.
    pub after: Known,
    /// Read the names first and tell [`Attempt::learn`]: nothing else protects what is there.
    pub needs_look: bool,
}

impl Step {
    /// Whether the host's first name is written where nothing is: no marker fences it.
    pub fn creates(&self) -> bool {
        let first = self.names.first();
        first.is_some_and(|name| matches!(name.basis, Basis::Absent | Basis::Unchecked))
    }

    /// The aliases that this message writes for the first time, as far as `told` of them goes.
    pub fn new_aliases(&self, told: &[&[Alias]]) -> Vec<Alias> {
        let is_told = |alias: &Alias| told.iter().any(|told| told.contains(alias));
        let is_written = |alias: &Alias| self.names.iter().any(|name| name.name == alias.name);
        let new = self.after.aliases.iter();
        new.filter(|alias| is_written(alias) && !is_told(alias))
            .cloned()
            .collect()
    }
}

/// One name of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedName {
    pub name: RecordName,
    pub records: Records,
    pub basis: Basis,
    /// Whether a marker stays beside the records: it goes with the last of them.
    pub keeps_marker: bool,
}

impl PlannedName {
    /// Whether nothing is to be left at the name.
    fn is_removal(&self) -> bool {
        let all = Records::Addresses {
            ipv4: RrsetChange::Remove,
            ipv6: RrsetChange::Remove,
        };
        self.records == Records::NoCname || self.records == all
    }
}

impl Attempt {
    /// `in_doubt`: DNS may say something else than `known`.
    pub fn new(
        hostname: Fqdn,
        ours: Ours,
        known: Known,
        marker: Option<Marker>,
        in_doubt: bool,
    ) -> Self {
        Self {
            hostname,
            ours,
            known,
            marker,
            in_doubt,
            one_by_one: false,
            was_refused: false,
            settled: HashSet::new(),
            found: HashMap::new(),
            refused: HashMap::new(),
            foreign: Vec::new(),
            passes: 0,
        }
    }

    /// Aliases may be there as well that were announced, and of which nobody knows what became.
    pub fn with_announced(mut self, pending: &[Alias]) -> Self {
        let told = self.known.aliases.len();
        self.known = mem::take(&mut self.known).with(pending);
        let is_unproved = self.known.aliases.len() > told;
        // Only a look tells whose they are.
        self.in_doubt |= is_unproved && self.ours.mode == OwnershipMode::None;
        self
    }

    /// After so many steps somebody else is writing the same records all the time. What is to go
    /// takes steps as well.
    pub fn most_steps(&self, desired: &Desired) -> usize {
        let is_known = |alias: &&Alias| self.known.aliases.iter().any(|a| a.name == alias.name);
        let new = desired.aliases.iter().filter(|alias| !is_known(alias));
        STEPS * (1 + self.known.aliases.len() + new.count())
    }

    /// DNS was found to hold something else than what is known here: `found` tells what, at each
    /// name. `unsent`: a marker that no message has brought.
    pub fn start_from(
        &mut self,
        desired: &Desired,
        found: impl Fn(&RecordName) -> Found,
        unsent: &Marker,
        may_adopt: impl Fn(&RecordName) -> bool,
    ) {
        self.in_doubt = true;
        if let Some(step) = self.next(desired) {
            let found: Vec<_> = step
                .names
                .iter()
                .map(|planned| found(&planned.name))
                .collect();
            self.learn(step, &found, false, unsent, may_adopt);
        }
    }

    /// Whose records they are.
    pub fn ours(&self) -> &Ours {
        &self.ours
    }

    /// What DNS holds of ours, and under which marker.
    pub fn state(&self) -> (&Known, Option<&Marker>) {
        (&self.known, self.marker.as_ref())
    }

    /// Names that somebody else has, and what is there.
    pub fn foreign(&self) -> &[(RecordName, String)] {
        &self.foreign
    }

    /// The message that comes next; `None`: DNS says what is desired, but for foreign names.
    pub fn next(&self, desired: &Desired) -> Option<Step> {
        let mut desired = desired.clone();
        if !self.foreign.is_empty() {
            if self.is_foreign(&self.hostname.clone().into()) {
                return None;
            }
            let aliases = desired.aliases.iter();
            let free = aliases.filter(|alias| !self.is_foreign(&alias.name));
            desired.aliases = free.cloned().collect();
        }
        let after = after(&desired, &self.known);
        let says_it = after == self.known || after.is_empty() && self.known.is_empty();
        if says_it && !self.in_doubt {
            return None;
        }
        let mut names = self.names(&desired, &after);
        if self.one_by_one {
            names.retain(|name| !self.settled.contains(&name.name));
            names.truncate(1);
        }
        let is_unseen = |name: &PlannedName| {
            let steady = !self.in_doubt && !self.published_at(&name.name).is_empty();
            name.basis == Basis::Unchecked && !steady && !self.found.contains_key(&name.name)
        };
        Some(Step {
            needs_look: names.iter().any(is_unseen),
            after: self.after_this_pass(after),
            names,
        })
    }

    /// An alias whose kind changes is removed now and written in the next pass, since only an
    /// absent name is proved free of what a CNAME cannot stand beside.
    fn after_this_pass(&self, mut after: Known) -> Known {
        let stays = |alias: &&Alias| !self.changes_kind(alias);
        after.aliases = after.aliases.iter().filter(stays).cloned().collect();
        after
    }

    fn changes_kind(&self, alias: &Alias) -> bool {
        let known = self.known.aliases.iter().find(|a| a.name == alias.name);
        known.is_some_and(|known| known.kind != alias.kind)
    }

    fn names(&self, desired: &Desired, after: &Known) -> Vec<PlannedName> {
        let has_marker = self.ours.mode == OwnershipMode::Marker;
        let host = PlannedName {
            name: self.hostname.clone().into(),
            records: Records::Addresses {
                ipv4: desired.ipv4,
                ipv6: desired.ipv6,
            },
            basis: self.basis(&self.hostname.clone().into()),
            keeps_marker: has_marker && !after.is_empty(),
        };
        let written = after
            .aliases
            .iter()
            .filter(|alias| !self.changes_kind(alias));
        let written = written.map(|alias| PlannedName {
            records: self.records(alias, after),
            basis: self.basis(&alias.name),
            keeps_marker: has_marker,
            name: alias.name.clone(),
        });
        let is_gone = |alias: &&Alias| !after.aliases.contains(alias);
        let removed = self.known.aliases.iter().filter(is_gone);
        let removed = removed.map(|alias| PlannedName {
            records: no_records(alias.kind),
            basis: self.basis(&alias.name),
            keeps_marker: false,
            name: alias.name.clone(),
        });
        let mut names = vec![host];
        names.extend(written.chain(removed));
        names
    }

    fn records(&self, alias: &Alias, after: &Known) -> Records {
        match alias.kind {
            AliasType::Address => Records::Addresses {
                ipv4: after.ipv4.map_or(RrsetChange::Remove, RrsetChange::Set),
                ipv6: after.ipv6.map_or(RrsetChange::Remove, RrsetChange::Set),
            },
            AliasType::Cname => Records::Cname {
                target: self.hostname.clone(),
                stands: match self.found.get(&alias.name) {
                    // Only under our marker is it ours.
                    Some(lookup) => lookup.cname && matches!(lookup.basis, Basis::Marker(_)),
                    None => self.known.aliases.contains(alias),
                },
            },
        }
    }

    fn basis(&self, name: &RecordName) -> Basis {
        if let Some(lookup) = self.found.get(name) {
            return lookup.basis.clone();
        }
        if self.ours.mode == OwnershipMode::None {
            return Basis::Unchecked;
        }
        let is_new = *name != self.hostname && self.published_at(name).is_empty();
        match &self.marker {
            Some(marker) if !is_new => Basis::Marker(marker.clone()),
            _ => match self.published_at(name) {
                nothing if nothing.is_empty() => Basis::Absent,
                published => published.basis(),
            },
        }
    }

    fn published_at(&self, name: &RecordName) -> AtName {
        published_at(&self.known, &self.hostname, name)
    }

    fn is_foreign(&self, name: &RecordName) -> bool {
        self.foreign.iter().any(|(foreign, _)| foreign == name)
    }

    /// How many times all names have been brought to what is desired.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Whether the names go out one by one, and the host's own, which is the first, has: the others
    /// get the same marker.
    pub fn is_mid_pass(&self) -> bool {
        self.settled.contains(self.hostname.as_str())
    }

    /// The message was applied, with this marker beside what has one.
    pub fn applied(&mut self, step: Step, marker: &Marker) {
        let Step { names, after, .. } = step;
        self.settled.extend(names.into_iter().map(|name| name.name));
        self.close_pass(after, marker);
    }

    /// Once every name is right, the pass is over.
    fn close_pass(&mut self, mut after: Known, marker: &Marker) {
        let aliases = mem::take(&mut after.aliases).into_iter();
        let free = aliases.filter(|alias| !self.is_foreign(&alias.name));
        after.aliases = free.collect();
        let mut aliases = after.aliases.iter().chain(&self.known.aliases);
        let is_open = |alias: &Alias| !self.settled.contains(&alias.name);
        if !self.is_mid_pass() || aliases.any(is_open) {
            return;
        }
        let has_marker = self.ours.mode == OwnershipMode::Marker && !after.is_empty();
        self.marker = has_marker.then(|| marker.clone());
        self.known = after;
        self.passes += 1;
        self.in_doubt = false;
        self.settled.clear();
        self.found.clear();
        self.refused.clear();
    }

    /// What the names of a message that was not applied for certain hold, in the same order.
    /// `refused`: the server said that a prerequisite does not hold. `sent`: the marker that it was
    /// to bring. `may_adopt` tells what the zone's administrator lets us take over.
    pub fn learn(
        &mut self,
        step: Step,
        found: &[Found],
        refused: bool,
        sent: &Marker,
        may_adopt: impl Fn(&RecordName) -> bool,
    ) {
        let is_single = step.names.len() == 1;
        let recoveries: Vec<_> = step
            .names
            .iter()
            .zip(found)
            .map(|(planned, found)| {
                let tried = self.refused.entry(planned.name.clone()).or_default();
                if refused && is_single && !tried.contains(&planned.basis) {
                    tried.push(planned.basis.clone());
                }
                let attempted = Attempted {
                    sent: Some(sent).filter(|_| planned.keeps_marker),
                    records: &planned.records,
                    refused: tried,
                    published: &published_at(&self.known, &self.hostname, &planned.name),
                    adopt: may_adopt(&planned.name),
                };
                recover(found, &self.ours, &attempted)
            })
            .collect();
        let is_applied = |recovery: &Recovery| *recovery == Recovery::Applied;
        // In one message all is applied, or nothing; what leaves no trace does not tell.
        let told = match self.ours.mode {
            OwnershipMode::Marker => recoveries.iter().any(is_applied),
            _ => recoveries.iter().all(is_applied),
        };
        if told && !step.needs_look {
            return self.applied(step, sent);
        }
        if !refused && !step.needs_look {
            // A copy of the lost message may still arrive: the next has another marker.
            self.settled.clear();
        }
        let mut is_clear = true;
        for ((planned, found), recovery) in step.names.iter().zip(found).zip(recoveries) {
            match recovery {
                Recovery::Applied => {
                    let basis = match self.ours.mode {
                        OwnershipMode::None => Basis::Unchecked,
                        _ => as_found(found).basis(),
                    };
                    self.look_up(planned, found, basis);
                }
                Recovery::Retry(basis) => {
                    is_clear &= matches!(basis, Basis::Marker(_)) || *found == Found::default();
                    self.look_up(planned, found, basis);
                }
                Recovery::Foreign(what) => {
                    self.give_up(&planned.name);
                    // Of an alias that is to go, nothing of ours is there: so it has gone.
                    match planned.is_removal() && planned.name != self.hostname {
                        true => drop(self.settled.insert(planned.name.clone())),
                        false => self.foreign.push((planned.name.clone(), what)),
                    }
                }
            }
        }
        if refused && !is_single {
            self.one_by_one = mem::replace(&mut self.was_refused, true) || !is_clear;
        }
        if self.is_mid_pass() {
            self.close_pass(step.after, sent);
        }
    }

    fn look_up(&mut self, planned: &PlannedName, found: &Found, basis: Basis) {
        if planned.name == self.hostname {
            match basis {
                // The name is ours, or becomes ours, with what stands there.
                Basis::Marker(_) | Basis::Adopt { .. } | Basis::Unchecked => {
                    self.known.ipv4 = found.ipv4.first().copied();
                    self.known.ipv6 = found.ipv6.first().copied();
                }
                Basis::Rrsets { .. } => {}
                Basis::Absent => {
                    self.known.ipv4 = None;
                    self.known.ipv6 = None;
                }
            }
            self.in_doubt = true;
        }
        let lookup = Lookup {
            basis,
            cname: found.cname.is_some(),
        };
        self.found.insert(planned.name.clone(), lookup);
        self.in_doubt = true;
    }

    fn give_up(&mut self, name: &RecordName) {
        let aliases = mem::take(&mut self.known.aliases);
        let rest = aliases.into_iter().filter(|alias| alias.name != *name);
        self.known.aliases = rest.collect();
    }
}

/// What of ours is published at one name of a host.
pub(super) fn published_at(known: &Known, hostname: &Fqdn, name: &RecordName) -> AtName {
    let addresses = AtName {
        ipv4: known.ipv4,
        ipv6: known.ipv6,
        cname: None,
    };
    if *name == *hostname {
        return addresses;
    }
    match known.aliases.iter().find(|alias| alias.name == *name) {
        None => AtName::default(),
        Some(alias) => match alias.kind {
            AliasType::Address => addresses,
            AliasType::Cname => AtName {
                cname: Some(hostname.clone()),
                ..AtName::default()
            },
        },
    }
}

fn as_found(found: &Found) -> AtName {
    AtName {
        ipv4: found.ipv4.first().copied(),
        ipv6: found.ipv6.first().copied(),
        cname: found.cname.as_deref().and_then(|t| Fqdn::parse(t).ok()),
    }
}

fn no_records(kind: AliasType) -> Records {
    match kind {
        AliasType::Address => Records::Addresses {
            ipv4: RrsetChange::Remove,
            ipv6: RrsetChange::Remove,
        },
        AliasType::Cname => Records::NoCname,
    }
}

/// What DNS holds of ours once `desired` is applied to `known`.
pub fn after(desired: &Desired, known: &Known) -> Known {
    fn family<A>(change: RrsetChange<A>, known: Option<A>) -> Option<A> {
        match change {
            RrsetChange::Keep => known,
            RrsetChange::Set(address) => Some(address),
            RrsetChange::Remove => None,
        }
    }
    let ipv4 = family(desired.ipv4, known.ipv4);
    let ipv6 = family(desired.ipv6, known.ipv6);
    let has_address = ipv4.is_some() || ipv6.is_some();
    Known {
        ttl: desired.ttl,
        ipv4,
        ipv6,
        aliases: match has_address {
            true => desired.aliases.clone(),
            false => Box::default(),
        },
    }
}

#[cfg(test)]
mod tests;
