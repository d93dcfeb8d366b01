//! Many hosts created at once.

use anyhow::Result;
use dynhost_e2e::stack::{Stack, ZoneOptions};

use crate::report::{Part, Target};
use crate::{memory, product};

const HOSTS: usize = 1000;

pub(crate) async fn measure(stack: &Stack) -> Result<Part> {
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let created = product::create_hosts(stack, &zone, HOSTS).await?;
    let memory = memory::peak(stack.operator.pid().await?)?;
    let page = format!(
        "\n## {HOSTS} hosts created at once\n\n| what | figure |\n|---|---|\n\
         | until all exist | {:.1} s |\n| until all are Ready, each with a key of its own | {:.1} s |\n\
         | operator's memory then (resident, peak) | {memory:.1} MiB |\n",
        created.exist.as_secs_f64(),
        created.ready.as_secs_f64(),
    );
    let targets = vec![Target {
        what: format!("{HOSTS} hosts created at once: all Ready"),
        floor: Some(format!("{:.1} s", created.exist.as_secs_f64())),
        product: format!("{:.1} s", created.ready.as_secs_f64()),
        ratio: Some(created.ready.div_duration_f64(created.exist)),
        target: "≤ 30 s",
        is_met: created.ready.as_secs() < 30,
    }];
    Ok(Part { page, targets })
}
