//! The command line and its environment variables.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, RangedU64ValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::update::cidr::Cidr;
use crate::update::client_address::{AddressHeader, ProxyTrust};

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
    Run(Box<RunOptions>),
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
    #[arg(
        long,
        env = "DYNHOST_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "[::]:8080"
    )]
    pub listen: SocketAddr,

    #[command(flatten)]
    pub tls: Option<TlsOptions>,

    /// Where /livez, /readyz and /metrics are.
    #[arg(
        long,
        env = "DYNHOST_ADMIN_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "[::]:9090"
    )]
    pub admin_listen: SocketAddr,

    /// Serve updates only: another instance writes DNS.
    #[arg(long, env = "DYNHOST_NO_CONTROLLER")]
    pub no_controller: bool,

    /// How often each zone is looked through for records that somebody else has changed.
    #[arg(long, env = "DYNHOST_DRIFT_INTERVAL", value_name = "DURATION",
        default_value = "10m", value_parser = duration)]
    pub drift_interval: Duration,

    #[command(flatten)]
    pub lease: LeaseOptions,

    /// How long the end may take after SIGTERM: requests under way, what is about to be written.
    #[arg(long, env = "DYNHOST_SHUTDOWN_GRACE", value_name = "DURATION",
        default_value = "10s", value_parser = duration)]
    pub shutdown_grace: Duration,

    #[command(flatten)]
    pub endpoint: EndpointOptions,

    /// The form of the log.
    #[arg(long, env = "DYNHOST_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or by module, as in `dynhost=debug,info`.
    #[arg(
        long,
        env = "DYNHOST_LOG",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The endpoint with TLS, where it has it.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TlsOptions {
    /// Where clients send their updates by TLS (1.2 or 1.3).
    #[arg(long, env = "DYNHOST_TLS_LISTEN", value_name = "ADDRESS:PORT",
        required = false, requires_all = ["tls_cert", "tls_key"])]
    pub tls_listen: SocketAddr,

    /// The certificate and those that it depends on, in PEM. It is read again when it changes.
    #[arg(
        long,
        env = "DYNHOST_TLS_CERT",
        value_name = "FILE",
        required = false,
        requires = "tls_listen"
    )]
    pub tls_cert: PathBuf,

    /// Its private key, in PEM. It is read again when it changes.
    #[arg(
        long,
        env = "DYNHOST_TLS_KEY",
        value_name = "FILE",
        required = false,
        requires = "tls_listen"
    )]
    pub tls_key: PathBuf,

    /// Serve no updates without TLS: `--listen` does not count.
    #[arg(long, env = "DYNHOST_TLS_ONLY", requires = "tls_listen")]
    pub tls_only: bool,
}

/// The Lease whose holder writes.
#[derive(Debug, Clone, Args)]
pub struct LeaseOptions {
    /// The Lease whose holder writes DNS: the same for all replicas.
    #[arg(
        long,
        env = "DYNHOST_LEASE_NAME",
        value_name = "NAME",
        default_value = "dynhost"
    )]
    pub lease_name: String,

    /// The Lease's namespace; default: the Pod's, or that of the kubeconfig's context, or `default`.
    #[arg(long, env = "DYNHOST_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// How long the lease lasts: a holder that was killed is followed after this time at most. Whole seconds.
    #[arg(long, env = "DYNHOST_LEASE_DURATION", value_name = "DURATION",
        default_value = "6s", value_parser = whole_seconds)]
    pub lease_duration: Duration,

    /// Who we are, among the holders of the lease; default: the machine's name and something random.
    #[arg(long, env = "DYNHOST_IDENTITY", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub identity: Option<String>,
}

/// Whom the endpoint believes, and how much it takes.
#[derive(Debug, Clone, Default, Args)]
pub struct EndpointOptions {
    /// Proxies in front of the endpoint: what they say of a client's address is believed.
    #[arg(
        long,
        env = "DYNHOST_TRUSTED_PROXIES",
        value_name = "CIDR,..",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<Cidr>,

