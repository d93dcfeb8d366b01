//! The configurations of docs/rfc2136.md, held against the servers' own checks.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use dynhost_e2e::{Scratch, debian_program, random_base64};

const PAGE: &str = include_str!("../../../docs/rfc2136.md");

/// The first block below a heading of the page, with a secret in place of the dots.
fn block(heading: &str) -> Result<String> {
    let section = PAGE
        .split_once(&format!("\n## {heading}\n"))
        .context("no such heading")?
        .1;
    let block = section.split("```").nth(1).context("no block")?;
    // What follows the opening fence is its language.
    let (_language, block) = block.split_once('\n').context("an empty block")?;
    Ok(block.replace('…', &random_base64(32)?))
}

fn check(program: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn the_documented_configurations_are_valid() -> Result<()> {
    let scratch = Scratch::new("documented")?;
    let write = |name: &str, heading: &str| -> Result<String> {
        let path = scratch.path().join(name);
        fs::write(&path, block(heading)?)?;
        Ok(path.to_str().context("a path")?.to_owned())
    };
    let checker = debian_program("named-checkconf").await?;
    check(&checker, &[&write("named.conf", "BIND 9")?])?;

    let checker = debian_program("knotc").await?;
    let file = write("knot.conf", "Knot DNS")?;
    check(&checker, &["-c", &file, "conf-check"])?;

    let checker = debian_program("pdns_server").await?;
    write("pdns.conf", "PowerDNS")?;
    let folder = format!("--config-dir={}", scratch.path().display());
    check(&checker, &[&folder, "--config=check"])
}
