//! How long honest clients wait while others mean ill, and what the server needs for those.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use dynhost_e2e::Operator;
use dynhost_e2e::stack::Stack;
use tokio::time::{Instant, sleep};

use super::{Host, check_no_change, start_operator};
use crate::load::{Clients, Counts, Honest, Load, Served, Trouble, TroubleKind};
use crate::memory;
use crate::report::{Part, Target};
use crate::request::{Exchange, dyndns2};
use crate::timing::Timing;

const ROUNDS: usize = 2;

/// For each kind of honest client in each round, once without trouble and once with it.
const TIME: Duration = Duration::from_secs(5);

/// Of one client: 200 a second in all.
const NO_CHANGE_EVERY: Duration = Duration::from_millis(40);

/// Of one client: 40 a second in all.
const CHANGE_EVERY: Duration = Duration::from_millis(200);

/// After trouble has begun and after it has ended, before anything is measured.
const SETTLE: Duration = Duration::from_secs(1);

const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The stack's own operator must be stopped meanwhile.
pub(crate) async fn measure(stack: &Stack, clients: &Clients, hosts: &[Host]) -> Result<Part> {
    let mut changes = Changes(0);
    let mut all = Vec::new();
    for (name, make) in [
        ("wrong keys", wrong_keys as fn(&Operator, &Host) -> Trouble),
        ("slow connections", slow_connections),
    ] {
        // A new one, so that its memory has seen nothing yet.
        let operator = start_operator(stack, &[]).await?;
        for host in hosts {
            check_no_change(&operator, host).await?;
        }
        let bench = Bench {
            clients,
            hosts,
            operator: &operator,
        };
        let trouble = make(&operator, &hosts[0]);
        all.push(bench.measure(name, &trouble, &mut changes).await?);
        operator.terminate().await?;
    }
    Ok(part(&all))
}

/// 64 connections, each with one request after the other.
fn wrong_keys(operator: &Operator, host: &Host) -> Trouble {
    Trouble {
        server: operator.update_address(),
        kind: TroubleKind::WrongKeys {
            hostname: host.hostname.clone(),
        },
        sources: (3..=10).map(|i| Ipv4Addr::new(127, 0, 0, i)).collect(),
        connections: 64,
    }
}

/// 5,000 connections, ten of each source.
fn slow_connections(operator: &Operator, _: &Host) -> Trouble {
    Trouble {
        server: operator.update_address(),
        kind: TroubleKind::HalfHeads,
        sources: (1..=2u8)
            .flat_map(|high| (1..=250).map(move |low| Ipv4Addr::new(127, 1, high, low)))
            .collect(),
        connections: 5000,
    }
}

/// Numbers the changes: each reports another address than the one before.
struct Changes(u32);

struct Bench<'a> {
    clients: &'a Clients,
    hosts: &'a [Host],
    operator: &'a Operator,
}

#[derive(Default)]
struct Measured {
    name: &'static str,
    no_change: Waits,
    change: Waits,
    memory_before: f64,
    memory_peak: f64,
    /// While there was trouble, in all rounds.
    troubled: Duration,
    counts: Counts,
    /// Connections of honest clients that were closed before a request was answered.
    closed: u64,
}

/// One of each round.
#[derive(Default)]
struct Waits {
    quiet: Vec<Timing>,
    troubled: Vec<Timing>,
}

impl Bench<'_> {
    async fn measure(
        &self,
        name: &'static str,
        trouble: &Trouble,
        changes: &mut Changes,
    ) -> Result<Measured> {
        let mut measured = Measured {
            name,
            ..Measured::default()
        };
        let pid = self.operator.pid().await?;
        // The first requests of all clients, which make what is made once.
        self.no_change(Duration::from_secs(1)).await?;
        self.change(Duration::from_secs(1), changes).await?;
        measured.memory_before = memory::resident(pid)?;
        memory::reset_peak(pid)?;
        for _ in 0..ROUNDS {
            let (no_change, change) = (&mut measured.no_change, &mut measured.change);
            change
                .quiet
                .push(timing(&self.change(TIME, changes).await?));
            no_change.quiet.push(timing(&self.no_change(TIME).await?));
            let troubling = self.clients.trouble(trouble).await?;
            sleep(SETTLE).await;
            let (start, before) = (Instant::now(), troubling.counts()?);
            let no_change_served = self.no_change(TIME).await?;
            let change_served = self.change(TIME, changes).await?;
            measured.counts.add(&troubling.counts()?, &before);
            measured.troubled += start.elapsed();
            measured.closed += no_change_served.closed + change_served.closed;
            no_change.troubled.push(timing(&no_change_served));
            change.troubled.push(timing(&change_served));
            drop(troubling);
            sleep(SETTLE).await;
        }
        measured.memory_peak = memory::peak(pid)?;
        Ok(measured)
    }

    async fn no_change(&self, time: Duration) -> Result<Served> {
        let exchanges = |host: &Host| {
            vec![Exchange {
                request: dyndns2(&host.hostname, &host.token, &host.address, ""),
                status: 200,
                body: host.no_change(),
            }]
        };
        self.honest(exchanges, NO_CHANGE_EVERY, true, time).await
    }

    /// Real changes, each over a connection of its own, as routers do. At the end the addresses are
    /// those of before.
    async fn change(&self, time: Duration, changes: &mut Changes) -> Result<Served> {
        let requests = time.div_duration_f64(CHANGE_EVERY).ceil();
        let change = |host: &Host, address: &str| Exchange {
            request: dyndns2(
                &host.hostname,
                &host.token,
                address,
                "Connection: close\r\n",
            ),
            status: 200,
            body: format!("good {address}"),
        };
        let mut exchanges = |host: &Host| {
            let mut all = Vec::new();
            for _ in 1..requests as u32 {
                changes.0 += 1;
                let address = format!("198.51.{}.{}", changes.0 / 250 % 250, 1 + changes.0 % 250);
                all.push(change(host, &address));
            }
            all.push(change(host, &host.address));
            all
        };
        self.honest(&mut exchanges, CHANGE_EVERY, false, time).await
    }

    async fn honest(
        &self,
        exchanges: impl FnMut(&Host) -> Vec<Exchange>,
        interval: Duration,
        keep_alive: bool,
        time: Duration,
    ) -> Result<Served> {
        let load = Load::Honest(Honest {
            server: self.operator.update_address(),
            source: HONEST,
            clients: self.hosts.iter().map(exchanges).collect(),
            interval,
            time,
            keep_alive,
        });
        self.clients.run(&load).await
    }
}

