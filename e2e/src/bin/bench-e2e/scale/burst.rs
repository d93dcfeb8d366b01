//! Thousands of hosts report another address at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use dynhost_crds::{CONTROLLER_FIELD_MANAGER, GROUP};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{Scale, memory_target};
use crate::floor::patch_rate;
use crate::load::{ask, connect};
use crate::product::{await_quiet, operator_events};
use crate::report::{Part, Target, each, median};
use crate::request::Exchange;
use crate::serial_watch::SerialWatch;
use crate::timing::Timing;

/// Hosts that report, where there are as many.
const REPORTS: usize = 5000;

/// Clients, each with a connection that it keeps and one report after the other.
const CLIENTS: usize = 32;

const ROUNDS: usize = 3;

/// One round.
struct Burst {
    answered: Timing,
    /// Seconds until the last change of DNS.
    in_dns: f64,
    /// Seconds until the last status was stored.
    in_status: f64,
    messages: u64,
    /// To objects of ours.
    writes: usize,
}

pub(super) async fn measure(scale: &mut Scale) -> Result<Part> {
    let reports = REPORTS.min(scale.hosts());
    let mut floor = vec![raw(scale, reports).await?];
    // It publishes what the floor has reported.
    scale.stack.operator.start_again().await?;
    await_quiet(&scale.stack.operator).await?;
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        all.push(burst(scale, reports).await?);
    }
    let peak = scale.peak().await?;
    scale.stack.operator.terminate().await?;
    floor.push(raw(scale, reports).await?);
    Ok(part(scale.hosts(), reports, &floor, &all, peak))
}

async fn raw(scale: &mut Scale, reports: usize) -> Result<f64> {
    let round = scale.next_round();
    let patches = (0..reports).map(|host| {
        let address = scale.population.set(host, round);
        (scale.population.name(host), address)
    });
    let patches = patches.collect();
    let namespace = &scale.population.zone.namespace;
    patch_rate(&scale.stack, namespace, patches, CLIENTS).await
}

async fn burst(scale: &mut Scale, reports: usize) -> Result<Burst> {
    let round = scale.next_round();
    let Scale {
        stack, population, ..
    } = scale;
    let exchanges = (0..reports).map(|host| population.report(host, round));
    let exchanges = exchanges.collect();
    let apex = &population.zone.apex;
    let before = stack.bind.update_counts(apex).await?.total();
    let mark = stack.control_plane.audit_mark().await?;
    let serials = SerialWatch::start(stack.bind.address(), apex).await?;
    let (start, time) = (Instant::now(), Timestamp::now());
    let answered = clients(stack.operator.update_address(), exchanges).await?;
    let in_dns = loop {
        let last = serials.rest().await?;
        if population.in_dns(stack).await? == population.size() {
            break last.saturating_duration_since(start);
        }
        ensure!(start.elapsed().as_secs() < 300, "DNS does not have all");
    };
    drop(serials);
    await_quiet(&stack.operator).await?;
    let told = population.in_status(stack).await?;
    ensure!(
        told == population.size(),
        "status tells of {told} hosts only"
    );
    let events = operator_events(stack, mark).await?;
    let writes = events.iter().filter(|event| event.is_write());
    let statuses = events.iter().filter(|event| {
        event.field_manager == CONTROLLER_FIELD_MANAGER && event.subresource == "status"
    });
    let last = statuses.map(|event| event.at).max().unwrap_or(time);
    Ok(Burst {
        answered,
        in_dns: in_dns.as_secs_f64(),
        in_status: last.duration_since(time).as_secs_f64(),
        messages: stack.bind.update_counts(apex).await?.total() - before,
        writes: writes.filter(|event| event.group == GROUP).count(),
    })
}

/// Sends all reports, and checks the answers.
pub(crate) async fn clients(
    server: std::net::SocketAddr,
    reports: Vec<Exchange>,
) -> Result<Timing> {
    let (reports, next) = (Arc::new(reports), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (reports, next) = (reports.clone(), next.clone());
        clients.spawn(async move {
            let mut stream = connect(server, [127, 0, 0, 1].into()).await?;
            let mut durations = Vec::new();
            while let Some(report) = reports.get(next.fetch_add(1, Ordering::Relaxed)) {
                let start = Instant::now();
                let (status, body) = ask(&mut stream, report).await?;
                durations.push(start.elapsed());
                let body = String::from_utf8_lossy(&body);
                ensure!(
                    report.expects(status, body.as_bytes()),
                    "answered {status} {body}"
                );
            }
            anyhow::Ok(durations)
        });
    }
    let mut durations = Vec::new();
    while let Some(client) = clients.join_next().await {
        durations.extend(client??);
    }
    Ok(Timing::new(durations))
}

fn part(hosts: usize, reports: usize, floor: &[f64], all: &[Burst], peak: f64) -> Part {
    let n = reports as f64;
    let rates: Vec<f64> = all.iter().map(|burst| n / burst.in_dns).collect();
    let behind: Vec<f64> = all
        .iter()
        .map(|burst| burst.in_status / burst.in_dns)
        .collect();
    let messages: Vec<f64> = all.iter().map(|burst| burst.messages as f64).collect();
    let writes: Vec<f64> = all.iter().map(|burst| burst.writes as f64 / n).collect();
    let p50: Vec<f64> = all.iter().map(|burst| burst.answered.p50()).collect();
    let p99: Vec<f64> = all.iter().map(|burst| burst.answered.p99()).collect();
    let raw = floor.iter().sum::<f64>() / floor.len() as f64;
    let rate = median(rates.iter().copied());
    let worst = |values: &[f64]| values.iter().copied().fold(f64::NAN, f64::max);
    let (behind_worst, writes_worst) = (worst(&behind), worst(&writes));
    let page = format!(
        "\n## {reports} of {hosts} hosts report another address\n\n{CLIENTS} clients, each with a \
         connection that it keeps. From the first request until the zone's last change; then a \
         transfer shows that it has all. The floor is as many raw status patches of the same objects, \
         {CLIENTS} in flight, with one watcher attached, before the product and after it.\n\n\
         | what | of each round |\n|---|---|\n\
         | raw status patches a second | {} |\n| changes a second until DNS has them | {} |\n\
         | answered, p50 ms | {} |\n| answered, p99 ms | {} |\n\
         | UPDATE messages | {} |\n| writes to our objects for each change | {} |\n\
         | all status stored, in times of the time until DNS has all | {} |\n",
        each(floor, 0),
        each(&rates, 0),
        each(&p50, 1),
        each(&p99, 1),
        each(&messages, 0),
        each(&writes, 2),
        each(&behind, 2),
    );
    let targets = vec![
        Target {
            what: format!(
                "changes a second until DNS has them, {reports} hosts, {CLIENTS} clients"
            ),
            floor: Some(format!("{raw:.0}/s")),
            product: format!("{rate:.0}/s"),
            ratio: Some(rate / raw),
            target: "≥ 0.70",
            is_met: rate / raw >= 0.7,
        },
        Target::alone(
            "all status stored, in times of that time",
            format!("{behind_worst:.2}"),
            "≤ 2.5",
            behind_worst <= 2.5,
        ),
        Target::alone(
            "writes to dynhost.dev objects for each of these changes",
            format!("{writes_worst:.2}"),
            "≤ 2",
            writes_worst <= 2.0,
        ),
        memory_target(hosts, "after bursts", peak),
    ];
    Part { page, targets }
}
