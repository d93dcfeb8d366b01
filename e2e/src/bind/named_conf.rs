//! named's configuration, as text.

use std::{collections::HashSet, fmt::Write};

use super::Ports;
use crate::name_server::{IdleLimit, TsigKey, ZoneSpec};

/// `named.conf`. Relative paths are below the folder that named is started in.
pub(super) fn render_options(ports: Ports, idle_limit: IdleLimit, rndc: &TsigKey) -> String {
    let Ports {
        dns,
        control,
        statistics,
    } = ports;
    let rndc = render_key(rndc, "rndc");
    // In tenths of seconds.
    let idle_limit = idle_limit.map_or_else(String::new, |limit| {
        format!("  tcp-idle-timeout {};\n", limit.as_secs() * 10)
    });
    format!(
        r#"options {{
  directory ".";
  listen-on port {dns} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  interface-interval 0;
  pid-file "named.pid";
  lock-file none;
  session-keyfile "session.key";
  managed-keys-directory ".";
  recursion no;
  dnssec-validation no;
  empty-zones-enable no;
  notify no;
  zone-statistics full;
{idle_limit}}};
{rndc}controls {{ inet 127.0.0.1 port {control} allow {{ 127.0.0.1; }} keys {{ "rndc"; }}; }};
statistics-channels {{ inet 127.0.0.1 port {statistics} allow {{ 127.0.0.1; }}; }};
logging {{
  channel out {{ stderr; severity info; print-time yes; print-category yes; }};
  category default {{ out; }};
  // A line for every record that changes.
  category update {{ null; }};
  category update-security {{ null; }};
}};
include "zones.conf";
"#
    )
}

/// `rndc.conf`.
pub(super) fn render_rndc(ports: Ports, rndc: &TsigKey) -> String {
    format!(
        "{}options {{ default-server 127.0.0.1; default-port {}; default-key \"rndc\"; }};\n",
        render_key(rndc, "rndc"),
        ports.control
    )
}

/// `zones.conf`: every zone with the keys that may update it.
pub(super) fn render_zones<'a>(
    transfer_key: &TsigKey,
    zones: impl IntoIterator<Item = &'a ZoneSpec>,
) -> String {
    let mut text = render_key(transfer_key, &transfer_key.name);
    let mut known = HashSet::new();
    for zone in zones {
        let mut updaters = String::new();
        for key in &zone.keys {
            if known.insert(&key.name) {
                text += &render_key(key, &key.name);
            }
            updaters += &format!(" key \"{}\";", key.name);
        }
        if zone.keys.is_empty() {
            updaters += " none;";
        }
        let anyone = if zone.allow_transfer { " any;" } else { "" };
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            r#"zone "{apex}" {{
  type primary;
  file "{file}";
  masterfile-format text;
  allow-update {{{updaters} }};
  allow-transfer {{ key "{transfer}";{anyone} }};
}};"#,
            apex = zone.apex,
            file = zone.file_name(),
            transfer = transfer_key.name,
        );
    }
    text
}

fn render_key(key: &TsigKey, name: &str) -> String {
    format!(
        "key \"{name}\" {{ algorithm {}; secret \"{}\"; }};\n",
        key.algorithm.name(),
        key.secret
    )
}
