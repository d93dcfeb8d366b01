//! PURE: a line through points, and how sure it is.

/// By ordinary least squares, both in units of y for each unit of x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slope {
    pub(crate) value: f64,
    /// The value's standard error, widened for points that follow each other (as memory does): the
    /// residuals' correlation from one to the next leaves fewer of them that count.
    pub(crate) error: f64,
}

impl Slope {
    /// Through at least three points; `None` for fewer, or where all x are the same.
    pub(crate) fn of(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len() as f64;
        if points.len() < 3 {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (x0, y0) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - x0).powi(2)).sum();
        if spread == 0.0 {
            return None;
        }
        let common: f64 = points.iter().map(|(x, y)| (x - x0) * (y - y0)).sum();
        let value = common / spread;
        let rest: Vec<f64> = points
            .iter()
            .map(|(x, y)| y - y0 - value * (x - x0))
            .collect();
        let squares: f64 = rest.iter().map(|r| r * r).sum();
        let neighbours: f64 = rest.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let correlation = if squares > 0.0 {
            (neighbours / squares).clamp(0.0, 0.99)
        } else {
            0.0
        };
        let inflation = (1.0 + correlation) / (1.0 - correlation);
        let error = (squares / (n - 2.0) / spread * inflation).sqrt();
        Some(Self { value, error })
    }

    /// Whether it cannot be told from a level line: within two standard errors.
    pub(crate) fn is_level(self) -> bool {
        self.value <= 2.0 * self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` points that rise by `rise` in all, with teeth as high as `teeth`.
    fn check(count: u32, rise: f64, teeth: f64, is_level: bool) {
        let points: Vec<_> = (0..count)
            .map(|i| {
                let x = f64::from(i);
                let tooth = if i % 2 == 0 { teeth } else { -teeth };
                (x, 20.0 + rise * x / f64::from(count) + tooth)
            })
            .collect();
        let slope = Slope::of(&points).unwrap();
        assert_eq!(slope.is_level(), is_level, "{rise} {teeth}: {slope:?}");
    }

    #[test]
    fn a_rise_is_told_from_noise() {
        check(200, 0.0, 0.0, true);
        check(200, 0.0, 1.0, true);
        check(200, 5.0, 0.0, false);
        check(200, 5.0, 1.0, false);
        check(200, 0.1, 1.0, true);
        check(200, -5.0, 0.1, true);
    }

    #[test]
    fn too_few_points_have_no_slope() {
        assert_eq!(Slope::of(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Slope::of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
