//! The update key of a host: found, or generated where it is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_crds::key::{GENERATED_LABEL, SECRET_TYPE, SHA1_SECRET, TOKEN};
use dynhost_crds::{CONTROLLER_FIELD_MANAGER, GROUP};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, Patch, PatchParams, PostParams};

use super::status::Verdict;
use crate::events::Events;
use crate::index::Index;
use crate::index::host::{Host, HostSpec};
use crate::index::key::UpdateKey;
use crate::index::object::ObjectKey;
use crate::metrics::Metrics;

/// Characters of a generated token: those that no router's form and no URL escapes (a FRITZ!Box
/// escapes nothing).
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Characters of a generated token: 190 bits.
const TOKEN_LENGTH: usize = 32;

/// How long a Secret that is missing or of another type is left alone, first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// When a host's Secret is to be asked for again: the watch shows those of the right type only, so
/// nothing tells that another one is gone, or that a new one is permitted now.
///
/// As long after as status has said so already, which doubles the pause each time. A verdict that
/// status does not tell yet, or tells of a former spec, is a new one.
pub(super) fn look_again(host: &Host, verdict: &Verdict, now: Timestamp) -> Option<Duration> {
    if !matches!(verdict.reason, Reason::WrongType | Reason::SecretNotFound) {
        return None;
    }
    let told = host.condition(ConditionType::KeyReady);
    let told = told.filter(|c| c.reason == verdict.reason && c.generation == host.meta.generation);
    let age = told.and_then(|c| Duration::try_from(now.duration_since(c.since)).ok());
    Some(age.unwrap_or_default().clamp(RETRY.0, RETRY.1))
}

/// What the index says of a host's update key; `None`: no Secret of the right type is there.
pub(super) fn judge(index: &Index, spec: &HostSpec) -> Option<Verdict> {
    let view = index.view();
    let secret = &spec.secret;
    let key = view.key(secret)?;
    let runs_script = spec.sha1_user.is_some();
    if runs_script && key.sha1_secret.is_none() {
        return Some(Verdict::of(Reason::Invalid).saying(format!(
            "the Secret {} has no {SHA1_SECRET}, which auth.sha1Script needs",
            secret.name
        )));
    }
    // Whoever only runs the script of 2012 need not have a token.
    if key.token.is_none() && !runs_script {
        return Some(Verdict::of(Reason::Invalid).saying(format!(
            "the Secret {} has no token of at least {} octets",
            secret.name,
            dynhost_crds::key::MIN_TOKEN_OCTETS
        )));
    }
    if view.older_key_with_same_token(&key).is_some() {
        return Some(Verdict::of(Reason::TokenNotUnique));
    }
    Some(Verdict::of(match key.generated {
        true => Reason::Generated,
        false => Reason::Supplied,
    }))
}

/// Keeps update keys in Secrets.
pub(super) struct Keys<'a> {
    pub client: &'a kube::Client,
    pub index: &'a Index,
    pub metrics: &'a Metrics,
    pub events: &'a Events,
}

