//! Programs from Debian packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use tokio::sync::OnceCell;

/// The tables that PowerDNS keeps zones in.
pub(crate) const POWERDNS_SCHEMA: &str =
    "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

/// The programs that are used, and a file by its whole path, with the package that holds each.
const PROGRAMS: [(&str, &str); 20] = [
    ("named", "bind9"),
    ("rndc", "bind9-utils"),
    ("named-checkconf", "bind9-utils"),
    ("nsupdate", "bind9-dnsutils"),
    ("dig", "bind9-dnsutils"),
    ("knotd", "knot"),
    ("knotc", "knot"),
    ("pdns_server", "pdns-server"),
    ("pdnsutil", "pdns-server"),
    (POWERDNS_SCHEMA, "pdns-backend-sqlite3"),
    ("sqlite3", "sqlite3"),
    ("ddclient", "ddclient"),
    ("curl", "curl"),
    ("inadyn", "inadyn"),
    ("wget", "wget"),
    ("busybox", "busybox"),
    ("logger", "bsdutils"),
    ("haproxy", "haproxy"),
    ("openssl", "openssl"),
    ("promtool", "prometheus"),
];

/// The path of `program`; where any of the programs is missing, all are installed first (root on
/// Debian), which is said on stderr.
///
/// # Errors
/// Names the packages where they are missing and cannot be installed.
pub async fn debian_program(program: &str) -> Result<PathBuf> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED
        .get_or_try_init(|| async { tokio::task::spawn_blocking(install_missing).await? })
        .await?;
    find(program).with_context(|| format!("{program} is not installed"))
}

fn install_missing() -> Result<()> {
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Installs Debian packages (root on Debian), which is said on stderr.
///
/// # Errors
/// Names the packages where they cannot be installed.
pub(crate) fn install(missing: &[&str]) -> Result<()> {
    let packages = missing.join(" ");
    if !rustix::process::geteuid().is_root() || find("apt-get").is_none() {
        bail!("something is missing: install the packages {packages}");
    }
    eprintln!("installing the Debian packages {packages}");
    apt_get(&["update"])?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(missing);
    apt_get(&install)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("running apt-get")?;
    if !output.status.success() {
        bail!(
            "apt-get {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Looks in `PATH`, and where system programs live, which a plain user's `PATH` often lacks.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| Path::is_file(candidate))
}
