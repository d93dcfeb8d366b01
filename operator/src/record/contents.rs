//! What a zone holds, as far as a host can be concerned.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The data of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    /// The target, in lower case and with the dot at its end.
    Cname(Cow<'a, str>),
    /// A TXT record: one character-string as it is, several as in a zone file.
    Text(Cow<'a, str>),
    /// The number of another type.
    Other(u16),
}

/// Takes each record of a zone: the name of its owner in lower case and without the dot at its
/// end, its TTL in seconds, and its data.
pub type Visit<'v> = dyn FnMut(&str, u32, Data<'_>) + Send + 'v;
