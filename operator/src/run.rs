//! Wires and spawns everything; the only file that does.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dynhost_crds::host::DynamicHost;
use dynhost_crds::key::SECRET_TYPE;
use dynhost_crds::zone::DynamicZone;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch as state};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

use crate::admin::{self, Admin};
use crate::config::{LeaseOptions, Limits, LogFormat, RunOptions};
use crate::endpoint::tls::Tls;
use crate::endpoint::{self, Endpoint, Ports};
use crate::events::{self, Events};
use crate::index::Index;
use crate::index::host::Host;
use crate::index::key::UpdateKey;
use crate::index::stored::Stored;
use crate::index::zone::Zone;
use crate::leader::candidate::Times;
use crate::leader::client::Fenced;
use crate::leader::election::{Election, Term};
use crate::leader::fence::Fence;
use crate::metrics::Metrics;
use crate::reconcile::Controller;
use crate::reconcile::status::StatusWriter;
use crate::under_way::Calls;
use crate::watch::{Freshness, Told, watch};

/// How long requests under way hold up the end of writing, once the process is told to end: what
/// they store in this time is still ours to publish, and later the successor's.
const REQUESTS_FIRST: Duration = Duration::from_millis(200);

/// How long what is about to be written may take then; the successor finds out what was not.
const FLUSH: Duration = Duration::from_millis(500);

/// Files beside the connections of clients: watches, requests to the API server, name servers.
const OTHER_FILES: usize = 256;

/// Runs the operator until SIGTERM or SIGINT, or until a part of it fails.
pub fn run(options: RunOptions) -> anyhow::Result<()> {
    start_log(&options)?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed"))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(operate(options))
}

fn start_log(options: &RunOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log).context("--log")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

async fn operate(options: RunOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let client = connect(&options).await?;
    let metrics = Arc::new(Metrics::default());
    let tls = match &options.tls {
        Some(options) => Some(Tls::load(options, metrics.clone()).await?),
        None => None,
    };
    let ports = listen_for_clients(&options, tls.as_ref()).await?;
    let administrators = listen("admin", options.admin_listen).await?;

    let index = Arc::new(Index::default());
    let freshness = Arc::new(Freshness::default());
    let endpoint_patches = Arc::new(Calls::default());
    let (serve_no_more, served) = state::channel(false);
    let (write_no_more, written) = state::channel(false);
    let (hold_no_more, held) = state::channel(false);

    let mut watches = JoinSet::new();
    spawn_watches(&mut watches, &client, &index, &freshness);

    // What still waits when the process ends is not waited for.
    let (events, event_queue) = Events::new(metrics.clone());
    let mut telling = JoinSet::new();
    telling.spawn(events::send(
        client.clone(),
        index.clone(),
        events.clone(),
        event_queue,
    ));

    let (mut election, mut writer) = (JoinSet::new(), JoinSet::new());
    if options.no_controller {
        tracing::info!("serving updates only: another instance has to write DNS");
    } else {
        let (terms_sender, terms) = state::channel(None);
        // A client of its own.
        let lease = take_part(connect(&options).await?, &options.lease, metrics.clone());
        election.spawn(lease.run(terms_sender, told(held)));
        let parts = Writer {
            client: client.clone(),
            index: index.clone(),
            freshness: freshness.clone(),
            events: events.clone(),
            metrics: metrics.clone(),
            endpoint_patches: endpoint_patches.clone(),
            drift_interval: options.drift_interval,
        };
        writer.spawn(parts.write(terms, told(written)));
    }
    let mut endpoint_options = options.endpoint;
    fit_into_file_limit(&mut endpoint_options.limits)?;
    let endpoint = Arc::new(Endpoint::new(
        index.clone(),
        freshness.clone(),
        client,
        metrics.clone(),
        events,
        endpoint_patches,
        endpoint_options,
    ));
    let mut serving = JoinSet::new();
    let (heartbeats, end) = (endpoint.clone(), told(served.clone()));
    serving.spawn(async move { heartbeats.write_heartbeats(end).await });
    serving.spawn(endpoint::serve(ports, endpoint, told(served.clone())));
    if let Some(tls) = tls {
        serving.spawn(tls.follow_files(told(served.clone())));
    }
    let admin = admin::router(Admin {
        index,
        freshness,
        metrics,
        is_ending: served,
    });
    let mut admin_task = JoinSet::new();
    admin_task.spawn(async move { axum::serve(administrators, admin).await });

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
        _ = interrupt.recv() => tracing::info!("SIGINT: ending"),
        // A part that ends or panics takes the process with it: half an operator looks healthy.
        ended = serving.join_next() => anyhow::bail!("a task ended unasked: {ended:?}"),
        ended = telling.join_next() => anyhow::bail!("Events ended unasked: {ended:?}"),
        Some(ended) = writer.join_next() => anyhow::bail!("the writer ended unasked: {ended:?}"),
        Some(ended) = election.join_next() => {
            anyhow::bail!("the election ended unasked: {ended:?}")
        }
        ended = watches.join_next() => anyhow::bail!("a watch ended unasked: {ended:?}"),
        ended = admin_task.join_next() => anyhow::bail!("the admin port ended unasked: {ended:?}"),
    }
    let end = async {
        serve_no_more.send_replace(true);
        let _ = timeout(REQUESTS_FIRST, all_ended(&mut serving)).await;
        write_no_more.send_replace(true);
        all_ended(&mut writer).await;
        hold_no_more.send_replace(true);
        all_ended(&mut election).await;
        all_ended(&mut serving).await;
    };
    if timeout(options.shutdown_grace, end).await.is_err() {
        tracing::warn!("not everything was finished in time");
    }
    Ok(())
}

