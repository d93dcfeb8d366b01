//! A whole life, replayed until the operator has died before and after every side effect of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};
use dynhost_e2e::{CrashPoint, When};
use futures::future::try_join_all;

use super::{
    lane::{LANES, Lane},
    life::{Life, Step},
    state::State,
};

/// Attempts to reach a crash point. What two tasks of the operator do side by side may be one
/// write at one time and two at another.
const ATTEMPTS: usize = 3;

/// An undisturbed life: each step's side effects and what there is behind it.
type Undisturbed = BTreeMap<Step, (Vec<String>, State)>;

#[tokio::test]
async fn an_operator_that_dies_at_any_side_effect_comes_to_the_same_end() -> Result<()> {
    let records = try_join_all((0..LANES).map(|_| async {
        let lane = Lane::get().await?;
        record(&lane).await
    }))
    .await?;
    let expected = &records[0];
    for other in &records[1..] {
        for (step, (_, state)) in other {
            assert_eq!(*state, expected[step].1, "{step:?} is not the same twice");
        }
    }
    let schedule = Schedule::of(&records);
    schedule.check_is_whole();
    try_join_all((0..LANES).map(|_| async {
        while let Some(plan) = schedule.next() {
            let lane = Lane::get().await?;
            let reached = replay(&lane, &plan, expected).await?;
            schedule.done(plan, &reached)?;
        }
        anyhow::Ok(())
    }))
    .await?;
    schedule.check_all_reached();
    Ok(())
}

/// Lives once without a death.
async fn record(lane: &Lane) -> Result<Undisturbed> {
    let mut undisturbed = Undisturbed::new();
    lane.seam().begin(None);
    let life = Life::begin(lane).await?;
    for step in Step::ALL {
        if step != Step::CreateZone {
            lane.seam().begin(None);
        }
        life.take(step).await?;
        let state = life.await_settled(step).await?;
        undisturbed.insert(step, (lane.seam().end().await, state));
    }
    Ok(undisturbed)
}

/// Lives once more, and dies once in every step of the plan. Returns the steps in which it did.
async fn replay(
    lane: &Lane,
    plan: &BTreeMap<Step, (CrashPoint, usize)>,
    expected: &Undisturbed,
) -> Result<BTreeSet<Step>> {
    let mut reached = BTreeSet::new();
    let point_of = |step: Step| plan.get(&step).map(|(point, _)| point.clone());
    lane.seam().begin(point_of(Step::CreateZone));
    let (life, mut deaths) = lane.survive(Life::begin(lane)).await?;
    for step in Step::ALL {
        let point = point_of(step);
        let lived = async {
            if step != Step::CreateZone {
                lane.seam().begin(point.clone());
            }
            deaths += lane.survive(life.take(step)).await?.1;
            let state = &expected[&step].1;
            deaths += lane.survive(life.await_same(step, state)).await?.1;
            // The server may have done it and not yet answered.
            lane.seam().end().await;
            if lane.seam().is_dead() {
                lane.start_again().await?;
                deaths += 1;
            }
            if deaths > 0 {
                life.await_same(step, state).await?;
            }
            anyhow::Ok(())
        };
        lived.await.with_context(|| format!("{step:?} with a death at {point:?}"))?;
        if deaths > 0 {
            reached.insert(step);
        }
        deaths = 0;
    }
    Ok(reached)
}

/// The crash points, and which of them are still to be reached.
struct Schedule {
    all: BTreeSet<(Step, CrashPoint)>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// With the attempts so far.
    pending: BTreeMap<Step, Vec<(CrashPoint, usize)>>,
    reached: BTreeSet<(Step, CrashPoint)>,
    lives: usize,
}

impl Schedule {
    fn of(records: &[Undisturbed]) -> Self {
        let mut all = BTreeSet::new();
        for (step, (labels, _)) in records.iter().flatten() {
            let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
            for label in labels {
                let number = numbers.entry(label).or_default();
                *number += 1;
                all.extend([When::Before, When::After].map(|when| {
                    let label = Some(label.clone());
                    let number = *number;
                    (*step, CrashPoint { label, number, when })
                }));
            }
        }
        let mut pending: BTreeMap<Step, Vec<_>> = BTreeMap::new();
        for (step, point) in &all {
            pending.entry(*step).or_default().push((point.clone(), 0));
        }
        let progress = Progress {
            pending,
            reached: BTreeSet::new(),
            lives: 0,
        };
        Self {
            all,
            progress: Mutex::new(progress),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One point of each step that has any left; `None`: none has.
    fn next(&self) -> Option<BTreeMap<Step, (CrashPoint, usize)>> {
        let mut progress = self.progress();
        let plan: BTreeMap<_, _> = progress
            .pending
            .iter_mut()
            .filter_map(|(step, points)| Some((*step, points.pop()?)))
            .collect();
        progress.lives += usize::from(!plan.is_empty());
        (!plan.is_empty()).then_some(plan)
    }

    fn done(
        &self,
        plan: BTreeMap<Step, (CrashPoint, usize)>,
        reached: &BTreeSet<Step>,
    ) -> Result<()> {
        let mut progress = self.progress();
        for (step, (point, attempts)) in plan {
            if reached.contains(&step) {
                progress.reached.insert((step, point));
                continue;
            }
            let attempts = attempts + 1;
            ensure!(attempts < ATTEMPTS, "{step:?} never comes to {point:?}");
            let pending = progress.pending.entry(step).or_default();
            // Behind the others.
            pending.insert(0, (point, attempts));
        }
        Ok(())
    }

    /// Every step changes what it is known to change, so that what follows covers something.
    fn check_is_whole(&self) {
        let has = |step: Step, label: &str| {
            let mut points = self.all.iter();
            points.any(|(of, point)| *of == step && point.label.as_deref() == Some(label))
        };
        for step in Step::ALL {
            for label in step.writes() {
                assert!(has(step, label), "{step:?} without {label}: {:#?}", self.all);
            }
        }
    }

    fn check_all_reached(&self) {
        let progress = self.progress();
        assert_eq!(progress.reached, self.all);
        println!("{} deaths in {} lives", self.all.len(), progress.lives);
        for step in Step::ALL {
            let points = self.all.iter().filter(|(of, _)| *of == step);
            let before = points.filter(|(_, point)| point.when == When::Before);
            let told = before.map(|(_, point)| (point.label.as_deref().unwrap_or("any"), point.number));
            println!("{step:?}: {:?}", told.collect::<Vec<_>>());
        }
    }
}
