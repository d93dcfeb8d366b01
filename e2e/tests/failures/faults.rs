//! Operators, API server, etcd and BIND are killed, frozen and stopped while clients report.

use std::time::Duration;

use anyhow::{Context as _, Result};
use dynhost_e2e::failures::{Inflicted, Scale, inflict, plan};

use super::stage::{Stage, end};

/// Of each number of replicas.
const FAULTS: usize = 20;

/// A seed may be set, so that a run can be repeated: faults come in the same order then.
const SEED: &str = "DYNHOST_FAILURES_SEED";

const STOPS: usize = 5;
const STOP: Duration = Duration::from_secs(5);

async fn check(replicas: usize) -> Result<()> {
    let stage = Stage::enter().await?;
    let run = stage.run(replicas).await?;
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse()?,
        Err(_) => u64::from_str_radix(&dynhost_e2e::random_hex(4)?, 16)?,
    };
    let scale = Scale {
        replicas,
        faults: FAULTS,
        usual: (Duration::from_millis(500), Duration::from_secs(4)),
        // Longer than clients wait.
        longest: Duration::from_secs(12),
    };
    let what = format!("{replicas} replicas, {SEED}={seed}");
    let plan = plan(seed, &scale);
    let inflicted = inflict(run.stack, &run.replicas, &plan)
        .await
        .with_context(|| what.clone())?;
    end(run, what, inflicted, 0).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_by_two_replicas_is_in_dns_whatever_fails() -> Result<()> {
    check(2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_by_three_replicas_is_in_dns_whatever_fails() -> Result<()> {
    check(3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_stopped_in_the_middle_of_updates_overwrites_nothing_newer() -> Result<()>
{
    let stage = Stage::enter().await?;
    let run = stage.run(2).await?;
    for _ in 0..STOPS {
        run.replicas.stop_writer(run.stack, STOP).await?;
    }
    let what = "2 replicas".to_owned();
    end(run, what, Inflicted::default(), STOPS).await?;
    Ok(())
}
