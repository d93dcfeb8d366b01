//! Hosts: creating them, updating them as a router does, and waiting for what follows.

use anyhow::{Context, Result, ensure};
use dynhost_crds::{
    conditions::{ConditionStatus, ConditionType, Reason},
    host::DynamicHost,
    key,
};
use hickory_net::proto::rr::RecordType;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::PostParams};

use super::{LIMIT, Stack, condition};
use crate::{Response, await_condition, http};

impl Stack {
    /// Creates a host, waits until it is Ready, and returns its update key.
    ///
    /// # Errors
    /// Where it is refused, or does not become Ready.
    pub async fn create_host(&self, host: &DynamicHost) -> Result<String> {
        let namespace = host.namespace().context("the host has no namespace")?;
        let name = host.name_any();
        self.hosts(&namespace)
            .await?
            .create(&PostParams::default(), host)
            .await?;
        self.await_host(&namespace, &name, "is Ready", |host| {
            condition(host, ConditionType::Ready)
                .is_some_and(|ready| ready.status == ConditionStatus::True)
        })
        .await?;
        let secret = host.spec.auth.secret_name.clone();
        self.update_key(&namespace, &secret.unwrap_or(format!("{name}-update-key")))
            .await
    }

    /// The token of an update key's Secret.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn update_key(&self, namespace: &str, secret: &str) -> Result<String> {
        let secret = Api::<Secret>::namespaced(self.client().await?, namespace)
            .get(secret)
            .await?;
        let token = secret
            .data
            .unwrap_or_default()
            .remove(key::TOKEN)
            .context("the Secret has no token")?;
        Ok(String::from_utf8(token.0)?)
    }

    /// Reports `addresses` (comma-separated) for `hostname` as dyndns2 clients do.
    ///
    /// # Errors
    /// Where the endpoint does not answer; a refusal is an answer.
    pub async fn update(&self, hostname: &str, token: &str, addresses: &str) -> Result<Response> {
        let target = format!("/nic/update?hostname={hostname}&myip={addresses}");
        let address = self.operator.update_address();
        http::get(address, &target, Some(("router", token))).await
    }

    /// Waits until the stored host is as wanted, and returns it.
    ///
    /// # Errors
    /// After [`LIMIT`], with the host's status and the end of the operator's log.
    pub async fn await_host(
        &self,
        namespace: &str,
        name: &str,
        wanted: &str,
        is_wanted: impl Fn(&DynamicHost) -> bool,
    ) -> Result<DynamicHost> {
        let hosts = self.hosts(namespace).await?;
        await_condition(&format!("host {name} {wanted}"), LIMIT, async || {
            let host = hosts.get(name).await?;
            ensure!(is_wanted(&host), "its status is {:#?}", host.status);
            Ok(Some(host))
        })
        .await
        .with_context(|| self.operator.log_tail(20))
    }

    /// Waits until a host's condition has `reason`, and returns the host.
    ///
    /// # Errors
    /// As [`Self::await_host`].
    pub async fn await_reason(
        &self,
        namespace: &str,
        name: &str,
        of: ConditionType,
        reason: Reason,
    ) -> Result<DynamicHost> {
        let wanted = format!("has {} with {}", of.as_str(), reason.as_str());
        self.await_host(namespace, name, &wanted, |host| {
            condition(host, of).is_some_and(|condition| condition.reason == reason.as_str())
        })
        .await
    }

    /// Waits until BIND answers with exactly these data (in any order; empty for none).
    ///
    /// # Errors
    /// After [`LIMIT`], with the last answer and the end of the operator's log.
    pub async fn await_dns(
        &self,
        name: &str,
        record_type: RecordType,
        expected: &[&str],
    ) -> Result<()> {
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        let what = format!("{name} {record_type} is {expected:?}");
        await_condition(&what, LIMIT, async || {
            let answer = self.bind.query(name, record_type).await?;
            ensure!(answer.rdata == expected, "BIND says {answer:?}");
            Ok(Some(()))
        })
        .await
        .with_context(|| self.operator.log_tail(20))
    }
}
