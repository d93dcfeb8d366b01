//! IO: takes part for a Lease, and says when we may write.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, OptionFuture};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::sync::{mpsc, watch as state};
use tokio::time::{sleep, timeout};

use super::candidate::{Answer, Candidate, Method, Next, Request, Times};
use super::decide::Record;
use super::fence::Fence;
use super::moment::Moment;
use crate::deadline::within;
use crate::metrics::Metrics;
use crate::watch::{Heard, Told, watch};

/// How long the release of the lease may take: who follows need not wait for it to end.
const RELEASE: Duration = Duration::from_secs(1);

/// A time in which we hold the lease without a gap; `None`: we do not. Each has a fence of its own,
/// so that what was begun in one cannot go on in another.
pub type Term = Option<Arc<Fence>>;

/// Taking part for a Lease.
pub struct Election {
    /// Of its own: neither bursts of other requests nor their dead connections are in its way.
    pub client: kube::Client,
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// Ours alone among the processes that live.
    pub identity: String,
    pub times: Times,
    pub metrics: Arc<Metrics>,
}

impl Election {
    /// Takes part until `stop`, and then releases the lease where we hold it.
    pub async fn run(self, terms: state::Sender<Term>, stop: impl Future<Output = ()>) {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let (seen, mut sights) = mpsc::unbounded_channel();
        let selector = format!("metadata.name={}", self.name);
        let heard = Heard::default();
        let watch = watch(api.clone(), Some(&selector), &heard, |told| {
            let sight = match told {
                Told::Object(lease) => Some(*lease),
                Told::Listed(keys) if !keys.is_empty() => return,
                Told::Gone(_) | Told::Listed(_) => None,
            };
            // The receiver lives as long as the watch.
            let _ = seen.send(sight);
        });
        let (mut watch, mut stop) = (pin!(watch), pin!(stop));
        let mut standing = Standing {
            candidate: Candidate::new(&self.identity, self.times, Moment::now()),
            lease: None,
            terms,
        };
        let mut is_failing = false;
        let mut asking: Option<BoxFuture<'_, Asked>> = None;
        loop {
            let now = Moment::now();
            self.show(standing.update(now));
            let mut due = standing.candidate.may_write_until(now);
            if asking.is_none() {
                match standing.candidate.next(now, Timestamp::now()) {
                    Next::Ask(request) => {
                        let lease = standing.lease.clone();
                        asking = Some(self.ask(&api, lease, request).boxed());
                    }
                    Next::Wait(until) => due = Some(due.map_or(until, |due| due.min(until))),
                    Next::WaitForSight => {}
                }
            }
            let pause = due.map(|due| sleep(due.after(now)));
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(lease) = sights.recv() => standing.see(lease),
                Some(asked) = OptionFuture::from(asking.as_mut()) => {
                    asking = None;
                    is_failing = tell_failure(&asked, is_failing);
                    standing.hear(asked);
                }
                Some(()) = OptionFuture::from(pause) => {}
                // It never ends.
                () = &mut watch => {}
            }
        }
        drop(asking);
        self.show(false);
        let released = timeout(RELEASE, self.release(&api, &mut standing)).await;
        if released.is_err() {
            tracing::warn!("the lease was not released: others wait until it ends");
        }
    }

    fn show(&self, is_leader: bool) {
        self.metrics.show_leader(is_leader);
    }

    async fn release(&self, api: &Api<Lease>, standing: &mut Standing) {
        standing.terms.send_if_modified(close);
        loop {
            let (now, wall) = (Moment::now(), Timestamp::now());
            let Some(request) = standing.candidate.release(now, wall) else {
                return;
            };
            let asked = self.ask(api, standing.lease.clone(), request).await;
            if asked.answer == Answer::Failed {
                sleep(self.times.retry()).await;
            }
            standing.hear(asked);
        }
    }

    async fn ask(&self, api: &Api<Lease>, lease: Option<Lease>, request: Request) -> Asked {
        let params = PostParams::default();
        let limit = self.times.request();
        let answered = match request.method {
            Method::Read => {
                let read = within(limit, api.get_opt(&self.name)).await;
                return match read {
                    Ok(lease) => match lease.as_ref().map(record) {
                        Some(None) => Asked::failed(request, "its version is no number"),
                        record => Asked {
                            request,
                            answer: Answer::Read(record.flatten()),
                            lease,
                            why: String::new(),
                        },
                    },
                    Err(error) => Asked::failed(request, &error.to_string()),
                };
            }
            Method::Create => {
                let lease = self.write(Lease::default(), &request);
                self.metrics.count_api_write("lease");
                within(limit, api.create(&params, &lease)).await
            }
            Method::Replace { .. } => {
                let lease = self.write(lease.unwrap_or_default(), &request);
                self.metrics.count_api_write("lease");
                within(limit, api.replace(&self.name, &params, &lease)).await
            }
        };
        match answered {
            Ok(lease) => match record(&lease) {
                Some(stored) => Asked {
                    request,
                    answer: Answer::Stored(stored),
                    lease: Some(lease),
                    why: String::new(),
                },
                None => Asked::failed(request, "its version is no number"),
            },
            Err(kube::Error::Api(status))
                if status.code == 409 || status.code == 404 && request.method != Method::Create =>
            {
                Asked {
                    request,
                    answer: Answer::Overtaken,
                    lease: None,
                    why: String::new(),
                }
            }
            Err(error) => Asked::failed(request, &error.to_string()),
        }
    }

    /// The Lease as the request has it, with all that others have in it.
    fn write(&self, former: Lease, request: &Request) -> Lease {
        let holder = request.holder.as_deref().unwrap_or_default();
        let seconds = i32::try_from(self.times.duration.as_secs()).unwrap_or(i32::MAX);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                managed_fields: None,
                ..former.metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(seconds),
                acquire_time: Some(MicroTime(request.claim.acquired)),
                renew_time: match request.method {
                    Method::Create => None,
                    _ => Some(MicroTime(Timestamp::now())),
                },
                lease_transitions: Some(request.claim.transitions),
                ..former.spec.unwrap_or_default()
            }),
        }
    }
}

