//! PowerDNS: one `pdns_server` on a loopback port, its zones and TSIG keys in an SQLite database
//! that `pdnsutil` writes while it runs.

use std::{fs, ops::Deref};

use anyhow::Result;

use crate::{
    name_server::{Daemon, IdleLimit, ZoneSpec},
    packages::{POWERDNS_SCHEMA, debian_program},
};

/// A name server of its own.
#[derive(Debug)]
pub struct PowerDns {
    daemon: Daemon,
}

impl PowerDns {
    pub(crate) async fn start_with(idle_limit: IdleLimit) -> Result<Self> {
        let daemon = Daemon::new("pdns_server", &["--config-dir=."]).await?;
        let port = daemon.address().port();
        fs::write(
            daemon.folder().join("pdns.conf"),
            render_configuration(port, idle_limit),
        )?;
        let schema = fs::read_to_string(debian_program(POWERDNS_SCHEMA).await?)?;
        daemon.run("sqlite3", &["pdns.sqlite3"], &schema).await?;
        daemon.start_again().await?;
        Ok(Self { daemon })
    }

    pub(crate) async fn add_zone(&self, zone: ZoneSpec) -> Result<()> {
        let spec = zone.clone();
        self.add_zone_by(zone, async |_, is_new| self.write_zone(&spec, is_new).await)
            .await
    }

    async fn write_zone(&self, zone: &ZoneSpec, is_new: bool) -> Result<()> {
        let apex = zone.apex.as_str();
        if is_new {
            self.pdnsutil(&["load-zone", apex, &zone.file_name()])
                .await?;
        }
        for key in zone.keys.iter().chain([self.transfer_key()]) {
            let algorithm = key.algorithm.name();
            self.pdnsutil(&["import-tsig-key", &key.name, algorithm, &key.secret])
                .await?;
        }
        let names: Vec<&str> = zone.keys.iter().map(|key| key.name.as_str()).collect();
        // Without a key, whoever has one of these addresses could write the zone.
        let writers: &[&str] = if names.is_empty() {
            &[]
        } else {
            &["127.0.0.1"]
        };
        let readers: &[&str] = if zone.allow_transfer {
            &["127.0.0.1"]
        } else {
            &[]
        };
        // To PowerDNS who has a key is not anyone.
        let mut transferrers = vec![self.transfer_key().name.as_str()];
        transferrers.extend(names.iter().filter(|_| zone.allow_transfer));
        for (kind, values) in [
            ("ALLOW-DNSUPDATE-FROM", writers),
            ("TSIG-ALLOW-DNSUPDATE", &names),
            ("ALLOW-AXFR-FROM", readers),
            ("TSIG-ALLOW-AXFR", &transferrers),
        ] {
            self.pdnsutil(&[&["set-meta", apex, kind], values].concat())
                .await?;
        }
        Ok(())
    }

    async fn pdnsutil(&self, arguments: &[&str]) -> Result<()> {
        self.run("pdnsutil", &[&["--config-dir=."], arguments].concat(), "")
            .await
    }
}

impl Deref for PowerDns {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

/// Without caches, so that answers and permissions are those of the database.
fn render_configuration(port: u16, idle_limit: IdleLimit) -> String {
    let idle_limit = idle_limit.map_or_else(String::new, |limit| {
        format!("tcp-idle-timeout={}\n", limit.as_secs())
    });
    format!(
        "launch=gsqlite3
gsqlite3-database=pdns.sqlite3
local-address=127.0.0.1
local-port={port}
socket-dir=.
daemon=no
guardian=no
write-pid=no
disable-syslog=yes
security-poll-suffix=
distributor-threads=1
dnsupdate=yes
allow-dnsupdate-from=
allow-axfr-ips=
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
dnssec-key-cache-ttl=0
domain-metadata-cache-ttl=0
zone-cache-refresh-interval=0
{idle_limit}"
    )
}
