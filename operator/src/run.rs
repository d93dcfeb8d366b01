//! Wires and spawns everything; the only file that does.

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
use tracing_subscriber::EnvFilter;

use crate::admin::{self, Admin};
use crate::config::{Limits, LogFormat, RunOptions};
use crate::endpoint::{self, Endpoint};
use crate::events::{self, Events};
use crate::index::Index;
use crate::index::host::Host;
use crate::index::key::UpdateKey;
use crate::index::stored::Stored;
use crate::index::zone::Zone;
use crate::metrics::Metrics;
use crate::reconcile::Controller;
use crate::reconcile::status::StatusWriter;
use crate::under_way::Calls;
use crate::watch::{Freshness, Told, watch};

/// How long requests under way and status writes may take once the process is told to end.
const GRACE: Duration = Duration::from_secs(10);

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
    let clients = listen(options.listen).await?;
    let administrators = listen(options.admin_listen).await?;
    tracing::info!(
        endpoint = %clients.local_addr()?, admin = %administrators.local_addr()?, "listening"
    );

    let (affected_sender, affected) = mpsc::unbounded_channel();
    let index = Arc::new(Index::new(affected_sender));
    let freshness = Arc::new(Freshness::default());
    let metrics = Arc::new(Metrics::default());
    let endpoint_patches = Arc::new(Calls::default());
    let (stop, stopped) = state::channel(false);
    let when_stopped = || {
        let mut stopped = stopped.clone();
        async move { drop(stopped.wait_for(|stopped| *stopped).await) }
    };

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

    let mut tasks = JoinSet::new();
    if options.no_controller {
        tracing::info!("serving updates only: another instance has to write DNS");
        // What nobody takes does not queue.
        drop(affected);
    } else {
        metrics.show_leader(true);
        let (outcomes_sender, outcomes) = mpsc::unbounded_channel();
        let controller = Controller::new(
            client.clone(),
            index.clone(),
            freshness.clone(),
            metrics.clone(),
            events.clone(),
            outcomes_sender,
            options.drift_interval,
        );
        let status = StatusWriter {
            client: client.clone(),
            index: index.clone(),
            events: events.clone(),
            metrics: metrics.clone(),
            endpoint_patches: endpoint_patches.clone(),
            dns_changes: controller.dns_changes(),
        };
        tasks.spawn(status.run(outcomes));
        let controller = Arc::new(controller);
        let (watcher, end) = (controller.clone(), when_stopped());
        tasks.spawn(async move { watcher.watch_drift(end).await });
        let end = when_stopped();
        tasks.spawn(async move { controller.run(affected, end).await });
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
    let (heartbeats, end) = (endpoint.clone(), when_stopped());
    tasks.spawn(async move { heartbeats.write_heartbeats(end).await });
    tasks.spawn(endpoint::serve(clients, endpoint, when_stopped()));
    let admin = admin::router(Admin {
        index,
        freshness,
        metrics,
    });
    let mut admin_task = JoinSet::new();
    admin_task.spawn(async move { axum::serve(administrators, admin).await });

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
        _ = interrupt.recv() => tracing::info!("SIGINT: ending"),
        // A part that ends or panics takes the process with it: half an operator looks healthy.
        ended = tasks.join_next() => anyhow::bail!("a task ended unasked: {ended:?}"),
        ended = telling.join_next() => anyhow::bail!("Events ended unasked: {ended:?}"),
        ended = watches.join_next() => anyhow::bail!("a watch ended unasked: {ended:?}"),
        ended = admin_task.join_next() => anyhow::bail!("the admin port ended unasked: {ended:?}"),
    }
    stop.send_replace(true);
    let rest = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        tracing::warn!("not everything was finished in time");
    }
    Ok(())
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

async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}"))
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
