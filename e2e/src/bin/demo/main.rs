//! `cargo demo`: dynhost from nothing to a changed name, with real parts, on this machine only.

// What a demonstration shows goes to standard output; what it does to get there, to standard error.
#![allow(clippy::print_stdout)]

mod clients;
mod env_file;
mod examples;
mod show;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use dynhost_e2e::{Operator, Scratch, Stack, StackOptions, scratch};
use tokio::{
    runtime::Runtime,
    select,
    signal::unix::{SignalKind, signal},
};

use self::{env_file::EnvFile, examples::Demo};

/// Starts an API server, a name server and the operator, applies examples/, sends updates with
/// ddclient and curl, and shows what becomes of them. Everything ends with it.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo demo")]
struct Arguments {
    /// End after the demonstration, with a status other than 0 where DNS is wrong.
    #[arg(long)]
    once: bool,

    /// How many replicas of the operator there are: all serve, one of them writes DNS.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,

    /// Write shell exports for other programs to this file, once zone and operator are ready.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,

    /// Further arguments of `dynhost run`.
    #[arg(last = true, value_name = "OPERATOR ARGUMENTS")]
    operator: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run_until_signal(arguments));
    // Not dropped: that would wait for a build that is under way, which dies with this process.
    runtime.shutdown_background();
    scratch::remove_all();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A signal is the way to end a demonstration that stays up, and a failure before that.
async fn run_until_signal(arguments: Arguments) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut signals = async || {
        select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let stays = !arguments.once;
    // Whichever side is not chosen is dropped, and with it every server and folder.
    let _stack = select! {
        result = demonstrate(arguments) => result?,
        () = signals() => anyhow::bail!("ended by a signal before the demonstration was over"),
    };
    if stays {
        show::step("everything stays up until Ctrl-C (or SIGTERM)");
        signals().await;
        show::step("stopping");
    }
    Ok(())
}

/// What must stay alive for the demonstration to stay up.
struct Running {
    // Dropped first: the file tells of servers.
    _env_file: Option<EnvFile>,
    _replicas: Vec<Operator>,
    _stack: Stack,
    _tools: Scratch,
}

async fn demonstrate(arguments: Arguments) -> Result<Running> {
    show::step("starting etcd, kube-apiserver, kube-controller-manager, BIND and the operator");
    let stack = Stack::start(StackOptions {
        operator_arguments: arguments.operator.clone(),
        api_proxy: false,
    })
    .await?;
    let mut replicas = Vec::new();
    for _ in 1..arguments.replicas {
        replicas.push(stack.start_replica(arguments.operator.clone()).await?);
    }
    show::servers(&stack, &replicas).await?;
    let tools = env_file::link_tools().await?;

    let demo = Demo::apply(&stack).await?;
    let env_file = match &arguments.env_file {
        Some(path) => Some(EnvFile::write(path, &stack, &replicas, tools.path()).await?),
        None => None,
    };
    show::names(&stack, "before the first update").await?;

    show::step("updating home.dyn.example.org with ddclient and examples/clients/ddclient.conf");
    show::output(
        "(with this run's server and update key, without TLS, and with an address to report)",
    );
    let log = clients::run_ddclient(&stack, &demo.home_key, clients::FIRST_IPV4).await?;
    show::output(&log);
    show::await_home(&stack, &[clients::FIRST_IPV4], &[])
        .await
        .context("after ddclient's update")?;
    show::names(&stack, "after ddclient's update").await?;

    show::step(
        "updating home.dyn.example.org with examples/clients/curl.sh: another IPv4 address, and IPv6",
    );
    let addresses = [clients::SECOND_IPV4, clients::IPV6];
    let answer = clients::run_curl(&stack, &demo.home_key, &addresses).await?;
    show::output(&answer);
    show::await_home(&stack, &[clients::SECOND_IPV4], &[clients::IPV6])
        .await
        .context("after curl's update")?;
    show::names(&stack, "after curl's update").await?;
    show::step("every answer was right");
    Ok(Running {
        _env_file: env_file,
        _replicas: replicas,
        _stack: stack,
        _tools: tools,
    })
}
