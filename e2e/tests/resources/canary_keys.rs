//! Hosts that take every dialect, their keys, and endpoints to try them on.

use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Operator, Stack, Zone, random_hex, stack::operator_kubeconfig};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::canary_requests::{SHA1_USER, Signer};
use crate::fixture::supply;

/// Every failing answer of these tests comes from one source.
pub(crate) const NO_LIMITS: [&str; 4] =
    ["--source-rate", "1000000", "--host-change-rate", "1000000"];

/// A key pair, a token and a secret of one holder.
pub(crate) struct Keys {
    pub(crate) token: String,
    pub(crate) sha1_secret: String,
    pub(crate) signer: Signer,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            token: random_hex(16).unwrap(),
            sha1_secret: random_hex(16).unwrap(),
            signer: Signer::new(),
        }
    }

    pub(crate) async fn store(&self, secrets: &Api<Secret>, name: &str, previous: &str) {
        let data = [
            ("token", self.token.as_str()),
            ("previousToken", previous),
            ("sha1Secret", &self.sha1_secret),
        ];
        supply(secrets, name, &data).await;
    }
}

/// Creates a host that takes every dialect's requests, with these further fields of `spec`.
pub(crate) async fn create(
    stack: &Stack,
    zone: &Zone,
    label: &str,
    keys: (&str, &Keys),
    fields: Value,
) {
    let mut host = serde_json::to_value(zone.host(label)).unwrap();
    host["spec"]["auth"] = json!({
        "secretName": keys.0,
        "publicKeys": [keys.1.signer.public_key()],
        "sha1Script": {"user": SHA1_USER},
        "allowClear": true,
    });
    host["spec"]["address"] = json!({"allowPrivate": true});
    for (name, field) in fields.as_object().unwrap() {
        host["spec"][name] = field.clone();
    }
    let hosts = stack.hosts(&zone.namespace).await.unwrap();
    let host = serde_json::from_value(host).unwrap();
    hosts.create(&PostParams::default(), &host).await.unwrap();
    for (of, reason) in [
        (ConditionType::KeyReady, Reason::Supplied),
        (ConditionType::Accepted, Reason::Accepted),
    ] {
        let awaited = stack.await_reason(&zone.namespace, label, of, reason);
        awaited.await.unwrap();
    }
}

/// An endpoint of its own beside the stack's, over the same API server.
pub(crate) async fn start_endpoint(stack: &Stack, arguments: &[&str]) -> Operator {
    let kubeconfig = operator_kubeconfig(&stack.control_plane, None)
        .await
        .unwrap();
    let arguments = [&["--no-controller"], arguments].concat();
    let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
    Operator::start(&kubeconfig, &arguments).await.unwrap()
}
