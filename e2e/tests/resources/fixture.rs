//! Hosts with update keys, in a zone of one test's own.

use dynhost_crds::{
    conditions::{ConditionType, Reason},
    host::DynamicHost,
    key::SECRET_TYPE,
    zone::DynamicZone,
};
use dynhost_e2e::{Stack, Zone, ZoneOptions, await_condition, stack::LIMIT};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// What every update in these tests declares.
pub(crate) const ADDRESS: &str = "198.51.100.7";

/// The shared stack and a zone.
pub(crate) struct Fixture {
    pub(crate) stack: &'static Stack,
    pub(crate) zone: Zone,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(ZoneOptions::default()).await
    }

    pub(crate) async fn with(options: ZoneOptions) -> Self {
        let stack = Stack::shared().await.unwrap();
        let zone = stack.create_zone(options).await.unwrap();
        Self { stack, zone }
    }

    /// Secrets of the zone's namespace.
    pub(crate) async fn secrets(&self) -> Api<Secret> {
        self.secrets_of(&self.zone.namespace).await
    }

    pub(crate) async fn secrets_of(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.stack.client().await.unwrap(), namespace)
    }

    /// Creates a host `label`, with this update key where one is named.
    pub(crate) async fn create(&self, label: &str, secret: Option<&str>) -> DynamicHost {
        let mut host = self.zone.host(label);
        host.spec.auth.secret_name = secret.map(str::to_owned);
        self.create_host(&host).await
    }

    pub(crate) async fn create_host(&self, host: &DynamicHost) -> DynamicHost {
        let hosts = self.stack.hosts(&host.namespace().unwrap()).await.unwrap();
        hosts.create(&PostParams::default(), host).await.unwrap()
    }

    pub(crate) async fn delete_host(&self, host: &DynamicHost) {
        let hosts = self.stack.hosts(&host.namespace().unwrap()).await.unwrap();
        let name = host.name_any();
        hosts.delete(&name, &Default::default()).await.unwrap();
        await_condition("the host is gone", LIMIT, async || {
            Ok(hosts.get_opt(&name).await?.is_none().then_some(()))
        })
        .await
        .unwrap();
    }

    /// Waits until the host's update key is judged so.
    pub(crate) async fn await_key(&self, host: &DynamicHost, reason: Reason) -> DynamicHost {
        self.await_reason(host, ConditionType::KeyReady, reason)
            .await
    }

    pub(crate) async fn await_reason(
        &self,
        host: &DynamicHost,
        of: ConditionType,
        reason: Reason,
    ) -> DynamicHost {
        let (namespace, name) = (host.namespace().unwrap(), host.name_any());
        let awaited = self.stack.await_reason(&namespace, &name, of, reason);
        awaited.await.unwrap()
    }

    /// Waits until the operator has looked at every host that changed before, and at what followed
    /// from that: it looks at hosts in the order of their changes.
    pub(crate) async fn await_idle(&self) {
        self.stack
            .create_host(&self.zone.host("idle-1"))
            .await
            .unwrap();
        // The zone's first host gets it a finalizer, and that brings all its hosts back.
        let zones: Api<DynamicZone> =
            Api::namespaced(self.stack.client().await.unwrap(), &self.zone.namespace);
        await_condition("the zone has its finalizer", LIMIT, async || {
            let zone = zones.get(&self.zone.name).await?;
            Ok((!zone.finalizers().is_empty()).then_some(()))
        })
        .await
        .unwrap();
        self.stack
            .create_host(&self.zone.host("idle-2"))
            .await
            .unwrap();
    }

    /// Waits until an update of the host with this token is answered so.
    pub(crate) async fn await_answer(&self, host: &DynamicHost, token: &str, expected: Answer) {
        let what = format!("{} is answered {expected:?}", host.spec.hostname);
        await_condition(&what, LIMIT, async || {
            let answer = self.update(host, token).await;
            anyhow::ensure!(answer == expected, "the answer is {answer:?}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    }

    /// The endpoint's answer to one update of the host with this token.
    pub(crate) async fn update(&self, host: &DynamicHost, token: &str) -> Answer {
        let updated = self.stack.update(&host.spec.hostname, token, ADDRESS);
        let response = updated.await.unwrap();
        match (response.status, response.text().as_str()) {
            (200, "good 198.51.100.7" | "nochg 198.51.100.7") => Answer::Taken,
            (401, "badauth") => Answer::BadAuth,
            (404, "nohost") => Answer::NoHost,
            (503, "911") if response.header("retry-after").is_some() => Answer::TryAgain,
            _ => panic!("{response:?}"),
        }
    }
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    BadAuth,
    NoHost,
    TryAgain,
}

/// Creates a Secret of the type of update keys, as a user does.
pub(crate) async fn supply(secrets: &Api<Secret>, name: &str, data: &[(&str, &str)]) -> Secret {
    create_secret(secrets, name, SECRET_TYPE, data).await
}

pub(crate) async fn create_secret(
    secrets: &Api<Secret>,
    name: &str,
    type_: &str,
    data: &[(&str, &str)],
) -> Secret {
    let secret = json!({
        "metadata": {"name": name},
        "type": type_,
        "stringData": texts(data),
    });
    let secret = serde_json::from_value(secret).unwrap();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap()
}

/// Replaces values of a Secret; others stay.
pub(crate) async fn change(secrets: &Api<Secret>, name: &str, data: &[(&str, &str)]) {
    let patch = json!({"stringData": texts(data)});
    merge(secrets, name, patch).await;
}

pub(crate) async fn merge(secrets: &Api<Secret>, name: &str, patch: Value) {
    let params = PatchParams::default();
    secrets
        .patch(name, &params, &Patch::Merge(patch))
        .await
        .unwrap();
}

fn texts(data: &[(&str, &str)]) -> Value {
    data.iter()
        .map(|(key, text)| ((*key).to_owned(), Value::from(*text)))
        .collect()
}