/// Ends when this is told, or will never be.
async fn told(mut word: state::Receiver<bool>) {
    drop(word.wait_for(|told| *told).await);
}

/// The term, when it is so.
async fn awaited(
    terms: &mut state::Receiver<Term>,
    is_so: impl Fn(&Term) -> bool,
) -> anyhow::Result<Term> {
    Ok(terms.wait_for(|term| is_so(term)).await?.clone())
}

async fn all_ended<T: 'static>(tasks: &mut JoinSet<T>) {
    while tasks.join_next().await.is_some() {}
}

fn take_part(client: kube::Client, options: &LeaseOptions, metrics: Arc<Metrics>) -> Election {
    let namespace = options.lease_namespace.as_deref();
    let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
    let identity = options.identity.clone().unwrap_or_else(own_name);
    let name = options.lease_name.clone();
    tracing::info!(lease = %format_args!("{namespace}/{name}"), identity, "taking part for the lease");
    Election {
        client,
        namespace,
        name,
        identity,
        times: Times {
            duration: options.lease_duration,
        },
        metrics,
    }
}

/// The machine's name, which is that of the Pod, and what no other process has.
fn own_name() -> String {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    format!(
        "{machine}_{:016x}",
        RandomState::new().hash_one(std::process::id())
    )
}

/// What writes DNS and status, while we hold the lease.
struct Writer {
    client: kube::Client,
    index: Arc<Index>,
    freshness: Arc<Freshness>,
    events: Events,
    metrics: Arc<Metrics>,
    endpoint_patches: Arc<Calls>,
    drift_interval: Duration,
}

impl Writer {
    /// Writes in each term, and remembers nothing from one to the next; until `stop`, and then what
    /// is under way, for a limited time.
    async fn write(
        self,
        mut terms: state::Receiver<Term>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let mut stop = pin!(stop);
        loop {
            let term = tokio::select! {
                () = &mut stop => return Ok(()),
                term = awaited(&mut terms, Option::is_some) => term?,
            };
            let Some(fence) = term else {
                continue;
            };
            let (end, ended) = state::channel(false);
            let mut tasks = self.begin(&fence, &ended);
            let is_over = |term: &Term| !term.as_ref().is_some_and(|now| Arc::ptr_eq(now, &fence));
            tokio::select! {
                () = &mut stop => {
                    end.send_replace(true);
                    let _ = timeout(FLUSH, all_ended(&mut tasks)).await;
                    return Ok(());
                }
                // Whatever is under way is dropped, as if the process had ended.
                _ = awaited(&mut terms, is_over) => tasks.shutdown().await,
                ended = tasks.join_next() => anyhow::bail!("a part ended unasked: {ended:?}"),
            }
            self.metrics.show_paused_deletions(0);
            self.metrics.set_orphaned_markers(0);
        }
    }

    fn begin(&self, fence: &Arc<Fence>, ended: &state::Receiver<bool>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let means = Fenced::new(&self.client, fence.clone());
        let client = means.client.clone();
        let events = self.events.behind(fence.clone());
        let (outcomes_sender, outcomes) = mpsc::unbounded_channel();
        let controller = Controller::new(
            means,
            self.index.clone(),
            self.freshness.clone(),
            self.metrics.clone(),
            events.clone(),
            outcomes_sender,
            self.drift_interval,
        );
        let status = StatusWriter {
            client,
            index: self.index.clone(),
            events,
            metrics: self.metrics.clone(),
            endpoint_patches: self.endpoint_patches.clone(),
            dns_changes: controller.dns_changes(),
            look_again: controller.again(),
        };
        tasks.spawn(status.run(outcomes));
        let controller = Arc::new(controller);
        let (watcher, end) = (controller.clone(), told(ended.clone()));
        tasks.spawn(async move { watcher.watch_drift(end).await });
        let end = told(ended.clone());
        tasks.spawn(async move { controller.run(end).await });
        tasks
    }
}

