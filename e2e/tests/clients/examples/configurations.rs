//! The configurations of ddclient and inadyn.

use dynhost_e2e::debian_program;

use super::{Setup, WRONG_KEY, expect};
use crate::SOURCE;
use crate::program::{program, run, run_until};

pub(super) async fn ddclient_conf(setup: &Setup<'_>) {
    for file in ["ddclient.conf", "ddclient-4.conf"] {
        for (key, status, said) in [
            (&*setup.key, 0, "good: IP address set to 192.31.196.7"),
            (&*setup.key, 0, "nochg: No update required"),
            (WRONG_KEY, 1, "authorization failed (HTTP/1.1 401"),
        ] {
            if said.starts_with("good") {
                setup.forget().await;
            }
            let path = setup.place(file, key);
            let mut command = program(debian_program("ddclient").await.unwrap(), setup.home.path());
            command
                .args(["-daemon=0", "-foreground", "-nosyslog", "-force", "-file"])
                .arg(path);
            command.arg("-cache").arg(setup.home.path().join("cache"));
            command.arg("-pid").arg(setup.home.path().join("pid"));
            expect(file, &run(&mut command).await, status, said);
            setup.expect_stored(file, &[SOURCE]).await;
        }
    }
}

pub(super) async fn inadyn_conf(setup: &Setup<'_>) {
    for (key, status, said) in [
        (&*setup.key, 0, "new IP# 192.31.196.7"),
        (WRONG_KEY, 50, "[401 Unauthorized] badauth"),
    ] {
        let path = setup.place("inadyn.conf", key);
        let mut command = program(debian_program("inadyn").await.unwrap(), setup.home.path());
        command
            .args(["-1", "-n", "--force", "--no-pidfile", "-f"])
            .arg(path);
        command.arg(format!("--cache-dir={}", setup.home.path().display()));
        expect("inadyn.conf", &run(&mut command).await, status, said);
        setup.expect_stored("inadyn.conf", &[SOURCE]).await;
    }
    // With -C, as docs/clients/inadyn.md has it, it goes on.
    let path = setup.place("inadyn.conf", WRONG_KEY);
    let mut command = program(debian_program("inadyn").await.unwrap(), setup.home.path());
    command
        .args(["-1", "-n", "-C", "--force", "--no-pidfile", "-f"])
        .arg(path);
    command.arg(format!("--cache-dir={}", setup.home.path().display()));
    run_until(
        &mut command,
        "Error response from DDNS server, ignoring ...",
    )
    .await;
}
