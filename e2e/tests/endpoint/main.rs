//! The endpoint as clients see it, on a real API server.

#![allow(clippy::unwrap_used, reason = "clippy does not count helpers as tests")]

mod answers;
mod api_server_trouble;
mod caller;
mod clients;
mod dialects;
mod guarded_patch;
mod haproxy;
mod heartbeats;
mod legacy_status;
mod limits;
mod policies;
mod proxies;
mod replays;
mod replica;
mod reports;
mod signed;
mod signing;
mod signing_script;
mod stored;

use dynhost_crds::host::DynamicHost;
use dynhost_e2e::{Response, Stack, http};

/// GET `/nic/update?<query>` with this token; status and body.
async fn update(stack: &Stack, token: &str, query: &str) -> (u16, String) {
    let target = format!("/nic/update?{query}");
    let address = stack.operator.update_address();
    let answer = http::get(address, &target, Some(("router", token))).await;
    said(&answer.unwrap())
}

fn said(answer: &Response) -> (u16, String) {
    (answer.status, answer.text())
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

/// The stored IPv4 address.
fn stored_ipv4(host: &DynamicHost) -> Option<String> {
    let observed = host.status.as_ref()?.observed.as_ref()?;
    Some(observed.ipv4.as_ref()?.address?.to_string())
}
