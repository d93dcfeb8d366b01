//! A change of one host's records, what must hold for it, and what DNS was found to hold.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::alias::Alias;
use super::marker::Marker;
use crate::name::{Fqdn, RecordName};
use serde::{Deserialize, Serialize};

/// What is to become of one family's RRset (A or AAAA) at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RrsetChange<A> {
    /// Leave it as DNS has it: no client has ever reported this family.
    Keep,
    /// Replace the RRset by this one address.
    Set(A),
    /// Remove the RRset.
    Remove,
}

/// The records of one host, brought to their new contents in one message: all of them, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostChange {
    /// TTL of everything written, in seconds.
    pub ttl: u32,
    /// What changes, by name; no name twice.
    pub names: Vec<NameChange>,
}

impl HostChange {
    /// A change of a host without aliases.
    pub fn of_name(ttl: u32, name: NameChange) -> Self {
        Self {
            ttl,
            names: vec![name],
        }
    }
}

/// The RRsets of one name and its ownership marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameChange {
    /// Below the apex of the zone.
    pub name: RecordName,
    pub records: Records,
    /// The marker to write in the same message; `None` removes it, which goes with the last RRset
    /// of ours at the name, or where the zone's records have none.
    pub marker: Option<Marker>,
    /// What must hold in DNS for the message to be applied.
    pub basis: Basis,
}

/// What is to stand at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    Addresses {
        ipv4: RrsetChange<Ipv4Addr>,
        ipv6: RrsetChange<Ipv6Addr>,
    },
    /// A CNAME to `target`. `stands`: under our marker there is one already, which counts on the
    /// basis of that marker only. No other data may be beside it (RFC 1034 section 3.6.2).
    Cname { target: Fqdn, stands: bool },
    /// No CNAME any more.
    NoCname,
}

/// What DNS holds of a host, as far as we know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Known {
    /// Seconds.
    pub ttl: u32,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    /// The aliases that are there: those with addresses have the host's.
    pub aliases: Box<[Alias]>,
}

impl Known {
    /// The same with aliases that may be there as well.
    pub fn with(mut self, pending: &[Alias]) -> Self {
        let is_new = |alias: &&Alias| self.aliases.iter().all(|known| known.name != alias.name);
        let new: Vec<_> = pending.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            let mut aliases = mem::take(&mut self.aliases).into_vec();
            aliases.extend(new);
            self.aliases = aliases.into();
        }
        self
    }

    /// Whether no record of the host is there.
    pub fn is_empty(&self) -> bool {
        self.ipv4.is_none() && self.ipv6.is_none() && self.aliases.is_empty()
    }
}

/// The prerequisites of a change of one name (RFC 2136 section 2.4): what we believe DNS holds.
///
/// Whatever the basis, a message that adds A or AAAA also requires that no CNAME is at the name,
/// because a server silently ignores an address beside a CNAME (RFC 2136 section 3.4.2.2), and one
/// that adds a CNAME requires that nothing else is there, for the same reason. One that adds a
/// marker where none was requires that no CNAME is at the marker's name; [`Basis::Adopt`] deletes
/// CNAMEs first instead. [`Basis::Unchecked`] requires nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// First write: marker, A, AAAA and CNAME are absent.
    Absent,
    /// The marker RRset is exactly this one TXT.
    Marker(Marker),
    /// There is no marker, and the RRsets are exactly these (`None`: absent).
    Rrsets {
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
        cname: Option<Fqdn>,
    },
    /// The zone's administrator consented to take the name over: only the TXT RRset at the marker's
    /// name must be as it was found (empty: absent), so that a message that comes late changes
    /// nothing. The marker, a CNAME and the RRsets that are set or removed are replaced.
    Adopt { marker_texts: Vec<String> },
    /// Nothing is required: the server does not take prerequisites.
    Unchecked,
}

impl Basis {
    /// Whether what was published, and not a marker, is the proof.
    pub fn is_unmarked(&self) -> bool {
        matches!(self, Self::Rrsets { .. } | Self::Unchecked)
    }
}

/// What queries at a name and its marker's name answered, from the server that took the last
/// message. Below a wildcard this may be the wildcard's data: it proves presence of nothing but our
/// own marker, and absence only where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The texts of the TXT RRset at the marker's name, as they are.
    pub marker_texts: Vec<String>,
    pub ipv4: Vec<Ipv4Addr>,
    pub ipv6: Vec<Ipv6Addr>,
    /// The target of a CNAME at the name.
    pub cname: Option<String>,
}
