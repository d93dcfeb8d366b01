//! All hosts change while the name server is away; how long it takes when it is back.

use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use dynhost_e2e::{
    Operator,
    http::read_response,
    measure::{
        api_writes, await_quiet,
        memory::peak,
        population::Population,
        report::{Part, Target, each},
        request::Exchange,
        serial_watch::SerialWatch,
    },
    stack::{Stack, StackOptions, ZoneOptions},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

const ROUNDS: usize = 3;

/// Clients, each with a connection that it keeps and one report after the other.
const CLIENTS: usize = 16;

/// The longest pause between two attempts at a zone is a minute.
const LIMIT: Duration = Duration::from_secs(180);

/// For so long nothing is written to the API server where all is.
const UNCHANGED: Duration = Duration::from_secs(3);

/// The status of ten thousand hosts.
const WRITTEN: Duration = Duration::from_secs(600);

struct Drained {
    /// From the name server's first answer until the last change.
    seconds: f64,
    /// From its first answer until the first change.
    noticed: f64,
    messages: u64,
}

pub(crate) async fn measure(hosts: usize) -> Result<Part> {
    let stack = Stack::start(StackOptions::default()).await?;
    stack.control_plane.stop_controller_manager().await?;
    let mut population = Population::create(&stack, ZoneOptions::default(), hosts).await?;
    stack.operator.start_again().await?;
    await_quiet(&stack.operator).await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 1..=ROUNDS {
        rounds.push(drain(&stack, &mut population, round).await?);
    }
    let peak = peak(stack.operator.pid().await?)?;
    Ok(part(hosts, &rounds, peak))
}

async fn drain(stack: &Stack, population: &mut Population, round: usize) -> Result<Drained> {
    let apex = population.zone.apex.clone();
    stack.bind.stop().await?;
    let hosts = 0..population.size();
    let reports = hosts.map(|host| population.report(host, round)).collect();
    report(stack, reports).await?;
    await_written(&stack.operator).await?;
    stack.bind.start_again().await?;
    let start = Instant::now();
    let before = population.in_dns(stack).await?;
    ensure!(before < population.size(), "nothing waits");
    let serials = SerialWatch::start(stack.bind.address(), &apex).await?;
    let first = loop {
        if stack.bind.update_counts(&apex).await?.done > 0 {
            break start.elapsed();
        }
        ensure!(start.elapsed() < LIMIT, "nothing is written");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let last = loop {
        let last = serials.rest().await?;
        if population.in_dns(stack).await? == population.size() {
            break last;
        }
        ensure!(start.elapsed() < LIMIT, "DNS does not have all");
    };
    let drained = Drained {
        seconds: last.saturating_duration_since(start).as_secs_f64(),
        noticed: first.as_secs_f64(),
        messages: stack.bind.update_counts(&apex).await?.total(),
    };
    await_quiet(&stack.operator).await?;
    Ok(drained)
}

/// Waits until all is written to the API server that can be: that each host's name server is away.
/// What is tried again now and then goes on.
async fn await_written(operator: &Operator) -> Result<()> {
    let mut before = api_writes(operator).await?;
    let start = Instant::now();
    loop {
        tokio::time::sleep(UNCHANGED).await;
        let now = api_writes(operator).await?;
        if now == before {
            return Ok(());
        }
        ensure!(start.elapsed() < WRITTEN, "status is written for ever");
        before = now;
    }
}

/// Sends all reports, each of which must be acknowledged though the name server is away.
async fn report(stack: &Stack, reports: Vec<Exchange>) -> Result<()> {
    let server = stack.operator.update_address();
    let (reports, next) = (Arc::new(reports), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (reports, next) = (reports.clone(), next.clone());
        clients.spawn(async move {
            let mut stream = TcpStream::connect(server).await?;
            while let Some(report) = reports.get(next.fetch_add(1, Ordering::Relaxed)) {
                stream.write_all(report.request.as_bytes()).await?;
                let answer = read_response(&mut stream).await?;
                let is_expected = report.expects(answer.status, &answer.body);
                ensure!(is_expected, "answered {answer:?}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

fn part(hosts: usize, rounds: &[Drained], peak: f64) -> Part {
    let seconds: Vec<f64> = rounds.iter().map(|round| round.seconds).collect();
    let noticed: Vec<f64> = rounds.iter().map(|round| round.noticed).collect();
    let messages: Vec<f64> = rounds.iter().map(|round| round.messages as f64).collect();
    let page = format!(
        "\n## BIND comes back to {hosts} changes\n\nEvery host reports a new address while BIND is \
         stopped, and is answered `good`. From BIND's first answer until its last change, when a \
         transfer shows that it has all.\n\n| what | of each round |\n|---|---|\n\
         | seconds until the first change | {} |\n| seconds until it has all | {} |\n\
         | UPDATE messages | {} |\n| operator's memory (resident, peak) | {peak:.1} MiB |\n",
        each(&noticed, 2),
        each(&seconds, 2),
        each(&messages, 0),
    );
    let worst = seconds.iter().copied().fold(f64::NAN, f64::max);
    let targets = vec![Target::alone(
        &format!(
            "{hosts} hosts in DNS after BIND's return, slowest of {}",
            rounds.len()
        ),
        format!("{worst:.2} s"),
        "≤ 5 s",
        worst <= 5.0,
    )];
    Part { page, targets }
}
