//! Real clients, the files of examples/clients/ and recorded requests, against the real endpoint.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy does not count helpers as tests"
)]

mod corpus;
mod corpus_file;
mod examples;
mod gateway;
mod program;
mod real_clients;
mod tls;
mod wire;

use anyhow::Result;
use dynhost_crds::host::DynamicHost;
use dynhost_e2e::{Stack, StackOptions};
use kube::ResourceExt as _;
use serde_json::Value;
use tokio::sync::OnceCell;

/// A globally reachable address (of AS112, RFC 7535): the endpoint publishes no other ones of a
/// connection.
const SOURCE: &str = "192.31.196.7";

/// The stack that the tests of this process share. Loopback is its trusted proxies: what comes
/// from there may say where it came from.
async fn stack() -> Result<&'static Stack> {
    static SHARED: OnceCell<Stack> = OnceCell::const_new();
    SHARED
        .get_or_try_init(|| async {
            Stack::start(StackOptions {
                operator_arguments: operator_arguments(),
                ..StackOptions::default()
            })
            .await
        })
        .await
}

fn operator_arguments() -> Vec<String> {
    // All clients of all tests come from one address: together they fail often.
    let arguments = ["--trusted-proxies", "127.0.0.0/8", "--source-rate", "10000"];
    arguments.map(str::to_owned).into()
}

/// `status.observed` of a stored host, but for when a client was last seen, which is noted behind
/// the answers; `Null` where it has none.
async fn observed(stack: &Stack, host: &DynamicHost) -> Result<Value> {
    let hosts = stack.hosts(&host.namespace().unwrap()).await?;
    let stored = serde_json::to_value(hosts.get(&host.name_any()).await?)?;
    let mut observed = stored["status"]["observed"].clone();
    if let Some(members) = observed.as_object_mut() {
        members.remove("lastSeen");
        if members.is_empty() {
            observed = Value::Null;
        }
    }
    Ok(observed)
}

/// The addresses in `status.observed`, IPv4 first, then the prefix.
fn addresses(observed: &Value) -> Vec<String> {
    [
        &observed["ipv4"]["address"],
        &observed["ipv6"]["address"],
        &observed["ipv6Prefix"]["prefix"],
    ]
    .into_iter()
    .filter_map(|value| value.as_str().map(str::to_owned))
    .collect()
}
