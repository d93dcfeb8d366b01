//! One host's updates, one after the other, and what each costs.

use anyhow::{Result, ensure};
use dynhost_crds::GROUP;
use dynhost_e2e::stack::{Stack, ZoneOptions};

use crate::floor;
use crate::product::{self, await_quiet, operator_events};
use crate::report::{Part, Target};
use crate::timing::Timing;

/// Reports without news.
const NO_CHANGES: usize = 100;

/// The operator must be started without a limit of one host's changes.
pub(crate) async fn measure(stack: &Stack, updates: usize) -> Result<Part> {
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = zone.host("bench");
    let token = stack.create_host(&host).await?;
    // One update by the product gives the object the size that all patches are measured on.
    product::updates(stack, &zone, &host, &token, 1).await?;

    stack.operator.terminate().await?;
    let before = floor::measure(stack, &zone, &host, updates).await?;
    stack.operator.start_again().await?;
    await_quiet(&stack.operator).await?;
    let mark = stack.control_plane.audit_mark().await?;
    let product = product::updates(stack, &zone, &host, &token, updates).await?;
    await_quiet(&stack.operator).await?;
    let written = writes(stack, mark).await?;
    let mark = stack.control_plane.audit_mark().await?;
    let address = product.last.as_str();
    for _ in 0..NO_CHANGES {
        let answer = stack.update(&host.spec.hostname, &token, address).await?;
        ensure!(answer.text().starts_with("nochg "), "answered {answer:?}");
    }
    await_quiet(&stack.operator).await?;
    let written_of_none = writes(stack, mark).await?;
    stack.operator.terminate().await?;
    let after = floor::measure(stack, &zone, &host, updates).await?;
    stack.operator.start_again().await?;
    await_quiet(&stack.operator).await?;

    let floor = Floor {
        patch: before.patch.and(after.patch),
        update: before.update.and(after.update),
    };
    let writes = written as f64 / updates as f64;
    let mut part = part(&floor, &product);
    part.targets.extend([
        Target::alone(
            "writes to dynhost.dev objects for each change",
            format!("{writes:.2}"),
            "≤ 2",
            writes <= 2.0,
        ),
        Target::alone(
            &format!("writes for {NO_CHANGES} `nochg`"),
            written_of_none.to_string(),
            "0",
            written_of_none == 0,
        ),
    ]);
    Ok(part)
}

/// Writes of the operator to objects of ours.
async fn writes(stack: &Stack, since: dynhost_e2e::AuditMark) -> Result<usize> {
    let events = operator_events(stack, since).await?;
    let writes = events
        .iter()
        .filter(|event| event.is_write() && event.group == GROUP);
    Ok(writes.count())
}

struct Floor {
    patch: Timing,
    update: Timing,
}

fn part(floor: &Floor, product: &product::Updates) -> Part {
    let sum = |of: fn(&Timing) -> f64| of(&floor.patch) + of(&floor.update);
    let ratio = |of: fn(&Timing) -> f64| of(&product.in_dns) / sum(of);
    let mut page = "\n## One update, from the request to the authoritative answer\n\n\
         Of one host, one after the other, with a `--host-change-rate` that allows it.\n\n\
         | what | n | p50 | p99 |\n|---|---|---|---|\n"
        .to_owned();
    page += &floor
        .patch
        .row("raw status patch until its watch event (same object, same ServiceAccount)");
    page += &floor.update.row("raw signed UPDATE (the same message)");
    page += &format!(
        "| floor: their sum | | {:.2} ms | {:.2} ms |\n",
        sum(Timing::p50),
        sum(Timing::p99)
    );
    page += &product
        .answered
        .row("update at the endpoint until it is answered `good`");
    page += &product
        .in_dns
        .row("update at the endpoint until BIND answers with it");
    page += &format!(
        "| **ratio to the floor** | | **{:.2}** | **{:.2}** |\n",
        ratio(Timing::p50),
        ratio(Timing::p99)
    );
    let target = |quantile: &str, of: fn(&Timing) -> f64, target, most: f64| Target {
        what: format!("update until BIND answers with it, {quantile}"),
        floor: Some(format!("{:.2} ms", sum(of))),
        product: format!("{:.2} ms", of(&product.in_dns)),
        ratio: Some(ratio(of)),
        target,
        is_met: ratio(of) <= most,
    };
    let targets = vec![
        target("p50", Timing::p50, "≤ 1.50", 1.5),
        target("p99", Timing::p99, "≤ 2.00", 2.0),
    ];
    Part { page, targets }
}
