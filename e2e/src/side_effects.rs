//! The one seam through which every side effect of an operator passes, outside it: a proxy before
//! the API server and one before the name server.
//!
//! ```text
//! operator ──HTTP──> api ──HTTPS──> kube-apiserver     writes numbered, watches misled at will
//!          ──DNS───> dns ──────────> BIND              UPDATE messages numbered
//! ```
//!
//! Both number what passes in one [`sequence`]. At a chosen number the operator *dies*: from then on
//! nothing of it passes in either direction, so that whenever the test gets round to killing the
//! process, it looks from outside as if it had ended at that very place.

mod api;
mod dns;
mod sequence;
mod watches;

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
    sync::watch,
    task::JoinSet,
};

use self::{
    sequence::{Admission, Sequence},
    watches::Watches,
};
pub use self::{
    sequence::{CrashPoint, When},
    watches::{Memory, Release},
};
use crate::{Zone, free_port, scratch::write_private};

/// Both proxies, on a runtime of their own: they work as long as this lives, whichever test's
/// runtime started them.
#[derive(Debug)]
pub struct SideEffects {
    shared: Arc<Shared>,
    kubeconfig: PathBuf,
    name_server: SocketAddr,
    runtime: Option<Runtime>,
}

/// What the connections of both proxies share.
#[derive(Debug)]
struct Shared {
    sequence: Mutex<Sequence>,
    /// Changes with every change of the sequence's life.
    life: watch::Sender<Life>,
    watches: Watches,
    retired: Mutex<Retired>,
}

/// What no test looks at any more.
#[derive(Debug, Default)]
struct Retired {
    namespaces: HashSet<String>,
    /// As in a zone section: in lower case, uncompressed.
    zones: HashSet<Vec<u8>>,
}

/// The operator's lives are counted; a connection belongs to the one that it was opened in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Life {
    number: usize,
    is_over: bool,
}

impl SideEffects {
    /// Starts both proxies: one before the API server, which is reached by `kubeconfig` and its
    /// credentials, and one before the name server.
    ///
    /// # Errors
    /// Where they cannot listen, or the kubeconfig cannot be read.
    pub async fn start(kubeconfig: &Path, name_server: SocketAddr) -> Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            sequence: Mutex::default(),
            life: watch::Sender::default(),
            watches: Watches::default(),
            retired: Mutex::default(),
        });
        let config = Kubeconfig::read_from(kubeconfig)?;
        let started = runtime.spawn(start_proxies(config, name_server, shared.clone()));
        let (api, name_server) = started.await??;
        let through = kubeconfig.with_extension("side-effects");
        write_kubeconfig(&through, api)?;
        Ok(Self {
            shared,
            kubeconfig: through,
            name_server,
            runtime: Some(runtime),
        })
    }

    /// The kubeconfig that leads through the proxy, without credentials: those are the proxy's.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The proxy before the name server, for TCP.
    pub fn name_server(&self) -> SocketAddr {
        self.name_server
    }

    /// Forgets what was recorded, and lets the operator die at `point`, counted from now, or not.
    pub fn begin(&self, point: Option<CrashPoint>) {
        self.shared.sequence().begin(point);
    }

    /// Lets the operator die no more, and returns the labels of the side effects since
    /// [`Self::begin`], in their order. An operator that has begun to die does so first.
    pub async fn end(&self) -> Vec<String> {
        loop {
            let (is_dying, effects) = self.shared.sequence().end();
            if !is_dying {
                return effects;
            }
            self.died().await;
        }
    }

    /// What the operator does in a zone, and in its namespace, passes without a number from now on.
    pub fn retire(&self, zone: &Zone) {
        let mut retired = self.shared.retired();
        retired.namespaces.insert(zone.namespace.clone());
        let labels = zone.apex.split('.');
        let octets = labels.flat_map(|label| {
            let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
            [&[length], label.as_bytes()].concat()
        });
        retired.zones.insert(octets.chain([0]).collect());
    }

    /// Whether the operator has died and was not [revived](Self::revive).
    pub fn is_dead(&self) -> bool {
        self.shared.life.borrow().is_over
    }

    /// Waits until the operator has died.
    pub async fn died(&self) {
        let mut life = self.shared.life.subscribe();
        // The sender is ours.
        let _ended = life.wait_for(|life| life.is_over).await;
    }

    /// Lets side effects pass again, of connections that are opened from now on. To be called
    /// between the end of one process and the start of the next.
    pub fn revive(&self) {
        self.shared.sequence().begin(None);
        self.shared.life.send_modify(|life| {
            life.number += 1;
            life.is_over = false;
        });
    }

    /// Lets watches of these resources (such as `dynamichosts`) tell nothing until they are
    /// [released](Self::release). What happens meanwhile is kept.
    pub fn freeze(&self, resources: &[&str]) {
        self.shared.watches.freeze(resources);
    }

    /// Lets frozen watches go on.
    pub fn release(&self, release: Release) {
        self.shared.watches.release(release);
    }

    /// What the API server has of these resources now, for [`Self::mislead`].
    ///
    /// # Errors
    /// Where no watch of a resource has been opened yet, or the API server does not answer.
    pub async fn remember(&self, client: &Client, resources: &[&str]) -> Result<Memory> {
        self.shared.watches.remember(client, resources).await
    }

    /// Freezes these resources, and gives those who list them anew this older state. It ends with
    /// the [release](Self::release): then they are told what has happened since.
    pub fn mislead(&self, memory: Memory) {
        self.shared.watches.mislead(memory);
    }

    /// How many watches of a resource have been given an older state.
    pub fn times_misled(&self, resource: &str) -> usize {
        self.shared.watches.times_misled(resource)
    }
}

