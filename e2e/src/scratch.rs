//! Temporary folders that go with the process, however it ends.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
};

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;

/// One part's own temporary folder, removed on drop.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// A new folder whose name begins with `part`.
    ///
    /// # Errors
    /// Where the system's temporary folder takes no new folder.
    pub fn new(part: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{part}-"))
            .tempdir_in(process_folder()?)
            .with_context(|| format!("making a temporary folder for {part}"))?;
        Ok(Self { folder })
    }

    /// The folder, mode 0700.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// Where it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

/// The folder that holds this process's scratch folders, and what removes it.
#[derive(Debug)]
struct ProcessFolder {
    path: PathBuf,
    remover: Mutex<Option<Child>>,
}

static PROCESS_FOLDER: OnceLock<Result<ProcessFolder, String>> = OnceLock::new();

fn process_folder() -> Result<&'static Path> {
    PROCESS_FOLDER
        .get_or_init(|| ProcessFolder::make().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map(|folder| folder.path.as_path())
        .map_err(|error| anyhow!("{error}"))
}

/// Removes every scratch folder of this process and waits until they are gone. Without it they go
/// just after the process.
pub fn remove_all() {
    if let Some(Ok(folder)) = PROCESS_FOLDER.get()
        && let Some(mut remover) = folder.remover.lock().ok().and_then(|mut it| it.take())
    {
        drop(remover.stdin.take());
        let _status = remover.wait();
    }
}

impl ProcessFolder {
    /// Drop does not run for statics, nor after a signal, so a small shell removes the folder: it
    /// waits for the end of a pipe that only this process holds, in a session of its own that
    /// Ctrl-C does not reach.
    fn make() -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("dynhost-e2e-")
            .tempdir()
            .context("making a temporary folder")?
            .keep();
        // A killed server may still be writing meanwhile: hence several attempts.
        let script = r#"cat >/dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.2; done"#;
        let remover = Command::new("setsid")
            .args(["sh", "-c", script, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .context("starting the remover of temporary folders")?;
        Ok(Self {
            path,
            remover: Mutex::new(Some(remover)),
        })
    }
}
