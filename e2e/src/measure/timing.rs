//! Durations of one kind of operation.

use std::time::Duration;

/// Durations in milliseconds, sorted.
#[derive(Clone)]
pub struct Timing(Vec<f64>);

impl Timing {
    pub fn new(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut all: Vec<f64> = durations
            .into_iter()
            .map(|duration| duration.as_secs_f64() * 1000.0)
            .collect();
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    /// Both, as one.
    pub fn and(self, other: Self) -> Self {
        let mut all = self.0;
        all.extend(other.0);
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn p50(&self) -> f64 {
        self.quantile(50)
    }

    pub fn p99(&self) -> f64 {
        self.quantile(99)
    }

    /// The longest.
    pub fn max(&self) -> f64 {
        self.quantile(100)
    }

    /// The nearest rank: of fewer than 100, the 99th percentile is the longest.
    fn quantile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        let value = self.0.get(rank.saturating_sub(1));
        value.copied().unwrap_or(f64::NAN)
    }

    /// A row of the table.
    pub fn row(&self, what: &str) -> String {
        let (n, p50, p99) = (self.count(), self.p50(), self.p99());
        format!("| {what} | {n} | {p50:.2} ms | {p99:.2} ms |\n")
    }
}
