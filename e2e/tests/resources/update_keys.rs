//! Update keys: where they come from, whom they let in, and when they go.

use dynhost_crds::{
    conditions::{ConditionStatus, ConditionType, Reason},
    host::DynamicHost,
    key::{GENERATED_LABEL, SECRET_TYPE},
    zone::NamespacesFrom,
};
use dynhost_e2e::{ZoneOptions, await_condition, random_hex, stack::LIMIT, stack::condition};
use hickory_net::proto::rr::RecordType;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::fixture::{Answer, Fixture, change, create_secret, merge, supply};

/// A token that no other test has.
fn token() -> String {
    random_hex(16).unwrap()
}

fn text(secret: &Secret, key: &str) -> String {
    let data = secret.data.as_ref().unwrap();
    String::from_utf8(data[key].0.clone()).unwrap()
}

/// Waits until there is a Secret that is as wanted, and returns it.
async fn await_secret(
    secrets: &Api<Secret>,
    name: &str,
    wanted: &str,
    is_wanted: impl Fn(&Secret) -> bool,
) -> Secret {
    await_condition(&format!("Secret {name} {wanted}"), LIMIT, async || {
        Ok(secrets
            .get_opt(name)
            .await?
            .filter(|secret| is_wanted(secret)))
    })
    .await
    .unwrap()
}

fn owners(secret: &Secret) -> Vec<String> {
    let owners = secret.owner_references().iter();
    let mut owners: Vec<_> = owners.map(|owner| owner.uid.clone()).collect();
    owners.sort();
    owners
}

fn uids(hosts: &[&DynamicHost]) -> Vec<String> {
    let mut uids: Vec<_> = hosts.iter().map(|host| host.uid().unwrap()).collect();
    uids.sort();
    uids
}

#[tokio::test]
async fn a_missing_key_is_generated_and_owned_by_its_host() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    for (label, named, secret) in [
        ("home", None, "home-update-key"),
        ("nas", Some("my.key"), "my.key"),
    ] {
        let host = fixture.create(label, named).await;
        fixture.await_key(&host, Reason::Generated).await;
        let secret = secrets.get(secret).await.unwrap();
        assert_eq!(secret.type_.as_deref(), Some(SECRET_TYPE));
        assert!(secret.labels().contains_key(GENERATED_LABEL));
        let token = text(&secret, "token");
        assert_eq!(token.len(), 32);
        assert!(token.bytes().all(|octet| octet.is_ascii_alphanumeric()));
        let [owner] = secret.owner_references() else {
            panic!("{:?}", secret.metadata);
        };
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str()),
            ("DynamicHost", label)
        );
        assert_eq!(Some(&owner.uid), host.uid().as_ref());
        assert_ne!(owner.controller, Some(true));
        assert_eq!(fixture.update(&host, &token).await, Answer::Taken);
    }
}

#[tokio::test]
async fn a_supplied_key_stays_its_users() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    let token = token();
    // As `echo` and editors write it.
    supply(&secrets, "mine", &[("token", &format!("{token}\n"))]).await;
    let host = fixture.create("home", Some("mine")).await;
    fixture.await_key(&host, Reason::Supplied).await;
    assert_eq!(fixture.update(&host, &token).await, Answer::Taken);
    fixture.delete_host(&host).await;
    let secret = secrets.get("mine").await.unwrap();
    assert_eq!(secret.owner_references(), []);
    assert_eq!(secret.finalizers(), [] as [String; 0]);
}

#[tokio::test]
async fn a_previous_token_is_accepted_beside_the_new_one_until_it_goes() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    let (old, new) = (token(), token());
    supply(&secrets, "key", &[("token", &old)]).await;
    let host = fixture.create("home", Some("key")).await;
    fixture.await_key(&host, Reason::Supplied).await;
    assert_eq!(fixture.update(&host, &old).await, Answer::Taken);

    change(&secrets, "key", &[("token", &new), ("previousToken", &old)]).await;
    fixture.await_answer(&host, &new, Answer::Taken).await;
    assert_eq!(fixture.update(&host, &old).await, Answer::Taken);

    change(&secrets, "key", &[("previousToken", "")]).await;
    fixture.await_answer(&host, &old, Answer::BadAuth).await;
    assert_eq!(fixture.update(&host, &new).await, Answer::Taken);
    // Nothing that is empty matches the empty previousToken.
    assert_eq!(fixture.update(&host, "").await, Answer::BadAuth);
}

