//! What name servers have in common: a process, a port, a folder, and how they are asked.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hickory_net::proto::{op::ResponseCode, rr::RecordType};
use tokio::{io::AsyncWriteExt, sync::Mutex};

use super::{Answer, TsigAlgorithm, TsigKey, ZoneSpec, query};
use crate::{ChildProcess, Scratch, Signal, await_condition, debian_program, free_port};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A name server's process on a port of its own. Zones and data survive [`Self::stop`] and
/// [`Self::start_again`].
#[derive(Debug)]
pub struct Daemon {
    // Declared before the folder: fields drop in this order, and the process writes there.
    process: Mutex<Option<ChildProcess>>,
    program: &'static str,
    command: Command,
    port: u16,
    transfer_key: TsigKey,
    zones: Mutex<BTreeMap<String, ZoneSpec>>,
    scratch: Scratch,
}

impl Daemon {
    /// A port and a folder for `program`, which will run there with `arguments`; it is not started.
    ///
    /// # Errors
    /// Where the program cannot be had.
    pub(crate) async fn new(program: &'static str, arguments: &[&str]) -> Result<Self> {
        let scratch = Scratch::new(program)?;
        let folder = scratch.path();
        let installed = debian_program(program).await?;
        // Where AppArmor confines the installed file, it may not read a temporary folder; a copy may.
        // By a process of its own: children that other threads fork meanwhile would inherit the
        // file, open for writing, and until they execute nobody else could execute it.
        let copied = tokio::process::Command::new("cp")
            .arg(installed)
            .arg(folder.join(program))
            .status()
            .await
            .with_context(|| format!("copying {program}"))?;
        ensure!(copied.success(), "copying {program}: {copied}");
        let mut command = Command::new(folder.join(program));
        command.args(arguments).current_dir(folder);
        Ok(Self {
            process: Mutex::new(None),
            program,
            command,
            port: free_port()?,
            transfer_key: TsigKey::generate(TsigAlgorithm::HmacSha256)?,
            zones: Mutex::new(BTreeMap::new()),
            scratch,
        })
    }

    /// The folder that it runs in, and that relative paths of its configuration are below.
    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The key that may transfer every zone.
    pub(crate) fn transfer_key(&self) -> &TsigKey {
        &self.transfer_key
    }

    /// Where it answers, by TCP and UDP.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Starts it on its port and with its data, and waits until it answers.
    ///
    /// # Errors
    /// With the end of its log.
    pub async fn start_again(&self) -> Result<()> {
        let mut running = self.process.lock().await;
        let process = ChildProcess::spawn(self.program, &self.command, &self.log())?;
        let apexes: Vec<String> = self.zones.lock().await.keys().cloned().collect();
        process
            .await_start(START_LIMIT, async || {
                // Any answer will do for a server without zones.
                self.query("localhost", RecordType::SOA).await?;
                for apex in &apexes {
                    if !self.is_loaded(apex).await? {
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            })
            .await?;
        *running = Some(process);
        Ok(())
    }

    /// Stops it; its zones stay on disk.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn stop(&self) -> Result<()> {
        if let Some(process) = self.process.lock().await.take() {
            process.stop(STOP_LIMIT).await?;
        }
        Ok(())
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill(&self) -> Result<()> {
        let process = self.process.lock().await.take();
        process.context("it is stopped")?.kill().await?;
        Ok(())
    }

    /// Freezes it: connections stay open and nothing answers.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn freeze(&self) -> Result<()> {
        let process = self.process.lock().await;
        process.as_ref().context("it is stopped")?.freeze().await
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn thaw(&self) -> Result<()> {
        let process = self.process.lock().await;
        process
            .as_ref()
            .context("it is stopped")?
            .signal(Signal::CONT)
    }

    /// Puts `zone` among the zones, writes its file where there is none yet, lets `tell` make the
    /// server know all zones, and waits until it serves this one. `tell` is told whether the zone
    /// is new.
    ///
    /// # Errors
    /// Where `tell` fails, or the zone is not served in time.
    pub(crate) async fn add_zone_by(
        &self,
        zone: ZoneSpec,
        tell: impl AsyncFnOnce(&BTreeMap<String, ZoneSpec>, bool) -> Result<()>,
    ) -> Result<()> {
        let apex = zone.apex.clone();
        let mut zones = self.zones.lock().await;
        let is_new = !zones.contains_key(&apex);
        if is_new {
            fs::write(self.folder().join(zone.file_name()), zone.render_file(1))?;
        }
        zones.insert(apex.clone(), zone);
        tell(&zones, is_new).await?;
        let what = format!("{} serves {apex}", self.program);
        await_condition(&what, START_LIMIT, async || {
            Ok(self.is_loaded(&apex).await?.then_some(()))
        })
        .await
        .with_context(|| self.log_tail(10))
    }

    async fn is_loaded(&self, apex: &str) -> Result<bool> {
        let answer = self.query(apex, RecordType::SOA).await?;
        Ok(answer.rcode == ResponseCode::NoError && !answer.rdata.is_empty())
    }

    /// Asks for one RRset, without recursion.
    ///
    /// # Errors
    /// Where it does not answer within 5 s.
    pub async fn query(&self, name: &str, record_type: RecordType) -> Result<Answer> {
        query::ask(self.address(), name, record_type).await
    }

    /// Every record of a zone but its SOA, as `name ttl IN type rdata`, sorted.
    ///
    /// # Errors
    /// Where it does not answer, or not for this zone.
    pub async fn dump(&self, apex: &str) -> Result<Vec<String>> {
        let mut records: Vec<String> = query::transfer(self.address(), apex, &self.transfer_key)
            .await?
            .into_iter()
            .filter(|record| record.record_type() != RecordType::SOA)
            .map(|record| record.to_string())
            .collect();
        records.sort();
        Ok(records)
    }

    /// Runs nsupdate with `script` (`update …` and `prereq …` lines) in one message signed by `key`.
    ///
    /// # Errors
    /// With what nsupdate says, where the server refuses.
    pub async fn nsupdate(&self, apex: &str, key: &TsigKey, script: &str) -> Result<()> {
        let algorithm = key.algorithm.name();
        let address = self.address();
        let input = format!(
            "server {} {}\nzone {apex}\nkey {algorithm}:{} {}\n{script}\nsend\n",
            address.ip(),
            address.port(),
            key.name,
            key.secret
        );
        // -v: by TCP, as an UPDATE may be large.
        self.run("nsupdate", &["-v"], &input).await
    }

    /// Runs one of the server's own tools in its folder.
    ///
    /// # Errors
    /// With what it says, where it fails.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str], stdin: &str) -> Result<()> {
        let mut child = tokio::process::Command::new(debian_program(program).await?)
            .args(arguments)
            .current_dir(self.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(stdin.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "{program} {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder().join(format!("{}.log", self.program))
    }

    /// The last `lines` lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        crate::process::log_tail(&self.log(), lines)
    }
}
