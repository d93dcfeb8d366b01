//! What is printed and written: figures beside their targets, and the tables behind them.

/// A figure that has a target.
pub struct Target {
    pub what: String,
    /// What API server and name server take by themselves.
    pub floor: Option<String>,
    pub product: String,
    /// Of the product to the floor.
    pub ratio: Option<f64>,
    pub target: &'static str,
    pub is_met: bool,
}

impl Target {
    /// A figure without floor.
    pub fn alone(what: &str, product: String, target: &'static str, is_met: bool) -> Self {
        Self {
            what: what.to_owned(),
            floor: None,
            product,
            ratio: None,
            target,
            is_met,
        }
    }
}

/// One group's tables, and its figures that have targets.
pub struct Part {
    pub page: String,
    pub targets: Vec<Target>,
}

impl Part {
    /// What the terminal shows when the group has been measured.
    pub fn show(&self) -> String {
        format!("{}\n{}", self.page, render(&self.targets))
    }
}

/// The targets of all groups in one table.
pub fn render<'a>(targets: impl IntoIterator<Item = &'a Target>) -> String {
    let mut table =
        "| what | floor | dynhost | ratio | target | met |\n|---|---|---|---|---|---|\n".to_owned();
    for target in targets {
        let Target {
            what,
            floor,
            product,
            ratio,
            target,
            is_met,
        } = target;
        let floor = floor.as_deref().unwrap_or_default();
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let met = if *is_met { "yes" } else { "**no**" };
        table += &format!("| {what} | {floor} | {product} | {ratio} | {target} | {met} |\n");
    }
    table
}

/// The middle one, the upper of two; NaN of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.into_iter().collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Each with this many digits, such as `0.3 / 0.2`.
pub fn each(values: &[f64], digits: usize) -> String {
    let all: Vec<_> = values.iter().map(|v| format!("{v:.digits$}")).collect();
    all.join(" / ")
}
