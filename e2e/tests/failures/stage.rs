//! Where one test at a time lets things fail.

use std::{io::Write as _, time::Duration};

use anyhow::{Result, ensure};
use dynhost_e2e::{
    Stack, StackOptions,
    failures::{Inflicted, Pace, Replicas, Run, Summary},
};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Twice as many as clients: every other one is left in the middle of what fails.
const HOSTS: usize = 400;

/// One in eight is a new address: as many changes as an operator that was built for debugging takes
/// on two cores, which it shares with all that it is tested against.
const PACE: Pace = Pace {
    rate: 200,
    change_every: 8,
    clients: 200,
    stay: 60,
};

/// A report may wait for the longest pause between two attempts, which is a minute.
const LIMIT: Duration = Duration::from_secs(75);

/// Servers; no operator.
pub(crate) struct Stage(Stack);

impl Stage {
    /// Waits until no other test is on it.
    pub(crate) async fn enter() -> Result<MutexGuard<'static, Self>> {
        static STAGE: OnceCell<Mutex<Stage>> = OnceCell::const_new();
        let stage = STAGE.get_or_try_init(async || {
            let stack = Stack::start(StackOptions::default()).await?;
            // What fails here, it only logs; and it takes a part of two cores.
            stack.control_plane.stop_controller_manager().await?;
            stack.operator.terminate().await?;
            Ok::<_, anyhow::Error>(Mutex::new(Self(stack)))
        });
        Ok(stage.await?.lock().await)
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.0
    }

    /// So many replicas, and clients that report to them.
    pub(crate) async fn run(&self, replicas: usize) -> Result<Run<'_>> {
        let arguments = ["--lease-duration", "2s"];
        let replicas = Replicas::start(&self.0, replicas, &arguments).await?;
        Run::start(&self.0, replicas, HOSTS, PACE).await
    }
}

/// Ends the load and judges what DNS has then.
pub(crate) async fn end(
    run: Run<'_>,
    what: String,
    inflicted: Inflicted,
    stops: usize,
) -> Result<Summary> {
    let summary = run.end(what, inflicted, stops, LIMIT).await?;
    // Shown for tests that pass, too: what is printed by macros is not.
    writeln!(std::io::stderr(), "\n{summary}")?;
    ensure!(summary.is_right(), "{summary}\n{}", summary.logs);
    ensure!(summary.reports.acknowledged > 0 && summary.reads > 0);
    Ok(summary)
}
