//! What whoever is on call sees: metrics, alert rules, the dashboard and the page that explains them.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod documented;
mod expressions;
mod metrics_page;
mod rules;
mod told;

/// The alert rules, their tests and the dashboard.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/monitoring");