#[tokio::test]
async fn a_changed_token_locks_the_former_one_out() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    let host = fixture.create("home", None).await;
    fixture.await_key(&host, Reason::Generated).await;
    let secret = secrets.get("home-update-key").await.unwrap();
    let (old, new) = (text(&secret, "token"), token());
    assert_eq!(fixture.update(&host, &old).await, Answer::Taken);
    change(&secrets, "home-update-key", &[("token", &new)]).await;
    fixture.await_answer(&host, &new, Answer::Taken).await;
    assert_eq!(fixture.update(&host, &old).await, Answer::BadAuth);
}

#[tokio::test]
async fn a_deleted_key_is_generated_anew_with_another_token() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    supply(&secrets, "supplied", &[("token", &token())]).await;
    for (label, secret) in [("home", "home-update-key"), ("nas", "supplied")] {
        let host = fixture.create(label, Some(secret)).await;
        fixture
            .await_reason(&host, ConditionType::Ready, Reason::AwaitingFirstUpdate)
            .await;
        let former = secrets.get(secret).await.unwrap();
        secrets.delete(secret, &Default::default()).await.unwrap();
        let new = await_secret(&secrets, secret, "is generated anew", |new| {
            new.uid() != former.uid()
        })
        .await;
        let (old, new) = (text(&former, "token"), text(&new, "token"));
        assert_ne!(old, new);
        fixture.await_answer(&host, &new, Answer::Taken).await;
        fixture.await_answer(&host, &old, Answer::BadAuth).await;
        fixture.await_key(&host, Reason::Generated).await;
    }
}

#[tokio::test]
async fn a_key_that_waits_for_a_finalizer_is_generated_anew_when_it_is_gone() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    let host = fixture.create("home", None).await;
    fixture.await_key(&host, Reason::Generated).await;
    let name = "home-update-key";
    let finalizers = |all: &[&str]| json!({"metadata": {"finalizers": all}});
    merge(&secrets, name, finalizers(&["example.org/backup"])).await;
    let former = secrets.get(name).await.unwrap();
    secrets.delete(name, &Default::default()).await.unwrap();
    let old = text(&former, "token");
    fixture.await_answer(&host, &old, Answer::BadAuth).await;
    fixture.await_key(&host, Reason::SecretNotFound).await;
    fixture.await_idle().await;
    merge(&secrets, name, finalizers(&[])).await;
    fixture.await_key(&host, Reason::Generated).await;
    let new = secrets.get(name).await.unwrap();
    assert_ne!(text(&new, "token"), old);
}

#[tokio::test]
async fn a_generated_key_of_two_hosts_goes_with_the_last() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    let home = fixture.create("home", Some("shared")).await;
    let nas = fixture.create("nas", Some("shared")).await;
    let shared = await_secret(&secrets, "shared", "is owned by both", |secret| {
        owners(secret) == uids(&[&home, &nas])
    })
    .await;
    let owners_are_controllers = shared
        .owner_references()
        .iter()
        .map(|owner| owner.controller);
    assert!(
        owners_are_controllers
            .into_iter()
            .all(|is| is != Some(true))
    );
    let token = text(&shared, "token");
    for host in [&home, &nas] {
        fixture.await_key(host, Reason::Generated).await;
        assert_eq!(fixture.update(host, &token).await, Answer::Taken);
    }
    fixture.delete_host(&home).await;
    let kept = await_secret(&secrets, "shared", "is owned by the other", |secret| {
        owners(secret) == uids(&[&nas])
    })
    .await;
    assert_eq!(kept.uid(), shared.uid());
    assert_eq!(fixture.update(&nas, &token).await, Answer::Taken);
    fixture.delete_host(&nas).await;
    await_condition(
        "the garbage collector takes the Secret",
        LIMIT,
        async || Ok(secrets.get_opt("shared").await?.is_none().then_some(())),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_secret_of_another_type_is_left_alone() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    let (other, token) = (token(), token());
    create_secret(&secrets, "key", "Opaque", &[("token", &other)]).await;
    let host = fixture.create("home", Some("key")).await;
    let judged = fixture.await_key(&host, Reason::WrongType).await;
    let ready = condition(&judged, ConditionType::Ready).unwrap();
    assert_eq!(
        (ready.status, &*ready.reason),
        (ConditionStatus::False, "WrongType")
    );
    assert_eq!(fixture.update(&host, &other).await, Answer::BadAuth);
    let untouched = secrets.get("key").await.unwrap();
    assert_eq!(untouched.owner_references(), []);
    assert_eq!(text(&untouched, "token"), other);

    // The type of a Secret never changes, so the way out is another Secret of the name.
    secrets.delete("key", &Default::default()).await.unwrap();
    supply(&secrets, "key", &[("token", &token)]).await;
    fixture.await_key(&host, Reason::Supplied).await;
    assert_eq!(fixture.update(&host, &token).await, Answer::Taken);
}

