//! The endpoint over a real socket, against an API server that does what a test says.

mod answers;
mod api_server;
mod budgets;
mod connections;
mod heartbeats;
mod storing;
pub(super) mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dynhost_crds::host::DynamicHost;
use dynhost_crds::zone::DynamicZone;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Endpoint, Ports, serve};
use crate::config::EndpointOptions;
use crate::events::Events;
use crate::index::Index;
use crate::index::host::Host;
use crate::index::key::UpdateKey;
use crate::index::zone::Zone;
use crate::metrics::Metrics;
use crate::watch::Freshness;
use api_server::ApiServer;

const TOKEN: &str = "correct-horse-battery";

/// How long inadyn waits for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// An endpoint with one zone `dyn/dyn` for `dyn.example.org`.
struct Fixture {
    api_server: ApiServer,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
    address: SocketAddr,
    tls_address: SocketAddr,
    /// Has the endpoint end when it is dropped.
    stop: oneshot::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Freshness::just_synced()).await
    }

    async fn with(freshness: Freshness) -> Self {
        Self::with_options(freshness, EndpointOptions::default()).await
    }

    async fn with_options(freshness: Freshness, options: EndpointOptions) -> Self {
        Self::with_tls(freshness, options, None).await
    }

    async fn with_tls(
        freshness: Freshness,
        options: EndpointOptions,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let api_server = ApiServer::start(&mut tasks).await;
        let index = Arc::new(Index::default());
        let zone: DynamicZone = serde_json::from_value(json!({
            "apiVersion": "dynhost.dev/v1alpha1", "kind": "DynamicZone",
            "metadata": metadata("dyn", "dyn"),
            "spec": {
                "domain": "dyn.example.org",
                "rfc2136": {
                    "servers": ["127.0.0.1:53"],
                    "tsig": {"keyName": "k", "secretRef": {"name": "k"}},
                },
                "allowedHosts": {"namespaces": {"from": "All"}},
            },
        }))
        .unwrap();
        index.apply_zone(Zone::from_object(&zone).unwrap());
        let metrics = Arc::new(Metrics::default());
        let endpoint = Arc::new(Endpoint::new(
            index.clone(),
            Arc::new(freshness),
            api_server.client(),
            metrics.clone(),
            Events::new(metrics.clone()).0,
            Arc::default(),
            options,
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls_address = tls_listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let ports = Ports {
            plain: Some(listener),
            tls: tls.map(|tls| (tls_listener, tls)),
        };
        tasks.spawn(serve(ports, endpoint.clone(), stopped));
        tasks.spawn(async move { endpoint.write_heartbeats(std::future::pending()).await });
        Self {
            api_server,
            index,
            metrics,
            address,
            tls_address,
            stop,
            _tasks: tasks,
        }
    }

    /// A Secret `family/<name>` with this token.
    fn add_key(&self, name: &str, token: &str) {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": metadata("family", name),
            "data": {"token": BASE64_STANDARD.encode(token)},
        }))
        .unwrap();
        self.index.apply_key(UpdateKey::new(&secret).unwrap());
    }

    /// A host `family/<name>` named `<name>.dyn.example.org`, known to the index and stored in the
    /// API server; its update key is [`TOKEN`], and a client that reported was seen just now, unless
    /// `fields` say otherwise.
    fn add_host(&self, name: &str, fields: Value) {
        let mut host = json!({
            "apiVersion": "dynhost.dev/v1alpha1", "kind": "DynamicHost",
            "metadata": metadata("family", name),
            "spec": {
                "hostname": format!("{name}.dyn.example.org"),
                "zoneRef": {"name": "dyn", "namespace": "dyn"},
                "auth": {"secretName": "key"},
            },
        });
        json_patch::merge(&mut host, &fields);
        let observed = host.pointer_mut("/status/observed");
        if let Some(observed) = observed.and_then(Value::as_object_mut) {
            let now = Timestamp::from_second(Timestamp::now().as_second());
            observed.entry("lastSeen").or_insert(json!(now.unwrap()));
        }
        let object: DynamicHost = serde_json::from_value(host.clone()).unwrap();
        self.index.apply_host(Host::from_object(&object).unwrap());
        self.api_server.store(name, host);
        self.add_key("key", TOKEN);
    }

    /// Sends a request as it is and reads until the server closes.
    async fn exchange(&self, request: &[u8]) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            // A server that refuses early may close before it has read everything.
            let _ = stream.write_all(request).await;
            let mut answer = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                answer.extend_from_slice(&buffer[..count]);
            }
            String::from_utf8(answer).unwrap()
        };
        tokio::time::timeout(LIMIT, exchange).await.unwrap()
    }

    /// GET with [`TOKEN`]; status and body.
    async fn get(&self, target: &str) -> (u16, String) {
        let basic = BASE64_STANDARD.encode(format!("x:{TOKEN}"));
        let head = format!("GET {target} HTTP/1.0\r\nAuthorization: Basic {basic}\r\n\r\n");
        split(&self.exchange(head.as_bytes()).await)
    }

    /// The host's `status.observed.<family>` in the API server.
    fn stored(&self, name: &str, family: &str) -> Value {
        let pointer = format!("/status/observed/{family}");
        let host = self.api_server.stored(name);
        host.pointer(&pointer).cloned().unwrap_or_default()
    }
}

fn metadata(namespace: &str, name: &str) -> Value {
    json!({
        "namespace": namespace, "name": name, "uid": format!("uid-{name}"),
        "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
    })
}

fn split(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// An answer with its headers sorted and without those that are new each time, lines parted by `\n`.
fn repeatable(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.split("\r\n").collect();
    lines.retain(|line| !line.starts_with("date: ") && !line.starts_with("x-request-id: "));
    lines[1..].sort_unstable();
    format!("{}\n\n{body}", lines.join("\n"))
}
