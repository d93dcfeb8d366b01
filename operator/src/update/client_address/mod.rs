//! Which address a request comes from, where proxies stand before the endpoint.
//!
//! The walk begins at the connection and goes from hop to hop for as long as the hop is a trusted
//! proxy: each wrote at the end of the header who had called it. The first hop that is not trusted
//! is the client. What stands left of it the client wrote itself, and it is never read.

mod entry;
mod forwarded;
mod header;

use std::fmt;
use std::net::IpAddr;

use super::cidr::Cidr;
use super::scope::{Scope, scope};
use entry::{Entries, Entry, EntryError};
pub use header::{AddressHeader, AddressHeaderError};

/// More proxies in a row than anybody has. A longer header is not read to its end.
const MAX_ENTRIES: usize = 32;

/// How much of an entry is shown to a person, in octets.
const MAX_SHOWN: usize = 64;

/// Whose word counts for where a request comes from. By default nobody's: the client is the
/// connection's other end.
#[derive(Clone, Debug, Default)]
pub struct ProxyTrust {
    /// The proxies' addresses. Whoever can connect from one of them can be any client.
    pub trusted: Vec<Cidr>,
    pub header: AddressHeader,
}

/// How a request's connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Without a PROXY protocol header: all that is known is the other end of TCP.
    Direct { peer: IpAddr },
    /// With one. No `source`: the peer speaks for itself (`LOCAL`), or for somebody that it cannot
    /// name (`UNKNOWN`).
    Announced {
        peer: IpAddr,
        source: Option<IpAddr>,
    },
}

/// Where a request comes from. Addresses are canonical: never IPv4-mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client's address, as far as the trusted proxies tell.
    Client(IpAddr),
    /// A trusted proxy does not tell who its client is. Nothing may be published from the
    /// connection, and no range of allowed sources contains it.
    Hidden {
        /// The last proxy that is known, for limits.
        last_hop: IpAddr,
    },
}

/// A walk told step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub origin: Origin,
    /// Sentences for a person, in the order of the walk, without line ends.
    pub lines: Vec<String>,
}

impl Origin {
    /// The client's address, where it is known.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Client(address) => Some(address),
            Self::Hidden { .. } => None,
        }
    }

    /// Whom the request is counted for: the client, else the proxy that hides it.
    pub fn source(self) -> IpAddr {
        match self {
            Self::Client(address) | Self::Hidden { last_hop: address } => address,
        }
    }
}

impl Connection {
    /// The other end of TCP.
    pub fn peer(self) -> IpAddr {
        match self {
            Self::Direct { peer } | Self::Announced { peer, .. } => peer,
        }
    }
}

