//! A whole life, replayed until the operator has died before and after every side effect of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};
use dynhost_e2e::CrashPoint;
use futures::future::try_join_all;

use super::{
    lane::{LANES, Lane},
    life::Life,
    step::Step,
    undisturbed::{ATTEMPTS, Taken, crash_points, is_certain, record},
};

/// The whole life.
const STEPS: [Step; 13] = [
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
    Step::Withdraw("198.51.100.8"),
    Step::DeleteHost,
    Step::DeleteZone,
];

#[tokio::test]
async fn an_operator_that_dies_at_any_side_effect_comes_to_the_same_end() -> Result<()> {
    let records = try_join_all((0..LANES).map(|_| async {
        let lane = Lane::get().await?;
        record(&lane, &STEPS).await
    }))
    .await?;
    let undisturbed = &records[0];
    for other in &records[1..] {
        for (at, step) in STEPS.iter().enumerate() {
            assert_eq!(other[at].state, undisturbed[at].state, "{step:?} differs");
        }
    }
    let schedule = Schedule::of(&records);
    schedule.check_is_whole();
    try_join_all((0..LANES).map(|_| async {
        while let Some(plan) = schedule.next() {
            let lane = Lane::get().await?;
            let reached = replay(&lane, &plan, undisturbed).await?;
            schedule.done(plan, &reached)?;
        }
        anyhow::Ok(())
    }))
    .await?;
    schedule.check_all_reached();
    Ok(())
}

/// Lives once more, and dies once in every step of the plan. Returns the steps in which it did.
async fn replay(lane: &Lane, plan: &Plan, undisturbed: &[Taken]) -> Result<BTreeSet<usize>> {
    let point_of = |at| plan.get(&at).map(|(point, _)| point.clone());
    let mut reached = BTreeSet::new();
    lane.seam().begin(point_of(0));
    let (life, mut deaths) = lane.survive(Life::begin(lane)).await?;
    for (at, step) in STEPS.iter().enumerate() {
        let expected = &undisturbed[at].state;
        let lived = async {
            if at > 0 {
                lane.seam().begin(point_of(at));
                deaths = lane.survive(life.take(*step)).await?.1;
            }
            deaths += lane.survive(life.await_same(expected)).await?.1;
            // The server may have done it and not yet answered.
            lane.seam().end().await;
            if lane.seam().is_dead() {
                lane.bury().await?;
                lane.start_again().await?;
                deaths += 1;
            }
            if deaths > 0 {
                reached.insert(at);
                life.await_same(expected).await?;
            }
            anyhow::Ok(())
        };
        let death = || format!("{step:?} with a death at {:?}", point_of(at));
        lived.await.with_context(death)?;
    }
    Ok(reached)
}

/// Where to die, by the index of the step, with the attempts so far.
type Plan = BTreeMap<usize, (CrashPoint, usize)>;

/// The crash points, and which of them are still to be reached.
struct Schedule {
    all: BTreeSet<(usize, CrashPoint)>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// With the attempts so far.
    pending: BTreeMap<usize, Vec<(CrashPoint, usize)>>,
    reached: BTreeSet<(usize, CrashPoint)>,
    /// No attempt came to these, which are not certain.
    given_up: BTreeSet<(usize, CrashPoint)>,
    lives: usize,
}

impl Schedule {
    /// Every crash point of any of these lives.
    fn of(lives: &[Vec<Taken>]) -> Self {
        let taken = lives.iter().flat_map(|life| life.iter().enumerate());
        let points = taken.flat_map(|(at, taken)| {
            let points = crash_points(&taken.effects);
            points.into_iter().map(move |point| (at, point))
        });
        let all: BTreeSet<_> = points.collect();
        let mut progress = Progress::default();
        for (at, point) in &all {
            let pending = progress.pending.entry(*at).or_default();
            pending.push((point.clone(), 0));
        }
        Self {
            all,
            progress: Mutex::new(progress),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One point of each step that has any left; `None`: none has.
    fn next(&self) -> Option<Plan> {
        let mut progress = self.progress();
        let steps = progress.pending.iter_mut();
        let plan: Plan = steps
            .filter_map(|(at, points)| Some((*at, points.pop()?)))
            .collect();
        progress.lives += usize::from(!plan.is_empty());
        (!plan.is_empty()).then_some(plan)
    }

    fn done(&self, plan: Plan, reached: &BTreeSet<usize>) -> Result<()> {
        let mut progress = self.progress();
        for (at, (point, attempts)) in plan {
            if reached.contains(&at) {
                progress.reached.insert((at, point));
                continue;
            }
            let attempts = attempts + 1;
            let step = STEPS[at];
            if attempts == ATTEMPTS {
                ensure!(
                    !is_certain(step, &point),
                    "{step:?} never comes to {point:?}"
                );
                progress.given_up.insert((at, point));
                continue;
            }
            // Behind the others.
            let pending = progress.pending.entry(at).or_default();
            pending.insert(0, (point, attempts));
        }
        Ok(())
    }

    /// Every step writes what it is known to write, so that what follows covers something.
    fn check_is_whole(&self) {
        for (at, step) in STEPS.iter().enumerate() {
            for label in step.writes() {
                let is_it = |(of, point): &&(usize, CrashPoint)| {
                    *of == at && point.label.as_deref() == Some(label)
                };
                let there = self.all.iter().find(is_it);
                assert!(there.is_some(), "{step:?} without {label}: {:#?}", self.all);
            }
        }
    }

    fn check_all_reached(&self) {
        let progress = self.progress();
        let tried: BTreeSet<_> = progress.reached.union(&progress.given_up).collect();
        assert_eq!(tried, self.all.iter().collect());
        let (deaths, lives) = (progress.reached.len(), progress.lives);
        println!("{deaths} deaths in {lives} lives");
        for (at, point) in &self.all {
            let step = STEPS[*at];
            match progress.given_up.contains(&(*at, point.clone())) {
                true => println!("not come to again: {step:?}: {point:?}"),
                false => println!("{step:?}: {point:?}"),
            }
        }
    }
}
