//! TSIG: credentials that the name server does not take, and that are corrected without a restart.

use anyhow::Result;
use dynhost_crds::conditions::{ConditionStatus::False, ConditionType, Reason};
use dynhost_e2e::{Stack, Zone, ZoneOptions, ZoneSpec, random_base64, stack::condition};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::live_host::{LiveHost, verdict};
use super::zone_records::{await_zone_reason, merge_zone};

/// What an administrator changes.
enum Change {
    /// `spec.rfc2136.tsig`, by a merge patch.
    Tsig(Value),
    /// The text of the Secret `other`.
    OtherSecret(String),
}

impl Change {
    async fn make(self, stack: &Stack, zone: &Zone) -> Result<()> {
        match self {
            Self::Tsig(tsig) => {
                merge_zone(stack, zone, json!({"spec": {"rfc2136": {"tsig": tsig}}})).await
            }
            Self::OtherSecret(text) => write_secret(stack, zone, "other", &text).await,
        }
    }
}

async fn write_secret(stack: &Stack, zone: &Zone, name: &str, text: &str) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(stack.client().await?, &zone.namespace);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name}, "stringData": {"secret": text},
    });
    let params = PatchParams::apply("administrator").force();
    secrets.patch(name, &params, &Patch::Apply(secret)).await?;
    Ok(())
}

/// Breaks the credentials of a zone in use, expects the zone and its host to say `kind`, corrects
/// them, and expects both to recover.
async fn check(
    broken: Vec<Change>,
    kind: &str,
    corrected: impl FnOnce(&Zone) -> Change,
) -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;

    for change in broken {
        change.make(stack, &zone).await?;
    }
    let ready = await_zone_reason(stack, &zone, Reason::CredentialsRejected).await?;
    assert_eq!(ready.status, False);
    assert!(ready.message.contains(kind), "{}", ready.message);
    host.report("198.51.100.8").await?;
    let refused = host
        .await_reason(ConditionType::Published, Reason::CredentialsRejected)
        .await?;
    let expected = Some((False, "CredentialsRejected"));
    assert_eq!(verdict(&refused, ConditionType::Ready), expected);
    let status = serde_json::to_string(&refused.status)?;
    assert!(status.contains(kind), "{status}");
    host.await_a(&["198.51.100.7"]).await?;

    corrected(&zone).make(stack, &zone).await?;
    host.await_published(&["A 60 198.51.100.8"]).await?;
    host.await_a(&["198.51.100.8"]).await?;
    await_zone_reason(stack, &zone, Reason::Ready).await?;
    Ok(())
}

fn other_secret() -> Change {
    Change::Tsig(json!({"secretRef": {"name": "other"}}))
}

fn right_secret(zone: &Zone) -> Change {
    Change::OtherSecret(zone.key.secret.clone())
}

#[tokio::test]
async fn a_missing_secret_is_told_and_awaited() -> Result<()> {
    check(vec![other_secret()], "Secret other", right_secret).await
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_read_again() -> Result<()> {
    let wrong = Change::OtherSecret(random_base64(32)?);
    check(vec![wrong, other_secret()], "BADSIG", right_secret).await
}

#[tokio::test]
async fn a_secret_that_is_not_base64_is_told_and_read_again() -> Result<()> {
    let garbled = Change::OtherSecret("not base64".to_owned());
    check(
        vec![garbled, other_secret()],
        "not base64 text",
        right_secret,
    )
    .await
}

#[tokio::test]
async fn a_wrong_algorithm_is_told() -> Result<()> {
    let wrong = Change::Tsig(json!({"algorithm": "hmac-sha512"}));
    let right = |_: &Zone| Change::Tsig(json!({"algorithm": "hmac-sha256"}));
    check(vec![wrong], "BADKEY", right).await
}

#[tokio::test]
async fn a_key_that_the_server_does_not_know_is_told() -> Result<()> {
    let unknown = Change::Tsig(json!({"keyName": "unknown"}));
    let right = |zone: &Zone| Change::Tsig(json!({"keyName": zone.key.name}));
    check(vec![unknown], "BADKEY", right).await
}

#[tokio::test]
async fn a_key_replaced_on_both_sides_is_used_with_the_next_update() -> Result<()> {
    let stack = Stack::shared().await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let host = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;

    let mut key = zone.key.clone();
    key.secret = random_base64(32)?;
    write_secret(stack, &zone, "tsig", &key.secret).await?;
    let served = ZoneSpec {
        apex: zone.apex.clone(),
        keys: vec![key],
        records: Vec::new(),
        allow_transfer: false,
    };
    stack.bind.add_zone(served).await?;
    let since = async || {
        let host = host.get().await?;
        let published = condition(&host, ConditionType::Published);
        Ok::<_, anyhow::Error>(published.map(|published| published.last_transition_time))
    };
    let before = since().await?;
    host.report("198.51.100.8").await?;
    host.await_published(&["A 60 198.51.100.8"]).await?;
    // It was Published all the time.
    assert_eq!(since().await?, before);
    Ok(())
}
