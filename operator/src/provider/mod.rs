//! IO: name servers and DNS services that hold a zone.

pub mod lane;
pub mod rfc2136;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::name::RecordName;
use crate::record::change::{Found, HostChange};

/// A service that holds a zone.
pub trait Provider: Send + Sync {
    /// Brings the RRsets of each host to their new contents, atomically for each host; one outcome
    /// per change, in the same order.
    fn apply<'a>(
        &'a self,
        changes: &'a [HostChange],
    ) -> BoxFuture<'a, Vec<Result<Applied, ApplyError>>>;

    /// Reads one name back, after a failed precondition or an unknown outcome. It changes nothing
    /// and so never fails with [`ApplyError::Unknown`] or [`ApplyError::PreconditionFailed`].
    fn read<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, Result<Found, ApplyError>>;

    /// Whether the service answers, holds the zone and takes our credentials. It changes nothing
    /// and fails as [`Provider::read`] does.
    fn probe(&self) -> BoxFuture<'_, Result<(), ApplyError>>;
}

/// The change is in DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied;

/// Why a change is not, or perhaps not, in DNS; each variant says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The server refused our credentials, which have been read again already, or they are
    /// malformed: wait for new ones.
    #[error("credentials rejected: {0}")]
    Unauthorized(String),
    /// There are no credentials: wait for them. Nothing was changed.
    #[error("credentials missing: {0}")]
    CredentialsMissing(String),
    /// The basis does not hold: read back, decide again. Nothing was changed.
    #[error("the prerequisites do not hold: {0}")]
    PreconditionFailed(String),
    /// The server understood and refused: a person must change something. Nothing was changed.
    #[error("refused: {0}")]
    Rejected(String),
    /// No server took the message: try again later. Nothing was changed.
    #[error("unavailable: {detail}")]
    Unavailable {
        detail: String,
        retry_after: Option<Duration>,
    },
    /// A server may have applied the message (reply lost, late, unverifiable, or SERVFAIL): read
    /// back before anything else.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}
