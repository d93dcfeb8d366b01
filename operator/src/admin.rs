//! The administrator's port: health and metrics, never reachable by clients.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::index::Index;
use crate::metrics::Metrics;
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

async fn metrics(State(admin): State<Admin>) -> Response {
    let hosts = admin.index.view().number_of_hosts();
    match admin.metrics.render(hosts) {
        Ok(page) => {
            let type_ = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, type_)], page).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
