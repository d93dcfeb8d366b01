//! The update clients, with the configurations of examples/clients/.

use std::{fs, process::Output, str};

use anyhow::{Context, Result, bail, ensure};
use dynhost_e2e::{Scratch, Stack, debian_program, scratch::write_private};
use tokio::process::Command;

use crate::examples::{FOLDER, HOME};

/// Addresses for documentation (RFC 5737, RFC 3849): no router has them.
pub(crate) const FIRST_IPV4: &str = "198.51.100.7";
pub(crate) const SECOND_IPV4: &str = "203.0.113.9";
pub(crate) const IPV6: &str = "2001:db8::7";

/// Runs ddclient once, as if the machine had `address`, and returns its log.
///
/// In its configuration, the server and the update key are replaced; TLS is switched off, as the
/// endpoint has none of its own; and the address is given, as this machine has none to publish.
pub(crate) async fn run_ddclient(stack: &Stack, key: &str, address: &str) -> Result<String> {
    let scratch = Scratch::new("ddclient")?;
    let mut configuration = fs::read_to_string(format!("{FOLDER}/clients/ddclient.conf"))?;
    let server = stack.operator.update_address().to_string();
    let own_address = format!("use=ip, ip={address}");
    for (theirs, ours) in [
        (
            "use=web, web=https://updates.example.org/checkip",
            own_address.as_str(),
        ),
        ("server=updates.example.org", &format!("server={server}")),
        ("TheUpdateKeyOfYourHost", key),
        ("ssl=yes", "ssl=no"),
        ("syslog=yes", "syslog=no"),
    ] {
        ensure!(
            configuration.contains(theirs),
            "examples/clients/ddclient.conf has no {theirs}"
        );
        configuration = configuration.replace(theirs, ours);
    }
    let file = scratch.path().join("ddclient.conf");
    write_private(&file, &configuration)?;
    let output = Command::new(debian_program("ddclient").await?)
        .args(["-daemon=0", "-foreground", "-verbose", "-noquiet", "-force"])
        .arg("-file")
        .arg(&file)
        .arg("-cache")
        .arg(scratch.path().join("ddclient.cache"))
        .arg("-pid")
        .arg(scratch.path().join("ddclient.pid"))
        .kill_on_drop(true)
        .output()
        .await
        .context("running ddclient")?;
    // The log has the request in it, and the request has the update key in it.
    let log = text_of(&output)?
        .lines()
        .filter(|line| !line.contains("Authorization"))
        .collect::<Vec<_>>()
        .join("\n");
    // ddclient ends with status 0 whatever the endpoint said.
    ensure!(
        log.contains("SUCCESS:"),
        "ddclient reports no success:\n{log}"
    );
    Ok(log)
}

/// Runs curl with several addresses in one request, and returns the endpoint's answer.
pub(crate) async fn run_curl(stack: &Stack, key: &str, addresses: &[&str]) -> Result<String> {
    debian_program("curl").await?;
    let output = Command::new("sh")
        .arg(format!("{FOLDER}/clients/curl.sh"))
        .args([HOME, &addresses.join(",")])
        .env("UPDATE_URL", stack.operator.update_url())
        .env("TOKEN", key)
        .kill_on_drop(true)
        .output()
        .await
        .context("running curl")?;
    let answer = text_of(&output)?;
    if !output.status.success() {
        bail!("curl was refused: {answer}");
    }
    Ok(answer)
}

fn text_of(output: &Output) -> Result<String> {
    let parts = [&output.stdout[..], &output.stderr[..]];
    Ok(str::from_utf8(&parts.concat())?.to_owned())
}
