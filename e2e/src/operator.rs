//! The operator, as a child process: built from this workspace, killed and started again at will.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::{Mutex, OnceCell};

use crate::{ChildProcess, Scratch, Signal, free_port, http, process::spawn_tethered};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// `dynhost run` on two ports of its own, which it keeps when it is started again, and under a name
/// of its own: after a SIGKILL it takes up at once the lease that its former life has left.
#[derive(Debug)]
pub struct Operator {
    // Declared before the folder: fields drop in this order, and the process logs there.
    process: Mutex<Option<ChildProcess>>,
    command: Command,
    update_address: SocketAddr,
    admin_address: SocketAddr,
    scratch: Scratch,
}

impl Operator {
    /// Builds the operator where that is due, starts it under the kubeconfig's user with further
    /// `arguments`, and waits until it is ready.
    ///
    /// # Errors
    /// Where the build fails, or with the end of the log where it does not become ready.
    pub async fn start(kubeconfig: &Path, arguments: &[String]) -> Result<Self> {
        Self::start_under(&[], kubeconfig, arguments).await
    }

    /// As [`Self::start`], by a program that replaces itself by the operator, such as
    /// `taskset -c 0`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_under(
        prefix: &[&str],
        kubeconfig: &Path,
        arguments: &[String],
    ) -> Result<Self> {
        let loopback = || Ok::<_, anyhow::Error>((Ipv4Addr::LOCALHOST, free_port()?).into());
        let update_address: SocketAddr = loopback()?;
        let admin_address: SocketAddr = loopback()?;
        let binary = operator_binary().await?;
        let mut command = match prefix {
            [] => Command::new(binary),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary);
                command
            }
        };
        command
            .args(["run", "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--listen", &update_address.to_string()])
            .args(["--admin-listen", &admin_address.to_string()])
            .args(["--identity", &format!("e2e-{}", update_address.port())])
            .args(arguments);
        let operator = Self {
            process: Mutex::new(None),
            command,
            update_address,
            admin_address,
            scratch: Scratch::new("operator")?,
        };
        operator.start_again().await?;
        Ok(operator)
    }

    /// Starts it, on the same ports, and waits until it is ready.
    ///
    /// # Errors
    /// With the end of the log where it does not become ready.
    pub async fn start_again(&self) -> Result<()> {
        self.launch().await?;
        self.await_ready(START_LIMIT).await
    }

    /// Starts it, on the same ports, and does not wait for anything: it cannot become ready while
    /// there is no API server.
    ///
    /// # Errors
    /// Where it runs already.
    pub async fn launch(&self) -> Result<()> {
        let mut running = self.process.lock().await;
        ensure!(running.is_none(), "the operator runs already");
        *running = Some(ChildProcess::spawn("dynhost", &self.command, &self.log())?);
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// With the end of the log: at once where it has ended, else after `limit`.
    pub async fn await_ready(&self, limit: Duration) -> Result<()> {
        let running = self.process.lock().await;
        let process = running.as_ref().context("the operator is stopped")?;
        let ready = async || {
            let answer = http::get(self.admin_address, "/readyz", None).await?;
            ensure!(answer.status == 200, "it says {:?}", answer.text());
            Ok(Some(()))
        };
        process.await_start(limit, ready).await
    }

    /// Where clients send updates.
    pub fn update_address(&self) -> SocketAddr {
        self.update_address
    }

    /// `http://127.0.0.1:<port>` of the endpoint.
    pub fn update_url(&self) -> String {
        format!("http://{}", self.update_address)
    }

    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// `http://127.0.0.1:<port>` of `/livez`, `/readyz` and `/metrics`.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin_address)
    }

    /// The process id.
    ///
    /// # Errors
    /// Where it is stopped.
    pub async fn pid(&self) -> Result<u32> {
        match &*self.process.lock().await {
            Some(process) => Ok(process.pid()),
            None => bail!("the operator is stopped"),
        }
    }

    /// Ends it by SIGKILL: nothing is finished.
    ///
    /// # Errors
    /// Where it is stopped.
    pub async fn kill(&self) -> Result<()> {
        let process = self.process.lock().await.take();
        process.context("the operator is stopped")?.kill().await?;
        Ok(())
    }

    /// Ends it by SIGTERM, and by SIGKILL where it still runs 20 s later.
    ///
    /// # Errors
    /// Where it is stopped.
    pub async fn terminate(&self) -> Result<ExitStatus> {
        let process = self.process.lock().await.take();
        process
            .context("the operator is stopped")?
            .stop(STOP_LIMIT)
            .await
    }

    /// Freezes it by SIGSTOP, and waits until all of it stands still.
    ///
    /// # Errors
    /// Where it is stopped.
    pub async fn freeze(&self) -> Result<()> {
        match &*self.process.lock().await {
            Some(process) => process.freeze().await,
            None => bail!("the operator is stopped"),
        }
    }

    /// Whether it holds the lease, as it says itself.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn is_leader(&self) -> Result<bool> {
        Ok(self.count("dynhost_leader").await? == 1)
    }

    /// What a metric of whole numbers is at: one series with its labels as on the page, or the sum of
    /// all of that name.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn count(&self, series: &str) -> Result<u64> {
        let page = http::get(self.admin_address, "/metrics", None).await?;
        let text = page.text();
        let counts = text.lines().filter_map(|line| {
            let (name, count) = line.rsplit_once(' ')?;
            let is_asked = name == series || name.split('{').next() == Some(series);
            is_asked.then(|| count.parse::<u64>().ok())?
        });
        Ok(counts.sum())
    }

    /// Sends a signal, such as STOP and CONT.
    ///
    /// # Errors
    /// Where it is stopped.
    pub async fn signal(&self, signal: Signal) -> Result<()> {
        match &*self.process.lock().await {
            Some(process) => process.signal(signal),
            None => bail!("the operator is stopped"),
        }
    }

    /// Its log, of all its runs.
    pub fn log(&self) -> PathBuf {
        self.scratch.path().join("dynhost.log")
    }

    /// The last `lines` lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        crate::process::log_tail(&self.log(), lines)
    }
}

