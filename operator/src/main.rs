//! The `dynhost` command.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser as _;
use dynhost::config::{Cli, Command};

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(options) => dynhost::run::run(*options),
        Command::Crds { into } => {
            for (file, crd) in dynhost_crds::yaml::crds() {
                let yaml = dynhost_crds::yaml::to_yaml(&crd)?;
                match &into {
                    Some(folder) => std::fs::write(folder.join(file), yaml)
                        .with_context(|| format!("writing {file}"))?,
                    None => write!(std::io::stdout(), "---\n{yaml}")?,
                }
            }
            Ok(())
        }
        Command::Reference { into } => {
            for (file, page) in [
                ("conditions.md", dynhost_crds::reference::conditions()),
                ("fields.md", dynhost_crds::reference::fields()?),
                ("metrics.md", dynhost::metrics::reference()),
            ] {
                std::fs::write(into.join(file), page).with_context(|| format!("writing {file}"))?;
            }
            Ok(())
        }
    }
}
