//! What the demonstration prints.

use anyhow::{Result, bail};
use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Operator, Stack, debian_program};
use hickory_net::proto::rr::RecordType;
use tokio::process::Command;

use crate::examples::{HOME, HOST_NAME, HOST_NAMESPACE};

/// Announces what happens next.
pub(crate) fn step(what: &str) {
    println!("\n== {what}");
}

/// Prints what a program said.
pub(crate) fn output(text: &str) {
    for line in text.lines() {
        println!("   {line}");
    }
}

/// Where the servers are, and as whom the operator runs.
pub(crate) async fn servers(stack: &Stack, replicas: &[Operator]) -> Result<()> {
    output(&format!(
        "API server   https://{}\nname server  {}\noperator     {} (pid {}), as ServiceAccount dynhost-system/dynhost with the RBAC of deploy/",
        stack.control_plane.api_address(),
        stack.bind.address(),
        stack.operator.update_url(),
        stack.operator.pid().await?,
    ));
    for replica in replicas {
        let (url, pid) = (replica.update_url(), replica.pid().await?);
        output(&format!("replica      {url} (pid {pid})"));
    }
    Ok(())
}

/// The hosts as Kubernetes and DNS have them now.
pub(crate) async fn names(stack: &Stack, when: &str) -> Result<()> {
    let get = ["get", "dynamichosts", "-A", "-o", "wide"];
    step(&format!("kubectl {} ({when})", get.join(" ")));
    output(&stack.control_plane.kubectl(&get, "").await?);
    for record_type in ["A", "AAAA"] {
        let server = stack.bind.address();
        let (address, port) = (format!("@{}", server.ip()), server.port().to_string());
        let arguments = [
            &address,
            "-p",
            &port,
            "+noall",
            "+answer",
            HOME,
            record_type,
        ];
        step(&format!("dig {} ({when})", arguments.join(" ")));
        let dig = Command::new(debian_program("dig").await?)
            .args(arguments)
            .output()
            .await?;
        let answer = String::from_utf8_lossy(&dig.stdout);
        output(if answer.is_empty() {
            "(no such record)"
        } else {
            &answer
        });
    }
    Ok(())
}

/// Waits until the authoritative server says exactly this of the first host, and Kubernetes, which
/// hears of it just after DNS, that it is published.
pub(crate) async fn await_home(stack: &Stack, ipv4: &[&str], ipv6: &[&str]) -> Result<()> {
    for (record_type, addresses) in [(RecordType::A, ipv4), (RecordType::AAAA, ipv6)] {
        if let Err(error) = stack.await_dns(HOME, record_type, addresses).await {
            bail!("DNS is wrong: {error:#}");
        }
    }
    stack
        .await_reason(
            HOST_NAMESPACE,
            HOST_NAME,
            ConditionType::Published,
            Reason::Published,
        )
        .await?;
    Ok(())
}
