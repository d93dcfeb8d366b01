//! `cargo demo` leaves nothing behind, however it ends.

// Helpers of tests are tests, too: where they cannot go on, the test fails.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use dynhost_e2e::{ChildProcess, Scratch, Signal, await_condition, operator_binary};

/// Long enough for a demonstration on a busy machine of 2 cores.
const LIMIT: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, PartialEq)]
enum When {
    /// Servers run, and not all of them yet.
    Starting,
    /// The file of `--env-file` is there, and the demonstration goes on.
    Ready,
    /// The demonstration is over, and everything stays up.
    Up,
}

#[tokio::test]
async fn a_demo_ended_by_a_signal_leaves_nothing() {
    operator_binary().await.unwrap();
    let code = |status: ExitStatus| status.code();
    for (when, signal, expected) in [
        (When::Starting, Signal::INT, Some(1)),
        (When::Ready, Signal::TERM, Some(1)),
        (When::Up, Signal::INT, Some(0)),
        (When::Up, Signal::TERM, Some(0)),
        (When::Up, Signal::KILL, None),
    ] {
        let status = check(when, signal).await;
        assert_eq!(code(status), expected, "{:?}", status.signal());
    }
}

#[tokio::test]
async fn a_demo_that_ends_by_itself_tells_how_it_went_and_leaves_nothing() {
    operator_binary().await.unwrap();
    for (operator_arguments, expected, told) in [
        (["--log", "debug"], 0, "every answer was right"),
        (["--log-format", "none"], 1, "invalid value 'none'"),
    ] {
        let Run {
            demo,
            env_file,
            temporary,
            ..
        } = &Run::start(&[&["--once", "--"], operator_arguments.as_slice()].concat());
        let status = demo.wait(LIMIT).await.unwrap();
        let log = demo.log_tail(40);
        assert_eq!(status.code(), Some(expected), "{log}");
        assert!(log.contains(told), "{log}");
        assert_eq!(entries(temporary), 0);
        assert!(!env_file.exists());
        assert_eq!(processes_that_name(temporary), 0);
    }
}

/// A demo with a folder of its own for all that it makes.
struct Run {
    // Dropped first: it writes below the folder.
    demo: ChildProcess,
    env_file: PathBuf,
    temporary: PathBuf,
    _scratch: Scratch,
}

impl Run {
    /// Starts it with `--env-file` and further arguments.
    fn start(arguments: &[&str]) -> Self {
        let scratch = Scratch::new("demo").unwrap();
        let temporary = scratch.path().join("tmp");
        let env_file = scratch.path().join("env");
        fs::create_dir(&temporary).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
        command
            .arg("--env-file")
            .arg(&env_file)
            .args(arguments)
            .env("TMPDIR", &temporary);
        let log = scratch.path().join("demo.log");
        Self {
            demo: ChildProcess::spawn("demo", &command, &log).unwrap(),
            env_file,
            temporary,
            _scratch: scratch,
        }
    }
}

/// Runs a demo, ends it at that moment, and returns its status when nothing is left of it.
async fn check(when: When, signal: Signal) -> ExitStatus {
    let Run {
        demo,
        env_file,
        temporary,
        ..
    } = &Run::start(&["--replicas", "2"]);
    demo.await_start(LIMIT, async || {
        let has_come = match when {
            When::Starting => processes_that_name(temporary) > 1,
            When::Ready => env_file.exists(),
            When::Up => demo.log_tail(5).contains("stays up"),
        };
        Ok(has_come.then_some(()))
    })
    .await
    .unwrap();
    if when == When::Up {
        check_env_file(env_file);
    }
    demo.signal(signal).unwrap();
    let status = demo.wait(LIMIT).await.unwrap();
    if signal == Signal::KILL {
        // Nobody is left to remove it in time or to take the file away.
        await_condition("the temporary folder is removed", LIMIT, async || {
            Ok((entries(temporary) == 0).then_some(()))
        })
        .await
        .unwrap();
    } else {
        assert_eq!(entries(temporary), 0);
        assert!(!env_file.exists());
    }
    assert_eq!(processes_that_name(temporary), 0);
    status
}

/// What the file exports works, in a shell of its own.
fn check_env_file(env_file: &Path) {
    assert_eq!(
        env_file.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    let script = r#". "$1" && kubectl get dynamiczones -n "$ZONE_NAMESPACE" "$ZONE_NAME" >/dev/null &&
        curl -sf "$ADMIN_URL/livez" >/dev/null && curl -s "$UPDATE_URL/ip" | grep -q . &&
        dig +short @"${DNS_SERVER%:*}" -p "${DNS_SERVER#*:}" "$ZONE" SOA | grep -q hostmaster &&
        kill -0 "$OPERATOR_PID" && kill -0 $OPERATOR_PIDS &&
        for url in $UPDATE_URLS; do curl -s "$url/ip" | grep -q . || exit 1; done &&
        test "$(for url in $ADMIN_URLS; do curl -s "$url/metrics"; done |
            grep -c '^dynhost_leader 1')" = 1 && env -0"#;
    let home = Scratch::new("home").unwrap();
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(env_file)
        .env("HOME", home.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let environment = String::from_utf8(output.stdout).unwrap();
    let environment: BTreeMap<&str, &str> = environment
        .split('\0')
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(environment["ZONE"], "dyn.example.org");
    assert!(environment["UPDATE_URL"].starts_with("http://127.0.0.1:"));
    for (one, all) in [
        ("UPDATE_URL", "UPDATE_URLS"),
        ("ADMIN_URL", "ADMIN_URLS"),
        ("OPERATOR_PID", "OPERATOR_PIDS"),
    ] {
        let all: Vec<&str> = environment[all].split(' ').collect();
        assert_eq!((all.len(), all[0]), (2, environment[one]));
    }
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// How many processes mention that folder on their command line.
fn processes_that_name(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(folder))
        .count()
}