impl Keys<'_> {
    /// Whether [`Self::ensure`] needs no client.
    pub(super) fn is_settled(&self, host: &Host, spec: &HostSpec) -> bool {
        judge(self.index, spec).is_some() && !self.lacks_owner(host, &spec.secret)
    }

    /// A generated key that is not owned by the host yet.
    fn lacks_owner(&self, host: &Host, secret: &ObjectKey) -> bool {
        self.index
            .key(secret)
            .is_some_and(|key| key.generated && !key.is_owned_by(&host.meta.uid))
    }

    /// The verdict on the host's key, which is generated where it is missing, and is owned by every
    /// host that names it where it was generated.
    pub(super) async fn ensure(
        &self,
        host: &Host,
        spec: &HostSpec,
    ) -> Result<Verdict, kube::Error> {
        let secret = &spec.secret;
        let verdict = match judge(self.index, spec) {
            Some(verdict) => verdict,
            None => match self.find_or_create(host, secret).await? {
                Some(verdict) => verdict,
                None => {
                    judge(self.index, spec).unwrap_or_else(|| Verdict::of(Reason::SecretNotFound))
                }
            },
        };
        if self.lacks_owner(host, secret) {
            self.add_owner(host, secret).await?;
        }
        Ok(verdict)
    }

    /// `None`: the index knows the Secret now.
    async fn find_or_create(
        &self,
        host: &Host,
        secret: &ObjectKey,
    ) -> Result<Option<Verdict>, kube::Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &secret.namespace);
        if let Some(found) = api.get_opt(&secret.name).await? {
            if found.type_.as_deref() != Some(SECRET_TYPE) {
                return Ok(Some(Verdict::of(Reason::WrongType).saying(format!(
                    "the Secret {} is not of type {SECRET_TYPE}",
                    secret.name
                ))));
            }
            if let Some(key) = UpdateKey::new(&found) {
                self.index.apply_key_reply(key);
            }
            return Ok(None);
        }
        let Some(token) = generate_token() else {
            return Ok(Some(
                Verdict::of(Reason::SecretNotFound).saying("the system has no randomness"),
            ));
        };
        let generated = Secret {
            metadata: ObjectMeta {
                name: Some(secret.name.to_string()),
                namespace: Some(secret.namespace.to_string()),
                labels: Some(BTreeMap::from([(
                    GENERATED_LABEL.to_owned(),
                    "true".to_owned(),
                )])),
                owner_references: Some(vec![owner(host)]),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            string_data: Some(BTreeMap::from([(TOKEN.to_owned(), token)])),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        self.metrics.count_api_write("secret");
        match api.create(&params, &generated).await {
            Ok(created) => {
                self.events.key_generated(host, secret);
                if let Some(key) = UpdateKey::new(&created) {
                    self.index.apply_key_reply(key);
                }
                Ok(None)
            }
            // The namespace is ending, a quota is used up, a policy says no: a person must act.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 422) => {
                Ok(Some(Verdict::of(Reason::SecretNotFound).saying(format!(
                    "the Secret {} is missing and could not be created: {}",
                    secret.name, status.message
                ))))
            }
            Err(error) => Err(error),
        }
    }

    async fn add_owner(&self, host: &Host, secret: &ObjectKey) -> Result<(), kube::Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &secret.namespace);
        let params = PatchParams {
            field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // A strategic merge patch merges owners by UID: several hosts never lose each other's.
        let patch = serde_json::json!({"metadata": {"ownerReferences": [owner(host)]}});
        self.metrics.count_api_write("secret");
        match api
            .patch(&secret.name, &params, &Patch::Strategic(patch))
            .await
        {
            Ok(patched) => {
                if let Some(key) = UpdateKey::new(&patched) {
                    self.index.apply_key_reply(key);
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn owner(host: &Host) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/v1alpha1"),
        kind: "DynamicHost".to_owned(),
        name: host.meta.key.name.to_string(),
        uid: host.meta.uid.to_string(),
        controller: Some(false),
        block_owner_deletion: None,
    }
}

/// A token from the system's randomness; `None` where there is none.
fn generate_token() -> Option<String> {
    let mut token = String::with_capacity(TOKEN_LENGTH);
    let mut random = [0; 64];
    while token.len() < TOKEN_LENGTH {
        aws_lc_rs::rand::fill(&mut random).ok()?;
        let characters = random.iter().filter_map(|&octet| character(octet));
        token.extend(characters.take(TOKEN_LENGTH - token.len()));
    }
    Some(token)
}

/// Maps 248 of 256 octets, four to each character; the rest would favour some.
fn character(octet: u8) -> Option<char> {
    ALPHABET.get(usize::from(octet / 4)).map(|&c| char::from(c))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::update::fixture;

    #[test]
    fn a_secret_that_the_watch_does_not_show_is_asked_for_ever_more_rarely() {
        fn check(told: Option<(&str, i64)>, seconds: i64, now: Reason, expected: Option<u64>) {
            let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            let condition = |(reason, generation): (&str, i64)| {
                json!([{"type": "KeyReady", "status": "False", "reason": reason, "message": "",
                        "observedGeneration": generation, "lastTransitionTime": start}])
            };
            let host = fixture::object(json!({
                "metadata": {"generation": 2},
                "status": {"conditions": told.map(condition).unwrap_or(json!([]))},
            }));
            let now_at = start + jiff::SignedDuration::from_secs(seconds);
            let pause = look_again(&host, &Verdict::of(now), now_at);
            assert_eq!(
                pause,
                expected.map(Duration::from_secs),
                "{told:?} {seconds}"
            );
        }
        let (missing, other) = (Reason::SecretNotFound, Reason::WrongType);
        let told = Some(("SecretNotFound", 2));
        check(None, 0, missing, Some(10));
        check(told, 0, missing, Some(10));
        check(told, 10, missing, Some(10));
        check(told, 20, missing, Some(20));
        check(told, 160, missing, Some(160));
        check(told, 301, missing, Some(300));
        check(told, 1_000_000, missing, Some(300));
        // The clock was set back.
        check(told, -100, missing, Some(10));
        check(told, 1000, other, Some(10));
        check(Some(("SecretNotFound", 1)), 1000, missing, Some(10));
        check(Some(("WrongType", 2)), 1000, other, Some(300));
        // Of what becomes of these the watch tells.
        check(told, 1000, Reason::Generated, None);
        check(told, 1000, Reason::Invalid, None);
    }

    #[test]
    fn generated_tokens_are_long_plain_and_different() {
        let (one, other) = (generate_token().unwrap(), generate_token().unwrap());
        assert_ne!(one, other);
        for token in [one, other] {
            assert_eq!(token.len(), 32);
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn every_character_is_as_likely_as_any_other() {
        let mut counts = BTreeMap::new();
        for octet in 0..=u8::MAX {
            *counts.entry(character(octet)).or_insert(0) += 1;
        }
        assert_eq!(counts.remove(&None), Some(8));
        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|count| *count == 4));
    }
}
