//! IO: the HTTP server that clients call.
//!
//! It writes `status.observed` of hosts through the API server and never speaks DNS. A handler
//! turns a request into [`crate::update`]'s plain types, and what that decides into one answer.

mod answer;
mod check_in;
mod checkip;
mod doubt;
mod host_lock;
mod observe;
mod server;
#[cfg(test)]
mod tests;
mod update;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::routing::any;

use crate::index::Index;
use crate::metrics::Metrics;
use crate::watch::Freshness;
use answer::Answer;
use observe::Observer;
pub use server::serve;

/// What the handlers share.
pub struct Endpoint {
    index: Arc<Index>,
    freshness: Arc<Freshness>,
    metrics: Arc<Metrics>,
    observer: Observer,
}

/// The address of the TCP connection's other end.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

impl Endpoint {
    /// `client` must not repeat requests by itself (`default_retry = false`): a late copy of a
    /// patch could undo a newer one. `patches` is kept at the number of patches under way.
    pub fn new(
        index: Arc<Index>,
        freshness: Arc<Freshness>,
        client: kube::Client,
        metrics: Arc<Metrics>,
        patches: Arc<AtomicUsize>,
    ) -> Self {
        let observer = Observer::new(
            client,
            index.clone(),
            freshness.clone(),
            metrics.clone(),
            patches,
        );
        Self {
            index,
            freshness,
            metrics,
            observer,
        }
    }
}

/// Every path that clients may call. A trailing slash is tolerated.
fn router(endpoint: Arc<Endpoint>) -> Router {
    let mut router = Router::new();
    for path in ["/nic/update", "/nic/update/", "/v3/update", "/v3/update/"] {
        router = router.route(path, any(update::update));
    }
    for path in ["/checkip", "/nic/checkip"] {
        router = router.route(path, any(checkip::page));
    }
    for path in ["/ip", "/myip"] {
        router = router.route(path, any(checkip::bare));
    }
    let not_found = async || Answer::text(404, "not found\n");
    router.fallback(not_found).with_state(endpoint)
}
