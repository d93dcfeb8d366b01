//! PURE: why DNS does not say what it should, which condition tells so, and when to try again.

use std::time::Duration;

use dynhost_crds::conditions::Reason;

use crate::provider::ApplyError;
use crate::record::interface_id::PrefixMisfit;

/// Why a host's records could not be brought to what is desired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No name server answers: no host of the zone has better luck.
    #[error("{detail}")]
    Unavailable {
        detail: String,
        retry_after: Option<Duration>,
    },
    /// This host could not be brought to what is desired yet, which says nothing of the name server.
    #[error("{0}")]
    Unsettled(String),
    /// The name server refused the change.
    #[error("{0}")]
    Refused(String),
    /// The name server refused the zone's credentials.
    #[error("{0}")]
    CredentialsRejected(String),
    /// The zone's credentials are missing.
    #[error("{0}")]
    CredentialsMissing(String),
    /// Somebody else's records are at the name.
    #[error("{0}")]
    Foreign(String),
    /// No IPv6 address can be made of the prefix that was reported; all else is published.
    #[error(transparent)]
    Prefix(#[from] PrefixMisfit),
    /// The zone is gone or unusable while the host is being deleted.
    #[error("the host's zone does not exist")]
    ZoneGone,
    /// The API server tells of a later write than the one that the attempt went on: it begins anew.
    #[error("the host has been written meanwhile")]
    Overtaken,
    /// The host is gone from the API server: there is nobody to tell.
    #[error("the host is gone")]
    HostGone,
}

impl Problem {
    /// The reason of the condition Published.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unavailable { .. } | Self::Unsettled(_) | Self::Overtaken | Self::HostGone => {
                Reason::ProviderUnavailable
            }
            Self::Refused(_) => Reason::ProviderRefused,
            Self::CredentialsRejected(_) | Self::CredentialsMissing(_) => {
                Reason::CredentialsRejected
            }
            Self::Foreign(_) => Reason::ForeignRecord,
            Self::Prefix(_) => Reason::PrefixMismatch,
            Self::ZoneGone => Reason::ZoneNotFound,
        }
    }

    /// How long to wait before trying again after so many attempts in a row, counted from 0.
    ///
    /// What a restarted server mends is tried sooner than what a person must change; a change of
    /// the host, the zone or the key, and a zone that becomes ready, end the wait at once.
    pub fn retry(&self, attempt: u32) -> Option<Duration> {
        let (first, last) = match self {
            Self::Unavailable {
                retry_after: Some(after),
                ..
            } => (*after, *after),
            Self::Unavailable { .. } | Self::Unsettled(_) => {
                (Duration::from_millis(500), Duration::from_secs(15))
            }
            Self::ZoneGone | Self::CredentialsMissing(_) => {
                (Duration::from_secs(2), Duration::from_secs(15))
            }
            Self::CredentialsRejected(_) | Self::Refused(_) | Self::Foreign(_) => {
                (Duration::from_secs(2), Duration::from_secs(60))
            }
            Self::Overtaken => (Duration::ZERO, Duration::ZERO),
            // Another prefix or spec is a change of the host's inputs.
            Self::HostGone | Self::Prefix(_) => return None,
        };
        Some(
            first
                .saturating_mul(1 << attempt.min(10))
                .min(last.max(first)),
        )
    }

    /// Whether a host that is being deleted may be let go when this lasts: what is needed to remove
    /// its records is gone.
    pub fn lets_go(&self) -> bool {
        matches!(self, Self::ZoneGone | Self::CredentialsMissing(_))
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Unauthorized(detail) => Self::CredentialsRejected(detail),
            ApplyError::CredentialsMissing(detail) => Self::CredentialsMissing(detail),
            ApplyError::Rejected(detail) => Self::Refused(detail),
            ApplyError::Unavailable {
                detail,
                retry_after,
            } => Self::Unavailable {
                detail,
                retry_after,
            },
            ApplyError::PreconditionFailed(detail) | ApplyError::Unknown(detail) => {
                Self::Unsettled(detail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_grow_to_a_bound() {
        fn check(problem: &Problem, attempt: u32, seconds: f32) {
            let wait = problem.retry(attempt).unwrap().as_secs_f32();
            assert_eq!(wait, seconds, "{problem:?} {attempt}");
        }
        let unavailable = |retry_after| Problem::Unavailable {
            detail: String::new(),
            retry_after,
        };
        check(&unavailable(None), 0, 0.5);
        check(&Problem::Unsettled(String::new()), 0, 0.5);
        check(&unavailable(None), 3, 4.0);
        check(&unavailable(None), 40, 15.0);
        check(&unavailable(Some(Duration::from_secs(30))), 5, 30.0);
        check(&Problem::Foreign(String::new()), 0, 2.0);
        check(&Problem::Foreign(String::new()), 9, 60.0);
        assert_eq!(Problem::HostGone.retry(0), None);
    }
}
