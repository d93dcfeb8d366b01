//! When an operator has done all there was to do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::memory::cpu_time;
use crate::{Operator, http};

/// Waits until the operator has neither written anything nor used more than a twentieth of a core
/// for a second and a half.
pub async fn await_quiet(operator: &Operator) -> Result<()> {
    const STEP: Duration = Duration::from_millis(250);
    const STEPS: u32 = 6;
    const LIMIT: Duration = Duration::from_secs(300);
    const WRITES: [&str; 2] = ["dynhost_api_writes_total", "dynhost_dns_changes_total"];
    let pid = operator.pid().await?;
    let start = Instant::now();
    let mut quiet = 0;
    let mut before = (metrics(operator, &WRITES).await?, cpu_time(pid)?);
    while quiet < STEPS {
        ensure!(
            start.elapsed() < LIMIT,
            "the operator does not come to rest"
        );
        tokio::time::sleep(STEP).await;
        let now = (metrics(operator, &WRITES).await?, cpu_time(pid)?);
        let is_quiet = now.0 == before.0 && now.1 - before.1 < STEP / 20;
        quiet = if is_quiet { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

/// What the operator says that it has sent to the API server, but for its lease.
pub async fn api_writes(operator: &Operator) -> Result<Vec<String>> {
    metrics(operator, &["dynhost_api_writes_total"]).await
}

/// The lines of these metrics.
async fn metrics(operator: &Operator, names: &[&str]) -> Result<Vec<String>> {
    let page = http::get(operator.admin_address(), "/metrics", None).await?;
    let text = page.text();
    let lines = text
        .lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)))
        .filter(|line| !line.contains("kind=\"lease\""));
    Ok(lines.map(str::to_owned).collect())
}
