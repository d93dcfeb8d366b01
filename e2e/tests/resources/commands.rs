//! What kubectl shows, explains and waits for.

use std::collections::HashSet;

use dynhost_crds::{
    conditions::{ConditionType, Reason},
    host::{DynamicHost, DynamicHostStatus},
};
use dynhost_e2e::{Stack, stack::LIMIT};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};
use tokio::time::timeout;

use crate::fixture::{ADDRESS, Fixture};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// Runs kubectl, which must succeed and warn of nothing.
async fn kubectl(arguments: &[&str]) -> String {
    let stack = Stack::shared().await.unwrap();
    let output = stack
        .control_plane
        .try_kubectl(arguments, "")
        .await
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.is_empty(),
        "{arguments:?}: {said}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn applying_deploy_again_warns_of_nothing_and_changes_nothing() {
    let applied = kubectl(&["apply", "-k", DEPLOY]).await;
    for line in applied.lines() {
        assert!(line.ends_with(" unchanged"), "{line}");
    }
    assert!(applied.lines().count() > 5, "{applied}");
}

#[tokio::test]
async fn the_schemas_warn_of_nothing() {
    // The API server looks at the schema of what is new to it only: hence a group of another name.
    for (file, crd) in dynhost_crds::yaml::crds() {
        let yaml = dynhost_crds::yaml::to_yaml(&crd).unwrap();
        let yaml = yaml.replace("dynhost.dev", "new.dynhost.dev");
        let stack = Stack::shared().await.unwrap();
        let create = ["create", "--dry-run=server", "-f", "-"];
        let output = stack
            .control_plane
            .try_kubectl(&create, &yaml)
            .await
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.is_empty(), "{file}: {said}");
    }
}

#[tokio::test]
async fn the_columns_tell_name_addresses_and_why_a_host_is_not_ready() {
    let fixture = Fixture::new().await;
    let zone = &fixture.zone;
    let token = fixture.stack.create_host(&zone.host("home")).await.unwrap();
    let home = format!("home.{}", zone.apex);
    let addresses = format!("{ADDRESS},2001:db8::7");
    let answer = fixture
        .stack
        .update(&home, &token, &addresses)
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut outside = zone.host("outside");
    outside.spec.hostname = "outside.example.org".to_owned();
    let outside = fixture.create_host(&outside).await;
    fixture
        .await_reason(&outside, ConditionType::Ready, Reason::OutsideZone)
        .await;
    let ready = ConditionType::Ready;
    fixture
        .await_reason(&zone.host("home"), ready, Reason::Ready)
        .await;

    // Without the times, such as 1m30s.
    let is_time = |word: &&str| word.ends_with(['s', 'm']) && word.starts_with(char::is_numeric);
    let columns = |table: &str| -> Vec<Vec<String>> {
        let words = |line: &str| {
            let words = line.split_whitespace().filter(|word| !is_time(word));
            words.map(str::to_owned).collect()
        };
        table.lines().map(words).collect()
    };
    let hosts = kubectl(&["get", "dh", "-n", &zone.namespace]).await;
    let times = |row: &str| row.split_whitespace().filter(is_time).count();
    let times: Vec<_> = hosts.lines().map(times).collect();
    // Nobody has called for the host outside.
    assert_eq!(times, [0, 2, 1], "{hosts}");
    assert_eq!(
        columns(&hosts),
        [
            vec![
                "NAME", "HOSTNAME", "IPV4", "IPV6", "READY", "REASON", "LAST", "SEEN", "AGE",
            ],
            vec!["home", &home, ADDRESS, "2001:db8::7", "True", "Ready"],
            vec!["outside", "outside.example.org", "False", "OutsideZone"],
        ]
    );
    let zones = kubectl(&["get", "dz", "-n", &zone.namespace]).await;
    assert_eq!(
        columns(&zones),
        [
            vec!["NAME", "DOMAIN", "HOSTS", "READY", "REASON", "AGE"],
            vec!["zone", &zone.apex, "1", "True", "Ready"],
        ]
    );
    let all = kubectl(&["get", "dynhost", "-n", &zone.namespace, "-o", "name"]).await;
    let mut all: Vec<&str> = all.lines().collect();
    all.sort_unstable();
    let expected = [
        "dynamichost.dynhost.dev/home",
        "dynamichost.dynhost.dev/outside",
        "dynamiczone.dynhost.dev/zone",
    ];
    assert_eq!(all, expected);
}

#[tokio::test]
async fn fields_are_explained() {
    for (field, sentence) in [
        (
            "dynamichost",
            "A name whose addresses are reported by a client",
        ),
        (
            "dynamichost.spec.hostname",
            "fully qualified name without trailing dot",
        ),
        (
            "dynamichost.spec.auth.secretName",
            "that holds the update key",
        ),
        ("dynamichost.status.observed", "What clients reported"),
        (
            "dynamiczone",
            "A DNS zone in which DynamicHosts may have names",
        ),
        ("dynamiczone.spec.rfc2136.servers", "Tried in order"),
        (
            "dynamiczone.spec.allowedHosts.namespaces.from",
            "the zone's own namespace",
        ),
        ("dynamiczone.spec.ownership.id", "Default: the zone's UID"),
    ] {
        let explained = kubectl(&["explain", field]).await;
        let words: Vec<&str> = explained.split_whitespace().collect();
        assert!(words.join(" ").contains(sentence), "{field}: {explained}");
    }
}

#[tokio::test]
async fn waiting_for_ready_ends_although_no_client_has_called() {
    let fixture = Fixture::new().await;
    fixture.create("home", None).await;
    let namespace = &fixture.zone.namespace;
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=30s",
        "-n",
        namespace,
    ];
    kubectl(&[&wait[..], &["dynamichost/home"]].concat()).await;
    kubectl(&[&wait[..], &["dynamiczone/zone"]].concat()).await;
}

#[tokio::test]
async fn every_condition_is_set_at_first_sight() {
    let fixture = Fixture::new().await;
    let mut lost = fixture.zone.host("lost");
    lost.spec.zone_ref.name = "none".to_owned();
    for (host, ready) in [
        (fixture.zone.host("home"), Reason::AwaitingFirstUpdate),
        (lost, Reason::ZoneNotFound),
    ] {
        let hosts = fixture.stack.hosts(&fixture.zone.namespace).await.unwrap();
        let created = fixture.create_host(&host).await;
        let status = timeout(LIMIT, first_status(&hosts, &created))
            .await
            .unwrap();
        assert_eq!(status.observed_generation, Some(1));
        let types: Vec<&str> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(types, ["Accepted", "KeyReady", "Published", "Ready"]);
        let documented: HashSet<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        for condition in &status.conditions {
            assert_eq!(condition.observed_generation, Some(1), "{condition:?}");
            assert!(
                documented.contains(condition.reason.as_str()),
                "{condition:?}"
            );
            assert!(!condition.message.is_empty(), "{condition:?}");
        }
        assert_eq!(status.conditions[3].reason, ready.as_str());
    }
}

/// The first status with conditions that a watcher sees.
async fn first_status(hosts: &Api<DynamicHost>, created: &DynamicHost) -> DynamicHostStatus {
    let name = created.metadata.name.as_deref().unwrap();
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let version = created.metadata.resource_version.as_deref().unwrap();
    let mut events = hosts.watch(&params, version).await.unwrap().boxed();
    loop {
        let event = events.try_next().await.unwrap().unwrap();
        if let WatchEvent::Modified(host) = event
            && let Some(status) = host.status
            && !status.conditions.is_empty()
        {
            return status;
        }
    }
}
