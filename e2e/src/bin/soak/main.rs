//! `cargo soak`: what takes too long for `cargo test`. Hand-overs by the dozen, a writer that stands
//! still again and again, faults for an hour, outages of minutes, a steady load, and a backlog of
//! thousands of changes behind a name server that was away.

// The tables are what it is for.
#![allow(clippy::print_stdout)]

mod drain;
mod faults;
mod hand_over;
mod slope;
mod steady;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use dynhost_e2e::{
    measure::{
        machine,
        report::{Part, render},
    },
    stack::{Stack, StackOptions},
};

/// Runs the failure suite and the measurements that take long, and prints tables; fails where
/// anything acknowledged was lost or a target is missed.
#[derive(Parser)]
struct Options {
    /// Run these groups only.
    #[arg(long, value_name = "GROUP,..", value_enum, value_delimiter = ',')]
    only: Vec<Group>,

    /// Hand-overs by SIGTERM, and as many by SIGKILL.
    #[arg(long, default_value_t = 50)]
    hand_overs: usize,

    /// Times that the writer is stopped.
    #[arg(long, default_value_t = 100)]
    stops: usize,

    /// Faults of all kinds.
    #[arg(long, default_value_t = 200)]
    faults: usize,

    /// Seconds of each long outage.
    #[arg(long, default_value_t = 600)]
    outage: u64,

    /// Seconds of the steady load.
    #[arg(long, default_value_t = 1200)]
    steady: u64,

    /// Hosts whose changes wait for the name server.
    #[arg(long, default_value_t = 10_000)]
    hosts: usize,

    /// Replicas under faults, outages and the steady load.
    #[arg(long, default_value_t = 3)]
    replicas: usize,

    /// The seed of the faults; default: a random one, which is printed.
    #[arg(long)]
    seed: Option<u64>,

    /// Write the tables into this file too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// What is run together.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// From one writer to the next.
    Handover,
    /// A writer that stands still in the middle of updates.
    Sigstop,
    /// Everything fails at random.
    Faults,
    /// Long outages.
    Outages,
    /// A steady load, and memory.
    Soak,
    /// A name server comes back to a backlog.
    Drain,
}

fn main() -> Result<()> {
    let options = Options::parse();
    tokio::runtime::Runtime::new()?.block_on(run(options))
}

async fn run(options: Options) -> Result<()> {
    let is_wanted = |group| options.only.is_empty() || options.only.contains(&group);
    let mut parts = Vec::new();
    let mut show = |part: Part| {
        println!("{}", part.show());
        parts.push(part);
    };
    let stack = without_operator().await?;
    let machine = machine::describe(&stack).await?;
    println!("{machine}");
    if is_wanted(Group::Handover) {
        show(hand_over::measure(&stack, options.hand_overs).await?);
    }
    if is_wanted(Group::Sigstop) {
        show(faults::stops(&stack, options.stops).await?);
    }
    if is_wanted(Group::Faults) {
        let seed = match options.seed {
            Some(seed) => seed,
            None => u64::from_str_radix(&dynhost_e2e::random_hex(4)?, 16)?,
        };
        show(faults::random(&stack, options.replicas, options.faults, seed).await?);
    }
    if is_wanted(Group::Outages) {
        let length = Duration::from_secs(options.outage);
        show(faults::outages(&stack, options.replicas, length).await?);
    }
    if is_wanted(Group::Soak) {
        let time = Duration::from_secs(options.steady);
        show(steady::measure(&stack, options.replicas, time).await?);
    }
    drop(stack);
    if is_wanted(Group::Drain) {
        show(drain::measure(options.hosts).await?);
    }
    let targets = || parts.iter().flat_map(|part| &part.targets);
    let mut page = format!(
        "# Soak\n\nWritten by `cargo soak --write docs/soak.md`; clients, API server, etcd, BIND and \
         all replicas share the machine.\n\n{machine}\n\n## Targets\n\n{}",
        render(targets())
    );
    println!("{page}");
    page.extend(parts.iter().map(|part| part.page.as_str()));
    if let Some(file) = options.write {
        std::fs::write(&file, &page).with_context(|| format!("writing {}", file.display()))?;
    }
    let missed = targets().filter(|target| !target.is_met).count();
    if missed > 0 {
        bail!("{missed} targets were missed");
    }
    Ok(())
}

/// Servers alone: replicas are each group's own.
async fn without_operator() -> Result<Stack> {
    let stack = Stack::start(StackOptions::default()).await?;
    stack.control_plane.stop_controller_manager().await?;
    stack.operator.terminate().await?;
    Ok(stack)
}
