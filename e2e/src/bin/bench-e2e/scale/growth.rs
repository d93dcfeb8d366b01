//! Memory by the number of hosts.

use std::time::Instant;

use anyhow::Result;

use super::Scale;
use crate::memory::{peak, resident};
use crate::product::await_quiet;
use crate::report::{Part, Target};

/// One number of hosts, in MiB and seconds.
struct Sample {
    hosts: usize,
    ready: f64,
    peak: f64,
    rest: f64,
}

/// `few`: the peak without hosts.
pub(super) async fn measure(scale: &mut Scale, few: f64, most: usize) -> Result<Part> {
    let some = start(scale).await?;
    let begin = Instant::now();
    scale.population.grow(&scale.stack, most).await?;
    let grown = begin.elapsed().as_secs_f64();
    // What the copies change at the first start, such as the zone's number of hosts.
    start(scale).await?;
    let many = start(scale).await?;
    Ok(part(few, &some, &many, grown))
}

async fn start(scale: &Scale) -> Result<Sample> {
    let operator = &scale.stack.operator;
    let begin = Instant::now();
    operator.start_again().await?;
    let ready = begin.elapsed().as_secs_f64();
    await_quiet(operator).await?;
    let pid = operator.pid().await?;
    let sample = Sample {
        hosts: scale.hosts(),
        ready,
        peak: peak(pid)?,
        rest: resident(pid)?,
    };
    operator.terminate().await?;
    Ok(sample)
}

fn part(few: f64, some: &Sample, many: &Sample, grown: f64) -> Part {
    let slope =
        |from: (f64, usize), to: &Sample| 1024.0 * (to.peak - from.0) / (to.hosts - from.1) as f64;
    let first = slope((few, 0), some);
    let second = slope((some.peak, some.hosts), many);
    let mut page = format!(
        "\n## Memory\n\nResident, after a start with all hosts in sync. The {} hosts more were put into \
         etcd and BIND in {grown:.0} s.\n\n\
         | hosts | ready | peak | at rest | KiB a host, by the peaks |\n|---|---|---|---|---|\n\
         | 0 | | {few:.1} MiB | | |\n",
        many.hosts - some.hosts
    );
    for (sample, slope) in [(some, first), (many, second)] {
        let Sample {
            hosts,
            ready,
            peak,
            rest,
        } = sample;
        page +=
            &format!("| {hosts} | {ready:.2} s | {peak:.1} MiB | {rest:.1} MiB | {slope:.2} |\n");
    }
    let targets = vec![
        Target::alone(
            &format!("memory at the peak, {} hosts", many.hosts),
            format!("{:.1} MiB", many.peak),
            "≤ 112 MiB",
            many.peak <= 112.0,
        ),
        Target::alone(
            &format!(
                "memory for each host, from {} to {}",
                some.hosts, many.hosts
            ),
            format!("{second:.2} KiB"),
            "≤ 1 KiB",
            second <= 1.0,
        ),
    ];
    Part { page, targets }
}
