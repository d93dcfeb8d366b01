//! Running a client to its end.

use std::{env, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

/// Python's clients wait 2 s and 4 s between their attempts.
const LIMIT: Duration = Duration::from_secs(60);

/// What a client said, on both its outputs, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) said: String,
}

/// A program in an environment of its own, with `home` as home folder, that ends with the test.
pub(crate) fn program(path: impl AsRef<Path>, home: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(path.as_ref())
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("LC_ALL", "C.UTF-8")
        .current_dir(home)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(crate) async fn run(command: &mut Command) -> Ran {
    let output = timeout(LIMIT, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} runs longer than {LIMIT:?}"));
    let output = output.unwrap();
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    Ran {
        status: output.status.code(),
        said: String::from_utf8_lossy(&both).into_owned(),
    }
}

/// Runs it until it logs `line` on its standard error, then ends it.
pub(crate) async fn run_until(command: &mut Command, line: &str) -> Ran {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    let read = async {
        while let Some(next) = lines.next_line().await.unwrap() {
            said += &format!("{next}\n");
            if next.contains(line) {
                break;
            }
        }
    };
    let in_time = timeout(LIMIT, read).await.is_ok();
    assert!(in_time && said.contains(line), "no {line:?} in\n{said}");
    child.kill().await.unwrap();
    Ran { status: None, said }
}
