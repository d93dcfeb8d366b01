//! The numbers of an operator's side effects, and where it dies.

/// On which side of a side effect the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// The server never hears of it.
    Before,
    /// The server has done and answered it, and the operator never hears of that.
    After,
}

/// One side of one side effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrashPoint {
    /// What it does, such as `PATCH dynamichosts/status dynhost-endpoint` or `UPDATE`; `None`: any.
    ///
    /// What runs side by side in the operator is numbered in another order each time. The label
    /// tells which of them is meant.
    pub label: Option<String>,
    /// Which of them, counted from 1.
    pub number: usize,
    /// Before or after it.
    pub when: When,
}

/// How a side effect passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// In both directions.
    Passes,
    /// To the server; then the operator dies.
    Last,
}

/// The side effects since a beginning.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    labels: Vec<String>,
    point: Option<CrashPoint>,
    is_dying: bool,
}

impl Sequence {
    pub(super) fn begin(&mut self, point: Option<CrashPoint>) {
        *self = Self {
            point,
            ..Self::default()
        };
    }

    /// Numbers one more; `None`: the operator dies before it.
    pub(super) fn admit(&mut self, label: &str) -> Option<Admission> {
        match self
            .point
            .take_if(|point| point.is_next(label, &self.labels))
        {
            Some(CrashPoint {
                when: When::Before, ..
            }) => None,
            Some(CrashPoint {
                when: When::After, ..
            }) => {
                self.labels.push(label.to_owned());
                self.is_dying = true;
                Some(Admission::Last)
            }
            None => {
                self.labels.push(label.to_owned());
                Some(Admission::Passes)
            }
        }
    }

    /// Disarms it; whether the operator is about to die nevertheless, and what has passed so far.
    pub(super) fn end(&mut self) -> (bool, Vec<String>) {
        self.point = None;
        (self.is_dying, self.labels.clone())
    }

    pub(super) fn has_died(&mut self) {
        self.is_dying = false;
    }
}

impl CrashPoint {
    /// Whether the side effect that comes after those in `labels` is the one that is meant.
    fn is_next(&self, label: &str, labels: &[String]) -> bool {
        let of_its_kind = |before: &&String| self.label.is_none() || *before == label;
        let is_meant = self.label.as_deref().is_none_or(|meant| meant == label);
        is_meant && labels.iter().filter(of_its_kind).count() + 1 == self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_dies_at_the_chosen_side_effect_and_nowhere_else() {
        fn check(label: Option<&str>, number: usize, when: When, expected: &[Option<Admission>]) {
            let mut sequence = Sequence::default();
            let point = CrashPoint {
                label: label.map(str::to_owned),
                number,
                when,
            };
            sequence.begin(Some(point.clone()));
            let admitted: Vec<_> = ["UPDATE", "PATCH", "UPDATE", "UPDATE"]
                .iter()
                .map(|label| sequence.admit(label))
                .collect();
            assert_eq!(admitted, expected, "{point:?}");
        }
        use Admission::{Last, Passes};
        let (passes, last) = (Some(Passes), Some(Last));
        check(None, 2, When::Before, &[passes, None, passes, passes]);
        check(None, 2, When::After, &[passes, last, passes, passes]);
        check(
            Some("UPDATE"),
            2,
            When::Before,
            &[passes, passes, None, passes],
        );
        check(
            Some("UPDATE"),
            2,
            When::After,
            &[passes, passes, last, passes],
        );
        check(Some("POST"), 1, When::After, &[passes; 4]);
    }
}
