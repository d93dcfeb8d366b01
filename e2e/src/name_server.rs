//! Name servers from Debian's packages, each on a loopback port and in a folder of its own.

mod daemon;
pub(crate) mod query;
mod tsig;

use std::{ops::Deref, time::Duration};

use anyhow::Result;

pub use self::{
    daemon::Daemon,
    query::Answer,
    tsig::{TsigAlgorithm, TsigKey},
};
use crate::{Bind, knot::Knot, powerdns::PowerDns};

/// A zone that a name server is primary for.
#[derive(Clone, Debug)]
pub struct ZoneSpec {
    /// The zone's name, without trailing dot.
    pub apex: String,
    /// The keys that may update it.
    pub keys: Vec<TsigKey>,
    /// Further lines of the zone file, such as `* 60 A 192.0.2.1`; names are relative to the apex.
    pub records: Vec<String>,
    /// Whether anyone may transfer it, with one of its keys or without; [`Daemon::dump`] always may.
    pub allow_transfer: bool,
}

impl ZoneSpec {
    /// The zone's contents: SOA, NS, the name server's address, then the test's own records.
    pub(crate) fn render_file(&self, serial: u32) -> String {
        let mut text = format!(
            "$ORIGIN {apex}.\n$TTL 60\n@ SOA ns1 hostmaster {serial} 3600 600 86400 60\n@ NS ns1\nns1 A 127.0.0.1\n",
            apex = self.apex
        );
        for record in &self.records {
            text += record;
            text.push('\n');
        }
        text
    }

    /// The file's name in the server's folder.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.zone", self.apex)
    }
}

/// How long a TCP connection may be idle before the server closes it; whole seconds. `None` is the
/// server's own default: 30 s of BIND, 10 s of Knot, 5 s of PowerDNS.
pub type IdleLimit = Option<Duration>;

/// The servers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// BIND 9.
    Bind,
    /// Knot DNS.
    Knot,
    /// PowerDNS Authoritative Server, with its SQLite backend.
    PowerDns,
}

impl Software {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Bind, Self::Knot, Self::PowerDns];
}

/// A name server of whichever software. What they have in common is [`Daemon`]'s.
#[derive(Debug)]
pub enum NameServer {
    /// BIND 9.
    Bind(Bind),
    /// Knot DNS.
    Knot(Knot),
    /// PowerDNS.
    PowerDns(PowerDns),
}

impl NameServer {
    /// Starts a server without zones and waits until it answers.
    ///
    /// # Errors
    /// With the end of its log.
    pub async fn start(software: Software, idle_limit: IdleLimit) -> Result<Self> {
        Ok(match software {
            Software::Bind => Self::Bind(Bind::start_with(idle_limit).await?),
            Software::Knot => Self::Knot(Knot::start_with(idle_limit).await?),
            Software::PowerDns => Self::PowerDns(PowerDns::start_with(idle_limit).await?),
        })
    }

    /// Adds a zone while the server runs, and waits until it is served. A zone of the same apex
    /// keeps its data and gets the new keys.
    ///
    /// # Errors
    /// Where the server refuses the zone.
    pub async fn add_zone(&self, zone: ZoneSpec) -> Result<()> {
        match self {
            Self::Bind(bind) => bind.add_zone(zone).await,
            Self::Knot(knot) => knot.add_zone(zone).await,
            Self::PowerDns(powerdns) => powerdns.add_zone(zone).await,
        }
    }
}

impl Deref for NameServer {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        match self {
            Self::Bind(bind) => bind,
            Self::Knot(knot) => knot,
            Self::PowerDns(powerdns) => powerdns,
        }
    }
}
