//! What the operator and tenants may do.

use dynhost_e2e::{Stack, await_condition, stack::LIMIT};

use crate::fixture::Fixture;

const GOLDEN: &str = include_str!("operator-access.txt");

#[tokio::test]
async fn the_operator_may_do_what_the_committed_list_says_and_nothing_more() {
    let stack = Stack::shared().await.unwrap();
    let operator = "--as=system:serviceaccount:dynhost-system:dynhost";
    let own = "--namespace=dynhost-system";
    let command = ["auth", "can-i", "--list", "--no-headers", operator, own];
    let listed = stack.control_plane.kubectl(&command, "").await.unwrap();
    let mut lines: Vec<String> = listed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        // What everybody may: ask what they may do, and read the API's own description.
        .filter(|line| !line.starts_with("selfsubject") && !line.starts_with('['))
        .collect();
    lines.sort();
    assert_eq!(lines.join("\n") + "\n", GOLDEN);
}

#[tokio::test]
async fn who_may_edit_a_namespace_may_create_hosts_but_neither_zones_nor_status() {
    let fixture = Fixture::new().await;
    let control_plane = &fixture.stack.control_plane;
    let namespace = &control_plane.namespace("tenant").await.unwrap();
    let binding = [
        "create",
        "rolebinding",
        "tenant",
        "--clusterrole=edit",
        "--user=tenant",
    ];
    let binding = [&binding[..], &["-n", namespace]].concat();
    control_plane.kubectl(&binding, "").await.unwrap();
    let may = async |verb: &str, resource: &str, namespace: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let resource = format!("{resource}.dynhost.dev");
        let subresource = format!("--subresource={subresource}");
        let question = [
            "auth",
            "can-i",
            verb,
            &resource,
            &subresource,
            "--as=tenant",
            "-n",
            namespace,
        ];
        let output = control_plane.try_kubectl(&question, "").await.unwrap();
        output.status.success()
    };
    // The controller manager puts the rules of deploy/ into the role `edit`.
    await_condition("the role edit is aggregated", LIMIT, async || {
        let may_create = may("create", "dynamichosts", namespace).await;
        Ok(may_create.then_some(()))
    })
    .await
    .unwrap();
    for (verb, resource, permitted) in [
        ("update", "dynamichosts", true),
        ("delete", "dynamichosts", true),
        ("patch", "dynamichosts/status", false),
        ("get", "dynamiczones", true),
        ("create", "dynamiczones", false),
        ("patch", "dynamiczones", false),
        ("delete", "dynamiczones", false),
        ("patch", "dynamiczones/status", false),
    ] {
        assert_eq!(
            may(verb, resource, namespace).await,
            permitted,
            "{verb} {resource}"
        );
    }
    let elsewhere = &fixture.zone.namespace;
    assert!(!may("create", "dynamichosts", elsewhere).await);

    let create = async |manifest: &str| {
        let command = ["create", "--as=tenant", "-n", namespace, "-f", "-"];
        let output = control_plane.try_kubectl(&command, manifest).await.unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(create(HOST).await, (true, String::new()));
    let (created, said) = create(ZONE).await;
    assert!(!created && said.contains("(Forbidden)"), "{said}");
}

const HOST: &str = "
apiVersion: dynhost.dev/v1alpha1
kind: DynamicHost
metadata: {name: home}
spec: {hostname: home.dyn.example.org, zoneRef: {name: dyn}}
";

const ZONE: &str = "
apiVersion: dynhost.dev/v1alpha1
kind: DynamicZone
metadata: {name: dyn}
spec:
  domain: dyn.example.org
  rfc2136: {servers: [ns1], tsig: {keyName: k, secretRef: {name: s}}}
";