    /// The header that trusted proxies write a client's address into: X-Forwarded-For, Forwarded, or one of a single address such as X-Real-IP.
    #[arg(
        long,
        env = "DYNHOST_CLIENT_ADDRESS_HEADER",
        value_name = "NAME",
        default_value = "X-Forwarded-For"
    )]
    pub client_address_header: AddressHeader,

    /// Connections of trusted proxies begin with a PROXY protocol header (version 1 or 2).
    #[arg(long, env = "DYNHOST_PROXY_PROTOCOL", requires = "trusted_proxies")]
    pub proxy_protocol: bool,

    /// Send dyndns2's answers of 400, 403 and 404 with status 200: some clients log the word only then.
    #[arg(long, env = "DYNHOST_LEGACY_STATUS_200")]
    pub legacy_status_200: bool,

    #[command(flatten)]
    pub limits: Limits,
}

impl EndpointOptions {
    /// Whose word counts for where a request comes from.
    pub fn trust(&self) -> ProxyTrust {
        ProxyTrust {
            trusted: self.trusted_proxies.clone(),
            header: self.client_address_header.clone(),
        }
    }
}

/// How much clients may take of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Limits {
    /// The longest head of a request (request line and headers), in octets. Longer: 431.
    #[arg(long, env = "DYNHOST_MAX_HEADER_BYTES", value_name = "OCTETS",
        default_value_t = Self::DEFAULT.max_header_bytes, value_parser = between(1024, 1 << 20))]
    pub max_header_bytes: usize,

    /// The longest body of a request, in octets. Longer: 413.
    #[arg(long, env = "DYNHOST_MAX_BODY_BYTES", value_name = "OCTETS",
        default_value_t = Self::DEFAULT.max_body_bytes, value_parser = between(1024, 1 << 20))]
    pub max_body_bytes: usize,

    /// How long the head of a request may take, from its first octet; of the first one, from connecting.
    #[arg(long, env = "DYNHOST_HEADER_TIMEOUT", value_name = "DURATION",
        default_value = "10s", value_parser = duration)]
    pub header_timeout: Duration,

    /// How long a connection is kept after an answer without another request.
    #[arg(long, env = "DYNHOST_IDLE_TIMEOUT", value_name = "DURATION",
        default_value = "100s", value_parser = duration)]
    pub idle_timeout: Duration,

    /// Connections at a time. Beyond: a new one displaces the one that has waited longest.
    #[arg(long, env = "DYNHOST_MAX_CONNECTIONS", value_name = "NUMBER",
        default_value_t = Self::DEFAULT.max_connections, value_parser = between(1, 1 << 20))]
    pub max_connections: usize,

    /// Connections at a time of one source (an IPv4 address or an IPv6 /64). Trusted proxies are exempt.
    #[arg(long, env = "DYNHOST_MAX_CONNECTIONS_PER_SOURCE", value_name = "NUMBER",
        default_value_t = Self::DEFAULT.max_connections_per_source, value_parser = between(1, 1 << 20))]
    pub max_connections_per_source: usize,

    /// Connections at a time that have sent a request, and so take the most memory. Beyond: as above, or 503.
    #[arg(long, env = "DYNHOST_MAX_ACTIVE_CONNECTIONS", value_name = "NUMBER",
        default_value_t = Self::DEFAULT.max_active_connections, value_parser = between(1, 1 << 20))]
    pub max_active_connections: usize,

    /// Failing requests and address checks a second of one source, and ten times that at once. Beyond: 429.
    #[arg(long, env = "DYNHOST_SOURCE_RATE", value_name = "NUMBER",
        default_value_t = Self::DEFAULT.source_rate)]
    pub source_rate: NonZeroU32,

    /// Changes a second of one host, and five times that at once. Beyond: 503 `911`.
    #[arg(long, env = "DYNHOST_HOST_CHANGE_RATE", value_name = "NUMBER",
        default_value_t = Self::DEFAULT.host_change_rate)]
    pub host_change_rate: NonZeroU32,

    /// Hosts in one request. More: 400 `numhost`.
    #[arg(long, env = "DYNHOST_MAX_HOSTS", value_name = "NUMBER",
        default_value_t = Self::DEFAULT.max_hosts, value_parser = between(1, 1000))]
    pub max_hosts: usize,
}

