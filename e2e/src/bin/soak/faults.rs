//! The failure suite, long: its tables and what must hold in them.

use std::time::Duration;

use anyhow::Result;
use dynhost_e2e::{
    failures::{
        Fault, Inflicted, Manner, Pace, Plan, Replicas, Run, Scale, Summary, Target as What,
        inflict, plan,
    },
    measure::report::{Part, Target},
    stack::Stack,
};

const HOSTS: usize = 1000;
const CLIENTS: usize = 200;

/// As many new addresses as API server, etcd and replicas can take on two cores, and what clients
/// repeat beside them.
const PACE: Pace = Pace {
    rate: 200,
    change_every: 2,
    clients: CLIENTS,
    stay: 600,
};

/// Outages that take an hour in all are about their length: few reports, half of them new.
const SLOW: Pace = Pace {
    rate: 40,
    change_every: 2,
    clients: CLIENTS,
    stay: 300,
};

/// A report may wait for the longest pause between two attempts, which is a minute.
const LIMIT: Duration = Duration::from_secs(120);

/// Longer than the default lease of 6 s.
const STOP: Duration = Duration::from_secs(8);

/// The writer stands still for longer than the lease lasts, again and again.
pub(crate) async fn stops(stack: &Stack, stops: usize) -> Result<Part> {
    let run = start(stack, 2, PACE).await?;
    for _ in 0..stops {
        run.replicas.stop_writer(run.stack, STOP).await?;
    }
    let summary = run
        .end(String::new(), Inflicted::default(), stops, LIMIT)
        .await?;
    let title = format!(
        "The writer stands still for {} s, and goes on",
        STOP.as_secs()
    );
    let what = format!("stale overwrites, {stops} times SIGSTOP for longer than the lease");
    let mut part = part(&title, PACE, &summary);
    let overwrites = summary.judged.stale + summary.backward.len();
    let target = Target::alone(&what, overwrites.to_string(), "0", overwrites == 0);
    part.targets.push(target);
    Ok(part)
}

/// Everything fails at random.
pub(crate) async fn random(
    stack: &Stack,
    replicas: usize,
    faults: usize,
    seed: u64,
) -> Result<Part> {
    println!("the faults' seed is {seed}");
    let run = start(stack, replicas, PACE).await?;
    let scale = Scale {
        replicas,
        faults,
        usual: (Duration::from_millis(500), Duration::from_secs(12)),
        longest: Duration::from_secs(60),
    };
    let inflicted = inflict(stack, &run.replicas, &plan(seed, &scale)).await?;
    let summary = run.end(String::new(), inflicted, 0, LIMIT).await?;
    let title = format!("{faults} faults at random, {replicas} replicas, seed {seed}");
    Ok(part(&title, PACE, &summary))
}

/// Each for a long time: frozen, since a connection that says nothing is worse than one that is
/// refused, and gone.
pub(crate) async fn outages(stack: &Stack, replicas: usize, length: Duration) -> Result<Part> {
    let run = start(stack, replicas, SLOW).await?;
    let fault = |target, manner| Fault {
        target,
        manner,
        pause: Duration::from_secs(5),
        outage: length,
    };
    // Two at a time.
    let plan = Plan {
        replicas: vec![
            fault(What::NameServer, Manner::Freeze),
            fault(What::Replica(0), Manner::Freeze),
            fault(What::NameServer, Manner::Kill),
            fault(What::Replica(1), Manner::Kill),
        ],
        servers: vec![
            fault(What::ApiServer, Manner::Freeze),
            fault(What::Etcd, Manner::Freeze),
            fault(What::ApiServer, Manner::Kill),
        ],
    };
    let inflicted = inflict(stack, &run.replicas, &plan).await?;
    let summary = run.end(String::new(), inflicted, 0, LIMIT).await?;
    let title = format!("Outages of {} s, {replicas} replicas", length.as_secs());
    Ok(part(&title, SLOW, &summary))
}

async fn start(stack: &Stack, replicas: usize, pace: Pace) -> Result<Run<'_>> {
    let replicas = Replicas::start(stack, replicas, &[]).await?;
    Run::start(stack, replicas, HOSTS, pace).await
}

fn part(title: &str, pace: Pace, summary: &Summary) -> Part {
    let Summary {
        inflicted,
        stops,
        reports,
        judged,
        reads,
        backward,
        ..
    } = summary;
    let mut page = format!(
        "\n## {title}\n\n{CLIENTS} clients, {} reports a second over all replicas, one in {} of them a \
         new address; what fails is tried once more at another replica. Now and then a client leaves \
         its host for another of {HOSTS}: nothing mends what it had last. In the end, each host must \
         have the last address that was acknowledged, or a later one that was sent.\n\n\
         | what | count |\n|---|---|\n",
        pace.rate, pace.change_every,
    );
    for ((target, manner), count) in &inflicted.kinds {
        page += &format!("| {target}: {manner} | {count} |\n");
    }
    let longest = inflicted.longest.as_secs();
    let rows = [
        ("faults injected", inflicted.faults().to_string()),
        ("longest outage", format!("{longest} s")),
        ("times that the writer was stopped", stops.to_string()),
        ("time", format!("{} s", reports.time.as_secs())),
        ("updates sent", reports.sent.to_string()),
        ("updates acknowledged", reports.acknowledged.to_string()),
        ("updates refused (503 `911`)", reports.refused.to_string()),
        ("updates unanswered", reports.unanswered.to_string()),
        ("connections refused", reports.unreached.to_string()),
        ("**lost**", judged.lost.to_string()),
        ("**stale**", judged.stale.to_string()),
        ("addresses that nobody sent", judged.strange.to_string()),
        ("later than acknowledged", judged.later.to_string()),
        ("reads of DNS meanwhile", reads.to_string()),
        (
            "reads of something older than before",
            backward.len().to_string(),
        ),
    ];
    for (what, count) in rows {
        page += &format!("| {what} | {count} |\n");
    }
    if !summary.is_right() {
        println!("{summary}\n{}", summary.logs);
    }
    let wrong = judged.wrong.len() + backward.len();
    let targets = vec![Target::alone(
        &format!("lost or stale: {title}"),
        wrong.to_string(),
        "0",
        wrong == 0,
    )];
    Part { page, targets }
}
