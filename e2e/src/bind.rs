//! BIND: one `named` on a loopback port, with zones and TSIG keys added while it runs.

mod named_conf;
mod query;
mod tsig;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use hickory_net::proto::{op::ResponseCode, rr::RecordType};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, sync::Mutex};

pub use self::{
    query::Answer,
    tsig::{TsigAlgorithm, TsigKey},
};
use crate::{ChildProcess, Scratch, Signal, await_condition, debian_program, free_port, http};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A zone that BIND is primary for.
#[derive(Clone, Debug)]
pub struct ZoneSpec {
    /// The zone's name, without trailing dot.
    pub apex: String,
    /// The keys that may update it.
    pub keys: Vec<TsigKey>,
    /// Further lines of the zone file, such as `* 60 A 192.0.2.1`; names are relative to the apex.
    pub records: Vec<String>,
    /// Whether anyone may transfer it; [`Bind::dump`] always may.
    pub allow_transfer: bool,
}

/// UPDATE messages for one zone since the server started, by how they ended.
/// Those that fail TSIG never reach a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateCounts {
    /// NOERROR.
    pub done: u64,
    /// A prerequisite did not hold.
    pub bad_prerequisite: u64,
    /// Not permitted by the zone.
    pub rejected: u64,
    /// Any other error.
    pub failed: u64,
}

impl UpdateCounts {
    /// All of them.
    pub const fn total(self) -> u64 {
        self.done + self.bad_prerequisite + self.rejected + self.failed
    }
}

/// named's three loopback ports.
#[derive(Clone, Copy, Debug)]
struct Ports {
    dns: u16,
    control: u16,
    statistics: u16,
}

/// A name server of its own. Zones and data survive [`Self::stop`] and [`Self::start_again`].
#[derive(Debug)]
pub struct Bind {
    // Declared before the folder: fields drop in this order, and named writes there.
    named: Mutex<Option<ChildProcess>>,
    zones: Mutex<BTreeMap<String, ZoneSpec>>,
    ports: Ports,
    transfer_key: TsigKey,
    scratch: Scratch,
}

impl Bind {
    /// Starts named without zones and waits until it answers.
    ///
    /// # Errors
    /// With the end of its log.
    pub async fn start() -> Result<Self> {
        let scratch = Scratch::new("bind")?;
        let folder = scratch.path();
        let ports = Ports {
            dns: free_port()?,
            control: free_port()?,
            statistics: free_port()?,
        };
        let rndc = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
        let transfer_key = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
        let named = debian_program("named").await?;
        // Where AppArmor confines /usr/sbin/named, it may not read a temporary folder; a copy may.
        // By a process of its own: children that other threads fork meanwhile would inherit the
        // file, open for writing, and until they execute nobody else could execute it.
        let copied = tokio::process::Command::new("cp")
            .arg(named)
            .arg(folder.join("named"))
            .status()
            .await
            .context("copying named")?;
        ensure!(copied.success(), "copying named: {copied}");
        fs::write(
            folder.join("named.conf"),
            named_conf::render_options(ports, &rndc),
        )?;
        fs::write(
            folder.join("rndc.conf"),
            named_conf::render_rndc(ports, &rndc),
        )?;
        let bind = Self {
            named: Mutex::new(None),
            zones: Mutex::new(BTreeMap::new()),
            ports,
            transfer_key,
            scratch,
        };
        bind.write_zones(&BTreeMap::new())?;
        bind.start_again().await?;
        Ok(bind)
    }