impl Limits {
    const DEFAULT: Self = Self {
        max_header_bytes: 32 * 1024,
        max_body_bytes: 16 * 1024,
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(100),
        max_connections: 8192,
        max_connections_per_source: 128,
        max_active_connections: 384,
        source_rate: const { NonZeroU32::new(20).unwrap() },
        host_change_rate: const { NonZeroU32::new(20).unwrap() },
        max_hosts: 20,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

fn between(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

/// A duration of at least a second, such as `10s` or `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration = text
        .parse()
        .map_err(|error: jiff::Error| error.to_string())?;
    match Duration::try_from(duration) {
        Ok(duration) if duration >= Duration::from_secs(1) => Ok(duration),
        _ => Err("at least one second, as in 10s".to_owned()),
    }
}

/// From 2 s to an hour, in whole seconds: a Lease says no others.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    match (duration.as_secs(), duration.subsec_nanos()) {
        (2..=3600, 0) => Ok(duration),
        _ => Err("whole seconds, from 2s to 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use clap::CommandFactory as _;

    use super::*;

    fn parse(flags: &[&str]) -> Result<RunOptions, clap::Error> {
        RunOptions::try_parse_from([&["run"], flags].concat())
    }

    #[test]
    fn the_flags_have_the_defaults_of_the_type() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.endpoint.limits, Limits::default());
        assert!(options.endpoint.trusted_proxies.is_empty());
        let header = &options.endpoint.client_address_header;
        assert_eq!(header, &AddressHeader::default());
        let endpoint = &options.endpoint;
        assert!(!endpoint.proxy_protocol && !endpoint.legacy_status_200);
        assert!(options.tls.is_none() && !options.no_controller);
        assert_eq!(options.drift_interval, Duration::from_secs(600));
    }

    #[test]
    fn each_flag_of_run_has_a_variable_of_its_name_and_a_line_in_the_docs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/running.md");
        let docs = std::fs::read_to_string(path).unwrap();
        let command = RunOptions::command();
        for argument in command.get_arguments().filter(|a| a.get_id() != "help") {
            let flag = argument.get_long().unwrap();
            let variable = format!("DYNHOST_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(argument.get_env(), Some(OsStr::new(&variable)), "{flag}");
            let line = if argument.get_action().takes_values() {
                let value = argument.get_value_names().unwrap_or_default()[0].replace("..", "…");
                let default = argument.get_default_values().first();
                let default = default.map(|default| format!("`{}` |", default.display()));
                let default = default.unwrap_or_default();
                format!("| `--{flag} {value}` | `{variable}` | {default}")
            } else {
                format!("| `--{flag}` | `{variable}` | off |")
            };
            assert!(docs.contains(&line), "docs/running.md has no line {line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_at_the_start() {
        let check = |flags: &[&str], valid: bool| {
            assert_eq!(parse(flags).is_ok(), valid, "{flags:?}");
        };
        check(&["--header-timeout", "1m30s"], true);
        check(&["--header-timeout", "0s"], false);
        check(&["--drift-interval", "1s"], true);
        check(&["--drift-interval", "0s"], false);
        check(&["--lease-duration", "2s"], true);
        check(&["--lease-duration", "1s"], false);
        check(&["--lease-duration", "2500ms"], false);
        check(&["--lease-duration", "2h"], false);
        check(&["--identity", ""], false);
        check(&["--header-timeout", "10"], false);
        check(&["--idle-timeout", "-10s"], false);
        check(&["--max-connections", "0"], false);
        check(&["--max-header-bytes", "100"], false);
        check(&["--source-rate", "0"], false);
        let tls = [
            "--tls-listen=[::]:8443",
            "--tls-cert=tls.crt",
            "--tls-key=tls.key",
        ];
        check(&tls, true);
        check(&[&tls[..], &["--tls-only"]].concat(), true);
        for missing in 0..tls.len() {
            let mut others = tls.to_vec();
            others.remove(missing);
            check(&others, false);
        }
        check(&["--tls-only"], false);
        check(&["--trusted-proxies", "10.0.0.0/8,2001:db8::/32"], true);
        check(&["--trusted-proxies", "10.0.0.0/33"], false);
        check(&["--client-address-header", "x-real-ip"], true);
        check(&["--client-address-header", "X Real IP"], false);
        check(&["--proxy-protocol"], false);
        check(&["--proxy-protocol", "--trusted-proxies", "10.0.0.1"], true);
    }
}
