//! IO: a zone written by DNS UPDATE (RFC 2136) over TCP, signed with TSIG (RFC 8945).

mod connection;
pub mod message;
pub mod reply;
pub mod server;
pub mod transport;
pub mod tsig;

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::{BoxFuture, FutureExt, try_join_all};
use futures::stream::{self, StreamExt};
use hickory_net::proto::op::Message;
use tokio::sync::Mutex;

use self::message::EncodeError;
use self::server::Server;
use self::transport::{ExchangeError, Transport};
use self::tsig::{InvalidKey, Reply, TsigKey};
use super::{Applied, ApplyError, Provider};
use crate::name::{Fqdn, RecordName};
use crate::record::change::{Found, HostChange};

/// Messages of one call that are in flight at a time.
const IN_FLIGHT: usize = 4;

/// Reads the TSIG key from where it is kept.
pub type KeySource = Box<dyn Fn() -> BoxFuture<'static, Result<TsigKey, KeyError>> + Send + Sync>;

/// Why there is no TSIG key; the texts never hold the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Somebody must create it.
    #[error("the TSIG key was not found: {0}")]
    NotFound(String),
    /// Somebody must correct it.
    #[error(transparent)]
    Invalid(#[from] InvalidKey),
    /// It could not be read now: try again later.
    #[error("the TSIG key could not be read: {0}")]
    Unavailable(String),
}

impl From<KeyError> for ApplyError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound(_) => Self::CredentialsMissing(error.to_string()),
            KeyError::Invalid(_) => Self::Unauthorized(error.to_string()),
            KeyError::Unavailable(_) => unavailable(error.to_string()),
        }
    }
}

impl From<EncodeError> for ApplyError {
    fn from(error: EncodeError) -> Self {
        Self::Rejected(error.to_string())
    }
}

/// A zone on a primary server that takes signed updates.
pub struct Rfc2136 {
    apex: Fqdn,
    /// In the order of preference.
    servers: Vec<Transport>,
    /// The index of the server that took the last message: what it was told is read back from it.
    preferred: AtomicUsize,
    /// Counts through the message ids, so that none is used twice at a time.
    next_id: AtomicU16,
    key_source: KeySource,
    key: Mutex<Option<Arc<TsigKey>>>,
}

impl Rfc2136 {
    /// The zone `apex` on its primary, which `servers` name in order of preference. The key is read
    /// when it is first needed, kept, and read again after the server has refused it.
    pub fn new(apex: Fqdn, servers: Vec<Server>, key_source: KeySource) -> Self {
        Self {
            apex,
            servers: servers.into_iter().map(Transport::new).collect(),
            preferred: AtomicUsize::new(0),
            next_id: AtomicU16::new(0),
            key_source,
            key: Mutex::new(None),
        }
    }

    async fn apply_one(&self, change: &HostChange) -> Result<Applied, ApplyError> {
        let request = message::update(self.take_ids(1), &self.apex, slice::from_ref(change))?;
        self.with_key(&[request], Intent::Change, |replies| {
            replies.iter().try_for_each(reply::applied)
        })
        .await?;
        Ok(Applied)
    }

    async fn read_name(&self, name: &RecordName) -> Result<Found, ApplyError> {
        let requests = message::queries(self.take_ids(4), name)?;
        self.with_key(&requests, Intent::Ask, |replies| {
            reply::found(&requests, replies)
        })
        .await
    }

    async fn probe_zone(&self) -> Result<(), ApplyError> {
        let request = message::probe(self.take_ids(1), &self.apex)?;
        self.with_key(&[request], Intent::Ask, |replies| {
            replies.iter().try_for_each(reply::applied)
        })
        .await
    }

    fn take_ids(&self, count: u16) -> u16 {
        self.next_id.fetch_add(count, Ordering::Relaxed)
    }

