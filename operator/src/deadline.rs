//! No call of the API server waits for ever: a half-open connection never says so itself.

use std::time::Duration;

/// How long a call of the controller may take.
pub const CALL: Duration = Duration::from_secs(10);

/// The outcome of a call, or an error where it takes longer than `limit`; whether a write was
/// stored is then unknown.
pub async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(outcome) => outcome,
        Err(elapsed) => Err(kube::Error::Service(elapsed.into())),
    }
}
