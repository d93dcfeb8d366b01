//! What API server and name server take by themselves, with the operator stopped.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use dynhost::leader::fence::Fence;
use dynhost::name::{Fqdn, RecordName};
use dynhost::provider::Provider as _;
use dynhost::provider::rfc2136::Rfc2136;
use dynhost::provider::rfc2136::tsig::{Algorithm, TsigKey};
use dynhost::record::change::{Basis, HostChange, NameChange, Records, RrsetChange};
use dynhost::record::marker::{HostDigest, Marker, Nonce};
use dynhost_crds::GROUP;
use dynhost_crds::host::DynamicHost;
use dynhost_e2e::stack::{Stack, Zone, operator_kubeconfig};
use futures::{AsyncReadExt as _, StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use kube::api::{Api, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use serde_json::json;

use crate::timing::Timing;

pub(crate) struct Floor {
    pub(crate) patch: Timing,
    pub(crate) update: Timing,
}

pub(crate) async fn measure(
    stack: &Stack,
    zone: &Zone,
    host: &DynamicHost,
    n: usize,
) -> Result<Floor> {
    Ok(Floor {
        patch: patches(stack, host, n).await?,
        update: updates(stack, zone, n).await?,
    })
}

/// A client of the ServiceAccount that the operator runs as: its token and its RBAC take the API
/// server longer than an administrator's.
pub(crate) async fn as_operator(stack: &Stack) -> Result<Client> {
    let kubeconfig = operator_kubeconfig(&stack.control_plane, None).await?;
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

/// From the start of a status patch until a watch hears of it.
async fn patches(stack: &Stack, host: &DynamicHost, n: usize) -> Result<Timing> {
    let namespace = host.namespace().context("the host has no namespace")?;
    let hosts: Api<DynamicHost> = Api::namespaced(as_operator(stack).await?, &namespace);
    let name = host.name_any();
    let mut version = hosts
        .get(&name)
        .await?
        .resource_version()
        .unwrap_or_default();
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(hosts.watch(&params, &version).await?);
    let mut durations = Vec::with_capacity(n);
    for i in 0..n {
        let address = format!("198.51.{}.{}", 1 + i / 250 % 250, 1 + i % 250);
        let patch = report(&address);
        let start = Instant::now();
        let patched = async {
            let params = PatchParams::default();
            let patched = hosts
                .patch_status(&name, &params, &Patch::Merge(patch))
                .await?;
            anyhow::Ok(patched.resource_version().unwrap_or_default())
        };
        let heard = async {
            loop {
                match events.try_next().await?.context("the watch ended")? {
                    WatchEvent::Modified(_) => return anyhow::Ok(start.elapsed()),
                    WatchEvent::Error(status) => anyhow::bail!("the watch failed: {status:?}"),
                    _ => {}
                }
            }
        };
        let (patched, heard) = tokio::try_join!(patched, heard)?;
        ensure!(patched != version, "the patch changed nothing");
        version = patched;
        durations.push(heard);
    }
    Ok(Timing::new(durations))
}

fn report(address: &str) -> serde_json::Value {
    json!({"status": {"observed": {"ipv4": {
        "address": address, "changedAt": jiff::Timestamp::now(), "protocol": "dyndns2",
    }}}})
}

/// Status patches a second, that many in flight, while one watcher hears of them.
pub(crate) async fn patch_rate(
    stack: &Stack,
    namespace: &str,
    patches: Vec<(String, Ipv4Addr)>,
    in_flight: usize,
) -> Result<f64> {
    let client = as_operator(stack).await?;
    let hosts: Api<DynamicHost> = Api::namespaced(client.clone(), namespace);
    let version = hosts.list(&ListParams::default().limit(1)).await?;
    let version = version.metadata.resource_version.unwrap_or_default();
    let path = format!("/apis/{GROUP}/v1alpha1/dynamichosts?watch=1&resourceVersion={version}");
    let events = client
        .request_stream(Request::get(path).body(Vec::new())?)
        .await?;
    let watcher = tokio::spawn(async move {
        let (mut events, mut octets) = (Box::pin(events), vec![0; 1 << 16]);
        while events.read(&mut octets).await.is_ok_and(|read| read > 0) {}
    });
    let n = patches.len() as f64;
    let start = Instant::now();
    stream::iter(patches)
        .map(|(name, address)| {
            let (hosts, patch) = (&hosts, report(&address.to_string()));
            async move {
                let params = PatchParams::default();
                hosts
                    .patch_status(&name, &params, &Patch::Merge(patch))
                    .await
            }
        })
        .buffer_unordered(in_flight)
        .try_for_each(|_| futures::future::ok(()))
        .await?;
    let rate = n / start.elapsed().as_secs_f64();
    ensure!(!watcher.is_finished(), "the watch ended");
    watcher.abort();
    Ok(rate)
}

/// The product's own writer of a zone.
pub(crate) fn provider(stack: &Stack, zone: &Zone) -> Result<Rfc2136> {
    let secret = zone.key.secret.as_bytes();
    let key = TsigKey::new(&zone.key.name, Algorithm::HmacSha256, secret)?;
    let source = Box::new(move || {
        let key = key.clone();
        Box::pin(async move { Ok(key) }) as futures::future::BoxFuture<'static, _>
    });
    let server = stack.bind.address().to_string().parse()?;
    Ok(Rfc2136::new(
        Fqdn::parse(&zone.apex)?,
        vec![server],
        source,
        &Arc::new(Fence::open()),
    ))
}

/// One signed UPDATE that replaces address and marker under its prerequisites, over an open connection.
async fn updates(stack: &Stack, zone: &Zone, n: usize) -> Result<Timing> {
    let provider = provider(stack, zone)?;
    let name = RecordName::parse(&format!("floor.{}", zone.apex))?;
    let marker = |nonce: u64| -> Result<Marker> {
        let host = HostDigest::of(&zone.namespace, "floor");
        Ok(Marker::new("bench".parse()?, host, Nonce::from_bits(nonce)))
    };
    let run = jiff::Timestamp::now().as_microsecond().unsigned_abs() << 10;
    let mut basis = Basis::Unchecked;
    let mut durations = Vec::with_capacity(n);
    for i in 0..=n {
        let nonce = run + u64::try_from(i)?;
        let address = format!("198.51.{}.{}", i / 250 % 250, 1 + i % 250);
        let records = Records::Addresses {
            ipv4: RrsetChange::Set(address.parse()?),
            ipv6: RrsetChange::Keep,
        };
        let change = NameChange {
            name: name.clone(),
            records,
            marker: Some(marker(nonce)?),
            basis,
        };
        let change = HostChange::of_name(60, change);
        let start = Instant::now();
        let outcome = provider.apply(std::slice::from_ref(&change)).await;
        outcome.into_iter().next().context("no outcome")??;
        // The first opens the connection.
        if i > 0 {
            durations.push(start.elapsed());
        }
        basis = Basis::Marker(marker(nonce)?);
    }
    Ok(Timing::new(durations))
}
