//! Everything together: control plane, name server, operator.

mod host;
mod zone;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;
use dynhost_crds::{
    conditions::{Condition, ConditionType},
    host::DynamicHost,
};
use kube::{Api, Client};
use tokio::sync::OnceCell;

pub use self::zone::{Zone, ZoneOptions};
use crate::{Bind, ControlPlane, Operator, TcpProxy, operator::operator_binary};

/// The manifests that an administrator applies: namespace, ServiceAccount, RBAC and CRDs.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// Arguments for a lease that a machine that is busy for some seconds does not lose: for tests that
/// count what one term of the writer does.
pub const LONG_LEASE: [&str; 2] = ["--lease-duration", "30s"];

/// How long anything asynchronous may take on a busy machine of 2 cores.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A control plane, a name server and an operator that serves every namespace.
#[derive(Debug)]
pub struct Stack {
    // In this order they are dropped: the operator first, so that it logs no lost servers.
    pub operator: Operator,
    /// Between operator and API server, where [`StackOptions::api_proxy`] asks for it.
    pub api_proxy: Option<TcpProxy>,
    pub bind: Bind,
    pub control_plane: ControlPlane,
}

/// What a test may want otherwise.
#[derive(Clone, Debug, Default)]
pub struct StackOptions {
    /// Further arguments of `dynhost run`. Without `--drift-interval` no zone is looked through but
    /// where something asks for it.
    pub operator_arguments: Vec<String>,
    /// Lets the operator reach the API server through a proxy. It works as long as the runtime
    /// that the stack was started in.
    pub api_proxy: bool,
}

impl Stack {
    /// Starts all three, the operator under the ServiceAccount and RBAC of deploy/.
    ///
    /// # Errors
    /// Where one of them does not start.
    pub async fn start(options: StackOptions) -> Result<Self> {
        let (control_plane, bind, _built) =
            tokio::try_join!(ControlPlane::start(), Bind::start(), operator_binary())?;
        install(&control_plane).await?;
        let api_proxy = if options.api_proxy {
            Some(TcpProxy::start(control_plane.api_address()).await?)
        } else {
            None
        };
        let through = api_proxy.as_ref().map(TcpProxy::address);
        let kubeconfig = operator_kubeconfig(&control_plane, through).await?;
        let arguments = undisturbed(options.operator_arguments);
        let (operator, ()) = tokio::try_join!(
            Operator::start(&kubeconfig, &arguments),
            control_plane.start_controller_manager()
        )?;
        Ok(Self {
            operator,
            api_proxy,
            bind,
            control_plane,
        })
    }

    /// The stack that the tests of one process share. Those that stop or freeze a part of it start
    /// one of their own.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Stack> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| {
                Self::start(StackOptions {
                    operator_arguments: LONG_LEASE.map(str::to_owned).to_vec(),
                    ..StackOptions::default()
                })
            })
            .await
    }

    /// Starts a further replica of the operator.
    ///
    /// # Errors
    /// Where it does not become ready.
    pub async fn start_replica(&self, arguments: Vec<String>) -> Result<Operator> {
        let kubeconfig = operator_kubeconfig(&self.control_plane, None).await?;
        Operator::start(&kubeconfig, &undisturbed(arguments)).await
    }

    /// A client with the administrator's rights, for the runtime that asks for it.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        self.control_plane.client().await
    }

    /// The hosts of a namespace, as administrator.
    ///
    /// # Errors
    /// Where the kubeconfig cannot be read.
    pub async fn hosts(&self, namespace: &str) -> Result<Api<DynamicHost>> {
        Ok(Api::namespaced(self.client().await?, namespace))
    }
}

/// What a test changes past the operator is not mended in the middle of it.
fn undisturbed(mut arguments: Vec<String>) -> Vec<String> {
    if !arguments
        .iter()
        .any(|argument| argument == "--drift-interval")
    {
        arguments.extend(["--drift-interval", "1000h"].map(str::to_owned));
    }
    arguments
}

/// Applies deploy/ and waits until its resources can be used.
///
/// # Errors
/// With what kubectl says.
pub async fn install(control_plane: &ControlPlane) -> Result<()> {
    control_plane.kubectl(&["apply", "-k", DEPLOY], "").await?;
    let crds = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/dynamiczones.dynhost.dev",
        "crd/dynamichosts.dynhost.dev",
    ];
    control_plane.kubectl(&crds, "").await?;
    Ok(())
}

/// A kubeconfig of the ServiceAccount that deploy/ makes for the operator.
///
/// # Errors
/// Where deploy/ is not applied.
pub async fn operator_kubeconfig(
    control_plane: &ControlPlane,
    through: Option<SocketAddr>,
) -> Result<PathBuf> {
    control_plane
        .service_account_kubeconfig("dynhost-system", "dynhost", through)
        .await
}

/// A host's condition of that type.
pub fn condition(host: &DynamicHost, of: ConditionType) -> Option<&Condition> {
    let conditions = &host.status.as_ref()?.conditions;
    conditions
        .iter()
        .find(|condition| condition.type_ == of.as_str())
}
