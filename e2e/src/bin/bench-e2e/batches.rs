//! Many names in a message against one.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::Result;
use dynhost::name::RecordName;
use dynhost::provider::Provider as _;
use dynhost::record::change::{Basis, HostChange, NameChange, Records, RrsetChange};
use dynhost::record::marker::{HostDigest, Marker, Nonce};
use dynhost_e2e::stack::{Stack, Zone, ZoneOptions};

use crate::floor::provider;
use crate::raw_zone::{RawZone, Write};
use crate::report::{Part, Target, each, median};

/// Names in a message.
const BATCH: usize = 50;

/// Names, one to a message.
const SINGLES: usize = 1000;

/// Names in batches.
const BATCHED: usize = 10_000;

const ROUNDS: usize = 3;

/// Names a second of each round.
#[derive(Default)]
struct Rates {
    singles: Vec<f64>,
    batched: Vec<f64>,
}

impl Rates {
    fn ratio(&self) -> f64 {
        median(self.batched.iter().copied()) / median(self.singles.iter().copied())
    }
}

pub(crate) async fn measure(stack: &Stack) -> Result<Part> {
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let mut raw = RawZone::new(stack.bind.address(), &zone.apex, &zone.key)?;
    let product = provider(stack, &zone)?;
    let (mut of_raw, mut of_product) = (Rates::default(), Rates::default());
    // Another message number in each round, so that every one changes something. The first two
    // rounds make the names.
    for round in 0..=ROUNDS as u64 {
        let writes: Vec<_> = (0..BATCHED)
            .map(|i| write(&zone, "raw", i, round))
            .collect::<Result<_>>()?;
        let changes: Vec<_> = (0..BATCHED)
            .map(|i| change(&zone, "product", i, round))
            .collect::<Result<_>>()?;
        let raw_batched = rate(BATCHED, async || raw.write(&writes, BATCH, 1).await).await?;
        let product_batched = rate(BATCHED, async || {
            for some in changes.chunks(BATCH) {
                for outcome in product.apply(some).await {
                    outcome?;
                }
            }
            Ok(())
        })
        .await?;
        let writes: Vec<_> = (0..SINGLES)
            .map(|i| write(&zone, "raw1", i, round))
            .collect::<Result<_>>()?;
        let changes: Vec<_> = (0..SINGLES)
            .map(|i| change(&zone, "product1", i, round))
            .collect::<Result<_>>()?;
        let raw_singles = rate(SINGLES, async || raw.write(&writes, 1, 1).await).await?;
        let product_singles = rate(SINGLES, async || {
            for one in changes.chunks(1) {
                for outcome in product.apply(one).await {
                    outcome?;
                }
            }
            Ok(())
        })
        .await?;
        if round > 0 {
            of_raw.singles.push(raw_singles);
            of_raw.batched.push(raw_batched);
            of_product.singles.push(product_singles);
            of_product.batched.push(product_batched);
        }
    }
    Ok(part(&of_raw, &of_product))
}

async fn rate(names: usize, work: impl AsyncFnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work().await?;
    Ok(names as f64 / start.elapsed().as_secs_f64())
}

fn marker(zone: &Zone, kind: &str, host: usize, round: u64) -> Result<Marker> {
    let digest = HostDigest::of(&zone.namespace, &format!("{kind}{host}"));
    Ok(Marker::new(
        "bench".parse()?,
        digest,
        Nonce::from_bits(round),
    ))
}

fn address(host: usize, round: u64) -> Ipv4Addr {
    let [.., high, low] = host.to_be_bytes();
    Ipv4Addr::new(203, round.to_be_bytes()[7] + 1, high, low)
}

fn write(zone: &Zone, kind: &str, host: usize, round: u64) -> Result<Write> {
    let former = match round.checked_sub(1) {
        Some(former) => Some(marker(zone, kind, host, former)?.to_string()),
        None => None,
    };
    Ok(Write {
        hostname: format!("{kind}-{host}.{}", zone.apex),
        address: address(host, round),
        marker: marker(zone, kind, host, round)?.to_string(),
        former,
    })
}

fn change(zone: &Zone, kind: &str, host: usize, round: u64) -> Result<HostChange> {
    let change = NameChange {
        name: RecordName::parse(&format!("{kind}-{host}.{}", zone.apex))?,
        records: Records::Addresses {
            ipv4: RrsetChange::Set(address(host, round)),
            ipv6: RrsetChange::Keep,
        },
        marker: Some(marker(zone, kind, host, round)?),
        basis: match round.checked_sub(1) {
            Some(former) => Basis::Marker(marker(zone, kind, host, former)?),
            None => Basis::Absent,
        },
    };
    Ok(HostChange::of_name(60, change))
}

fn part(raw: &Rates, product: &Rates) -> Part {
    let page = format!(
        "\n## {BATCH} names in a message\n\nAddress and marker of each name are replaced where the former \
         marker is there, one message after the other over one connection; by messages of the \
         benchmark's own, and through the product's provider.\n\n\
         | names a second | of each round |\n|---|---|\n\
         | raw, one by one | {} |\n| raw, {BATCH} at a time | {} |\n\
         | dynhost, one by one | {} |\n| dynhost, {BATCH} at a time | {} |\n",
        each(&raw.singles, 0),
        each(&raw.batched, 0),
        each(&product.singles, 0),
        each(&product.batched, 0),
    );
    let targets = vec![Target {
        what: format!("{BATCH} names in a message: times the rate of one by one"),
        floor: Some(format!("{:.1}", raw.ratio())),
        product: format!("{:.1}", product.ratio()),
        ratio: Some(product.ratio() / raw.ratio()),
        target: "≥ 20",
        is_met: product.ratio() >= 20.0,
    }];
    Part { page, targets }
}
