//! Clients in a process of their own, so that what they measure is not disturbed by what else
//! happens here: this program, started again under `taskset`.

mod answer;
mod honest;
mod saturate;
mod trouble;
mod verify;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use dynhost_e2e::{ChildProcess, Scratch, await_condition, scratch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use self::honest::{ask, connect};
use crate::request::Exchange;

/// Where all clients run; the server has another core.
const CLIENT_CORE: &str = "1";

/// What such a process does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Load {
    /// As many answers as there can be; tells a [`Rate`].
    Saturate(Saturate),
    /// As many Ed25519 verifications as there can be in this time; tells a [`Rate`].
    Verify(Duration),
    /// Requests at a fixed rate; tells [`Served`].
    Honest(Honest),
    /// Goes on until it is killed; tells [`Counts`] from time to time.
    Trouble(Trouble),
}

/// Sends these requests over and over, each connection the next one as soon as it has an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saturate {
    pub(crate) server: SocketAddr,
    /// The server's process, whose CPU time is counted.
    pub(crate) pid: u32,
    /// Connection i sends the i-th, modulo their number.
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// For each second that the server has used its core.
    pub(crate) per_cpu_second: f64,
}

/// Clients that do nothing wrong, all from one address.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Honest {
    pub(crate) server: SocketAddr,
    pub(crate) source: Ipv4Addr,
    /// What each client sends, one after the other and then from the start.
    pub(crate) clients: Vec<Vec<Exchange>>,
    /// Between two requests of one client.
    pub(crate) interval: Duration,
    pub(crate) time: Duration,
    /// Whether a client keeps its connection for the next request.
    pub(crate) keep_alive: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Served {
    /// From when a request was due until its answer was there, with connecting where that was needed.
    pub(crate) durations: Vec<Duration>,
    /// Connections that were closed before a request was answered.
    pub(crate) closed: u64,
}

/// Clients that mean ill, spread over the sources.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) server: SocketAddr,
    pub(crate) kind: TroubleKind,
    pub(crate) sources: Vec<Ipv4Addr>,
    pub(crate) connections: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum TroubleKind {
    /// A request with a wrong key for this name, and the next one as soon as it is answered.
    WrongKeys { hostname: String },
    /// Half a request's head, and then nothing; again on a new connection where it is closed.
    HalfHeads,
}

/// Since the start.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    /// By status.
    pub(crate) answers: BTreeMap<u16, u64>,
}

impl Counts {
    pub(crate) fn answered(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or_default()
    }

    /// Adds what was counted from `before` to `after`.
    pub(crate) fn add(&mut self, after: &Self, before: &Self) {
        self.connections += after.connections - before.connections;
        for (status, answers) in &after.answers {
            *self.answers.entry(*status).or_default() += answers - before.answered(*status);
        }
    }
}

/// Does what the file says: what the child process is for.
pub(crate) fn act(load: &Path) -> Result<()> {
    let load = serde_json::from_str(&std::fs::read_to_string(load)?)?;
    let told = match load {
        Load::Saturate(load) => serde_json::to_string(&saturate::run(&load)?)?,
        Load::Verify(time) => serde_json::to_string(&verify::run(time)?)?,
        Load::Honest(load) => serde_json::to_string(&in_runtime(honest::run(load))?)?,
        Load::Trouble(load) => return in_runtime(trouble::run(load)),
    };
    println!("{told}");
    Ok(())
}

fn in_runtime<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(future)
}

/// Starts such processes.
pub(crate) struct Clients {
    scratch: Scratch,
    started: AtomicUsize,
}

impl Clients {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            scratch: Scratch::new("clients")?,
            started: AtomicUsize::new(0),
        })
    }

    /// Runs it to its end, and gives what it tells.
    pub(crate) async fn run<T: DeserializeOwned>(&self, load: &Load) -> Result<T> {
        let process = self.start(load, &[])?;
        let status = process.wait(Duration::from_secs(60)).await?;
        let told = process.log_tail(1);
        serde_json::from_str(&told)
            .with_context(|| format!("clients ended ({status}): {}", process.log_tail(5)))
    }

    /// Starts trouble, and waits until all its connections have been opened. It yields to the other
    /// clients on their core: the server's limits are measured, not the scheduler.
    pub(crate) async fn trouble(&self, trouble: &Trouble) -> Result<Troubling> {
        let wanted = u64::try_from(trouble.connections)?;
        let troubling =
            Troubling(self.start(&Load::Trouble(trouble.clone()), &["nice", "-n", "19"])?);
        await_condition("trouble is made", Duration::from_secs(30), async || {
            Ok((troubling.counts()?.connections >= wanted).then_some(()))
        })
        .await?;
        Ok(troubling)
    }

    fn start(&self, load: &Load, prefix: &[&str]) -> Result<ChildProcess> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let file = |suffix: &str| -> PathBuf {
            let name = format!("{number}.{suffix}");
            self.scratch.path().join(name)
        };
        scratch::write_private(&file("json"), &serde_json::to_string(load)?)?;
        let mut command = Command::new("taskset");
        command
            .args(["-c", CLIENT_CORE])
            .args(prefix)
            .arg(std::env::current_exe()?)
            .arg("load")
            .arg(file("json"));
        ChildProcess::spawn("clients", &command, &file("log"))
    }
}

/// Trouble that is being made. It ends when this is dropped.
pub(crate) struct Troubling(ChildProcess);

impl Troubling {
    pub(crate) fn counts(&self) -> Result<Counts> {
        let told = self.0.log_tail(1);
        serde_json::from_str(&told).with_context(|| format!("trouble: {}", self.0.log_tail(5)))
    }
}
