//! IO: a zone written by DNS UPDATE (RFC 2136) over TCP, signed with TSIG (RFC 8945).

pub mod axfr;
mod connection;
mod ids;
pub mod message;
pub mod reply;
pub mod server;
mod transfer;
pub mod transport;
pub mod tsig;
pub mod wire;

use std::collections::HashMap;
use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::{BoxFuture, FutureExt, TryFutureExt, join_all, try_join_all};
use hickory_net::proto::op::{Message, OpCode};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use self::ids::MessageIds;
use self::message::EncodeError;
use self::server::Server;
use self::transport::{ExchangeError, Transport};
use self::tsig::{InvalidKey, Reply, TsigKey};
use super::{Applied, ApplyError, Provider, TransferError};
use crate::leader::fence::Fence;
use crate::metrics::ZoneMetrics;
use crate::name::{Fqdn, RecordName};
use crate::record::change::{Found, HostChange};
use crate::record::contents::Visit;

/// UPDATE messages in flight, the parts of refused ones included: all parts of one go out at once,
/// and BIND drops what is beyond its `update-quota` of 100 for all its clients.
const IN_FLIGHT: usize = 16;

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
    /// The index of the server that is spoken to: the one that answered last.
    current: AtomicUsize,
    /// Which server may have applied a change of these names: it is read back from there.
    took: Mutex<HashMap<RecordName, usize>>,
    ids: MessageIds,
    updates: Semaphore,
    key_source: KeySource,
    key: AsyncMutex<Option<Arc<TsigKey>>>,
    metrics: Arc<ZoneMetrics>,
}

impl Rfc2136 {
    /// The zone `apex` on its primary, which `servers` name in order of preference. The key is read
    /// when it is first needed, kept, and read again after the server has refused it. Where the
    /// fence is closed nothing is sent.
    pub fn new(
        apex: Fqdn,
        servers: Vec<Server>,
        key_source: KeySource,
        fence: &Arc<Fence>,
    ) -> Self {
        let transport = |server| Transport::new(server, fence.clone());
        Self {
            apex,
            servers: servers.into_iter().map(transport).collect(),
            current: AtomicUsize::new(0),
            took: Mutex::default(),
            ids: MessageIds::default(),
            updates: Semaphore::new(IN_FLIGHT),
            key_source,
            key: AsyncMutex::new(None),
            metrics: Arc::default(),
        }
    }

    /// Counts its messages there.
    pub fn counted_in(self, metrics: Arc<ZoneMetrics>) -> Self {
        Self { metrics, ..self }
    }

