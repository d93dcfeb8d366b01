//! Watches that tell nothing for a while, and what they tell then.

use anyhow::{Context, Result};
use dynhost_e2e::Release;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    lane::{LANES, Lane},
    life::Life,
    step::Step::{self, *},
};

const PUBLISHED: [Step; 3] = [CreateZone, CreateHost, Report("198.51.100.7")];

/// What happens to a published host while the operator's watches are frozen, and what then.
const TIMES: [(&[Step], &[Step]); 9] = [
    (&[Ttl(30), Suspend, Resume], &[Ttl(90)]),
    (&[Suspend], &[Resume]),
    // Back to what the operator knows.
    (
        &[
            ReportElsewhere("198.51.100.9"),
            ReportElsewhere("198.51.100.7"),
        ],
        &[Ttl(30)],
    ),
    (
        &[Suspend, ReportElsewhere("198.51.100.9"), Resume],
        &[Ttl(30)],
    ),
    (
        &[ReportElsewhere("198.51.100.9"), Report("198.51.100.8")],
        &[Ttl(30)],
    ),
    (
        &[Report("198.51.100.8"), ReportElsewhere("198.51.100.9")],
        &[Ttl(30)],
    ),
    (&[Aliases(true), Aliases(false)], &[Ttl(30)]),
    (&[Aliases(true), Report("2001:db8::7")], &[Aliases(false)]),
    (&[Ttl(30), Report("198.51.100.8"), DeleteHost], &[]),
];

#[tokio::test]
async fn what_watches_missed_counts_once_it_is_known() -> Result<()> {
    let releases = [
        Release::InOrder,
        Release::Merged,
        Release::Expired,
        Release::Lost,
    ];
    let runs = TIMES.iter().flat_map(|(frozen, then)| {
        // Where nothing comes after it, nothing tells what was lost.
        let releases = releases.into_iter();
        let releases = releases.filter(|release| *release != Release::Lost || !then.is_empty());
        releases.map(move |release| (*frozen, *then, release))
    });
    stream::iter(runs)
        .map(async |(frozen, then, release)| {
            let lane = Lane::get().await?;
            let context = format!("{frozen:?} {release:?}, then {then:?}");
            check(&lane, frozen, then, release).await.context(context)
        })
        .buffer_unordered(LANES)
        .try_collect()
        .await
}

async fn check(lane: &Lane, frozen: &[Step], then: &[Step], release: Release) -> Result<()> {
    lane.seam().begin(None);
    let life = Life::begin(lane).await?;
    let mut steps = vec![PUBLISHED[0]];
    for step in &PUBLISHED[1..] {
        life.take(*step).await?;
        steps.push(*step);
        life.await_settled(&steps).await?;
    }
    lane.seam().freeze(&["dynamichosts", "dynamiczones"]);
    for step in frozen {
        life.take(*step).await?;
    }
    lane.await_looked().await?;
    lane.seam().release(release);
    steps.extend(frozen);
    if release != Release::Lost {
        life.await_settled(&steps).await?;
    }
    for step in then {
        life.take(*step).await?;
    }
    steps.extend(then);
    life.await_settled(&steps).await?;
    lane.await_looked().await?;
    life.await_settled(&steps).await?;
    Ok(())
}