    /// Where it answers, by TCP and UDP.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.dns).into()
    }

    /// Starts named on its port and with its data, and waits until it answers.
    ///
    /// # Errors
    /// With the end of its log.
    pub async fn start_again(&self) -> Result<()> {
        let mut running = self.named.lock().await;
        let folder = self.scratch.path();
        let mut command = Command::new(folder.join("named"));
        command
            .args(["-f", "-g", "-n", "1", "-c", "named.conf"])
            .current_dir(folder);
        let process = ChildProcess::spawn("named", &command, &folder.join("named.log"))?;
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

    /// Stops named; its zones stay on disk.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn stop(&self) -> Result<()> {
        if let Some(process) = self.named.lock().await.take() {
            process.stop(STOP_LIMIT).await?;
        }
        Ok(())
    }

    /// Freezes named by SIGSTOP: connections stay open and nothing answers.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP).await
    }

    /// Lets a frozen named go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        match &*self.named.lock().await {
            Some(process) => process.signal(signal),
            None => bail!("named is stopped"),
        }
    }

    /// Adds a zone while named runs, and waits until it is served. A zone of the same apex keeps
    /// its data and gets the new keys.
    ///
    /// # Errors
    /// Where named refuses the zone.
    pub async fn add_zone(&self, zone: ZoneSpec) -> Result<()> {
        let apex = zone.apex.clone();
        let mut zones = self.zones.lock().await;
        let file = self.scratch.path().join(format!("{apex}.zone"));
        if !file.exists() {
            fs::write(file, named_conf::render_zone_file(&zone, 1))?;
        }
        zones.insert(apex.clone(), zone);
        self.write_zones(&zones)?;
        self.rndc(&["reconfig"]).await?;
        await_condition(&format!("named serves {apex}"), START_LIMIT, async || {
            Ok(self.is_loaded(&apex).await?.then_some(()))
        })
        .await
        .with_context(|| self.log_tail(10))
    }

    /// Replaces all that a zone holds by `records` (as in [`ZoneSpec`]) and its SOA's serial by
    /// `serial`, behind the backs of all who write it: as a restored backup does.
    ///
    /// # Errors
    /// Where named refuses, or has no such zone.
    pub async fn replace_zone(&self, apex: &str, serial: u32, records: Vec<String>) -> Result<()> {
        let mut zone = self.zones.lock().await.get(apex).cloned();
        let zone = zone.as_mut().with_context(|| format!("no zone {apex}"))?;
        zone.records = records;
        let file = self.scratch.path().join(format!("{apex}.zone"));
        let what = format!("named has loaded {apex} again");
        await_condition(&what, START_LIMIT, async || {
            // named goes on writing its own file after it has answered, where there were updates:
            // ours may be replaced by that one, but not twice.
            self.rndc(&["freeze", apex]).await?;
            fs::write(&file, named_conf::render_zone_file(zone, serial))?;
            self.rndc(&["thaw", apex]).await?;
            Ok((self.serial(apex).await? == serial).then_some(()))
        })
        .await
        .with_context(|| self.log_tail(10))
    }

    /// The serial of a zone's SOA: each UPDATE that changes something adds one.
    ///
    /// # Errors
    /// Where named does not answer, or has no such zone.
    pub async fn serial(&self, apex: &str) -> Result<u32> {
        let answer = self.query(apex, RecordType::SOA).await?;
        let serial = answer.rdata.first().and_then(|soa| soa.split(' ').nth(2));
        Ok(serial.context("no SOA")?.parse()?)
    }

    /// Asks for one RRset, without recursion.
    ///
    /// # Errors
    /// Where named does not answer within 5 s.
    pub async fn query(&self, name: &str, record_type: RecordType) -> Result<Answer> {
        query::ask(self.address(), name, record_type).await
    }

    /// Every record of a zone but its SOA, as `name ttl IN type rdata`, sorted.
    ///
    /// # Errors
    /// Where named does not answer, or not for this zone.
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
        let output = self.run("nsupdate", &["-v"], &input).await?;
        if !output.status.success() {
            bail!("nsupdate: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// How many UPDATE messages named has had for a zone since it started.
    ///
    /// # Errors
    /// Where named does not answer, or has no such zone.
    pub async fn update_counts(&self, apex: &str) -> Result<UpdateCounts> {
        let server = (Ipv4Addr::LOCALHOST, self.ports.statistics).into();
        let response = http::get(server, "/json/v1/zones", None).await?;
        let statistics: Value = serde_json::from_slice(&response.body)?;
        let zones = statistics["views"]["_default"]["zones"].as_array();
        let zone = zones
            .into_iter()
            .flatten()
            .find(|zone| zone["name"] == apex)
            .with_context(|| format!("named has no zone {apex}"))?;
        // A counter that is zero is left out.
        let counter = |name: &str| zone["rcodes"][name].as_u64().unwrap_or_default();
        Ok(UpdateCounts {
            done: counter("UpdateDone"),
            bad_prerequisite: counter("UpdateBadPrereq"),
            rejected: counter("UpdateRej"),
            failed: counter("UpdateFail"),
        })
    }

    /// The last `lines` lines of named's log.
    pub fn log_tail(&self, lines: usize) -> String {
        crate::process::log_tail(&self.scratch.path().join("named.log"), lines)
    }

    async fn is_loaded(&self, apex: &str) -> Result<bool> {
        let answer = self.query(apex, RecordType::SOA).await?;
        Ok(answer.rcode == ResponseCode::NoError && !answer.rdata.is_empty())
    }

    async fn rndc(&self, arguments: &[&str]) -> Result<()> {
        let output = self
            .run("rndc", &[&["-c", "rndc.conf"], arguments].concat(), "")
            .await?;
        if !output.status.success() {
            bail!(
                "rndc {}: {}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr),
                self.log_tail(10)
            );
        }
        Ok(())
    }

    async fn run(&self, program: &str, arguments: &[&str], stdin: &str) -> Result<Output> {
        let mut child = tokio::process::Command::new(debian_program(program).await?)
            .args(arguments)
            .current_dir(self.scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(stdin.as_bytes()).await?;
        }
        Ok(child.wait_with_output().await?)
    }

    fn write_zones(&self, zones: &BTreeMap<String, ZoneSpec>) -> Result<()> {
        let text = named_conf::render_zones(&self.transfer_key, zones.values());
        fs::write(self.scratch.path().join("zones.conf"), text)?;
        Ok(())
    }
}
