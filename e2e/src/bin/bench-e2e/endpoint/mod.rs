//! What the endpoint serves on one core, and what clients that mean ill take from the honest ones.

pub(crate) mod rates;
pub(crate) mod trouble;

use anyhow::{Result, ensure};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dynhost_e2e::stack::{Stack, Zone, operator_kubeconfig};
use dynhost_e2e::{Operator, http};

/// Where the operator runs; the clients have another core. It has one worker thread then.
const SERVER_CORE: [&str; 3] = ["taskset", "-c", "0"];

/// Hosts that clients report for.
const HOSTS: usize = 8;

/// A host, and what its client knows.
pub(crate) struct Host {
    hostname: String,
    token: String,
    pair: Ed25519KeyPair,
    /// What is stored, and in DNS.
    address: String,
}

/// An operator on one core.
async fn start_operator(stack: &Stack, flags: &[&str]) -> Result<Operator> {
    let kubeconfig = operator_kubeconfig(&stack.control_plane, None).await?;
    let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
    Operator::start_under(&SERVER_CORE, &kubeconfig, &flags).await
}

/// Creates the hosts, each with an update key, a public key and an address.
pub(crate) async fn create_hosts(stack: &Stack, zone: &Zone) -> Result<Vec<Host>> {
    let mut hosts = Vec::new();
    for i in 0..HOSTS {
        let pair = Ed25519KeyPair::generate()?;
        let mut host = zone.host(&format!("client{i}"));
        let public_key = BASE64_STANDARD.encode(pair.public_key());
        host.spec.auth.public_keys.push(public_key);
        let token = stack.create_host(&host).await?;
        let (hostname, address) = (host.spec.hostname, format!("203.0.113.{}", i + 1));
        let answer = stack.update(&hostname, &token, &address).await?;
        ensure!(answer.text().starts_with("good "), "answered {answer:?}");
        hosts.push(Host {
            hostname,
            token,
            pair,
            address,
        });
    }
    Ok(hosts)
}

impl Host {
    /// What a report without news is answered.
    fn no_change(&self) -> String {
        format!("nochg {}", self.address)
    }
}

/// Waits until the operator knows the hosts: it says so.
async fn check_no_change(operator: &Operator, host: &Host) -> Result<()> {
    let target = format!(
        "/nic/update?hostname={}&myip={}",
        host.hostname, host.address
    );
    let credentials = Some(("router", host.token.as_str()));
    let answer = http::get(operator.update_address(), &target, credentials).await?;
    ensure!(answer.text() == host.no_change(), "answered {answer:?}");
    Ok(())
}
