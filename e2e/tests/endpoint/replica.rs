//! Further endpoints over the shared stack's API server: the stack's own operator alone writes DNS.

use std::path::PathBuf;

use dynhost_crds::host::DynamicHost;
use dynhost_e2e::{
    Operator, Stack, await_condition,
    stack::{LIMIT, operator_kubeconfig},
};
use tokio::sync::OnceCell;

use super::caller::Caller;

/// The proxies of [`behind_proxies`].
pub(crate) const TRUSTED: &str = "127.0.0.1/32,127.0.0.9/32";

/// Where [`await_known`] asks from.
pub(crate) const ASKING: &str = "203.0.113.254";

/// Starts an endpoint with these further arguments.
pub(crate) async fn start(stack: &Stack, arguments: &[&str]) -> Operator {
    // One file for all of them: it would be written anew while another one reads it.
    static KUBECONFIG: OnceCell<PathBuf> = OnceCell::const_new();
    let kubeconfig = KUBECONFIG
        .get_or_try_init(|| operator_kubeconfig(&stack.control_plane, None))
        .await
        .unwrap();
    let arguments = [&["--no-controller"], arguments].concat();
    let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
    Operator::start(kubeconfig, &arguments).await.unwrap()
}

/// An endpoint that the tests of this process share. Who connects from 127.0.0.1 or 127.0.0.9 says
/// for whom, in `X-Forwarded-For`.
pub(crate) async fn behind_proxies(stack: &Stack) -> &'static Operator {
    static SHARED: OnceCell<Operator> = OnceCell::const_new();
    SHARED
        .get_or_init(|| start(stack, &["--trusted-proxies", TRUSTED]))
        .await
}

/// Waits until this endpoint has heard of the host, its update key and its zone.
pub(crate) async fn await_known(endpoint: &Operator, host: &DynamicHost, token: &str) {
    let hostname = &host.spec.hostname;
    let what = format!("another endpoint knows {hostname}");
    // Another source than the tests', whose failures count; and nothing that would be published, be
    // it of the request or of the connection.
    let caller = Caller::new(endpoint).source(ASKING);
    await_condition(&what, LIMIT, async || {
        let answer = caller.update(hostname, token, "224.0.0.1").await;
        anyhow::ensure!(!matches!(answer.0, 401 | 404), "{answer:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}
