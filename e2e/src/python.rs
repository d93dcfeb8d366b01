//! Programs from PyPI, in a virtual environment that is made once and kept outside `target/`.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{
    packages::{find, install},
    tools::cache_home,
};

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/requirements.txt");

/// What a virtual environment takes, and what `netifaces` is compiled with.
const PACKAGES: [&str; 3] = ["build-essential", "python3-dev", "python3-venv"];

/// The path of `program`, one of the clients of python/requirements.txt. The first call on a
/// machine installs them all, and says so on stderr.
///
/// # Errors
/// Where Python or one of the packages cannot be had.
pub async fn python_program(program: &str) -> Result<PathBuf> {
    let folder = tokio::task::spawn_blocking(find_or_make).await??;
    let path = folder.join("bin").join(program);
    if !path.is_file() {
        bail!("{REQUIREMENTS} does not install {program}");
    }
    Ok(path)
}

fn find_or_make() -> Result<PathBuf> {
    let digest = Sha256::digest(fs::read(REQUIREMENTS).context(REQUIREMENTS)?);
    let mut name = "python-clients-".to_owned();
    for octet in digest.iter().take(6) {
        write!(name, "{octet:02x}")?;
    }
    let cache = cache_home()?;
    let folder = cache.join(name);
    // A virtual environment cannot be moved, so a file says that it is whole.
    let whole = folder.join("whole");
    if whole.is_file() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join("python-lock"))?;
    lock.lock().context("waiting for another installation")?;
    if !whole.is_file() {
        make(&folder)?;
        File::create(&whole)?;
    }
    Ok(folder)
}

fn make(folder: &Path) -> Result<()> {
    eprintln!(
        "installing the update clients of PyPI into {}",
        folder.display()
    );
    let started = Instant::now();
    if find("python3-config").is_none() || !has_venv() {
        install(&PACKAGES)?;
    }
    let python = find("python3").context("python3 is not installed")?;
    run(Command::new(python)
        .args(["-m", "venv", "--clear"])
        .arg(folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(REQUIREMENTS))?;
    eprintln!("installed them in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Debian's Python has `venv` without its package, but not what `venv` needs.
fn has_venv() -> bool {
    let python = find("python3").map(|python| {
        Command::new(python)
            .args(["-c", "import ensurepip, venv"])
            .output()
    });
    python.is_some_and(|ran| ran.is_ok_and(|output| output.status.success()))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}): {said}", output.status);
    }
    Ok(())
}