    /// Exchanges `requests` and judges the replies; once more where the key is refused and there
    /// is another by now.
    async fn with_key<T>(
        &self,
        requests: &[Message],
        intent: Intent,
        judge: impl Fn(&[Reply]) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let key = self.key().await?;
        let replies = self.exchange(requests, intent, &key).await;
        let mut outcome = replies.and_then(|replies| judge(&replies));
        if let Err(ApplyError::Unauthorized(_)) = outcome {
            let renewed = self.key_after(&key).await?;
            if renewed != key {
                let replies = self.exchange(requests, intent, &renewed).await;
                outcome = replies.and_then(|replies| judge(&replies));
            }
        }
        match outcome {
            Err(ApplyError::Unknown(why)) if intent == Intent::Ask => Err(unavailable(why)),
            outcome => outcome,
        }
    }

    /// Sends all of `requests` to one server and returns the replies in the same order.
    async fn exchange(
        &self,
        requests: &[Message],
        intent: Intent,
        key: &TsigKey,
    ) -> Result<Vec<Reply>, ApplyError> {
        let now = unix_time();
        let signed = requests
            .iter()
            .map(|request| message::encode(request.clone(), key, now))
            .collect::<Result<Vec<_>, _>>()?;
        let preferred = self.preferred.load(Ordering::Relaxed);
        let servers = self.servers.iter().enumerate().cycle();
        let mut failures = Vec::new();
        for (index, server) in servers.skip(preferred).take(self.servers.len()) {
            let exchanges = signed.iter().map(|request| server.exchange(&request.wire));
            match try_join_all(exchanges).await {
                Ok(replies) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    let now = unix_time();
                    return replies
                        .iter()
                        .zip(&signed)
                        .map(|(reply, request)| key.open(reply, &request.mac, now))
                        .collect::<Result<_, _>>()
                        .map_err(|error| ApplyError::Unknown(format!("malformed reply: {error}")));
                }
                // Another server is not asked to do what this one may have done.
                Err(ExchangeError::Lost(why)) if intent == Intent::Change => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Err(ApplyError::Unknown(why));
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
        Err(unavailable(failures.join("; ")))
    }

    async fn key(&self) -> Result<Arc<TsigKey>, KeyError> {
        let mut current = self.key.lock().await;
        if let Some(key) = current.as_ref() {
            return Ok(Arc::clone(key));
        }
        self.read_key(&mut current).await
    }

    /// The key to use now that `refused` was refused.
    async fn key_after(&self, refused: &TsigKey) -> Result<Arc<TsigKey>, KeyError> {
        let mut current = self.key.lock().await;
        match current.as_ref().filter(|key| ***key != *refused) {
            Some(key) => Ok(Arc::clone(key)),
            None => self.read_key(&mut current).await,
        }
    }

    async fn read_key(&self, current: &mut Option<Arc<TsigKey>>) -> Result<Arc<TsigKey>, KeyError> {
        *current = None;
        let key = Arc::new((self.key_source)().await?);
        *current = Some(Arc::clone(&key));
        Ok(key)
    }
}

impl Provider for Rfc2136 {
    fn apply<'a>(
        &'a self,
        changes: &'a [HostChange],
    ) -> BoxFuture<'a, Vec<Result<Applied, ApplyError>>> {
        stream::iter(changes)
            .map(|change| self.apply_one(change))
            .buffered(IN_FLIGHT)
            .collect()
            .boxed()
    }

    fn read<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, Result<Found, ApplyError>> {
        self.read_name(name).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), ApplyError>> {
        self.probe_zone().boxed()
    }
}

/// What requests are to do, which decides what a lost reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// Change the zone: without a reply nobody knows whether they have.
    Change,
    /// Change nothing: they may be sent again, to any server.
    Ask,
}

fn unavailable(detail: String) -> ApplyError {
    ApplyError::Unavailable {
        detail,
        retry_after: None,
    }
}

/// Seconds since the epoch. A clock before it is refused by the server as any wrong clock is.
fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
