//! Knot DNS: one `knotd` on a loopback port, with zones and TSIG keys added while it runs.

use std::{collections::BTreeMap, fs, ops::Deref};

use anyhow::{Context, Result};

use crate::name_server::{Daemon, IdleLimit, TsigKey, ZoneSpec};

/// A name server of its own.
#[derive(Debug)]
pub struct Knot {
    daemon: Daemon,
    idle_limit: IdleLimit,
}

impl Knot {
    pub(crate) async fn start_with(idle_limit: IdleLimit) -> Result<Self> {
        let daemon = Daemon::new("knotd", &["-c", "knot.conf"]).await?;
        let knot = Self { daemon, idle_limit };
        knot.write_configuration(&BTreeMap::new())?;
        knot.start_again().await?;
        Ok(knot)
    }

    pub(crate) async fn add_zone(&self, zone: ZoneSpec) -> Result<()> {
        self.add_zone_by(zone, async |zones, _| {
            self.write_configuration(zones)?;
            self.run("knotc", &["-s", "knot.sock", "reload"], "")
                .await
                .with_context(|| self.log_tail(10))
        })
        .await
    }

    fn write_configuration(&self, zones: &BTreeMap<String, ZoneSpec>) -> Result<()> {
        let port = self.address().port();
        let text = render_server(port, self.idle_limit)
            + &render_zones(self.transfer_key(), zones.values());
        fs::write(self.folder().join("knot.conf"), text)?;
        Ok(())
    }
}

impl Deref for Knot {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

fn render_server(port: u16, idle_limit: IdleLimit) -> String {
    let idle_limit = idle_limit.map_or_else(String::new, |limit| {
        format!("  tcp-idle-timeout: {}\n", limit.as_secs())
    });
    format!(
        r#"server:
  listen: 127.0.0.1@{port}
  rundir: "."
  tcp-workers: 1
  udp-workers: 1
  background-workers: 1
{idle_limit}control:
  listen: knot.sock
database:
  storage: "."
template:
  - id: default
    storage: "."
log:
  - target: stderr
    any: info
"#
    )
}

fn render_zones<'a>(
    transfer_key: &TsigKey,
    zones: impl IntoIterator<Item = &'a ZoneSpec>,
) -> String {
    // Knot's YAML has no flow mappings.
    let mut keys = format!("key:\n{}", render_key(transfer_key));
    let mut acls = "acl:\n".to_owned()
        + &render_acl("anyone", None, "transfer")
        + &render_acl("dump", Some(transfer_key), "transfer");
    let mut sections = "zone:\n".to_owned();
    for zone in zones {
        let mut admitted = "dump".to_owned();
        for key in &zone.keys {
            keys += &render_key(key);
            // To Knot who has a key is not anyone.
            let actions = match zone.allow_transfer {
                true => "[update, transfer]",
                false => "update",
            };
            acls += &render_acl(&key.name, Some(key), actions);
            admitted += ", ";
            admitted += &key.name;
        }
        if zone.allow_transfer {
            admitted += ", anyone";
        }
        sections += &format!(
            "  - domain: {}\n    file: {}\n    acl: [{admitted}]\n",
            zone.apex,
            zone.file_name()
        );
    }
    keys + &acls + &sections
}

fn render_key(key: &TsigKey) -> String {
    format!(
        "  - id: {}\n    algorithm: {}\n    secret: \"{}\"\n",
        key.name,
        key.algorithm.name(),
        key.secret
    )
}

fn render_acl(id: &str, key: Option<&TsigKey>, action: &str) -> String {
    let key = key.map_or_else(String::new, |key| format!("    key: {}\n", key.name));
    format!("  - id: {id}\n{key}    action: {action}\n")
}
