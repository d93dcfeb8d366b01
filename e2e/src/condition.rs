//! Waiting for what another process does.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// Between two probes. Short beside everything that is waited for, long beside one probe.
const INTERVAL: Duration = Duration::from_millis(20);

/// Probes until `probe` gives a value, and returns it.
///
/// A probe says `Ok(None)` for "not yet". An error also means "not yet": servers that are starting
/// refuse connections. `limit` bounds the whole wait, a probe in flight included.
///
/// # Errors
/// After `limit`, with `what` and the last probe's error.
pub async fn await_condition<T, Probe, Outcome>(
    what: &str,
    limit: Duration,
    mut probe: Probe,
) -> Result<T>
where
    Probe: FnMut() -> Outcome,
    Outcome: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    let mut last_error = None;
    loop {
        match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => last_error = None,
            Ok(Err(error)) => last_error = Some(error),
            Err(_) => {}
        }
        if Instant::now() + INTERVAL >= deadline {
            match last_error {
                Some(error) => return Err(error.context(format!("{what}: not within {limit:?}"))),
                None => bail!("{what}: not within {limit:?}"),
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
