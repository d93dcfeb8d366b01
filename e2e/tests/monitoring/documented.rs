//! What docs/operations.md has to explain.

use dynhost_crds::conditions::Reason;

use crate::rules::rules;

fn read(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::fs::read_to_string(format!("{root}/{path}")).unwrap()
}

#[test]
fn every_reason_metric_and_alert_is_explained() {
    let operations = read("docs/operations.md");
    let explained = |name: &str| operations.contains(&format!("`{name}`"));
    for reason in Reason::ALL {
        let name = reason.as_str();
        assert!(explained(name), "docs/operations.md lacks {name}");
    }
    let reference = dynhost::metrics::reference();
    let rows = reference.lines().filter_map(|row| row.strip_prefix("| `"));
    let metrics: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(metrics.len() > 20, "{metrics:?}");
    for name in metrics {
        assert!(explained(name), "docs/operations.md lacks {name}");
    }
    for rule in rules() {
        let heading = format!("\n### {}\n", rule.alert);
        assert!(
            operations.contains(&heading),
            "docs/operations.md lacks {heading}"
        );
        let anchor = format!("docs/operations.md#{}", rule.alert.to_lowercase());
        let file = read("deploy/monitoring/alerts.yaml");
        assert!(file.contains(&anchor), "{anchor} is not in the rules");
    }
}
