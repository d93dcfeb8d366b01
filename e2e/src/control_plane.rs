//! etcd, kube-apiserver and, where wanted, kube-controller-manager.

mod audit;
mod commands;
mod credentials;
mod outages;
mod stored;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
pub use audit::{AuditEvent, AuditMark};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{io::AsyncWriteExt, sync::Mutex};

use self::{audit::read_events, commands::Layout, credentials::write_kubeconfig};
use crate::{
    ChildProcess, ControlPlaneBinary, Scratch, await_condition, control_plane_binary, random_hex,
};

/// A cold start on a busy machine of 2 cores; a warm one takes 4 s.
const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What the controller manager logs once it watches every kind there is.
const GARBAGE_COLLECTOR_SYNCED: &str = "all resource monitors have synced";

/// A control plane of its own: an API server that any `kubectl` can use, without nodes.
#[derive(Debug)]
pub struct ControlPlane {
    // Declared before the folder: fields drop in this order, and the processes write there.
    controller_manager: Mutex<Option<ChildProcess>>,
    api_server: Mutex<Option<ChildProcess>>,
    etcd: Mutex<Option<ChildProcess>>,
    layout: Layout,
    kubectl: PathBuf,
    _scratch: Scratch,
}

impl ControlPlane {
    /// Starts etcd and the API server and waits until it is ready, about 4 s.
    ///
    /// # Errors
    /// With the end of the log of the process that did not start.
    pub async fn start() -> Result<Self> {
        let scratch = Scratch::new("control-plane")?;
        let layout = Layout::new(scratch.path())?;
        credentials::write(&layout)?;
        let control_plane = Self {
            controller_manager: Mutex::new(None),
            api_server: Mutex::new(None),
            etcd: Mutex::new(None),
            layout,
            kubectl: control_plane_binary(ControlPlaneBinary::Kubectl).await?,
            _scratch: scratch,
        };
        control_plane.start_etcd().await?;
        control_plane.start_api_server().await?;
        Ok(control_plane)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.admin_kubeconfig()
    }

    /// Where the API server listens.
    pub fn api_address(&self) -> SocketAddr {
        self.layout.api_server
    }

    /// A new client with the administrator's rights. It works in the runtime that asked for it only.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig()).await
    }

    /// Starts the controller manager's garbage collector, and its controllers of namespaces and of
    /// aggregated roles.
    ///
    /// Custom resources must be installed before: the garbage collector looks for new kinds every
    /// 30 s only.
    ///
    /// # Errors
    /// Where it does not become healthy.
    pub async fn start_controller_manager(&self) -> Result<()> {
        let mut running = self.controller_manager.lock().await;
        let binary = control_plane_binary(ControlPlaneBinary::KubeControllerManager).await?;
        let command = self.layout.controller_manager(&binary)?;
        let log = self.layout.log("kube-controller-manager");
        let process = ChildProcess::spawn("kube-controller-manager", &command, &log)?;
        process
            .await_start(START_LIMIT, async || {
                let text = fs::read_to_string(&log)?;
                Ok(text.contains(GARBAGE_COLLECTOR_SYNCED).then_some(()))
            })
            .await?;
        *running = Some(process);
        Ok(())
    }

    /// Stops the controller manager.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn stop_controller_manager(&self) -> Result<()> {
        if let Some(process) = self.controller_manager.lock().await.take() {
            process.stop(STOP_LIMIT).await?;
        }
        Ok(())
    }

    /// Puts objects into etcd as the API server would have stored them: thousands a second, without
    /// a check. `objects` are keys below `/registry/` and objects as JSON, without resource version.
    ///
    /// # Errors
    /// Where etcd refuses.
    pub async fn store(&self, objects: &[(String, String)]) -> Result<()> {
        stored::put(self.layout.etcd, objects).await
    }

    /// Creates a namespace with a name of its own that begins with `prefix`, and returns the name.
    ///
    /// # Errors
    /// Where the API server refuses.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", random_hex(4)?);
        let namespace = serde_json::from_value(serde_json::json!({"metadata": {"name": name}}))?;
        Api::<Namespace>::all(self.client().await?)
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(name)
    }

    /// Writes a kubeconfig with a token of the ServiceAccount, valid for two days, that reaches the
    /// API server at `through` (a proxy), or directly. The ServiceAccount must exist.
    ///
    /// # Errors
    /// Where the API server gives no token.
    pub async fn service_account_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
        through: Option<SocketAddr>,
    ) -> Result<PathBuf> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec!["https://kubernetes.default.svc".to_owned()],
                expiration_seconds: Some(48 * 3600),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let token = Api::<ServiceAccount>::namespaced(self.client().await?, namespace)
            .create_token_request(name, &PostParams::default(), &request)
            .await?
            .status
            .context("the TokenRequest has no status")?
            .token;
        let server = through.unwrap_or(self.layout.api_server);
        let file = format!("{namespace}-{name}-{}.kubeconfig", server.port());
        let path = self.layout.folder.join(file);
        let certificate = self.layout.certificate();
        write_kubeconfig(&path, server, &certificate, namespace, &token)?;
        Ok(path)
    }

    /// Runs kubectl as administrator, with `stdin`, and returns what it printed.
    ///
    /// # Errors
    /// With its standard error, where it fails.
    pub async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String> {
        let output = self.try_kubectl(arguments, stdin).await?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs kubectl as administrator and returns how it ended, for what is expected to be refused.
    ///
    /// # Errors
    /// Where it cannot be run.
    pub async fn try_kubectl(&self, arguments: &[&str], stdin: &str) -> Result<Output> {
        let mut child = tokio::process::Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            // Discovery is cached below HOME otherwise, by host and port, which come again.
            .arg("--cache-dir")
            .arg(self.layout.folder.join("kubectl"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting kubectl")?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(stdin.as_bytes()).await?;
        }
        Ok(child.wait_with_output().await?)
    }

    /// The present end of the audit log.
    ///
    /// # Errors
    /// As [`Self::audit_events`].
    pub async fn audit_mark(&self) -> Result<AuditMark> {
        self.await_audit_of_own_request().await?;
        Ok(AuditMark(fs::metadata(self.layout.audit_log())?.len()))
    }

    /// Every request that was answered after `mark`, and before this call.
    ///
    /// # Errors
    /// Where the API server does not answer, or writes no audit log.
    pub async fn audit_events(&self, mark: AuditMark) -> Result<Vec<AuditEvent>> {
        self.await_audit_of_own_request().await?;
        read_events(&self.layout.audit_log(), mark)
    }

    /// The log is written just after the response: a request of our own that has reached the log
    /// shows that those answered before it have, too.
    async fn await_audit_of_own_request(&self) -> Result<()> {
        let start =
            AuditMark(fs::metadata(self.layout.audit_log()).map_or(0, |metadata| metadata.len()));
        let name = format!("audit-{}", random_hex(8)?);
        Api::<Namespace>::all(self.client().await?)
            .get_opt(&name)
            .await?;
        await_condition("the audit log is written", START_LIMIT, async || {
            let events = read_events(&self.layout.audit_log(), start)?;
            Ok(events.iter().any(|event| event.name == name).then_some(()))
        })
        .await
    }
}

/// A client for a kubeconfig.
async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
