//! All replicas are replaced, one after the other, and no client notices.

use anyhow::{Result, ensure};
use dynhost_e2e::failures::Inflicted;

use super::stage::{Stage, end};

const REPLICAS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_twice_does_not_notice_that_all_replicas_are_replaced() -> Result<()> {
    let stage = Stage::enter().await?;
    let mut run = stage.run(REPLICAS).await?;
    for _ in 0..REPLICAS {
        run.replicas.add(run.stack).await?;
        run.load.ask(run.replicas.addresses());
        let oldest = run.replicas.take_oldest()?;
        // Clients learn that it is gone after it has gone.
        let status = oldest.terminate().await?;
        ensure!(status.success(), "{status}: {}", oldest.log_tail(20));
        run.load.ask(run.replicas.addresses());
        // Somebody writes, and so the next one has something to hand over.
        run.replicas.writer().await?;
    }
    let what = format!("all {REPLICAS} replicas replaced");
    let summary = end(run, what, Inflicted::default(), 0).await?;
    ensure!(summary.reports.failed == 0, "{summary}");
    Ok(())
}
