//! The operator dies at any side effect of a step, and life goes on while it is down.

use anyhow::{Context, Result, ensure};
use dynhost_e2e::CrashPoint;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    lane::{LANES, Lane},
    life::Life,
    step::Step::{self, *},
    undisturbed::{ATTEMPTS, Taken, crash_points, is_certain, record},
};

/// A life whose operator dies in one step and is away for all that come after it.
struct Outage {
    before: &'static [Step],
    dies_in: Step,
    meanwhile: &'static [Step],
}

const PUBLISHED: &[Step] = &[CreateZone, CreateHost, Report("198.51.100.7")];

const OUTAGES: [Outage; 11] = [
    Outage {
        before: &[CreateZone, CreateHost],
        dies_in: Report("198.51.100.7"),
        meanwhile: &[DeleteHost],
    },
    Outage {
        before: PUBLISHED,
        dies_in: Report("198.51.100.8"),
        meanwhile: &[ReportElsewhere("198.51.100.9")],
    },
    Outage {
        before: PUBLISHED,
        dies_in: Report("198.51.100.8"),
        meanwhile: &[ReportElsewhere("198.51.100.7")],
    },
    Outage {
        before: PUBLISHED,
        dies_in: Report("2001:db8::7"),
        meanwhile: &[OnlyIpv4, DeleteHost],
    },
    Outage {
        before: PUBLISHED,
        dies_in: Withdraw("198.51.100.7"),
        meanwhile: &[DeleteHost],
    },
    Outage {
        before: PUBLISHED,
        dies_in: Ttl(30),
        meanwhile: &[ReportElsewhere("198.51.100.9"), Ttl(90)],
    },
    Outage {
        before: PUBLISHED,
        dies_in: Aliases(true),
        meanwhile: &[DeleteHost],
    },
    Outage {
        before: PUBLISHED,
        dies_in: Aliases(true),
        meanwhile: &[Aliases(false)],
    },
    Outage {
        before: &[
            CreateZone,
            CreateHost,
            Aliases(true),
            Report("198.51.100.7"),
        ],
        dies_in: Aliases(false),
        meanwhile: &[DeleteHost],
    },
    // The zone is in use before it.
    Outage {
        before: &[CreateZone, CreateHost, DeleteHost],
        dies_in: CreateHost,
        meanwhile: &[DeleteHost],
    },
    Outage {
        before: PUBLISHED,
        dies_in: DeleteHost,
        meanwhile: &[DeleteZone],
    },
];

impl Outage {
    fn steps(&self) -> Vec<Step> {
        [self.before, &[self.dies_in], self.meanwhile].concat()
    }
}

#[tokio::test]
async fn what_happens_while_a_dead_operator_is_down_counts_when_it_is_back() -> Result<()> {
    let recorded: Vec<Vec<Taken>> = stream::iter(&OUTAGES)
        .map(async |outage| record(&Lane::get().await?, &outage.steps()).await)
        .buffered(LANES)
        .try_collect()
        .await?;
    let deaths = OUTAGES.iter().zip(&recorded).flat_map(|(outage, taken)| {
        let points = crash_points(&taken[outage.before.len()].effects);
        points.into_iter().map(move |point| (outage, taken, point))
    });
    let deaths = stream::iter(deaths)
        .map(async |(outage, taken, point)| {
            let context = format!("{:?} dying at {point:?}", outage.steps());
            for _ in 0..ATTEMPTS {
                let lane = Lane::get().await?;
                let died = die(&lane, outage, taken, point.clone()).await;
                if died.context(context.clone())? {
                    return Ok(1);
                }
            }
            ensure!(!is_certain(outage.dies_in, &point), "never {context}");
            println!("not come to again: {context}");
            Ok(0)
        })
        .buffer_unordered(LANES)
        .try_fold(0, async |sum, deaths| Ok(sum + deaths))
        .await?;
    println!("{deaths} deaths");
    Ok(())
}

/// Whether it came to the point.
async fn die(lane: &Lane, outage: &Outage, taken: &[Taken], point: CrashPoint) -> Result<bool> {
    lane.seam().begin(None);
    let life = Life::begin(lane).await?;
    for (at, step) in outage.before.iter().enumerate() {
        life.take(*step).await?;
        life.await_same(&taken[at].state).await?;
    }
    lane.seam().begin(Some(point));
    // What is not acknowledged the client gives up.
    let behind = &taken[outage.before.len()].state;
    if !life.take_and_perhaps_die(outage.dies_in, behind).await? {
        return Ok(false);
    }
    lane.bury().await?;
    for step in outage.meanwhile {
        life.take(*step).await?;
    }
    lane.start_again().await?;
    if let Some(last) = taken.last() {
        life.await_same(&last.state).await?;
    }
    Ok(true)
}
