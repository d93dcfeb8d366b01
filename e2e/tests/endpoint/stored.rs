//! Hosts of these tests, and what is stored of them.

use dynhost_crds::{
    conditions::{ConditionType, Reason},
    host::{DynamicHost, Observed},
    key,
};
use dynhost_e2e::{Operator, Stack, Zone};
use hickory_net::proto::rr::RecordType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::replica;
use super::signing::SHA1_USER;

/// A host that is Ready and that this endpoint knows.
pub(crate) struct Home<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) host: DynamicHost,
    /// The host's name.
    pub(crate) name: String,
    /// The update key.
    pub(crate) token: String,
    hosts: Api<DynamicHost>,
}

impl<'a> Home<'a> {
    /// `spec` is merged into that of a host with every default.
    pub(crate) async fn new(
        (stack, endpoint): (&'a Stack, &Operator),
        zone: &Zone,
        label: &str,
        spec: Value,
    ) -> Self {
        let host = with_spec(&zone.host(label), spec);
        let token = stack.create_host(&host).await.unwrap();
        replica::await_known(endpoint, &host, &token).await;
        Self {
            stack,
            name: host.spec.hostname.clone(),
            token,
            hosts: stack.hosts(&zone.namespace).await.unwrap(),
            host,
        }
    }

    /// A host of the 2012 script, of which nothing is awaited; its token is not read.
    pub(crate) async fn of_script(stack: &'a Stack, zone: &Zone) -> Self {
        let spec = json!({"auth": {"sha1Script": {"user": SHA1_USER}}});
        let host = with_spec(&zone.host("home"), spec);
        let hosts = stack.hosts(&zone.namespace).await.unwrap();
        let host = hosts.create(&PostParams::default(), &host).await.unwrap();
        Self {
            stack,
            name: host.spec.hostname.clone(),
            token: String::new(),
            hosts,
            host,
        }
    }

    /// Waits until the controller judges the update key so.
    pub(crate) async fn await_key(&self, reason: Reason) -> DynamicHost {
        let namespace = self.host.namespace().unwrap();
        let (name, of) = (self.host.name_any(), ConditionType::KeyReady);
        let awaited = self.stack.await_reason(&namespace, &name, of, reason);
        awaited.await.unwrap()
    }

    /// What is stored, but for when a client was last seen: that is noted behind the answers.
    pub(crate) async fn observed(&self) -> Observed {
        let host = self.hosts.get(&self.host.name_any()).await.unwrap();
        let status = host.status.unwrap_or_default();
        Observed {
            last_seen: None,
            ..status.observed.unwrap_or_default()
        }
    }

    /// IPv4 address, IPv6 address, prefix and time of the newest signed request, as stored; `-`
    /// for what is not.
    pub(crate) async fn stored(&self) -> String {
        fn text(value: Option<impl ToString>) -> String {
            value.map_or_else(|| "-".to_owned(), |value| value.to_string())
        }
        let observed = self.observed().await;
        [
            text(observed.ipv4.and_then(|o| o.address)),
            text(observed.ipv6.and_then(|o| o.address)),
            text(observed.ipv6_prefix.and_then(|o| o.prefix)),
            text(observed.signed_at.map(|at| at.as_second())),
        ]
        .join(" ")
    }

    /// When a client was last seen.
    pub(crate) async fn last_seen(&self) -> Option<Timestamp> {
        let host = self.hosts.get(&self.host.name_any()).await.unwrap();
        host.status?.observed?.last_seen
    }

    /// Changes the status, past endpoint and controller.
    pub(crate) async fn merge_status(&self, status: Value) {
        let (name, params) = (self.host.name_any(), PatchParams::default());
        let patch = Patch::Merge(json!({ "status": status }));
        let patched = self.hosts.patch_status(&name, &params, &patch).await;
        patched.unwrap();
    }

    /// Waits until status says that all is published.
    pub(crate) async fn await_published(&self) {
        let namespace = self.host.namespace().unwrap();
        let (name, of) = (self.host.name_any(), ConditionType::Published);
        let published = self
            .stack
            .await_reason(&namespace, &name, of, Reason::Published);
        published.await.unwrap();
    }

    /// Changes the spec by a merge patch.
    pub(crate) async fn merge_spec(&self, spec: Value) {
        let (name, params) = (self.host.name_any(), PatchParams::default());
        let patch = Patch::Merge(json!({"spec": spec}));
        self.hosts.patch(&name, &params, &patch).await.unwrap();
    }

    /// Waits until BIND has these addresses of the host, and a marker where it has any.
    pub(crate) async fn await_dns(&self, ipv4: &[&str], ipv6: &[&str]) {
        let await_dns = async |of: &str, record_type, expected: &[&str]| {
            let awaited = self.stack.await_dns(of, record_type, expected);
            awaited.await.unwrap();
        };
        await_dns(&self.name, RecordType::A, ipv4).await;
        await_dns(&self.name, RecordType::AAAA, ipv6).await;
        let marker = format!("_dynhost.{}", self.name);
        if ipv4.is_empty() && ipv6.is_empty() {
            await_dns(&marker, RecordType::TXT, &[]).await;
        } else {
            let answer = self.stack.bind.query(&marker, RecordType::TXT).await;
            assert_eq!(answer.unwrap().rdata.len(), 1);
        }
    }
}

/// The host with `spec` merged into its own.
pub(crate) fn with_spec(host: &DynamicHost, spec: Value) -> DynamicHost {
    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (name, value) in from {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }
    let mut object = serde_json::to_value(host).unwrap();
    merge(&mut object["spec"], spec);
    serde_json::from_value(object).unwrap()
}

/// Changes values of a Secret; others stay.
pub(crate) async fn change_secret(stack: &Stack, zone: &Zone, name: &str, data: Value) {
    let params = PatchParams::default();
    let patch = Patch::Merge(json!({"stringData": data}));
    let secrets = secrets(stack, zone).await;
    secrets.patch(name, &params, &patch).await.unwrap();
}

async fn secrets(stack: &Stack, zone: &Zone) -> Api<Secret> {
    Api::namespaced(stack.client().await.unwrap(), &zone.namespace)
}

/// Creates an update key's Secret, as a user does.
pub(crate) async fn supply(stack: &Stack, zone: &Zone, name: &str, data: &[(&str, &str)]) {
    let data: serde_json::Map<_, _> = data
        .iter()
        .map(|(key, text)| ((*key).to_owned(), Value::from(*text)))
        .collect();
    let secret = json!({
        "metadata": {"name": name}, "type": key::SECRET_TYPE, "stringData": data,
    });
    let secret = serde_json::from_value(secret).unwrap();
    let secrets = secrets(stack, zone).await;
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}
