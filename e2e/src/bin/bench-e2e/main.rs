//! `cargo bench-e2e`: how fast dynhost is, beside the floor that the API server and the name
//! server set, in one run on one machine.
//!
//! The floor of an update is a raw status patch until a watch hears of it, plus a raw signed
//! UPDATE: what nobody who stores before answering can do without.

// The tables are what it is for.
#![allow(clippy::print_stdout)]

mod endpoint;
mod floor;
mod load;
mod machine;
mod memory;
mod product;
mod request;
mod timing;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};
use dynhost_e2e::stack::{Stack, StackOptions, ZoneOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::timing::Timing;

/// Measures floor and product in one run and prints a table.
#[derive(Parser)]
struct Options {
    /// Updates of one client, one after the other.
    #[arg(long, default_value_t = 500)]
    updates: usize,

    /// Hosts that are created at once.
    #[arg(long, default_value_t = 1000)]
    hosts: usize,

    /// Write the tables into this file too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,

    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Be the clients that this file describes: what the benchmark starts by itself.
    #[command(hide = true)]
    Load { file: PathBuf },
}

/// Connections of one client or server at a time, and some more.
const FILES: u64 = 8192;

fn main() -> Result<()> {
    let options = Options::parse();
    match &options.part {
        Some(Part::Load { file }) => load::act(file),
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
    // One host changes as fast as it can here, and its limit is not what is measured.
    let options_of_stack = StackOptions {
        operator_arguments: ["--host-change-rate", "100000"].map(str::to_owned).into(),
        ..StackOptions::default()
    };
    let stack = Stack::start(options_of_stack).await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = zone.host("bench");
    let token = stack.create_host(&host).await?;
    // One update by the product gives the object the size that all patches are measured on.
    product::updates(&stack, &zone, &host, &token, 1).await?;

    stack.operator.terminate().await?;
    let before = floor::measure(&stack, &zone, &host, options.updates).await?;
    stack.operator.start_again().await?;
    let product = product::updates(&stack, &zone, &host, &token, options.updates).await?;
    stack.operator.terminate().await?;
    let after = floor::measure(&stack, &zone, &host, options.updates).await?;
    stack.operator.start_again().await?;
    let created = product::create_hosts(&stack, &zone, options.hosts).await?;
    let memory = memory::peak(stack.operator.pid().await?)?;
    let hosts = endpoint::create_hosts(&stack, &zone).await?;
    stack.operator.terminate().await?;

    let patch = before.patch.and(after.patch);
    let update = before.update.and(after.update);
    let floor = |of: fn(&Timing) -> f64| of(&patch) + of(&update);
    let ratio = |of: fn(&Timing) -> f64| of(&product.in_dns) / floor(of);
    let mut page = format!(
        "# Benchmarks\n\nWritten by `cargo bench-e2e --write docs/benchmarks.md`; client, API server, \
         etcd, BIND and operator share the machine.\n\n{}\n",
        machine::describe(&stack).await?
    );
    page += "\n## One update, from the request to the authoritative answer\n\n\
             Of one host, one after the other, with a `--host-change-rate` that allows it.\n\n\
             | what | n | p50 | p99 |\n|---|---|---|---|\n";
    page += &patch.row("raw status patch until its watch event (same object, same ServiceAccount)");
    page += &update.row("raw signed UPDATE (the same message)");
    page += &format!(
        "| floor: their sum | | {:.2} ms | {:.2} ms |\n",
        floor(Timing::p50),
        floor(Timing::p99)
    );
    page += &product
        .answered
        .row("update at the endpoint until it is answered `good`");
    page += &product
        .in_dns
        .row("update at the endpoint until BIND answers with it");
    page += &format!(
        "| **ratio to the floor** | | **{:.2}** | **{:.2}** |\n",
        ratio(Timing::p50),
        ratio(Timing::p99)
    );
    page += &format!(
        "\n## {} hosts created at once\n\n| what | figure |\n|---|---|\n\
         | until all exist | {:.1} s |\n| until all are Ready, each with a key of its own | {:.1} s |\n\
         | operator's memory then (resident, peak) | {:.1} MiB |\n",
        options.hosts,
        created.exist.as_secs_f64(),
        created.ready.as_secs_f64(),
        memory
    );
    println!("{page}");
    let clients = load::Clients::new()?;
    let rates = endpoint::rates::measure(&stack, &clients, &hosts).await?;
    println!("{}", rates.page);
    let trouble = endpoint::trouble::measure(&stack, &clients, &hosts).await?;
    println!("{}", trouble.page);
    page += &rates.page;
    page += &trouble.page;
    if let Some(file) = options.write {
        std::fs::write(&file, &page).with_context(|| format!("writing {}", file.display()))?;
    }
    let mut missed = [rates.missed, trouble.missed].concat();
    if ratio(Timing::p50) > 1.5 {
        missed.push("the median update is over 1.5 times the floor".to_owned());
    }
    if created.ready.as_secs() >= 30 {
        missed.push("the hosts took 30 s or more to become Ready".to_owned());
    }
    if !missed.is_empty() {
        bail!("targets missed: {}", missed.join("; "));
    }
    Ok(())
}
