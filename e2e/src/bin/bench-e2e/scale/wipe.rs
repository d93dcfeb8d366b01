//! A zone that has lost all records: how long until they are back, by how many messages.
//!
//! What makes the operator look is one client's report of a new address: its UPDATE finds the
//! marker absent. The time counts from that request, so that the report itself, its patch and the
//! refused UPDATE, are in it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dynhost_e2e::{TsigAlgorithm, TsigKey, ZoneSpec, random_hex};

use super::{Scale, memory_target};
use crate::load::{ask, connect};
use crate::product::await_quiet;
use crate::raw_zone::{RawZone, WINDOW, Write};
use crate::report::{Part, Target, each, median};
use crate::serial_watch::SerialWatch;

const ROUNDS: usize = 3;

/// A zone that is not whole after this long does not become so by itself.
const LIMIT: Duration = Duration::from_secs(30);

/// Names in a message of the floor.
const BATCH: usize = 100;

struct Back {
    time: Duration,
    messages: u64,
    hosts: usize,
}

pub(super) async fn measure(scale: &mut Scale) -> Result<Part> {
    let mut floor = vec![raw(scale).await?];
    scale.stack.operator.start_again().await?;
    await_quiet(&scale.stack.operator).await?;
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let back = wipe(scale).await?;
        let is_whole = back.hosts == scale.hosts();
        all.push(back);
        if !is_whole {
            break;
        }
        await_quiet(&scale.stack.operator).await?;
    }
    let peak = scale.peak().await?;
    scale.stack.operator.terminate().await?;
    floor.push(raw(scale).await?);
    if all.iter().any(|back| back.hosts < scale.hosts()) {
        restore(scale).await?;
    }
    Ok(part(scale.hosts(), &floor, &all, peak))
}

async fn wipe(scale: &mut Scale) -> Result<Back> {
    let round = scale.next_round();
    let Scale {
        stack, population, ..
    } = scale;
    let apex = population.zone.apex.clone();
    let emptied = stack.bind.serial(&apex).await? + 1000;
    stack.bind.empty_zone(&apex, emptied).await?;
    let before = stack.bind.update_counts(&apex).await?.total();
    let serials = SerialWatch::start(stack.bind.address(), &apex).await?;
    let report = population.report(0, round);
    let server = stack.operator.update_address();
    let start = Instant::now();
    let mut client = connect(server, [127, 0, 0, 1].into()).await?;
    let (status, body) = ask(&mut client, &report).await?;
    ensure!(report.expects(status, &body), "answered {status}");
    loop {
        let last = serials.rest().await?;
        let hosts = population.in_dns(stack).await?;
        if hosts == population.size() || start.elapsed() > LIMIT {
            return Ok(Back {
                time: last.saturating_duration_since(start),
                messages: stack.bind.update_counts(&apex).await?.total() - before,
                hosts,
            });
        }
    }
}

/// As many names and markers in an empty zone, by messages of the benchmark's own.
async fn raw(scale: &Scale) -> Result<f64> {
    let bind = &scale.stack.bind;
    let key = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
    let apex = format!("raw{}.example.org", random_hex(5)?);
    bind.add_zone(ZoneSpec {
        apex: apex.clone(),
        keys: vec![key.clone()],
        records: Vec::new(),
        allow_transfer: false,
    })
    .await?;
    let writes: Vec<_> = (0..scale.hosts())
        .map(|host| Write {
            hostname: format!("{}.{apex}", scale.population.name(host)),
            ..scale.population.write(host)
        })
        .collect();
    let mut zone = RawZone::new(bind.address(), &apex, &key)?;
    let start = Instant::now();
    zone.write(&writes, BATCH, WINDOW).await?;
    Ok(start.elapsed().as_secs_f64())
}

/// Lets another operator begin with a whole zone, where this one has left it empty.
async fn restore(scale: &mut Scale) -> Result<()> {
    let Scale {
        stack, population, ..
    } = scale;
    let zone = &population.zone;
    let serial = stack.bind.serial(&zone.apex).await? + 1000;
    stack.bind.empty_zone(&zone.apex, serial).await?;
    let mut records = RawZone::new(stack.bind.address(), &zone.apex, &zone.key)?;
    let writes: Vec<_> = (0..population.size())
        .map(|i| population.write(i))
        .collect();
    records.write(&writes, BATCH, WINDOW).await
}

fn part(hosts: usize, floor: &[f64], all: &[Back], peak: f64) -> Part {
    let raw = median(floor.iter().copied());
    let times: Vec<f64> = all.iter().map(|back| back.time.as_secs_f64()).collect();
    let time = median(times.iter().copied());
    let messages = all
        .iter()
        .map(|back| back.messages)
        .max()
        .unwrap_or_default();
    let back = all.iter().map(|back| back.hosts).min().unwrap_or_default();
    let is_whole = back == hosts;
    let page = format!(
        "\n## A zone with {hosts} hosts is wiped\n\nBIND is given an empty zone. From the next report of \
         one client, whose UPDATE finds its marker absent, until the zone's last change; then a \
         transfer shows who is back. The floor writes as many names and markers into an empty zone, \
         {BATCH} to a message and {WINDOW} messages in flight.\n\n\
         | what | seconds of each round |\n|---|---|\n| raw UPDATE messages | {} |\n\
         | all back | {} |\n",
        each(floor, 2),
        each(&times, 2),
    );
    let what = format!("zone wiped, {hosts} hosts");
    let targets = vec![
        Target {
            what: format!("{what}: all back"),
            floor: Some(format!("{raw:.2} s")),
            product: match is_whole {
                true => format!("{time:.2} s"),
                false => format!("{back} after {} s", LIMIT.as_secs()),
            },
            ratio: is_whole.then_some(time / raw),
            target: "≤ 1 s",
            is_met: is_whole && time <= 1.0,
        },
        Target {
            what: format!("{what}: UPDATE messages"),
            floor: Some(hosts.div_ceil(BATCH).to_string()),
            product: messages.to_string(),
            ratio: None,
            target: "≤ 200",
            is_met: is_whole && messages <= 200,
        },
        memory_target(hosts, "after wipes of the zone", peak),
    ];
    Part { page, targets }
}
