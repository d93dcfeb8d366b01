//! Which metrics with which labels PromQL expressions name.

use serde_json::Value;

use crate::FOLDER;
use crate::rules::rules;

/// A metric that an expression selects, and the labels that it looks at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selected {
    /// With the suffixes of a histogram's series.
    pub(crate) metric: String,
    pub(crate) labels: Vec<String>,
}

/// What the alert rules and the dashboard select.
pub(crate) fn selected() -> Vec<Selected> {
    let text = std::fs::read_to_string(format!("{FOLDER}/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    collect_expressions(&dashboard, &mut expressions);
    assert!(expressions.len() > 20, "{expressions:?}");
    expressions.extend(rules().into_iter().map(|rule| rule.expr));
    expressions.iter().flat_map(|text| parse(text)).collect()
}

fn collect_expressions(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(expression)) = fields.get("expr") {
                into.push(expression.clone());
            }
            let values = fields.values();
            values.for_each(|value| collect_expressions(value, into));
        }
        Value::Array(values) => values.iter().for_each(|v| collect_expressions(v, into)),
        _ => {}
    }
}

/// The metrics of ours in an expression, with the labels in their braces and those that a `by` of
/// the same expression has.
fn parse(expression: &str) -> Vec<Selected> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let grouped = expression.split("by (").skip(1);
    let grouped = grouped.filter_map(|rest| rest.split_once(')'));
    // `le` is of a histogram's buckets, `instance` is Prometheus' own.
    let grouped = grouped.flat_map(|(labels, _)| labels.split(','));
    let grouped: Vec<&str> = grouped.map(str::trim).collect();
    let mut selected = Vec::new();
    for (at, _) in expression.match_indices("dynhost_") {
        let rest = &expression[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (metric, rest) = rest.split_at(end);
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let matchers = matchers.map_or("", |(matchers, _)| matchers);
        let matched = matchers.split(',').filter(|matcher| !matcher.is_empty());
        let matched = matched.map(|m| m.trim().split(|c| !is_word(c)).next().unwrap());
        let labels = matched.chain(grouped.iter().copied());
        let labels = labels.filter(|label| !matches!(*label, "instance"));
        selected.push(Selected {
            metric: metric.to_owned(),
            labels: labels.map(str::to_owned).collect(),
        });
    }
    selected
}

#[test]
fn metrics_and_labels_are_found_in_expressions() {
    fn check(expression: &str, expected: &[(&str, &[&str])]) {
        let expected = expected.iter().map(|(metric, labels)| Selected {
            metric: (*metric).to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        });
        assert_eq!(parse(expression), expected.collect::<Vec<_>>());
    }
    check("time() - 5", &[]);
    check("dynhost_leader", &[("dynhost_leader", &[])]);
    check(
        "sum by (reason, instance) (rate(dynhost_x_total{a=\"b\", c!=\"d\"}[5m])) / dynhost_y",
        &[
            ("dynhost_x_total", &["a", "c", "reason"]),
            ("dynhost_y", &["reason"]),
        ],
    );
}
