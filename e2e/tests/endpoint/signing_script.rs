//! examples/clients/signed-update.sh itself, with a key that openssl makes as the docs say.

use std::path::Path;

use dynhost_e2e::{Scratch, Stack, ZoneOptions, await_condition, debian_program, stack::LIMIT};
use serde_json::json;
use tokio::process::Command;

use super::stored::Home;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/clients/signed-update.sh"
);

/// Makes a key in `folder` by the two commands of docs/signed-updates.md; the public key's base64.
async fn make_key(folder: &Path, name: &str) -> String {
    let commands = format!(
        "openssl genpkey -algorithm ed25519 -out {name} && \
         openssl pkey -in {name} -pubout -outform DER | tail -c 32 | base64"
    );
    let made = Command::new("sh")
        .args(["-c", &commands])
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_example_script_signs_with_openssl() {
    for program in ["openssl", "curl"] {
        debian_program(program).await.unwrap();
    }
    let scratch = Scratch::new("signed-update").unwrap();
    let public_key = make_key(scratch.path(), "update-key.pem").await;
    make_key(scratch.path(), "other-key.pem").await;
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let spec = json!({"auth": {"publicKeys": [public_key]}});
    let home = Home::new((stack, &stack.operator), &zone, "home", spec).await;

    let run = async |shell: &[&str], key: &str, addresses: &[&str]| {
        let ran = Command::new(debian_program(shell[0]).await.unwrap())
            .args(&shell[1..])
            .arg(SCRIPT)
            .arg(&home.name)
            .args(addresses)
            .env("UPDATE_URL", stack.operator.update_url())
            .env("KEY", scratch.path().join(key))
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        (
            ran.status.code(),
            said,
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    // One second is good for one change.
    let until_taken = async |shell: &[&str], addresses: &[&str], expected: &str| {
        let ran = await_condition("the script's request is taken", LIMIT, async || {
            let ran = run(shell, "update-key.pem", addresses).await;
            anyhow::ensure!(ran.0 == Some(0), "{ran:?}");
            Ok(Some(ran))
        });
        assert_eq!(ran.await.unwrap().1, expected, "{shell:?}");
    };
    const PREFIX: &str = "2001:db8:1:2::/64";
    for (shell, ipv4, ipv6) in [
        (&["dash"][..], "198.51.100.7", "2001:db8::7"),
        (&["busybox", "ash"], "198.51.100.8", "2001:db8::8"),
    ] {
        let both = format!("good {ipv4},{ipv6}");
        until_taken(shell, &[ipv6, ipv4, PREFIX], &both).await;
        until_taken(shell, &[ipv4], &format!("nochg {ipv4}")).await;
        let stored = home.stored().await;
        let expected = format!("{ipv4} {ipv6} {PREFIX} ");
        assert!(stored.starts_with(&expected), "{stored}");
        assert_eq!(home.observed().await.ipv4.unwrap().protocol, "signed");
        let (status, said, _) = run(shell, "other-key.pem", &["198.51.100.9"]).await;
        assert_eq!((status, &*said), (Some(22), "badauth"));
        let (status, _, error) = run(shell, "no-key.pem", &["198.51.100.9"]).await;
        assert_ne!(status, Some(0), "{error}");
        assert_eq!(home.stored().await, stored);
    }
    home.await_dns(&["198.51.100.8"], &["2001:db8::8"]).await;
}
