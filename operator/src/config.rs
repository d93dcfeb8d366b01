//! The command line and its environment variables.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// A Kubernetes operator for names whose addresses change.
#[derive(Debug, Parser)]
#[command(name = "dynhost", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run(RunOptions),
    /// Print the custom resource definitions as YAML.
    Crds {
        /// Write one file for each into this folder instead.
        #[arg(long, value_name = "FOLDER")]
        into: Option<PathBuf>,
    },
    /// Write the reference pages (fields, conditions, metrics) as Markdown.
    Reference {
        /// The folder for the pages.
        #[arg(long, value_name = "FOLDER")]
        into: PathBuf,
    },
}

/// What `dynhost run` takes.
#[derive(Debug, Clone, Parser)]
pub struct RunOptions {
    /// Reach the API server as this kubeconfig says; default: `$KUBECONFIG`, `~/.kube/config`, or as a Pod does.
    #[arg(long, env = "DYNHOST_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Where clients send their updates.
    #[arg(long, env = "DYNHOST_LISTEN", default_value = "[::]:8080")]
    pub listen: SocketAddr,

    /// Where /livez, /readyz and /metrics are.
    #[arg(long, env = "DYNHOST_ADMIN_LISTEN", default_value = "[::]:9090")]
    pub admin_listen: SocketAddr,

    /// The form of the log.
    #[arg(long, env = "DYNHOST_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or by module, as in `dynhost=debug,info`.
    #[arg(long, env = "DYNHOST_LOG", default_value = "info")]
    pub log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}
