//! `cargo bench-e2e`: how fast dynhost is, beside the floor that the API server and the name
//! server set, in one run on one machine.
//!
//! The floor of an update is a raw status patch until a watch hears of it, plus a raw signed
//! UPDATE: what nobody who stores before answering can do without.

// The tables are what it is for.
#![allow(clippy::print_stdout)]

mod batches;
mod created;
mod dead_zone;
mod endpoint;
mod floor;
mod load;
mod product;
mod scale;
mod single;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use dynhost_e2e::measure::{
    machine, memory, population, raw_zone, report, request, serial_watch, timing,
};
use dynhost_e2e::stack::{Stack, StackOptions, ZoneOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::report::Part;

/// Measures floor and product in one run and prints tables; fails where a target is missed.
#[derive(Parser)]
struct Options {
    /// Updates of one client, one after the other.
    #[arg(long, default_value_t = 500)]
    updates: usize,

    /// Hosts that are in sync before anything happens to them; memory is measured with ten times
    /// as many, too.
    #[arg(long, default_value_t = 10_000)]
    hosts: usize,

    /// Measure these groups only.
    #[arg(long, value_name = "GROUP,..", value_enum, value_delimiter = ',')]
    only: Vec<Group>,

    /// Write the tables into this file too.
    #[arg(long, value_name = "FILE", conflicts_with = "only")]
    write: Option<PathBuf>,

    #[command(subcommand)]
    part: Option<Child>,
}

/// What is measured together.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// One host's updates, one after the other.
    Update,
    /// Hosts created at once.
    Created,
    /// Answers a second.
    Rates,
    /// Honest clients while others mean ill.
    Trouble,
    /// Many names in a message.
    Batches,
    /// A start with all hosts in sync.
    Start,
    /// All hosts at rest.
    Idle,
    /// All records gone.
    Wipe,
    /// Thousands of reports at once.
    Burst,
    /// Memory by the number of hosts.
    Memory,
    /// A dead zone beside a healthy one.
    DeadZone,
}

#[derive(Subcommand)]
enum Child {
    /// Be the clients that this file describes: what the benchmark starts by itself.
    #[command(hide = true)]
    Load { file: PathBuf },
}

/// Connections of one client or server at a time, and some more.
const FILES: u64 = 8192;

fn main() -> Result<()> {
    let options = Options::parse();
    match &options.part {
        Some(Child::Load { file }) => load::act(file),
        None => tokio::runtime::Runtime::new()?.block_on(measure(options)),
    }
}

/// The children have what this process may have.
fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < FILES) {
        let raised = Rlimit {
            current: Some(FILES),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised)
            .with_context(|| format!("{FILES} open files are needed (ulimit -Hn)"))?;
    }
    Ok(())
}

async fn measure(options: Options) -> Result<()> {
    ensure!(
        std::thread::available_parallelism()?.get() > 1,
        "server and clients need a core each"
    );
    raise_file_limit()?;
    let is_wanted = |group| options.only.is_empty() || options.only.contains(&group);
    let mut parts = Vec::new();
    let mut show = |part: Part| {
        println!("{}", part.show());
        parts.push(part);
    };
    let stack = Stack::start(stack_options()).await?;
    let machine = machine::describe(&stack).await?;
    println!("{machine}");
    if is_wanted(Group::Update) {
        show(single::measure(&stack, options.updates).await?);
    }
    if is_wanted(Group::Created) {
        show(created::measure(&stack).await?);
    }
    if is_wanted(Group::Rates) || is_wanted(Group::Trouble) {
        let zone = stack.create_zone(ZoneOptions::default()).await?;
        let hosts = endpoint::create_hosts(&stack, &zone).await?;
        stack.operator.terminate().await?;
        let clients = load::Clients::new()?;
        if is_wanted(Group::Rates) {
            show(endpoint::rates::measure(&stack, &clients, &hosts).await?);
        }
        if is_wanted(Group::Trouble) {
            show(endpoint::trouble::measure(&stack, &clients, &hosts).await?);
        }
        stack.operator.start_again().await?;
    }
    if is_wanted(Group::Batches) {
        show(batches::measure(&stack).await?);
    }
    drop(stack);
    if scale::GROUPS.into_iter().any(is_wanted) {
        scale::measure(is_wanted, options.hosts, &mut show).await?;
    }
    if is_wanted(Group::DeadZone) {
        show(dead_zone::measure(stack_options(), options.hosts).await?);
    }
    let targets = || parts.iter().flat_map(|part| &part.targets);
    let mut page = format!(
        "# Benchmarks\n\nWritten by `cargo bench-e2e --write docs/benchmarks.md`; client, API server, \
         etcd, BIND and operator share the machine. The floor is what API server and name server take \
         by themselves, in the same run.\n\n{machine}\n\n## Targets\n\n{}",
        report::render(targets())
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

/// One host changes as fast as it can here, and its limit is not what is measured.
fn stack_options() -> StackOptions {
    StackOptions {
        operator_arguments: ["--host-change-rate", "100000"].map(str::to_owned).into(),
        ..StackOptions::default()
    }
}