#[tokio::test]
async fn a_key_is_generated_when_a_secret_of_another_type_goes() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    create_secret(&secrets, "key", "Opaque", &[]).await;
    let host = fixture.create("home", Some("key")).await;
    fixture.await_key(&host, Reason::WrongType).await;
    fixture.await_idle().await;
    secrets.delete("key", &Default::default()).await.unwrap();
    fixture.await_key(&host, Reason::Generated).await;
}

#[tokio::test]
async fn a_key_that_a_policy_forbids_is_generated_when_it_is_permitted() {
    let fixture = Fixture::new().await;
    let namespace = &fixture.zone.namespace;
    let control_plane = &fixture.stack.control_plane;
    let policy = policy(namespace, "CREATE");
    control_plane
        .kubectl(&["create", "-f", "-"], &policy)
        .await
        .unwrap();
    await_condition("the policy is in force", LIMIT, async || {
        let secret = [
            "create",
            "secret",
            "generic",
            "any",
            "--dry-run=server",
            "-n",
            namespace,
        ];
        let output = control_plane.try_kubectl(&secret, "").await?;
        Ok((!output.status.success()).then_some(()))
    })
    .await
    .unwrap();
    let host = fixture.create("home", None).await;
    let judged = fixture.await_key(&host, Reason::SecretNotFound).await;
    let said = &condition(&judged, ConditionType::KeyReady).unwrap().message;
    assert!(said.contains("no Secrets today"), "{said}");
    control_plane
        .kubectl(&["delete", "-f", "-"], &policy)
        .await
        .unwrap();
    fixture.await_key(&host, Reason::Generated).await;
}

#[tokio::test]
async fn a_key_that_cannot_be_written_keeps_no_address_from_dns() {
    let fixture = Fixture::new().await;
    let namespace = &fixture.zone.namespace;
    let control_plane = &fixture.stack.control_plane;
    let home = fixture.create("home", Some("shared")).await;
    fixture.await_key(&home, Reason::Generated).await;
    let policy = policy(namespace, "UPDATE");
    let create = ["create", "-f", "-"];
    control_plane.kubectl(&create, &policy).await.unwrap();
    await_condition("the policy is in force", LIMIT, async || {
        let label = [
            "label",
            "secret",
            "shared",
            "any=label",
            "--dry-run=server",
            "-n",
            namespace,
        ];
        let output = control_plane.try_kubectl(&label, "").await?;
        Ok((!output.status.success()).then_some(()))
    })
    .await
    .unwrap();

    // The operator cannot make the second host an owner of the Secret.
    let nas = fixture.create("nas", Some("shared")).await;
    let judged = fixture.await_key(&nas, Reason::SecretNotFound).await;
    let said = &condition(&judged, ConditionType::KeyReady).unwrap().message;
    assert!(said.contains("no Secrets today"), "{said}");
    let token = fixture.stack.update_key(namespace, "shared").await.unwrap();
    let hostname = &nas.spec.hostname;
    let answer = fixture.stack.update(hostname, &token, "198.51.100.7").await;
    assert_eq!(answer.unwrap().text(), "good 198.51.100.7");
    let in_dns = fixture
        .stack
        .await_dns(hostname, RecordType::A, &["198.51.100.7"]);
    in_dns.await.unwrap();

    let delete = ["delete", "-f", "-"];
    control_plane.kubectl(&delete, &policy).await.unwrap();
    fixture.await_key(&nas, Reason::Generated).await;
}

/// Denies one operation on Secrets of the namespace.
fn policy(namespace: &str, operation: &str) -> String {
    POLICY
        .replace("NAMESPACE", namespace)
        .replace("OPERATION", operation)
}

const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAMESPACE}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], resources: [secrets], operations: [OPERATION]}
  validations:
    - {expression: "false", message: no Secrets today, reason: Forbidden}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAMESPACE}
spec: {policyName: NAMESPACE, validationActions: [Deny]}
"#;

