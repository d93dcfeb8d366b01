//! IO: name servers and DNS services that hold a zone.

pub mod lane;
pub mod rfc2136;

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};

use crate::name::RecordName;
use crate::record::change::{Found, HostChange};
use crate::record::contents::Visit;

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

    /// The serial of the zone, which every change makes another one; `None` where the service has
    /// no such thing. It fails as [`Provider::read`] does.
    fn serial(&self) -> BoxFuture<'_, Result<Option<u32>, ApplyError>> {
        ready(Ok(None)).boxed()
    }

    /// Hands every record of the zone but its SOA to `visit`, and says the serial of what it has
    /// handed over. Nothing counts before that: what came until then may not be proved.
    fn transfer<'a>(
        &'a self,
        visit: &'a mut Visit<'_>,
    ) -> BoxFuture<'a, Result<u32, TransferError>> {
        let _ = visit;
        let why = "this provider hands over no whole zones".to_owned();
        ready(Err(TransferError::Refused(why))).boxed()
    }
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

/// Why a zone was not read whole; each variant says what to do next. From the records that were
/// handed over before, nothing may be concluded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The service does not hand over whole zones, or not this one to us: ask for single names.
    #[error("transfer refused: {0}")]
    Refused(String),
    /// There are no credentials, or the service refused them for this, which have been read again
    /// already: where they are good for anything else, ask for single names.
    #[error("credentials rejected: {0}")]
    Unauthorized(String),
    /// Nobody answers, or no longer: try again later.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// What came was no whole zone, or nobody proved it: try again later.
    #[error("the transfer broke off: {0}")]
    Broken(String),
}
