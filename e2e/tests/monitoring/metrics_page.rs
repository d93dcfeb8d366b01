//! The page of a running operator.

use std::io::Write as _;
use std::process::{Command, Stdio};

use dynhost_crds::conditions::ConditionType;
use dynhost_crds::conditions::Reason;
use dynhost_e2e::{
    Stack, StackOptions, ZoneOptions, await_condition, debian_program, http, stack::LIMIT,
};

use crate::expressions::selected;

/// The page of an operator that has had something of everything to do.
async fn page() -> String {
    let stack = Stack::start(StackOptions {
        // A pass for drift, too.
        operator_arguments: ["--drift-interval", "1s"].map(str::to_owned).to_vec(),
        ..StackOptions::default()
    })
    .await
    .unwrap();
    let options = ZoneOptions {
        records: vec!["taken 300 A 192.0.2.1".to_owned()],
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await.unwrap();
    let mut home = zone.host("home");
    home.spec.stale_after = Some("36h".parse().unwrap());
    let taken = zone.host("taken");
    for host in [&home, &taken] {
        let token = stack.create_host(host).await.unwrap();
        let hostname = &host.spec.hostname;
        let answer = stack.update(hostname, &token, "198.51.100.7").await;
        assert_eq!(answer.unwrap().status, 200);
        let answer = stack.update(hostname, "no key", "198.51.100.7").await;
        assert_eq!(answer.unwrap().status, 401);
    }
    for (name, reason) in [
        ("home", Reason::Published),
        ("taken", Reason::ForeignRecord),
    ] {
        let is_told = |host: &dynhost_crds::host::DynamicHost| {
            let condition = dynhost_e2e::stack::condition(host, ConditionType::Published);
            condition.is_some_and(|condition| condition.reason == reason.as_str())
        };
        let wanted = format!("is {}", reason.as_str());
        let told = stack.await_host(&zone.namespace, name, &wanted, is_told);
        told.await.unwrap();
    }
    await_condition("the metrics of all that was done", LIMIT, async || {
        let page = http::get(stack.operator.admin_address(), "/metrics", None).await?;
        anyhow::ensure!(page.status == 200, "{}", page.text());
        let page = page.text();
        let is_whole = ["dynhost_drift_passes_total{", "reason=\"ForeignRecord\"} 1"];
        Ok(is_whole
            .iter()
            .all(|text| page.contains(text))
            .then_some(page))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn what_rules_and_dashboard_select_is_on_the_page_and_promtool_finds_no_fault() {
    let page = page().await;
    for wanted in selected() {
        let has_all = |line: &str| {
            let rest = line.strip_prefix(&wanted.metric);
            let is_metric = rest.is_some_and(|rest| rest.starts_with(['{', ' ']));
            let has = |label: &String| {
                line.contains(&format!("{{{label}=\"")) || line.contains(&format!(",{label}=\""))
            };
            is_metric && wanted.labels.iter().all(has)
        };
        // Nothing is wrong: the limits have had nothing to do.
        let is_limit = [
            "dynhost_limited_requests_total",
            "dynhost_closed_connections_total",
        ]
        .contains(&wanted.metric.as_str());
        assert!(
            is_limit || page.lines().any(has_all),
            "{wanted:?} is not in\n{page}"
        );
    }
    for line in [
        "dynhost_authentication_failures_total{protocol=\"dyndns2\",reason=\"badauth\"} 2",
        "dynhost_host_conditions{condition=\"Published\",status=\"False\",reason=\"ForeignRecord\"} 1",
        "dynhost_update_to_published_seconds_count 1",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
    let promtool = debian_program("promtool").await.unwrap();
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = check.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.is_empty(), "{text}\n{page}");
}