    /// All changes in one message; where that is refused, in parts, so that a change that cannot
    /// be made costs the others at most three round trips.
    fn apply_all<'a>(
        &'a self,
        changes: &'a [HostChange],
    ) -> BoxFuture<'a, Vec<Result<Applied, ApplyError>>> {
        let apply = async move {
            if changes.is_empty() {
                return Vec::new();
            }
            let outcome = self.apply_together(changes).await;
            let is_refused = matches!(
                outcome,
                Err(ApplyError::PreconditionFailed(_) | ApplyError::Rejected(_))
            );
            match part_size(changes.len()).filter(|_| is_refused) {
                None => vec![outcome; changes.len()],
                Some(size) => {
                    let parts = changes.chunks(size).map(|part| self.apply_all(part));
                    join_all(parts).await.into_iter().flatten().collect()
                }
            }
        };
        apply.boxed()
    }

    async fn apply_together(&self, changes: &[HostChange]) -> Result<Applied, ApplyError> {
        let id = self.ids.take(1);
        let requests = [message::update(id.first, &self.apex, changes)?];
        // It is never closed.
        let _permit = self.updates.acquire().await.ok();
        let order = self.order(self.current());
        let exchange = self.with_key(&requests, Intent::Change, &order, |replies| {
            replies.iter().try_for_each(reply::applied)
        });
        let (outcome, server) = exchange.await;
        let names = changes.iter().flat_map(|change| &change.names);
        match (&outcome, server) {
            (Ok(()), _) => {
                self.metrics.changed();
                let mut took = self.took();
                for name in names {
                    took.remove(&name.name);
                }
            }
            (Err(ApplyError::Unknown(_)), Some(server)) => {
                let names = names.map(|name| (name.name.clone(), server));
                self.took().extend(names);
            }
            _ => {}
        }
        outcome.map(|()| Applied)
    }

    /// From the server that may have applied a change of the name, if there is one, or else from
    /// the one that is spoken to; from another only where that does not answer. What is read is
    /// the ground of no decision but which prerequisites the next message has, and those are
    /// judged by the server that is then written: nothing of another's is changed there.
    async fn read_name(&self, name: &RecordName) -> Result<Found, ApplyError> {
        let ids = self.ids.take(4);
        let requests = message::queries(ids.first, name)?;
        let took = self.took().get(name).copied();
        let order = self.order(took.unwrap_or(self.current()));
        let exchange = self.with_key(&requests, Intent::Ask, &order, |replies| {
            reply::found(&requests, replies)
        });
        let (found, _) = exchange.await;
        if found.is_ok() {
            self.took().remove(name);
        }
        found
    }

    /// Asks the servers in the order of preference: where the first answers again, it is the one
    /// that is spoken to from now on. Where it does not do what we ask, as it may while it starts,
    /// the one that is spoken to is asked, and stays that.
    async fn probe_zone(&self) -> Result<(), ApplyError> {
        let current = self.current();
        let (outcome, server) = self.probe_servers(&self.order(0)).await;
        match (&outcome, server) {
            (Ok(()), Some(server)) => self.current.store(server, Ordering::Relaxed),
            (Err(_), Some(server)) if server != current => {
                return self.probe_servers(&[current]).await.0.or(outcome);
            }
            _ => {}
        }
        outcome
    }

    /// Beside the outcome, the server that has answered.
    async fn probe_servers(&self, order: &[usize]) -> (Result<(), ApplyError>, Option<usize>) {
        let id = self.ids.take(1);
        let request = match message::probe(id.first, &self.apex) {
            Ok(request) => request,
            Err(error) => return (Err(error.into()), None),
        };
        let judge = |replies: &[Reply]| replies.iter().try_for_each(reply::applied);
        self.with_key(&[request], Intent::Ask, order, judge).await
    }

    async fn ask_serial(&self) -> Result<u32, ApplyError> {
        let id = self.ids.take(1);
        let requests = [message::soa(id.first, &self.apex)?];
        let order = self.order(self.current());
        let exchange = self.with_key(&requests, Intent::Ask, &order, |replies| match replies {
            [reply] => reply::serial(reply),
            _ => Err(ApplyError::Unknown("no reply".to_owned())),
        });
        let (serial, _) = exchange.await;
        serial
    }

    fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// The servers, this one first and then in the order of preference.
    fn order(&self, first: usize) -> Vec<usize> {
        let others = (0..self.servers.len()).filter(|index| *index != first);
        iter::once(first).chain(others).collect()
    }

    /// The map is never left half changed, so that a panic elsewhere does not spoil it.
    fn took(&self) -> MutexGuard<'_, HashMap<RecordName, usize>> {
        self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges `requests` and judges the replies; once more where the key is refused and there
    /// is another by now. Beside the outcome, the server that has got them.
    async fn with_key<T>(
        &self,
        requests: &[Message],
        intent: Intent,
        order: &[usize],
        judge: impl Fn(&[Reply]) -> Result<T, ApplyError>,
    ) -> (Result<T, ApplyError>, Option<usize>) {
        let key = match self.key().await {
            Ok(key) => key,
            Err(error) => return (Err(error.into()), None),
        };
        let (replies, mut server) = self.exchange(requests, intent, order, &key).await;
        let mut outcome = replies.and_then(|replies| judge(&replies));
        if let Err(ApplyError::Unauthorized(_)) = outcome {
            let renewed = match self.key_after(&key).await {
                Ok(renewed) => renewed,
                Err(error) => return (Err(error.into()), server),
            };
            if renewed != key {
                let again = self.exchange(requests, intent, order, &renewed).await;
                server = again.1;
                outcome = again.0.and_then(|replies| judge(&replies));
            }
        }
        match outcome {
            Err(ApplyError::Unknown(why)) if intent == Intent::Ask => {
                (Err(unavailable(why)), server)
            }
            outcome => (outcome, server),
        }
    }

    /// Sends all of `requests` to the first server of `order` that takes them, and returns the
    /// replies in the same order, and the server that has got the requests.
    async fn exchange(
        &self,
        requests: &[Message],
        intent: Intent,
        order: &[usize],
        key: &TsigKey,
    ) -> (Result<Vec<Reply>, ApplyError>, Option<usize>) {
        let now = unix_time();
        let signed = requests
            .iter()
            .map(|request| message::encode(request.clone(), key, now))
            .collect::<Result<Vec<_>, _>>();
        let signed = match signed {
            Ok(signed) => signed,
            Err(error) => return (Err(error.into()), None),
        };
        let current = self.current();
        let mut failures = Vec::new();
        let mut is_current_silent = false;
        for index in order {
            let Some(server) = self.servers.get(*index) else {
                continue;
            };
            let exchanges = signed.iter().map(|request| server.exchange(&request.wire));
            let replies = try_join_all(exchanges).await;
            let failure = match replies {
                Ok(replies) => {
                    self.leave(current, *index, is_current_silent);
                    let now = unix_time();
                    let opened: Result<Vec<_>, _> = iter::zip(&replies, &signed)
                        .map(|(reply, request)| key.open(reply, &request.mac, now))
                        .collect::<Result<_, _>>()
                        .map_err(|error| ApplyError::Unknown(format!("malformed reply: {error}")));
                    self.count(requests, opened.as_deref().ok());
                    return (opened, Some(*index));
                }
                // Another server is not asked to do what this one may have done.
                Err(ExchangeError::Lost(why)) if intent == Intent::Change => {
                    self.count(requests, None);
                    self.leave(current, *index, is_current_silent);
                    return (Err(ApplyError::Unknown(why)), Some(*index));
                }
                Err(error) => error.to_string(),
            };
            self.count(requests, None);
            failures.push(failure);
            is_current_silent |= *index == current;
        }
        (Err(unavailable(failures.join("; "))), None)
    }

    /// Counts messages by the rcodes of the replies, where there are any that can be read.
    fn count(&self, requests: &[Message], replies: Option<&[Reply]>) {
        if replies.is_some() {
            self.metrics.contacted();
        }
        for (index, request) in requests.iter().enumerate() {
            let reply = replies.and_then(|replies| replies.get(index));
            let rcode = reply.map_or("none", |reply| reply::label(reply.message.response_code));
            let kind = match request.op_code {
                OpCode::Update => "update",
                _ => "query",
            };
            self.metrics.count_message(kind, rcode);
        }
    }

    /// `next` is spoken to from now on, where `former` was and has not answered.
    fn leave(&self, former: usize, next: usize, is_former_silent: bool) {
        if is_former_silent {
            let order = Ordering::Relaxed;
            // Somebody else may have found another one meanwhile.
            let _ = self.current.compare_exchange(former, next, order, order);
        }
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
        self.apply_all(changes)
    }

    fn read<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, Result<Found, ApplyError>> {
        self.read_name(name).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), ApplyError>> {
        self.probe_zone().boxed()
    }

    fn serial(&self) -> BoxFuture<'_, Result<Option<u32>, ApplyError>> {
        self.ask_serial().map_ok(Some).boxed()
    }

    fn transfer<'a>(
        &'a self,
        visit: &'a mut Visit<'_>,
    ) -> BoxFuture<'a, Result<u32, TransferError>> {
        self.transfer_zone(visit).boxed()
    }
}

/// How many changes each part of a refused message has; `None`: it was one.
fn part_size(changes: usize) -> Option<usize> {
    match changes {
        0 | 1 => None,
        2..=10 => Some(1),
        11..=100 => Some(10),
        _ => Some(100),
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
