//! A zone of a test's own and the provider that writes it.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Result;
use dynhost::leader::fence::Fence;
use dynhost::name::{Fqdn, RecordName};
use dynhost::provider::rfc2136::tsig::{Algorithm, TsigKey};
use dynhost::provider::rfc2136::{KeySource, Rfc2136};
use dynhost::provider::{Applied, ApplyError, Provider};
use dynhost::record::change::{Basis, HostChange, NameChange, Records, RrsetChange};
use dynhost::record::marker::{HostDigest, Marker, Nonce};
use dynhost_e2e::{Bind, TsigAlgorithm, ZoneSpec};
use futures::FutureExt;

pub(crate) use RrsetChange::{Keep, Remove, Set};

pub(crate) const APEX: &str = "dyn.example.org";

/// The names that the tests write, and in dumps `@` stands for it.
pub(crate) const HOST: &str = "home.dyn.example.org";

pub(crate) struct Zone {
    pub(crate) bind: Bind,
    pub(crate) key: dynhost_e2e::TsigKey,
    pub(crate) provider: Rfc2136,
}

impl Zone {
    /// A zone with `records` in it, relative to its apex.
    pub(crate) async fn start(records: &[&str]) -> Result<Self> {
        Self::start_with(records, TsigAlgorithm::HmacSha256).await
    }

    pub(crate) async fn start_with(records: &[&str], algorithm: TsigAlgorithm) -> Result<Self> {
        let bind = Bind::start().await?;
        let key = dynhost_e2e::TsigKey::generate(algorithm)?;
        bind.add_zone(spec(&key, records)).await?;
        let provider = provider(&[bind.address()], constant(parse_key(&key)?))?;
        Ok(Self {
            bind,
            key,
            provider,
        })
    }

    /// Another server with the same zone, the same key and data of its own.
    pub(crate) async fn beside(&self, records: &[&str]) -> Result<Bind> {
        let bind = Bind::start().await?;
        bind.add_zone(spec(&self.key, records)).await?;
        Ok(bind)
    }

    /// A provider for the same zone that reaches it by other addresses.
    pub(crate) fn provider_at(&self, servers: &[SocketAddr]) -> Result<Rfc2136> {
        provider(servers, constant(parse_key(&self.key)?))
    }

    pub(crate) async fn apply(&self, change: HostChange) -> Result<Applied, ApplyError> {
        apply(&self.provider, change).await
    }

    /// What the zone holds beside its SOA and its name server, sorted, each record as
    /// `name ttl type data`; markers are shortened to their nonce.
    pub(crate) async fn records(&self) -> Result<Vec<String>> {
        let records = self.bind.dump(APEX).await?;
        let mut records: Vec<_> = records
            .iter()
            .filter(|record| !record.starts_with("ns1.") && !record.contains(" NS "))
            .map(|record| {
                let record = record
                    .replace("home.dyn.example.org.", "@")
                    .replace(" IN ", " ");
                match record.split_once("v=1 ") {
                    Some((front, marker)) => {
                        let nonce = marker
                            .trim_end_matches('"')
                            .trim_start_matches(|c| c != 'n');
                        format!(
                            "{}{}",
                            front.trim_end_matches('"'),
                            nonce.replace("n=000000000000000", "#")
                        )
                    }
                    None => record,
                }
            })
            .collect();
        records.sort();
        Ok(records)
    }
}

fn spec(key: &dynhost_e2e::TsigKey, records: &[&str]) -> ZoneSpec {
    ZoneSpec {
        apex: APEX.to_owned(),
        keys: vec![key.clone()],
        records: records.iter().map(|record| (*record).to_owned()).collect(),
        allow_transfer: false,
    }
}

pub(crate) fn provider(servers: &[SocketAddr], key_source: KeySource) -> Result<Rfc2136> {
    let servers = servers
        .iter()
        .map(|address| address.to_string().parse())
        .collect::<Result<_, _>>()?;
    Ok(Rfc2136::new(
        Fqdn::parse(APEX)?,
        servers,
        key_source,
        &Arc::new(Fence::open()),
    ))
}

pub(crate) fn constant(key: TsigKey) -> KeySource {
    Box::new(move || {
        let key = key.clone();
        async move { Ok(key) }.boxed()
    })
}

pub(crate) fn parse_key(key: &dynhost_e2e::TsigKey) -> Result<TsigKey> {
    let algorithm: Algorithm = key.algorithm.name().parse()?;
    Ok(TsigKey::new(&key.name, algorithm, key.secret.as_bytes())?)
}

pub(crate) async fn apply(provider: &Rfc2136, change: HostChange) -> Result<Applied, ApplyError> {
    let mut outcomes = provider.apply(&[change]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

pub(crate) fn host() -> RecordName {
    RecordName::parse(HOST).unwrap()
}

/// The marker of this test's host, with one of sixteen nonces.
pub(crate) fn marker(nonce: u8) -> Marker {
    assert!(nonce < 16);
    let owner = "home".parse().unwrap();
    Marker::new(
        owner,
        HostDigest::of("family", "home"),
        Nonce::from_bits(nonce.into()),
    )
}

/// A change of [`HOST`], with addresses as texts.
pub(crate) fn change(
    ipv4: RrsetChange<&str>,
    ipv6: RrsetChange<&str>,
    marker: Option<Marker>,
    basis: Basis,
) -> HostChange {
    let name = NameChange {
        name: host(),
        records: Records::Addresses {
            ipv4: parse(ipv4),
            ipv6: parse(ipv6),
        },
        marker,
        basis,
    };
    HostChange::of_name(60, name)
}

fn parse<A: FromStr<Err: Debug>>(change: RrsetChange<&str>) -> RrsetChange<A> {
    match change {
        Keep => Keep,
        Set(text) => Set(text.parse().unwrap()),
        Remove => Remove,
    }
}

/// The first write of an A RRset, with nonce 1.
pub(crate) fn first_write(ipv4: &str) -> HostChange {
    change(Set(ipv4), Keep, Some(marker(1)), Basis::Absent)
}