impl ProxyTrust {
    /// Whether this is the address of a trusted proxy; an IPv4-mapped one counts as IPv4.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(address))
    }

    /// Where a request comes from. `lines` are the values of the header [`Self::header`] in the
    /// order of the request; they are not looked at unless the connection's other end is trusted.
    pub fn origin<'a>(
        &self,
        connection: Connection,
        mut lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Origin {
        self.walk(connection, &mut lines, |_| {})
    }

    /// The same, told step by step.
    pub fn explain<'a>(
        &self,
        connection: Connection,
        mut lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Explanation {
        let mut told = Vec::new();
        let origin = self.walk(connection, &mut lines, |step| {
            told.push(step.sentence(&self.header));
        });
        // The commonest mistake: a proxy that is not in the list of trusted ones.
        if !self.trusts(connection.peer()) {
            let ignored = lines.next_back().map(|line| Step::Ignored { line });
            told.extend(ignored.map(|step| step.sentence(&self.header)));
        }
        Explanation {
            origin,
            lines: told,
        }
    }

    fn walk<'a>(
        &self,
        connection: Connection,
        lines: &mut impl DoubleEndedIterator<Item = &'a [u8]>,
        mut tell: impl FnMut(Step<'a>),
    ) -> Origin {
        let mut announced = match connection {
            Connection::Direct { .. } => None,
            Connection::Announced { source, .. } => Some(source),
        };
        let mut entries = Entries::new(&self.header, lines);
        let mut read = 0;
        let mut teller = Teller::Connection;
        let mut hop = connection.peer().to_canonical();
        loop {
            let trusted = self.trusts(hop);
            tell(Step::Hop {
                teller,
                hop,
                trusted,
            });
            if !trusted {
                return Origin::Client(hop);
            }
            if let Some(source) = announced.take() {
                // Who speaks this protocol passes headers on as the client wrote them: where it
                // names nobody, nobody does.
                let Some(source) = source else {
                    tell(Step::NobodyAnnounced);
                    return Origin::Hidden { last_hop: hop };
                };
                teller = Teller::ProxyProtocol;
                hop = source.to_canonical();
                continue;
            }
            if read == MAX_ENTRIES {
                tell(Step::TooMany);
                return Origin::Hidden { last_hop: hop };
            }
            let Some(Entry { text, address }) = entries.next() else {
                // With a wrong header name every client would publish the proxy's own address. One
                // that is not public is published by nobody, and may be a client in the cluster.
                if read == 0 && scope(hop) == Scope::Global {
                    tell(Step::NobodyNamed);
                    return Origin::Hidden { last_hop: hop };
                }
                tell(Step::NothingLeft { hop, read });
                return Origin::Client(hop);
            };
            read += 1;
            teller = Teller::Header;
            hop = match address {
                Ok(address) => address,
                Err(error) => {
                    tell(Step::NotUnderstood { text, error });
                    return Origin::Hidden { last_hop: hop };
                }
            };
        }
    }
}

/// One step of a walk, for [`Explanation::lines`].
enum Step<'a> {
    Hop {
        teller: Teller,
        hop: IpAddr,
        trusted: bool,
    },
    NobodyAnnounced,
    NobodyNamed,
    NotUnderstood {
        text: &'a [u8],
        error: EntryError,
    },
    NothingLeft {
        hop: IpAddr,
        read: usize,
    },
    TooMany,
    /// An entry that nobody asks for.
    Ignored {
        line: &'a [u8],
    },
}

/// Who tells of a hop.
#[derive(Clone, Copy)]
enum Teller {
    Connection,
    ProxyProtocol,
    Header,
}

impl Step<'_> {
    fn sentence(&self, header: &AddressHeader) -> String {
        match self {
            Self::Hop {
                teller,
                hop,
                trusted,
            } => {
                let told = match teller {
                    Teller::Connection => format!("The connection comes from {hop}"),
                    Teller::ProxyProtocol => format!("Its PROXY protocol header names {hop}"),
                    Teller::Header => format!("{header} names {hop}"),
                };
                let judged = if *trusted {
                    "a trusted proxy"
                } else {
                    "which is not a trusted proxy, so it is the client"
                };
                format!("{told}, {judged}.")
            }
            Self::NobodyAnnounced => {
                "Its PROXY protocol header names nobody: the client is not known.".to_owned()
            }
            Self::NobodyNamed => format!(
                "The request has no {header}, and that proxy has a public address: the client is \
                 not known."
            ),
            Self::NotUnderstood { text, error } => format!(
                "The next entry of {header}, from the right, {error}: the client is not known. It is: {}",
                Shown(text)
            ),
            Self::NothingLeft { hop, read: 0 } => {
                format!("The request has no {header}, so {hop} is taken for the client.")
            }
            Self::NothingLeft { hop, .. } => {
                format!("{header} names nobody before it, so {hop} is taken for the client.")
            }
            Self::TooMany => format!(
                "{header} names more than {MAX_ENTRIES} trusted proxies: the client is not known."
            ),
            Self::Ignored { line } => format!(
                "{header} is not read, since only a trusted proxy's would count. It is: {}",
                Shown(line)
            ),
        }
    }
}

/// What somebody else wrote, on one line: the end of it, where it is long.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.trim_ascii();
        let hidden = text.len().saturating_sub(MAX_SHOWN);
        let dots = if hidden > 0 { "…" } else { "" };
        write!(f, "{dots}{}", text[hidden..].escape_ascii())
    }
}

#[cfg(test)]
mod tests;
