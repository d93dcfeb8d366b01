//! Child processes that cannot outlive us.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// A running server, with its output in a log file. Drop kills it.
#[derive(Debug)]
pub struct ChildProcess {
    name: String,
    log: PathBuf,
    pid: Pid,
    child: Mutex<Child>,
}

impl ChildProcess {
    /// Starts `command`, both output streams appended to `log`.
    ///
    /// Of `command`, the program, arguments, environment and folder are used.
    ///
    /// # Errors
    /// Where it cannot be started. A program that does not exist ends with status 127 instead.
    pub fn spawn(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let errors = output.try_clone()?;
        let child = spawn_tethered(command, output.into(), errors.into())
            .with_context(|| format!("starting {name}"))?;
        let pid = Pid::from_child(&child);
        Ok(Self {
            name: name.to_owned(),
            log: log.to_owned(),
            pid,
            child: Mutex::new(child),
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// Where the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(status) = self.try_wait()? {
            bail!("{} has ended ({status}): {}", self.name, self.log_tail(10));
        }
        kill_process(self.pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Freezes the process by SIGSTOP and waits until each of its threads has stopped, which one
    /// that is running does a little after the signal is sent.
    ///
    /// # Errors
    /// Where the process has ended.
    pub async fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let tasks = format!("/proc/{}/task", self.pid());
        let what = format!("{} is frozen", self.name);
        crate::await_condition(&what, Duration::from_secs(10), async || {
            let mut frozen = true;
            for task in fs::read_dir(&tasks)? {
                let status = fs::read_to_string(task?.path().join("stat"))?;
                // proc_pid_stat(5): the state follows the name in parentheses.
                frozen &= status
                    .rsplit_once(')')
                    .is_some_and(|(_, rest)| rest.trim_start().starts_with('T'));
            }
            Ok(frozen.then_some(()))
        })
        .await
    }

    /// The exit status, where the process has ended.
    ///
    /// # Errors
    /// Where the system refuses to say.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child().try_wait()?)
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// Where it still runs after `limit`.
    pub async fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        crate::await_condition(&format!("{} ends", self.name), limit, async || {
            self.try_wait()
        })
        .await
    }

    /// Ends the process by SIGTERM, and by SIGKILL where it still runs after `limit`.
    ///
    /// # Errors
    /// Where even SIGKILL did not end it.
    pub async fn stop(&self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        kill_process(self.pid, Signal::TERM)?;
        // A process that was frozen does not see SIGTERM before it runs again.
        kill_process(self.pid, Signal::CONT)?;
        if let Ok(status) = self.wait(limit).await {
            return Ok(status);
        }
        self.kill().await
    }

    /// Ends the process by SIGKILL.
    ///
    /// # Errors
    /// Where that did not end it.
    pub async fn kill(&self) -> Result<ExitStatus> {
        self.child().kill()?;
        self.wait(Duration::from_secs(10)).await
    }

    /// Probes, as [`crate::await_condition`] does, until the process has started as wanted.
    ///
    /// # Errors
    /// With the end of the log: at once where the process has ended, else after `limit`.
    pub async fn await_start<T, Probe, Outcome>(&self, limit: Duration, probe: Probe) -> Result<T>
    where
        Probe: FnMut() -> Outcome,
        Outcome: Future<Output = Result<Option<T>>>,
    {
        let what = format!("{} starts", self.name);
        let started = tokio::select! {
            started = crate::await_condition(&what, limit, probe) => started,
            // A little longer, so that the probe's own error is told.
            ended = self.wait(limit * 2) => ended
                .and_then(|status| bail!("{} ended ({status})", self.name)),
        };
        started.with_context(|| self.log_tail(20))
    }

    /// The last `lines` lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.log, lines)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let mut child = self.child();
        // An error means that the process has ended, which is what is wanted.
        if child.kill().is_ok() {
            let _status = child.wait();
        }
    }
}

/// Starts `command` so that the kernel kills it when this process ends, in a process group of its
/// own so that Ctrl-C leaves the order of stopping to us.
///
/// # Errors
/// Where it cannot be started.
pub(crate) fn spawn_tethered(command: &Command, out: Stdio, err: Stdio) -> io::Result<Child> {
    let (reply, child) = mpsc::channel();
    let job = Job {
        command: under_setpriv(command, out, err),
        reply,
    };
    let ended = || io::Error::other("the spawner thread has ended");
    spawner()?.send(job).map_err(|_| ended())?;
    child.recv().map_err(|_| ended())?
}

/// `setpriv` replaces itself by the program, so the process id is the program's.
fn under_setpriv(command: &Command, out: Stdio, err: Stdio) -> Command {
    let mut tethered = Command::new("setpriv");
    tethered
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0);
    if let Some(folder) = command.get_current_dir() {
        tethered.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tethered.env(name, value),
            None => tethered.env_remove(name),
        };
    }
    tethered
}

struct Job {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

/// The thread that starts every child.
///
/// The parent-death signal is sent when the *thread* that forked ends (prctl(2),
/// `PR_SET_PDEATHSIG`), and the threads of a test or of a runtime end long before the process.
fn spawner() -> io::Result<&'static Sender<Job>> {
    static SPAWNER: OnceLock<Result<Sender<Job>, io::ErrorKind>> = OnceLock::new();
    SPAWNER
        .get_or_init(|| {
            let (jobs, queue) = mpsc::channel::<Job>();
            thread::Builder::new()
                .name("spawner".to_owned())
                .spawn(move || {
                    for mut job in queue {
                        let _receiver_gone = job.reply.send(job.command.spawn());
                    }
                })
                .map(|_| jobs)
                .map_err(|error| error.kind())
        })
        .as_ref()
        .map_err(|kind| io::Error::from(*kind))
}

/// The last `lines` lines of a log file.
pub(crate) fn log_tail(log: &Path, lines: usize) -> String {
    read_tail(log, lines).unwrap_or_else(|error| format!("(no log at {}: {error})", log.display()))
}

fn read_tail(log: &Path, lines: usize) -> io::Result<String> {
    const MOST: u64 = 64 * 1024;
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
    let mut octets = Vec::new();
    file.read_to_end(&mut octets)?;
    let text = String::from_utf8_lossy(&octets);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}
