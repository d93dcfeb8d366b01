//! The control plane's binaries: `$KUBEBUILDER_ASSETS`, else a cache, else a build by Go.
//!
//! The Go module in `controlplane/` pins every version. Finished binaries are kept outside
//! `target/`, so that neither `cargo clean` nor a fresh clone builds them again.

use std::{
    env,
    fmt::Write,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{Scratch, process::spawn_tethered};

const GO_MOD: &str = include_str!("../controlplane/go.mod");
const GO_SUM: &str = include_str!("../controlplane/go.sum");
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/controlplane");

/// A binary of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlPlaneBinary {
    /// The store.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// Garbage collection by owner references, and deletion of namespaces.
    KubeControllerManager,
    /// The command line client.
    Kubectl,
}

impl ControlPlaneBinary {
    /// Every binary.
    pub const ALL: [Self; 4] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
    ];

    /// The file's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
        }
    }
}

/// The path of `binary`, which is built first where it is neither in `$KUBEBUILDER_ASSETS` nor in
/// the cache. What is built, and how long it took, is said on stderr.
///
/// # Errors
/// Where Go is missing or the build fails.
pub async fn control_plane_binary(binary: ControlPlaneBinary) -> Result<PathBuf> {
    tokio::task::spawn_blocking(move || find_or_build(binary)).await?
}

fn find_or_build(binary: ControlPlaneBinary) -> Result<PathBuf> {
    if let Some(assets) = env::var_os("KUBEBUILDER_ASSETS") {
        let path = Path::new(&assets).join(binary.name());
        if path.is_file() {
            return Ok(path);
        }
    }
    let cache = cache_folder()?;
    let path = cache.join(binary.name());
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join("lock"))?;
    lock.lock().context("waiting for another build")?;
    if !path.is_file() {
        build(binary, &path)?;
    }
    Ok(path)
}

/// Builds beside `path` and renames, so that a build that was interrupted leaves no broken binary.
fn build(binary: ControlPlaneBinary, path: &Path) -> Result<()> {
    let name = binary.name();
    let version = kubernetes_version()?;
    eprintln!(
        "building {name} for Kubernetes {version} with Go (the first binary takes about 4 minutes on 2 cores) …"
    );
    let started = Instant::now();
    let unfinished = path.with_extension("unfinished");
    // Go's working folder goes with this process, also where the build is interrupted.
    let scratch = Scratch::new("go-build")?;
    let mut go = Command::new("go");
    go.args(["build", "-C", MODULE, "-trimpath", "-buildvcs=false"])
        .arg("-ldflags")
        // Without its version the API server says v0.0.0, and clients complain.
        .arg(format!(
            "-s -w -X k8s.io/component-base/version.gitVersion={version}"
        ))
        .arg("-o")
        .args([unfinished.as_os_str(), binary.package().as_ref()])
        .env("GOTMPDIR", scratch.path());
    // setpriv would report a missing program by a bare status 127.
    match Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .status()
    {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "{name} must be built: install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder that holds it"
        ),
        other => other.context("running go version")?,
    };
    let status = spawn_tethered(&go, Stdio::inherit(), Stdio::inherit())?.wait()?;
    if !status.success() {
        bail!("go build of {name} failed ({status})");
    }
    fs::rename(&unfinished, path)?;
    eprintln!("built {name} in {} s", started.elapsed().as_secs());
    Ok(())
}

/// `$XDG_CACHE_HOME/dynhost`: what is built or fetched once for all clones.
pub(crate) fn cache_home() -> Result<PathBuf> {
    let home = match env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(home.join("dynhost"))
}

/// `controlplane-<version>-<hash of go.mod and go.sum>` in [`cache_home`].
fn cache_folder() -> Result<PathBuf> {
    let digest = Sha256::new()
        .chain_update(GO_MOD)
        .chain_update(GO_SUM)
        .finalize();
    let mut name = format!("controlplane-{}-", kubernetes_version()?);
    for octet in digest.iter().take(6) {
        write!(name, "{octet:02x}")?;
    }
    Ok(cache_home()?.join(name))
}

/// The version of `k8s.io/kubernetes` in go.mod, such as `v1.36.3`.
fn kubernetes_version() -> Result<&'static str> {
    GO_MOD
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .and_then(|rest| rest.split_whitespace().next())
        .context("go.mod does not require k8s.io/kubernetes")
}