/// Takes as many files as the process may have, and no more connections than there are files for.
fn fit_into_file_limit(limits: &mut Limits) -> anyhow::Result<()> {
    let files = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: files,
        maximum: files,
    };
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")?;
    let files = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    let most = files.saturating_sub(OTHER_FILES).max(1);
    if limits.max_connections > most {
        tracing::warn!(
            "{files} open files are allowed: --max-connections is {most} instead of {}",
            limits.max_connections
        );
        limits.max_connections = most;
    }
    Ok(())
}

async fn connect(options: &RunOptions) -> anyhow::Result<kube::Client> {
    let mut config = match &options.kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file).context("--kubeconfig")?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => kube::Config::infer().await?,
    };
    // A late copy of a write could undo a newer one: every caller decides itself what to do again.
    config.default_retry = false;
    kube::Client::try_from(config).context("making a client of the API server")
}

/// The ports that the flags ask for: plain, TLS, or both.
async fn listen_for_clients(options: &RunOptions, tls: Option<&Tls>) -> anyhow::Result<Ports> {
    let is_plain = !options.tls.as_ref().is_some_and(|tls| tls.tls_only);
    let plain = match is_plain {
        true => Some(listen("endpoint", options.listen).await?),
        false => None,
    };
    let tls = match options.tls.as_ref().zip(tls) {
        Some((options, tls)) => {
            let listener = listen("endpoint by TLS", options.tls_listen).await?;
            Some((listener, tls.acceptor()))
        }
        None => None,
    };
    Ok(Ports { plain, tls })
}

async fn listen(port: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}"))?;
    tracing::info!(port, address = %listener.local_addr()?, "listening");
    Ok(listener)
}

fn spawn_watches(
    tasks: &mut JoinSet<()>,
    client: &kube::Client,
    index: &Arc<Index>,
    freshness: &Arc<Freshness>,
) {
    let (i, f) = (index.clone(), freshness.clone());
    let hosts: Api<Stored<DynamicHost>> = Api::all(client.clone());
    tasks.spawn(async move {
        watch(hosts, None, &f.hosts, |told| match told {
            Told::Object(host) => on_some(Host::new(&host), |host| i.apply_host(host)),
            Told::Gone(key) => i.remove_host(&key),
            Told::Listed(keys) => i.retain_hosts(&keys),
        })
        .await;
    });
    let (i, f) = (index.clone(), freshness.clone());
    let zones: Api<Stored<DynamicZone>> = Api::all(client.clone());
    tasks.spawn(async move {
        watch(zones, None, &f.zones, |told| match told {
            Told::Object(zone) => on_some(Zone::new(&zone), |zone| i.apply_zone(zone)),
            Told::Gone(key) => i.remove_zone(&key),
            Told::Listed(keys) => i.retain_zones(&keys),
        })
        .await;
    });
    let (i, f) = (index.clone(), freshness.clone());
    let secrets: Api<Secret> = Api::all(client.clone());
    let of_our_type = format!("type={SECRET_TYPE}");
    tasks.spawn(async move {
        watch(secrets, Some(&of_our_type), &f.keys, |told| match told {
            Told::Object(secret) => on_some(UpdateKey::new(&secret), |key| i.apply_key(key)),
            Told::Gone(key) => i.remove_key(&key),
            Told::Listed(keys) => i.retain_keys(&keys),
        })
        .await;
    });
    let (i, f) = (index.clone(), freshness.clone());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    tasks.spawn(async move {
        watch(namespaces, None, &f.namespaces, |told| match told {
            Told::Object(namespace) => {
                let labels = namespace.metadata.labels.unwrap_or_default();
                on_some(namespace.metadata.name, |name| {
                    i.apply_namespace(&name, labels)
                });
            }
            Told::Gone(key) => i.remove_namespace(&key.name),
            Told::Listed(keys) => i.retain_namespaces(&keys),
        })
        .await;
    });
}

/// Objects with metadata that no API server sends are passed over.
fn on_some<T>(value: Option<T>, then: impl FnOnce(T)) {
    if let Some(value) = value {
        then(value);
    }
}
