//! A steady load for a long time: memory must not grow.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dynhost_e2e::{
    failures::{Inflicted, Pace, Replicas, Run},
    measure::{
        memory::{peak, resident},
        report::{Part, Target},
    },
    stack::Stack,
};
use tokio::time::sleep;

use crate::slope::Slope;

const HOSTS: usize = 500;

/// Most clients repeat themselves.
const PACE: Pace = Pace {
    rate: 500,
    change_every: 10,
    clients: HOSTS,
    stay: u32::MAX,
};

/// Between two samples.
const STEP: Duration = Duration::from_secs(2);

/// Of the time: until all that is kept for each host is there.
const WARM_UP: f64 = 0.25;

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn measure(stack: &Stack, replicas: usize, time: Duration) -> Result<Part> {
    let replicas = Replicas::start(stack, replicas, &[]).await?;
    let writer = replicas.writer().await?;
    let run = Run::start(stack, replicas, HOSTS, PACE).await?;
    let mut pids = Vec::new();
    for replica in run.replicas.all() {
        pids.push(replica.pid().await?);
    }
    let start = Instant::now();
    let mut samples = vec![Vec::new(); pids.len()];
    while start.elapsed() < time {
        sleep(STEP).await;
        for (pid, samples) in pids.iter().zip(&mut samples) {
            samples.push((start.elapsed().as_secs_f64() / 60.0, resident(*pid)?));
        }
    }
    let mut rows = String::new();
    let mut targets = Vec::new();
    for (number, (pid, samples)) in pids.iter().zip(&samples).enumerate() {
        let warm = time.as_secs_f64() / 60.0 * WARM_UP;
        let all: Vec<_> = samples
            .iter()
            .copied()
            .filter(|(at, _)| *at >= warm)
            .collect();
        let slope = Slope::of(&all).context("too few samples of memory")?;
        let (first, last) = (samples.first(), samples.last());
        let mib = |sample: Option<&(f64, f64)>| sample.map_or(f64::NAN, |(_, mib)| *mib);
        let role = if number == writer {
            "writes"
        } else {
            "stands by"
        };
        rows += &format!(
            "| {} ({role}) | {:.1} MiB | {:.1} MiB | {:.1} MiB | {:.1} KiB | {:.1} KiB |\n",
            number + 1,
            mib(first),
            mib(last),
            peak(*pid)?,
            slope.value * 1024.0,
            slope.error * 1024.0,
        );
        targets.push(Target::alone(
            &format!(
                "memory under a steady load, replica {} ({role})",
                number + 1
            ),
            format!(
                "{:.1} ± {:.1} KiB a minute",
                slope.value * 1024.0,
                slope.error * 1024.0
            ),
            "within noise",
            slope.is_level(),
        ));
    }
    let summary = run
        .end(String::new(), Inflicted::default(), 0, LIMIT)
        .await?;
    let reports = &summary.reports;
    let page = format!(
        "\n## A steady load\n\n{HOSTS} hosts, {} requests a second over all replicas, one in {} of \
         them a new address; {} requests sent in {} s, {} acknowledged, {} reports failed, {} lost, \
         {} stale. Resident memory of each replica every {} s; its slope by least squares after the \
         first quarter of the time, and the slope's standard error.\n\n\
         | replica | at the start | in the end | peak | slope, a minute | error |\n\
         |---|---|---|---|---|---|\n{rows}",
        PACE.rate,
        PACE.change_every,
        reports.sent,
        reports.time.as_secs(),
        reports.acknowledged,
        reports.failed,
        summary.judged.lost,
        summary.judged.stale,
        STEP.as_secs(),
    );
    let wrong = summary.judged.wrong.len() + summary.backward.len();
    let is_right = wrong == 0 && reports.failed == 0;
    targets.push(Target::alone(
        "lost, stale or failed under a steady load",
        (wrong as u64 + reports.failed).to_string(),
        "0",
        is_right,
    ));
    Ok(Part { page, targets })
}
