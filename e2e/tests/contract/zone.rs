//! A zone of a test's own, on a server of its own, and the provider that writes it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use dynhost::leader::fence::Fence;
use dynhost::name::{Fqdn, RecordName};
use dynhost::provider::rfc2136::tsig::TsigKey;
use dynhost::provider::rfc2136::{KeySource, Rfc2136};
use dynhost::provider::{Applied, ApplyError, Provider};
use dynhost::record::change::{Basis, HostChange, NameChange, Records, RrsetChange};
use dynhost::record::marker::{HostDigest, Marker, Nonce};
use dynhost_e2e::{IdleLimit, NameServer, Software, TsigAlgorithm, ZoneSpec};
use futures::FutureExt;

pub(crate) use RrsetChange::{Keep, Remove, Set};

pub(crate) const APEX: &str = "dyn.example.org";

/// TTL of what the tests write, in seconds.
pub(crate) const TTL: u32 = 60;

pub(crate) struct Zone {
    pub(crate) server: NameServer,
    pub(crate) key: dynhost_e2e::TsigKey,
    pub(crate) provider: Rfc2136,
}

impl Zone {
    /// A zone with `records` in it, relative to its apex.
    pub(crate) async fn start<Record: AsRef<str>>(
        software: Software,
        records: &[Record],
    ) -> Result<Self> {
        Self::start_with(software, None, records).await
    }

    pub(crate) async fn start_with<Record: AsRef<str>>(
        software: Software,
        idle_limit: IdleLimit,
        records: &[Record],
    ) -> Result<Self> {
        let server = NameServer::start(software, idle_limit).await?;
        let key = dynhost_e2e::TsigKey::generate(TsigAlgorithm::HmacSha256)?;
        let records = records.iter().map(|record| record.as_ref().to_owned());
        server
            .add_zone(ZoneSpec {
                apex: APEX.to_owned(),
                keys: vec![key.clone()],
                records: records.collect(),
                allow_transfer: false,
            })
            .await?;
        let provider = provider(APEX, server.address(), &key)?;
        Ok(Self {
            server,
            key,
            provider,
        })
    }

    /// A provider for the same zone that reaches it by another address.
    pub(crate) fn provider_at(&self, address: SocketAddr) -> Result<Rfc2136> {
        provider(APEX, address, &self.key)
    }

    /// What the zone holds beside its SOA and its name server, sorted, each record as
    /// `name ttl type data` with the name relative to the apex, and `#1` for the marker with
    /// nonce 1.
    pub(crate) async fn records(&self) -> Result<Vec<String>> {
        let below_apex = format!(".{APEX}. ");
        let records = self.server.dump(APEX).await?;
        let records = records
            .iter()
            .filter(|record| !record.starts_with("ns1.") && !record.contains(" NS "))
            .map(|record| {
                let record = record
                    .replacen(&below_apex, " ", 1)
                    .replacen(" IN ", " ", 1);
                (0..16).fold(record, |record, nonce| {
                    record.replace(&marker(nonce).to_string(), &format!("#{nonce}"))
                })
            });
        let mut records: Vec<_> = records.collect();
        records.sort();
        Ok(records)
    }
}

pub(crate) fn provider(
    apex: &str,
    server: SocketAddr,
    key: &dynhost_e2e::TsigKey,
) -> Result<Rfc2136> {
    let key = parse_key(key)?;
    let source: KeySource = Box::new(move || {
        let key = key.clone();
        async move { Ok(key) }.boxed()
    });
    let server = server.to_string().parse()?;
    Ok(Rfc2136::new(
        Fqdn::parse(apex)?,
        vec![server],
        source,
        &Arc::new(Fence::open()),
    ))
}

pub(crate) fn parse_key(key: &dynhost_e2e::TsigKey) -> Result<TsigKey> {
    let algorithm = key.algorithm.name().parse()?;
    Ok(TsigKey::new(&key.name, algorithm, key.secret.as_bytes())?)
}

/// Applies one change.
pub(crate) async fn apply(provider: &Rfc2136, change: HostChange) -> Result<Applied, ApplyError> {
    let mut outcomes = provider.apply(&[change]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// What an outcome is, and with it what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Unauthorized,
    CredentialsMissing,
    PreconditionFailed,
    Rejected,
    Unavailable,
    Unknown,
}

impl Outcome {
    pub(crate) fn of<T>(outcome: &Result<T, ApplyError>) -> Self {
        match outcome {
            Ok(_) => Self::Done,
            Err(ApplyError::Unauthorized(_)) => Self::Unauthorized,
            Err(ApplyError::CredentialsMissing(_)) => Self::CredentialsMissing,
            Err(ApplyError::PreconditionFailed(_)) => Self::PreconditionFailed,
            Err(ApplyError::Rejected(_)) => Self::Rejected,
            Err(ApplyError::Unavailable { .. }) => Self::Unavailable,
            Err(ApplyError::Unknown(_)) => Self::Unknown,
        }
    }
}

/// A name below the apex.
pub(crate) fn name(relative: &str) -> RecordName {
    RecordName::parse(&format!("{relative}.{APEX}")).unwrap()
}

/// A marker of ours, with one of sixteen nonces.
pub(crate) fn marker(nonce: u8) -> Marker {
    assert!(nonce < 16);
    let owner = "home".parse().unwrap();
    let host = HostDigest::of("family", "home");
    Marker::new(owner, host, Nonce::from_bits(nonce.into()))
}

/// Addresses as texts.
pub(crate) fn addresses(ipv4: RrsetChange<&str>, ipv6: RrsetChange<&str>) -> Records {
    fn parse<A: std::str::FromStr<Err: std::fmt::Debug>>(
        change: RrsetChange<&str>,
    ) -> RrsetChange<A> {
        match change {
            Keep => Keep,
            Set(text) => Set(text.parse().unwrap()),
            Remove => Remove,
        }
    }
    Records::Addresses {
        ipv4: parse(ipv4),
        ipv6: parse(ipv6),
    }
}

/// The first write of an A RRset at a name relative to the apex, with nonce 1.
pub(crate) fn first_write(relative: &str, ipv4: &str) -> HostChange {
    replace_ipv4(relative, ipv4, 1, Basis::Absent)
}

/// Replaces the A RRset of a name whose marker has nonce 1 by one with nonce 2.
pub(crate) fn replacement(relative: &str, ipv4: &str) -> HostChange {
    replace_ipv4(relative, ipv4, 2, Basis::Marker(marker(1)))
}

fn replace_ipv4(relative: &str, ipv4: &str, nonce: u8, basis: Basis) -> HostChange {
    let change = NameChange {
        name: name(relative),
        records: addresses(Set(ipv4), Keep),
        marker: Some(marker(nonce)),
        basis,
    };
    HostChange::of_name(TTL, change)
}