fn timing(served: &Served) -> Timing {
    Timing::new(served.durations.iter().copied())
}

impl Waits {
    fn all(rounds: &[Timing]) -> Timing {
        let none = Timing::new([]);
        rounds.iter().cloned().fold(none, Timing::and)
    }

    /// How many times as long honest clients wait with trouble as without, at p99.
    fn ratio(&self) -> f64 {
        Self::all(&self.troubled).p99() / Self::all(&self.quiet).p99()
    }

    fn rows(&self, trouble: &str, clients: &str) -> String {
        let row = |trouble: &str, rounds: &[Timing]| {
            let of_each: Vec<_> = rounds
                .iter()
                .map(|one| format!("{:.2}", one.p99()))
                .collect();
            let all = Self::all(rounds);
            format!(
                "| {clients}, {trouble} | {} | {:.2} ms | {:.2} ms | {} |\n",
                all.count(),
                all.p50(),
                all.p99(),
                of_each.join(" / ")
            )
        };
        let ratio = self.ratio();
        row("quiet", &self.quiet)
            + &row(trouble, &self.troubled)
            + &format!("| **ratio** | | | **{ratio:.2}** | |\n")
    }
}

fn part(all: &[Measured]) -> Part {
    let mut page = format!(
        "\n## Honest clients while others mean ill\n\n\
         The operator has core 0, one thread and its default limits; all clients have core 1. Eight \
         honest ones share one address: `nochg` 200 times a second over connections that are kept, and \
         real changes 40 times a second, each over a connection of its own. Of each kind {ROUNDS} \
         rounds of {} s, first quiet and then with trouble.\n\n\
         * Wrong keys: 64 connections from 8 addresses, each sending the next request as soon as one is \
         answered.\n\
         * Slow connections: 5,000 from 500 addresses, each with half of a request's head, and at once a \
         new one for each that the server closes.\n\n\
         | honest clients | n | p50 | p99 | of each round |\n|---|---|---|---|---|\n",
        TIME.as_secs(),
    );
    let mut targets = Vec::new();
    for measured in all {
        for (clients, waits) in [
            ("`nochg`", &measured.no_change),
            ("change", &measured.change),
        ] {
            page += &waits.rows(measured.name, clients);
            let p99 = |rounds: &[Timing]| format!("{:.2} ms", Waits::all(rounds).p99());
            targets.push(Target {
                what: format!("honest {clients} beside {}, p99", measured.name),
                floor: Some(p99(&waits.quiet)),
                product: p99(&waits.troubled),
                ratio: Some(waits.ratio()),
                target: "≤ 2.00",
                is_met: waits.ratio() <= 2.0,
            });
        }
    }
    page += "\n| trouble | answers 401 / 429 a second | connections a second | of honest clients closed unanswered \
             | server's memory before | peak | more |\n|---|---|---|---|---|---|---|\n";
    for measured in all {
        let seconds = measured.troubled.as_secs_f64();
        let per_second = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds;
        let more = measured.memory_peak - measured.memory_before;
        let (counts, name) = (&measured.counts, measured.name);
        page += &format!(
            "| {name} | {:.0} / {:.0} | {:.0} | {} | {:.1} MiB | {:.1} MiB | **{more:.1} MiB** |\n",
            per_second(counts.answered(401)),
            per_second(counts.answered(429)),
            per_second(counts.connections),
            measured.closed,
            measured.memory_before,
            measured.memory_peak,
        );
        targets.push(Target::alone(
            &format!("memory that {name} take"),
            format!("{more:.1} MiB"),
            "≤ 32 MiB",
            more <= 32.0,
        ));
    }
    Part { page, targets }
}