impl Drop for SideEffects {
    fn drop(&mut self) {
        // Not by its own drop, which may not run within another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn sequence(&self) -> MutexGuard<'_, Sequence> {
        self.sequence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retired(&self) -> MutexGuard<'_, Retired> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a side effect of this life; `None`: the operator is dead before it.
    fn admit(&self, life: usize, label: &str) -> Option<Admission> {
        let mut sequence = self.sequence();
        if !self.lives(life) {
            return None;
        }
        let admission = sequence.admit(label);
        if admission.is_none() {
            self.die(&mut sequence);
        }
        admission
    }

    /// The server has answered a side effect, or never will. Whether the operator may know.
    fn answered(&self, life: usize, admission: Admission) -> bool {
        let mut sequence = self.sequence();
        if self.lives(life) && admission == Admission::Last {
            self.die(&mut sequence);
        }
        self.lives(life)
    }

    fn die(&self, sequence: &mut Sequence) {
        sequence.has_died();
        self.life.send_modify(|life| life.is_over = true);
    }

    fn lives(&self, life: usize) -> bool {
        let now = *self.life.borrow();
        now.number == life && !now.is_over
    }
}

/// Where they listen: the API server's, then the name server's.
async fn start_proxies(
    config: Kubeconfig,
    name_server: SocketAddr,
    shared: Arc<Shared>,
) -> Result<(SocketAddr, SocketAddr)> {
    let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    // What is sent again was not sent by the operator.
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let (api, dns) = (listen().await?, listen().await?);
    let addresses = (api.local_addr()?, dns.local_addr()?);
    tokio::spawn(accept(api, shared.clone(), move |stream, shared, life| {
        api::serve(stream, client.clone(), shared, life)
    }));
    tokio::spawn(accept(dns, shared, move |stream, shared, life| {
        dns::relay(stream, name_server, shared, life)
    }));
    Ok(addresses)
}

async fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, free_port()?)).await?)
}

/// Serves connections, each until it or the operator's life ends.
async fn accept<Serve, Served>(listener: TcpListener, shared: Arc<Shared>, serve: Serve)
where
    Serve: Fn(TcpStream, Arc<Shared>, usize) -> Served,
    Served: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut changes = shared.life.subscribe();
    let mut life = changes.borrow_and_update().number;
    loop {
        tokio::select! {
            // A new life's connections are accepted after the old one's have been closed.
            biased;
            Some(_ended) = connections.join_next() => {}
            Ok(()) = changes.changed() => {
                let now = changes.borrow_and_update().number;
                if now != life {
                    connections.abort_all();
                    life = now;
                }
            }
            Ok((stream, _)) = listener.accept() => {
                let life = shared.life.borrow().number;
                // Without it the proxy would add up to 40 ms of its own.
                let _unsupported = stream.set_nodelay(true);
                connections.spawn(serve(stream, shared.clone(), life));
            }
        }
    }
}

fn write_kubeconfig(path: &Path, server: SocketAddr) -> Result<()> {
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": {"server": format!("http://{server}")}}],
        "users": [{"name": "e2e", "user": {}}],
        "contexts": [{"name": "e2e", "context": {
            "cluster": "e2e", "user": "e2e", "namespace": "dynhost-system",
        }}],
        "current-context": "e2e",
    });
    write_private(path, &serde_json::to_string_pretty(&config)?)
}
