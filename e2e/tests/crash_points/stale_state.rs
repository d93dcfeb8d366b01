//! The operator is started again onto an older state of the API server, and only then told what has
//! happened since: as by an API server that lags behind the one it had before.

use anyhow::{Context, Result, ensure};
use dynhost_e2e::{CrashPoint, Memory, Release, When};
use futures::future::try_join;

use super::{lane::Lane, life::Life, step::Step};

/// Twice the life of a host of one name.
const STEPS: [Step; 14] = [
    Step::CreateZone,
    Step::CreateHost,
    Step::Report("198.51.100.7"),
    Step::Report("198.51.100.8"),
    Step::Report("198.51.100.8,2001:db8::7"),
    Step::Aliases(true),
    Step::Ttl(30),
    Step::Suspend,
    Step::Resume,
    Step::Aliases(false),
    Step::DeleteHost,
    Step::CreateHost,
    Step::Report("198.51.100.9"),
    Step::DeleteHost,
];

/// How many older states the operator is started onto behind each step: those of a step take two.
const REMEMBERED: usize = 6;

#[tokio::test]
async fn an_operator_started_onto_an_older_state_overwrites_nothing_newer() -> Result<()> {
    // What DNS should say is known and not written; it is written and not known.
    try_join(check(When::Before), check(When::After)).await?;
    Ok(())
}

/// Lives, dies in each step at its message to the name server or else at its first write, and is
/// started onto what there was then, and onto what there was behind the step, again and again.
async fn check(when: When) -> Result<()> {
    let lane = &Lane::get().await?;
    let life = Life::begin(lane).await?.killed_anywhere();
    life.await_settled(&STEPS[..1]).await?;
    let mut past: Vec<(usize, String, Memory)> = Vec::new();
    for (at, step) in STEPS.iter().enumerate().skip(1) {
        let label = step
            .writes()
            .contains(&"UPDATE")
            .then(|| "UPDATE".to_owned());
        lane.seam().begin(Some(CrashPoint {
            label,
            number: 1,
            when,
        }));
        life.take_and_die(*step).await?;
        past.push((at, format!("{when:?} a write of"), lane.remember().await?));
        lane.bury().await?;
        lane.start_again().await?;
        // What was not acknowledged.
        if let Step::Report(_) = step {
            life.take(*step).await?;
        }
        let now = life.await_settled(&STEPS[..=at]).await?;
        past.push((at, "behind".to_owned(), lane.remember().await?));
        for (then, when, memory) in past.iter().rev().skip(1).take(REMEMBERED) {
            let lives_on = !STEPS[*then..=at].contains(&Step::DeleteHost);
            let context = || format!("behind {step:?}, misled to {when} {:?}", STEPS[*then]);
            let misled = async {
                lane.restart_onto(memory.clone()).await?;
                // Not even for a while.
                let found = life.state().await?;
                if lives_on {
                    ensure!(found.records == now.records, "{}", found.difference(&now));
                }
                lane.seam().release(Release::InOrder);
                lane.await_looked().await?;
                life.await_same(&now).await
            };
            misled.await.with_context(context)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_told_after_a_start_counts_more_than_what_was_found_at_it() -> Result<()> {
    let lane = &Lane::get().await?;
    lane.seam().begin(None);
    let life = Life::begin(lane).await?;
    let mut steps = vec![Step::CreateZone];
    let mut live = async |all: &[Step]| {
        for step in all {
            life.take(*step).await?;
            steps.push(*step);
            life.await_settled(&steps).await?;
        }
        anyhow::Ok(())
    };
    live(&[Step::CreateHost, Step::Report("198.51.100.7")]).await?;
    let past = lane.remember().await?;
    live(&[Step::Aliases(true), Step::Suspend]).await?;
    // DNS has them for as long as the host is suspended.
    life.take(Step::Aliases(false)).await?;
    lane.await_looked().await?;
    lane.restart_onto(past).await?;
    lane.seam().release(Release::InOrder);
    lane.await_looked().await?;
    live(&[Step::DeleteHost]).await
}
