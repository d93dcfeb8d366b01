//! BIND: one `named` on a loopback port, with zones and TSIG keys added while it runs.

mod named_conf;

use std::{collections::BTreeMap, fs, net::Ipv4Addr, ops::Deref, time::Duration};

use anyhow::{Context, Result};
use hickory_net::proto::rr::RecordType;
use serde_json::Value;

use crate::{
    await_condition, free_port, http,
    name_server::{Daemon, IdleLimit, TsigAlgorithm, TsigKey, ZoneSpec},
};

const START_LIMIT: Duration = Duration::from_secs(30);

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

/// A name server of its own.
#[derive(Debug)]
pub struct Bind {
    daemon: Daemon,
    ports: Ports,
}

impl Bind {
    /// Starts named without zones and waits until it answers.
    ///
    /// # Errors
    /// With the end of its log.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(idle_limit: IdleLimit) -> Result<Self> {
        let daemon = Daemon::new("named", &["-f", "-g", "-n", "1", "-c", "named.conf"]).await?;
        let ports = Ports {
            dns: daemon.address().port(),
            control: free_port()?,
            statistics: free_port()?,
        };
        let rndc = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
        let folder = daemon.folder();
        fs::write(
            folder.join("named.conf"),
            named_conf::render_options(ports, idle_limit, &rndc),
        )?;
        fs::write(
            folder.join("rndc.conf"),
            named_conf::render_rndc(ports, &rndc),
        )?;
        let bind = Self { daemon, ports };
        bind.write_zones(&BTreeMap::new())?;
        bind.start_again().await?;
        Ok(bind)
    }

    /// Adds a zone while named runs, and waits until it is served. A zone of the same apex keeps
    /// its data and gets the new keys.
    ///
    /// # Errors
    /// Where named refuses the zone.
    pub async fn add_zone(&self, zone: ZoneSpec) -> Result<()> {
        self.add_zone_by(zone, async |zones, _| {
            self.write_zones(zones)?;
            self.run("rndc", &["-c", "rndc.conf", "reconfig"], "")
                .await
                .with_context(|| self.log_tail(10))
        })
        .await
    }

    /// Takes all records but its own from a zone and gives its SOA this serial, behind the backs of
    /// all who write it: as an empty backup that is restored does.
    ///
    /// # Errors
    /// Where named refuses, or has no such zone.
    pub async fn empty_zone(&self, apex: &str, serial: u32) -> Result<()> {
        let empty = ZoneSpec {
            apex: apex.to_owned(),
            keys: Vec::new(),
            records: Vec::new(),
            allow_transfer: false,
        };
        let file = self.folder().join(empty.file_name());
        let rndc = async |command| {
            let arguments = ["-c", "rndc.conf", command, apex];
            self.run("rndc", &arguments, "").await
        };
        let what = format!("named has loaded {apex} again");
        await_condition(&what, START_LIMIT, async || {
            // named goes on writing its own file after it has answered, where there were updates:
            // ours may be replaced by that one, but not twice.
            rndc("freeze").await?;
            fs::write(&file, empty.render_file(serial))?;
            rndc("thaw").await?;
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

    fn write_zones(&self, zones: &BTreeMap<String, ZoneSpec>) -> Result<()> {
        let text = named_conf::render_zones(self.transfer_key(), zones.values());
        fs::write(self.folder().join("zones.conf"), text)?;
        Ok(())
    }
}

impl Deref for Bind {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}
