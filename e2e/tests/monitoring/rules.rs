//! The alert rules, by Prometheus' own tool.

use std::process::Command;

use dynhost_e2e::debian_program;
use serde::Deserialize;

use crate::FOLDER;

/// The file of alert rules, as far as it is looked at.
#[derive(Deserialize)]
pub(crate) struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
pub(crate) struct Rule {
    pub(crate) alert: String,
    pub(crate) expr: String,
}

/// Every alert rule.
pub(crate) fn rules() -> Vec<Rule> {
    let text = std::fs::read_to_string(format!("{FOLDER}/alerts.yaml")).unwrap();
    let rules: Rules = serde_yaml_ng::from_str(&text).unwrap();
    let rules = rules.groups.into_iter().flat_map(|group| group.rules);
    let rules: Vec<_> = rules.collect();
    assert!(!rules.is_empty());
    rules
}

#[tokio::test]
async fn every_alert_fires_when_it_should_and_only_then() {
    let promtool = debian_program("promtool").await.unwrap();
    let output = Command::new(promtool)
        .args(["test", "rules", "alerts_test.yaml"])
        .current_dir(FOLDER)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    let tests = std::fs::read_to_string(format!("{FOLDER}/alerts_test.yaml")).unwrap();
    for Rule { alert, .. } in rules() {
        let fires = format!("alertname: {alert}\n        exp_alerts:\n");
        assert!(tests.contains(&fires), "no test has {alert} fire");
        let silent = format!("alertname: {alert}}}");
        assert!(tests.contains(&silent), "no test has {alert} be silent");
    }
}