/// The path of `dynhost`, built by cargo once per process: this crate can depend on the library
/// of a package, but not on its binary.
///
/// # Errors
/// Where the build fails.
pub async fn operator_binary() -> Result<PathBuf> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT
        .get_or_try_init(|| async { tokio::task::spawn_blocking(build).await? })
        .await
        .cloned()
}

fn build() -> Result<PathBuf> {
    let output = OutputFolder::of_this_process()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // --workspace: with the features that the rest of the workspace was built with, so that no
    // dependency is built a second time.
    cargo
        .current_dir(WORKSPACE)
        .args(["build", "--workspace", "--bin", "dynhost", "--profile"])
        .arg(&output.profile)
        .arg("--target-dir")
        .arg(&output.target);
    let status = spawn_tethered(&cargo, Stdio::inherit(), Stdio::inherit())?.wait()?;
    if !status.success() {
        bail!("cargo build of the operator failed ({status})");
    }
    Ok(output.folder.join("dynhost"))
}

/// Where cargo puts what it builds for this process's profile.
struct OutputFolder {
    target: PathBuf,
    folder: PathBuf,
    profile: String,
}

impl OutputFolder {
    /// Binaries are in `<target>/<folder>`, tests in `<target>/<folder>/deps`.
    fn of_this_process() -> Result<Self> {
        let executable = env::current_exe()?;
        let folder = executable
            .ancestors()
            .skip(1)
            .find(|folder| !folder.ends_with("deps"))
            .context("the executable is in no folder")?;
        let target = folder.parent().context("there is no target folder")?;
        let name = folder.file_name().context("the folder has no name")?;
        let name = name.to_str().context("the folder's name is not UTF-8")?;
        // The one profile whose folder has another name (and `test` and `bench` share theirs).
        let profile = if name == "debug" { "dev" } else { name };
        Ok(Self {
            target: target.to_owned(),
            folder: folder.to_owned(),
            profile: profile.to_owned(),
        })
    }
}