#[tokio::test]
async fn a_key_needs_a_token_of_12_octets() {
    let fixture = Fixture::new().await;
    let secrets = fixture.secrets().await;
    let good = token();
    let data = [("token", "11-octets-x"), ("previousToken", good.as_str())];
    supply(&secrets, "key", &data).await;
    let host = fixture.create("home", Some("key")).await;
    let check = async |tokens: &[(&str, &str)], expected: Reason, locked_out: &[&str]| {
        change(&secrets, "key", tokens).await;
        fixture.await_key(&host, expected).await;
        for token in locked_out {
            assert_eq!(
                fixture.update(&host, token).await,
                Answer::BadAuth,
                "{token}"
            );
        }
    };
    // Nobody is let in by the previous token alone.
    check(&[], Reason::Invalid, &["11-octets-x", &good]).await;
    let prefix = &good[..12];
    check(&[("token", prefix)], Reason::Supplied, &["11-octets-x"]).await;
    fixture.await_answer(&host, prefix, Answer::Taken).await;
    check(&[("token", "")], Reason::Invalid, &["", prefix, &good]).await;
    check(&[("token", &good)], Reason::Supplied, &["", prefix]).await;
    check(
        &[("token", "11-octets-x\n")],
        Reason::Invalid,
        &["11-octets-x", &good],
    )
    .await;
    let judged = fixture.await_key(&host, Reason::Invalid).await;
    let key_ready = condition(&judged, ConditionType::KeyReady).unwrap();
    let said = "the Secret key has no token of at least 12 octets";
    assert_eq!(key_ready.message, said);
}

/// A zone that admits every namespace, and two namespaces, the first of which comes first where
/// two objects were created within one second.
async fn two_namespaces() -> (Fixture, [String; 2]) {
    let fixture = Fixture::with(ZoneOptions {
        from: NamespacesFrom::All,
        ..ZoneOptions::default()
    })
    .await;
    let control_plane = &fixture.stack.control_plane;
    let older = control_plane.namespace("key-a").await.unwrap();
    let younger = control_plane.namespace("key-b").await.unwrap();
    (fixture, [older, younger])
}

#[tokio::test]
async fn a_token_in_two_secrets_counts_in_the_older_one() {
    let (fixture, namespaces) = two_namespaces().await;
    let token = token();
    let mut hosts = Vec::new();
    for (namespace, label) in namespaces.iter().zip(["older", "younger"]) {
        supply(
            &fixture.secrets_of(namespace).await,
            "key",
            &[("token", &token)],
        )
        .await;
        let mut host = fixture.zone.host(label);
        host.metadata.namespace = Some(namespace.clone());
        host.spec.auth.secret_name = Some("key".to_owned());
        hosts.push(fixture.create_host(&host).await);
    }
    let (older, younger) = (&hosts[0], &hosts[1]);
    fixture.await_key(older, Reason::Supplied).await;
    let judged = fixture.await_key(younger, Reason::TokenNotUnique).await;
    let ready = condition(&judged, ConditionType::Ready).unwrap();
    assert_eq!(
        (ready.status, &*ready.reason),
        (ConditionStatus::False, "TokenNotUnique")
    );
    let told = serde_json::to_string(&judged.status).unwrap();
    assert!(!told.contains(&namespaces[0]), "whose token it is: {told}");
    assert_eq!(fixture.update(older, &token).await, Answer::Taken);
    assert_eq!(fixture.update(younger, &token).await, Answer::NoHost);

    let secrets = fixture.secrets_of(&namespaces[0]).await;
    secrets.delete("key", &Default::default()).await.unwrap();
    fixture.await_key(younger, Reason::Supplied).await;
    assert_eq!(fixture.update(younger, &token).await, Answer::Taken);
    assert_eq!(fixture.update(older, &token).await, Answer::NoHost);
}

#[tokio::test]
async fn a_secret_of_another_namespace_lets_nobody_in() {
    let (fixture, [theirs, own]) = two_namespaces().await;
    let token = token();
    supply(
        &fixture.secrets_of(&theirs).await,
        "key",
        &[("token", &token)],
    )
    .await;
    let mut host = fixture.zone.host("home");
    host.metadata.namespace = Some(own.clone());
    host.spec.auth.secret_name = Some("key".to_owned());
    let host = fixture.create_host(&host).await;
    fixture.await_key(&host, Reason::Generated).await;
    assert_eq!(fixture.update(&host, &token).await, Answer::BadAuth);
    let generated = fixture.secrets_of(&own).await.get("key").await.unwrap();
    assert_ne!(text(&generated, "token"), token);
}
