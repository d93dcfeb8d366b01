//! A start with every host in sync: how long until it is ready, and what it writes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dynhost_crds::key::SECRET_TYPE;
use futures::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};
use http::Request;

use super::{HOW, Scale, memory_target};
use crate::floor::as_operator;
use crate::memory::{cpu_time, peak};
use crate::product::{await_quiet, is_news, operator_events};
use crate::report::{Part, Target, each, median};

const ROUNDS: usize = 3;

/// In the bookmark behind the last object of a streamed list.
const END: &[u8] = b"k8s.io/initial-events-end";

#[derive(Default)]
struct Rounds {
    floor: Vec<f64>,
    ready: Vec<f64>,
    busy: Vec<f64>,
    peak: Vec<f64>,
    updates: u64,
    writes: usize,
}

pub(super) async fn measure(scale: &Scale) -> Result<Part> {
    let (stack, hosts) = (&scale.stack, scale.hosts());
    let mut rounds = Rounds::default();
    let mut octets = 0;
    // What the copies change at the first start, such as the zone's number of hosts.
    start(scale, &mut Rounds::default()).await?;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        octets = lists(scale).await?;
        rounds.floor.push(begin.elapsed().as_secs_f64());
        start(scale, &mut rounds).await?;
    }
    rounds.floor.push({
        let begin = Instant::now();
        lists(scale).await?;
        begin.elapsed().as_secs_f64()
    });
    let present = scale.population.in_dns(stack).await?;
    ensure!(
        present == hosts,
        "only {present} of {hosts} hosts are in DNS"
    );
    Ok(part(hosts, octets, &rounds))
}

/// One start until the operator rests. It is stopped then.
async fn start(scale: &Scale, rounds: &mut Rounds) -> Result<()> {
    let stack = &scale.stack;
    let (updates, mark) = (
        scale.updates().await?,
        stack.control_plane.audit_mark().await?,
    );
    let begin = Instant::now();
    stack.operator.start_again().await?;
    rounds.ready.push(begin.elapsed().as_secs_f64());
    await_quiet(&stack.operator).await?;
    let pid = stack.operator.pid().await?;
    rounds.busy.push(cpu_time(pid)?.as_secs_f64());
    rounds.peak.push(peak(pid)?);
    // The zone's probe is an UPDATE message that changes nothing.
    let probes = 1;
    rounds.updates += (scale.updates().await? - updates).saturating_sub(probes);
    let events = operator_events(stack, mark).await?;
    for write in events.iter().filter(|event| is_news(event)) {
        rounds.writes += 1;
        println!(
            "a start writes: {} {}/{} {}",
            write.verb, write.resource, write.subresource, write.name
        );
    }
    stack.operator.terminate().await?;
    Ok(())
}

/// Streams what the operator lists, as its user, without understanding it; how many octets.
async fn lists(scale: &Scale) -> Result<usize> {
    let client = as_operator(&scale.stack).await?;
    let list = async |path: &str| {
        let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true\
                     &resourceVersionMatch=NotOlderThan";
        let request = Request::get(format!("{path}{query}")).body(Vec::new())?;
        read_to_end_of_list(client.request_stream(request).await?).await
    };
    let secrets = format!("/api/v1/secrets?fieldSelector=type%3D{SECRET_TYPE}&");
    let secrets = secrets.replace("dev/", "dev%2F");
    let (hosts, secrets) = tokio::try_join!(
        list("/apis/dynhost.dev/v1alpha1/dynamichosts?"),
        list(&secrets)
    )?;
    Ok(hosts + secrets)
}

async fn read_to_end_of_list(stream: impl AsyncRead) -> Result<usize> {
    const LIMIT: Duration = Duration::from_secs(60);
    let read = async {
        let mut lines = futures::io::BufReader::new(Box::pin(stream));
        let (mut line, mut octets) = (Vec::new(), 0);
        loop {
            line.clear();
            let read = (&mut lines)
                .take(1 << 22)
                .read_until(b'\n', &mut line)
                .await?;
            ensure!(read > 0, "the list ended early");
            octets += read;
            // Bookmarks are short.
            if read < 1024 && line.windows(END.len()).any(|window| window == END) {
                return Ok(octets);
            }
        }
    };
    tokio::time::timeout(LIMIT, read)
        .await
        .context("the list did not end")?
}

fn part(hosts: usize, octets: usize, rounds: &Rounds) -> Part {
    let (floor, ready) = (
        median(rounds.floor.iter().copied()),
        median(rounds.ready.iter().copied()),
    );
    let peak = rounds.peak.iter().copied().fold(f64::NAN, f64::max);
    let page = format!(
        "\n## A start with {hosts} hosts in sync\n\n{HOW} `/readyz` is asked every 20 ms from before \
         the process is started. The floor streams the lists of hosts and update keys \
         ({:.1} MiB) and reads no word of them.\n\n| what | median | of each round |\n|---|---|---|\n\
         | both lists streamed | {floor:.2} s | {} |\n| ready | {ready:.2} s | {} |\n\
         | CPU time until it rests | {:.2} s | {} |\n",
        octets as f64 / 1024.0 / 1024.0,
        each(&rounds.floor, 2),
        each(&rounds.ready, 2),
        median(rounds.busy.iter().copied()),
        each(&rounds.busy, 2),
    );
    let what = format!("start with {hosts} hosts in sync");
    let targets = vec![
        Target {
            what: format!("{what}: ready"),
            floor: Some(format!("{floor:.2} s")),
            product: format!("{ready:.2} s"),
            ratio: Some(ready / floor),
            target: "≤ 3 s",
            is_met: ready <= 3.0,
        },
        Target::alone(
            &format!("{what}: UPDATE messages beside the zone's probe, {ROUNDS} starts"),
            rounds.updates.to_string(),
            "0",
            rounds.updates == 0,
        ),
        Target::alone(
            &format!("{what}: writes to the API server, {ROUNDS} starts"),
            rounds.writes.to_string(),
            "0",
            rounds.writes == 0,
        ),
        memory_target(hosts, "after a start", peak),
    ];
    Part { page, targets }
}
