//! A change of one host's records, what must hold for it, and what DNS was found to hold.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::marker::Marker;
use crate::name::Fqdn;

/// What is to become of one family's RRset (A or AAAA) of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RrsetChange<A> {
    /// Leave it as DNS has it: no client has ever reported this family.
    Keep,
    /// Replace the RRset by this one address.
    Set(A),
    /// Remove the RRset.
    Remove,
}

/// One host's RRsets and its ownership marker, brought to their new contents in one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostChange {
    /// The host's name, below the apex of the zone.
    pub name: Fqdn,
    /// TTL of everything written, in seconds.
    pub ttl: u32,
    /// The A RRset.
    pub ipv4: RrsetChange<Ipv4Addr>,
    /// The AAAA RRset.
    pub ipv6: RrsetChange<Ipv6Addr>,
    /// The marker to write in the same message; `None` removes it, which goes with the last RRset of ours.
    pub marker: Option<Marker>,
    /// What must hold in DNS for the message to be applied.
    pub basis: Basis,
}

/// The address RRsets of a host as DNS has them, as far as we know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Seconds.
    pub ttl: u32,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

/// The prerequisites of a change (RFC 2136 section 2.4): what we believe DNS holds.
///
/// Whatever the basis, a message that adds A or AAAA also requires that no CNAME is at the name,
/// because a server silently ignores an address beside a CNAME (RFC 2136 section 3.4.2.2), and one
/// that adds a marker where none was requires the same at the marker's name; [`Basis::Adopt`]
/// deletes both CNAMEs first instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// First write: marker, A, AAAA and CNAME are absent.
    Absent,
    /// The marker RRset is exactly this one TXT.
    Marker(Marker),
    /// The marker was lost: it is absent and the RRsets are exactly these (`None`: absent).
    Rrsets {
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
    },
    /// The zone's administrator consented to take the name over: no prerequisites, the marker,
    /// the CNAME and the RRsets that are set or removed are replaced.
    Adopt,
}

/// What queries at the host's name and its marker's name answered, from the server that took the
/// last message. Below a wildcard this may be the wildcard's data: it proves presence of nothing
/// but our own marker, and absence only where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The texts of the TXT RRset at the marker's name, as they are.
    pub marker_texts: Vec<String>,
    pub ipv4: Vec<Ipv4Addr>,
    pub ipv6: Vec<Ipv6Addr>,
    /// The target of a CNAME at the host's name.
    pub cname: Option<String>,
}
