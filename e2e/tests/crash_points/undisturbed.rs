//! Lives without a death, which the others are held against.

use std::collections::BTreeMap;

use anyhow::Result;
use dynhost_e2e::{CrashPoint, When};

use super::{lane::Lane, life::Life, state::State, step::Step};

/// Attempts to come to a crash point.
pub(crate) const ATTEMPTS: usize = 3;

/// Whether a step comes to this point whenever it is taken. What two tasks of the operator do side
/// by side may be one write at one time and two at another, so that the second is not.
pub(crate) fn is_certain(step: Step, point: &CrashPoint) -> bool {
    let label = point.label.as_deref();
    point.number == 1 && label.is_some_and(|label| step.writes().contains(&label))
}

/// What a step did and what there was behind it.
pub(crate) struct Taken {
    /// The labels of its side effects, in their order.
    pub(crate) effects: Vec<String>,
    pub(crate) state: State,
}

/// Lives once without a death.
pub(crate) async fn record(lane: &Lane, steps: &[Step]) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    lane.seam().begin(None);
    let life = Life::begin(lane).await?;
    for (at, step) in steps.iter().enumerate() {
        if at > 0 {
            lane.seam().begin(None);
            life.take(*step).await?;
        }
        let state = life.await_settled(&steps[..=at]).await?;
        let effects = lane.seam().end().await;
        taken.push(Taken { effects, state });
    }
    Ok(taken)
}

/// Both sides of every side effect.
pub(crate) fn crash_points(effects: &[String]) -> Vec<CrashPoint> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for label in effects {
        let number = numbers.entry(label).or_default();
        *number += 1;
        points.extend([When::Before, When::After].map(|when| CrashPoint {
            label: Some(label.clone()),
            number: *number,
            when,
        }));
    }
    points
}