/// A request with what became of it.
struct Asked {
    request: Request,
    answer: Answer,
    /// The Lease that was stored or read.
    lease: Option<Lease>,
    /// Why it has failed.
    why: String,
}

impl Asked {
    fn failed(request: Request, why: &str) -> Self {
        Self {
            request,
            answer: Answer::Failed,
            lease: None,
            why: why.to_owned(),
        }
    }
}

/// Says the first failure in a row, and the end of it; whether it is one.
fn tell_failure(asked: &Asked, was_failing: bool) -> bool {
    let is_failing = asked.answer == Answer::Failed;
    if is_failing && !was_failing {
        tracing::warn!(error = asked.why, "the lease could not be read or written");
    }
    if was_failing && !is_failing {
        tracing::info!("the lease can be read and written again");
    }
    is_failing
}

/// Where we stand, with what we have told.
struct Standing {
    candidate: Candidate,
    /// The Lease as the candidate has seen it last.
    lease: Option<Lease>,
    terms: state::Sender<Term>,
}

impl Standing {
    fn see(&mut self, lease: Option<Lease>) {
        let seen = lease.as_ref().and_then(record);
        // What says no version cannot be written either.
        if lease.is_some() && seen.is_none() {
            return;
        }
        let version = seen.as_ref().map(|seen| seen.version);
        self.candidate.see(seen, Moment::now());
        if self.candidate.version() == version {
            self.lease = lease;
        }
    }

    fn hear(&mut self, asked: Asked) {
        let version = match &asked.answer {
            Answer::Stored(record) | Answer::Read(Some(record)) => Some(record.version),
            _ => None,
        };
        self.candidate
            .answered(&asked.request, asked.answer, Moment::now());
        if version.is_some() && self.candidate.version() == version {
            self.lease = asked.lease;
        }
    }

    /// Begins, extends or ends our term; whether we are in one.
    fn update(&mut self, now: Moment) -> bool {
        let until = self.candidate.may_write_until(now);
        let is_open = |term: &Term| term.as_ref().is_some_and(|fence| fence.check().is_ok());
        match until {
            Some(until) if is_open(&self.terms.borrow()) => {
                if let Some(fence) = &*self.terms.borrow() {
                    fence.extend(until);
                }
            }
            Some(until) => {
                tracing::info!("we hold the lease: writing");
                self.terms.send_replace(Some(Arc::new(Fence::until(until))));
            }
            None => {
                let holder = self.candidate.holder().unwrap_or("nobody");
                if self.terms.send_if_modified(close) {
                    tracing::warn!(holder, "we hold the lease no more: not writing");
                }
            }
        }
        until.is_some()
    }
}

/// Ends a term; whether there was one.
fn close(term: &mut Term) -> bool {
    let ended = term.take();
    if let Some(fence) = &ended {
        fence.close();
    }
    ended.is_some()
}

/// `None`: it has no version, which no API server sends.
fn record(lease: &Lease) -> Option<Record> {
    let version = lease.metadata.resource_version.as_deref()?.parse().ok()?;
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds;
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Some(Record {
        version,
        holder: spec
            .holder_identity
            .filter(|holder| !holder.is_empty())
            .map(Into::into),
        duration: seconds.map(Duration::from_secs),
        acquired: spec.acquire_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or_default(),
        is_renewed: spec.renew_time.is_some(),
    })
}
