//! From the signal to a writer until another replica's first DNS message has landed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dynhost_e2e::{
    Operator, ZoneOptions,
    failures::{Load, Pace, Population, Replicas},
    measure::{
        report::{Part, Target},
        timing::Timing,
    },
    stack::Stack,
};
use tokio::time::sleep;

/// There is always something to write, for whoever may.
const PACE: Pace = Pace {
    rate: 40,
    change_every: 1,
    clients: HOSTS,
    stay: u32::MAX,
};
const HOSTS: usize = 20;

/// Between two looks: what a time may be wrong by.
const STEP: Duration = Duration::from_millis(2);

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Terminated,
    Killed,
}

pub(crate) async fn measure(stack: &Stack, rounds: usize) -> Result<Part> {
    let replicas = Replicas::start(stack, 2, &[]).await?;
    replicas.writer().await?;
    let population = Population::create(stack, ZoneOptions::default(), HOSTS).await?;
    let load = Load::start(&population, replicas.addresses(), PACE);
    let mut timings = Vec::new();
    for end in [End::Terminated, End::Killed] {
        let mut durations = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            durations.push(hand_over(&replicas, end).await?);
        }
        timings.push(Timing::new(durations));
    }
    load.finish().await?;
    let (terminated, killed) = match <[Timing; 2]>::try_from(timings) {
        Ok([terminated, killed]) => (terminated, killed),
        Err(_) => anyhow::bail!("two ways to end were measured"),
    };
    Ok(part(&terminated, &killed))
}

/// Ends the writer and starts it again; the time until the other one's first message was answered.
async fn hand_over(replicas: &Replicas, end: End) -> Result<Duration> {
    let writer = replicas.writer().await?;
    let all = replicas.all();
    let next = all
        .iter()
        .enumerate()
        .find_map(|(number, replica)| (number != writer).then_some(replica));
    let (writer, next) = (&all[writer], next.context("there is one replica only")?);
    // So that it is known to write: what it has to hand over is under way.
    let wrote = changes(writer).await?;
    await_more(writer, wrote).await?;
    let before = changes(next).await?;
    let start = Instant::now();
    let ended = async {
        match end {
            End::Terminated => writer.terminate().await.map(drop),
            End::Killed => writer.kill().await,
        }
    };
    let (ended, landed) = tokio::join!(ended, await_more(next, before));
    ended?;
    let landed = landed.with_context(|| next.log_tail(20))?;
    writer.start_again().await?;
    ensure!(!writer.is_leader().await?, "it has taken the lease back");
    Ok(landed.duration_since(start))
}

/// When the replica's changes of DNS are seen to be more.
async fn await_more(replica: &Operator, before: u64) -> Result<Instant> {
    let start = Instant::now();
    loop {
        if changes(replica).await? > before {
            return Ok(Instant::now());
        }
        ensure!(
            start.elapsed() < LIMIT,
            "it does not write within {LIMIT:?}"
        );
        sleep(STEP).await;
    }
}

/// Changes that a replica has seen through to their end at the name server.
async fn changes(replica: &Operator) -> Result<u64> {
    replica.count("dynhost_dns_changes_total").await
}

fn part(terminated: &Timing, killed: &Timing) -> Part {
    let row = |what: &str, timing: &Timing| {
        let seconds = |milliseconds: f64| format!("{:.2} s", milliseconds / 1000.0);
        format!(
            "| {what} | {} | {} | {} | {} |\n",
            timing.count(),
            seconds(timing.p50()),
            seconds(timing.p99()),
            seconds(timing.max())
        )
    };
    let page = format!(
        "\n## Hand-over\n\nTwo replicas with the default lease, and {} new addresses a second. From \
         the signal to the one that writes until the other one's first change of DNS was answered, \
         as its own metrics tell.\n\n| the writer is ended by | n | p50 | p99 | max |\n\
         |---|---|---|---|---|\n{}{}",
        PACE.rate,
        row("SIGTERM", terminated),
        row("SIGKILL", killed),
    );
    let target = |what: &str, timing: &Timing, target, most: f64| {
        let seconds = timing.p99() / 1000.0;
        Target::alone(what, format!("{seconds:.2} s"), target, seconds <= most)
    };
    let targets = vec![
        target("hand-over after SIGTERM, p99", terminated, "≤ 1 s", 1.0),
        target("hand-over after SIGKILL, p99", killed, "≤ 8 s", 8.0),
    ];
    Part { page, targets }
}
