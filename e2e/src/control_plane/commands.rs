//! Where the control plane's files and ports are, and the command lines that follow from them.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::free_port;

/// What the tests need of the controller manager.
const CONTROLLERS: [&str; 3] = [
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
];

/// One control plane's folder and ports.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) api_server: SocketAddr,
    pub(super) etcd: SocketAddr,
    etcd_peer: SocketAddr,
}

impl Layout {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let loopback = || Ok::<_, anyhow::Error>((Ipv4Addr::LOCALHOST, free_port()?).into());
        Ok(Self {
            folder: folder.to_owned(),
            api_server: loopback()?,
            etcd: loopback()?,
            etcd_peer: loopback()?,
        })
    }

    pub(super) fn admin_kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// Made by the API server; it holds the leaf for 127.0.0.1 and the authority that signed it.
    pub(super) fn certificate(&self) -> PathBuf {
        self.certificates().join("apiserver.crt")
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    pub(super) fn service_account_private_key(&self) -> PathBuf {
        self.folder.join("service-account.key")
    }

    pub(super) fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("service-account.pub")
    }

    pub(super) fn audit_policy(&self) -> PathBuf {
        self.folder.join("audit-policy.yaml")
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    pub(super) fn log(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{program}.log"))
    }

    fn certificates(&self) -> PathBuf {
        self.folder.join("certificates")
    }

    pub(super) fn etcd(&self, binary: &Path) -> Command {
        let client = format!("http://{}", self.etcd);
        let peer = format!("http://{}", self.etcd_peer);
        let mut command = Command::new(binary);
        command
            .arg(flag("data-dir", self.folder.join("etcd")))
            .arg(flag("listen-client-urls", &client))
            .arg(flag("advertise-client-urls", &client))
            .arg(flag("listen-peer-urls", &peer))
            .arg(flag("initial-advertise-peer-urls", &peer))
            .arg(flag("initial-cluster", format!("default={peer}")));
        command
    }

    pub(super) fn api_server(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command
            .arg(flag("etcd-servers", format!("http://{}", self.etcd)))
            .arg("--bind-address=127.0.0.1")
            // Else it looks for the machine's own address, which there may be none of.
            .arg("--advertise-address=127.0.0.1")
            .arg("--endpoint-reconciler-type=none")
            .arg(flag("secure-port", self.api_server.port().to_string()))
            .arg(flag("cert-dir", self.certificates()))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(flag(
                "service-account-key-file",
                self.service_account_public_key(),
            ))
            .arg(flag(
                "service-account-signing-key-file",
                self.service_account_private_key(),
            ))
            .arg(flag("token-auth-file", self.tokens()))
            .arg("--authorization-mode=RBAC")
            .arg("--service-cluster-ip-range=10.96.0.0/16")
            // It would refuse Pods until a controller has made their ServiceAccount; there is none.
            .arg("--disable-admission-plugins=ServiceAccount")
            .arg(flag("audit-policy-file", self.audit_policy()))
            .arg(flag("audit-log-path", self.audit_log()))
            // 0 is never: a log that is rotated cannot be counted.
            .arg("--audit-log-maxsize=0");
        command
    }

    pub(super) fn controller_manager(&self, binary: &Path) -> Result<Command> {
        let mut command = Command::new(binary);
        command
            .arg(flag("controllers", CONTROLLERS.join(",")))
            .arg("--leader-elect=false")
            .arg("--bind-address=127.0.0.1")
            .arg(flag("secure-port", free_port()?.to_string()))
            .arg(flag("cert-dir", self.certificates()))
            .arg(flag("kubeconfig", self.admin_kubeconfig()));
        Ok(command)
    }
}

fn flag(name: &str, value: impl Into<OsString>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value.into());
    flag
}
