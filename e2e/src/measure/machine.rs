//! On what the figures were measured.

use crate::stack::Stack;
use anyhow::Result;

/// Machine, versions and date, as a Markdown list.
pub async fn describe(stack: &Stack) -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism()?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or_default();
    let kubernetes = stack.client().await?.apiserver_version().await?.git_version;
    let named = crate::debian_program("named").await?;
    let named = tokio::process::Command::new(named)
        .arg("-v")
        .output()
        .await?;
    let named = String::from_utf8_lossy(&named.stdout);
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    Ok(format!(
        "* machine: {cores} cores of {model}, {} GiB\n* versions: dynhost {}, Kubernetes {kubernetes}, {}\n* date: {date}",
        memory / 1024 / 1024,
        env!("CARGO_PKG_VERSION"),
        named.split(" (").next().unwrap_or_default().trim()
    ))
}
