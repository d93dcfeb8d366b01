//! The administrator's port: health and metrics, never reachable by clients.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::index::Index;
use crate::metrics::{Format, Metrics, Snapshot};
use crate::watch::Freshness;

/// What the pages tell about.
#[derive(Clone)]
pub struct Admin {
    pub index: Arc<Index>,
    pub freshness: Arc<Freshness>,
    pub metrics: Arc<Metrics>,
    /// The process was told to end.
    pub is_ending: watch::Receiver<bool>,
}

/// Serves /livez, /readyz and /metrics.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// Ready as soon as every watch has listed its objects: before that, the endpoint answers `911`.
/// Whether we hold the lease makes no difference to clients.
async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if *admin.is_ending.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "ending\n");
    }
    match admin.freshness.is_synced() {
        true => (StatusCode::OK, "ok\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the objects are not listed yet\n",
        ),
    }
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT);
    let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
    let now = {
        let view = admin.index.view();
        Snapshot {
            hosts: view.number_of_hosts(),
            conditions: view.host_conditions(),
            silences: admin.freshness.silences(),
        }
    };
    match admin.metrics.render(&now, format) {
        Ok(page) => ([(header::CONTENT_TYPE, format.content_type())], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
