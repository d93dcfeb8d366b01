//! What the operator does when nothing happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::Scale;
use crate::memory::{cpu_time, resident};
use crate::product::{await_quiet, is_news, operator_events};
use crate::report::{Part, Target};

/// Long enough for every watch to be renewed.
const TIME: Duration = Duration::from_secs(40);

pub(super) async fn measure(scale: &Scale) -> Result<Part> {
    let stack = &scale.stack;
    stack.operator.start_again().await?;
    await_quiet(&stack.operator).await?;
    let pid = stack.operator.pid().await?;
    let mark = stack.control_plane.audit_mark().await?;
    let (start, busy) = (Instant::now(), cpu_time(pid)?);
    sleep(TIME).await;
    let (time, busy) = (start.elapsed(), cpu_time(pid)? - busy);
    let events = operator_events(stack, mark).await?;
    let resident = resident(pid)?;
    stack.operator.terminate().await?;

    let mut requests: BTreeMap<String, usize> = BTreeMap::new();
    for event in &events {
        let what = format!("{} {}", event.verb, event.resource);
        *requests.entry(what).or_default() += 1;
    }
    let list: Vec<_> = requests
        .iter()
        .map(|(what, n)| format!("{n} × {what}"))
        .collect();
    let writes = events.iter().filter(|event| is_news(event)).count();
    let seconds = time.as_secs_f64();
    let rate = events.len() as f64 / seconds;
    let share = 100.0 * busy.as_secs_f64() / seconds;
    let hosts = scale.hosts();
    let page = format!(
        "\n## At rest with {hosts} hosts\n\nOver {seconds:.0} s: requests to the API server, as its \
         audit log counts them: {}. Memory then: {resident:.1} MiB.\n",
        match list.is_empty() {
            true => "none".to_owned(),
            false => list.join(", "),
        }
    );
    let what = format!("at rest with {hosts} hosts");
    let targets = vec![
        Target::alone(
            &format!("{what}: writes to the API server but the lease"),
            writes.to_string(),
            "0",
            writes == 0,
        ),
        Target::alone(
            &format!("{what}: requests to the API server"),
            format!("{rate:.2}/s"),
            "≤ 1/s",
            rate <= 1.0,
        ),
        Target::alone(
            &format!("{what}: share of a core"),
            format!("{share:.2} %"),
            "≤ 0.2 %",
            share <= 0.2,
        ),
    ];
    Ok(Part { page, targets })
}
