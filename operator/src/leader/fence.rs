//! What stops a writer whose time is over, however late it looks.

use std::sync::atomic::{AtomicU64, Ordering};

use super::moment::Moment;

/// Until when a writer may write. Looked at before each message to a name server and each request
/// that changes anything at the API server.
#[derive(Debug)]
pub struct Fence {
    /// Nanoseconds of a [`Moment`].
    until: AtomicU64,
}

/// Our time to write is over, or not come: somebody else may write.
#[derive(Debug, thiserror::Error)]
#[error("another replica may hold the lease by now")]
pub struct Closed;

impl Fence {
    /// Open until that moment.
    pub fn until(until: Moment) -> Self {
        Self {
            until: AtomicU64::new(until.as_nanos()),
        }
    }

    /// Open for ever, for who needs no lease.
    pub fn open() -> Self {
        Self {
            until: AtomicU64::new(u64::MAX),
        }
    }

    /// The lease was renewed.
    pub(super) fn extend(&self, until: Moment) {
        self.until.fetch_max(until.as_nanos(), Ordering::Relaxed);
    }

    /// The lease is lost.
    pub(super) fn close(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    /// Whether we may write now.
    pub fn check(&self) -> Result<(), Closed> {
        match Moment::now().as_nanos() < self.until.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Closed),
        }
    }
}
