//! What a process takes of the machine, by proc(5).

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Resident memory in MiB.
pub fn resident(pid: u32) -> Result<f64> {
    field(pid, "VmRSS:")
}

/// The peak of resident memory in MiB, since the start or since [`reset_peak`].
pub fn peak(pid: u32) -> Result<f64> {
    field(pid, "VmHWM:")
}

/// Begins a new peak.
pub fn reset_peak(pid: u32) -> Result<()> {
    let file = format!("/proc/{pid}/clear_refs");
    std::fs::write(&file, "5").with_context(|| format!("writing {file}"))
}

fn field(pid: u32, name: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok())
        .with_context(|| format!("no {name}"))?;
    Ok(kib / 1024.0)
}

/// The time that all threads of a process have run, to the nanosecond.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut all = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedule = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let ran = schedule.split(' ').next().unwrap_or_default();
        all += Duration::from_nanos(ran.parse().context("schedstat")?);
    }
    Ok(all)
}
