//! IO: the HTTP server that clients call.
//!
//! It writes `status.observed` of hosts through the API server, reports while their clients wait and
//! confirmations behind their backs, and never speaks DNS. A handler turns a request into [`crate::update`]'s plain types, and what that decides into one answer.

mod answer;
mod check_in;
mod checkip;
mod doubt;
mod handler;
mod heartbeat;
mod host_api;
mod host_lock;
mod limits;
mod observe;
pub mod proxy_protocol;
mod server;
mod standstill;
#[cfg(test)]
mod tests;
pub mod tls;
mod whoami;

use std::sync::Arc;

use crate::config::EndpointOptions;
use crate::events::Events;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::request_id::RequestIds;
use crate::under_way::Calls;
use crate::update::client_address::ProxyTrust;
use crate::watch::Freshness;
use heartbeat::Heartbeats;
use host_api::HostApi;
use limits::Budgets;
use observe::Observer;
pub use server::{Ports, serve};

/// What the handlers share.
pub struct Endpoint {
    index: Arc<Index>,
    freshness: Arc<Freshness>,
    metrics: Arc<Metrics>,
    events: Events,
    request_ids: RequestIds,
    observer: Observer,
    heartbeats: Heartbeats,
    trust: ProxyTrust,
    budgets: Arc<Budgets>,
    options: EndpointOptions,
}

impl Endpoint {
    /// `client` must not repeat requests by itself (`default_retry = false`): a late copy of a
    /// patch could undo a newer one. `patches` is kept at the number of patches under way.
    pub fn new(
        index: Arc<Index>,
        freshness: Arc<Freshness>,
        client: kube::Client,
        metrics: Arc<Metrics>,
        events: Events,
        patches: Arc<Calls>,
        options: EndpointOptions,
    ) -> Self {
        let budgets = Arc::new(Budgets::new(&options.limits, metrics.clone()));
        let api = HostApi::new(client, index.clone());
        let heartbeats = Heartbeats::new(api.clone(), index.clone(), metrics.clone());
        let observer = Observer::new(
            api,
            index.clone(),
            freshness.clone(),
            metrics.clone(),
            budgets.clone(),
            patches,
        );
        Self {
            index,
            freshness,
            metrics,
            events,
            request_ids: RequestIds::default(),
            observer,
            heartbeats,
            trust: options.trust(),
            budgets,
            options,
        }
    }
    /// Notes until `stop` when clients were seen that only confirm what is stored.
    pub async fn write_heartbeats(&self, stop: impl Future<Output = ()>) {
        self.heartbeats.write(stop).await;
    }
}
