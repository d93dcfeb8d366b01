//! A host that exists, as its router, its owner and other programs deal with it.

use anyhow::{Context, Result, ensure};
use dynhost_crds::{
    conditions::{ConditionStatus, ConditionType, Reason},
    host::DynamicHost,
};
use dynhost_e2e::{
    Response, Stack, Zone, await_condition,
    stack::{LIMIT, condition},
};
use hickory_net::proto::rr::RecordType;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{PartialObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

pub(crate) struct LiveHost<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) hostname: String,
    /// The update key's token.
    pub(crate) token: String,
    hosts: Api<DynamicHost>,
}

impl<'a> LiveHost<'a> {
    /// Creates a host that becomes Ready.
    pub(crate) async fn create(stack: &'a Stack, host: &DynamicHost) -> Result<Self> {
        let token = stack.create_host(host).await?;
        Self::with_token(stack, host, token).await
    }

    /// Creates a host of which nothing is expected.
    pub(crate) async fn create_unready(stack: &'a Stack, host: &DynamicHost) -> Result<Self> {
        let live = Self::with_token(stack, host, String::new()).await?;
        live.hosts.create(&PostParams::default(), host).await?;
        Ok(live)
    }

    /// Creates a host of `zone` with every default, which a router updates for the first time.
    pub(crate) async fn create_published(
        stack: &'a Stack,
        zone: &Zone,
        label: &str,
        addresses: &str,
    ) -> Result<Self> {
        let host = Self::create(stack, &zone.host(label)).await?;
        host.report(addresses).await?;
        host.await_published_addresses(addresses).await?;
        Ok(host)
    }

    async fn with_token(stack: &'a Stack, host: &DynamicHost, token: String) -> Result<Self> {
        let namespace = host.namespace().context("the host has no namespace")?;
        Ok(Self {
            stack,
            hosts: stack.hosts(&namespace).await?,
            namespace,
            name: host.name_any(),
            hostname: host.spec.hostname.clone(),
            token,
        })
    }

    /// What the endpoint answers to addresses (comma-separated) that the router reports.
    pub(crate) async fn try_report(&self, addresses: &str) -> Result<Response> {
        self.stack
            .update(&self.hostname, &self.token, addresses)
            .await
    }

    /// Reports addresses that are news, and so are accepted with `good`.
    pub(crate) async fn report(&self, addresses: &str) -> Result<()> {
        let answer = self.try_report(addresses).await?;
        ensure!(
            answer.status == 200 && answer.text().starts_with("good "),
            "{} of {addresses}: {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    pub(crate) async fn get(&self) -> Result<DynamicHost> {
        Ok(self.hosts.get(&self.name).await?)
    }

    /// Changes metadata or spec by a merge patch.
    pub(crate) async fn merge(&self, patch: Value) -> Result<()> {
        let params = PatchParams::default();
        let patch = Patch::Merge(patch);
        // The reply is not read: a test may make it malformed.
        self.hosts
            .patch_metadata(&self.name, &params, &patch)
            .await?;
        Ok(())
    }

    /// Makes the controller look at the host again, as nothing of its spec changes.
    pub(crate) async fn touch(&self) -> Result<()> {
        let now = Timestamp::now().to_string();
        self.merge(json!({"metadata": {"annotations": {"example.org/touched": now}}}))
            .await
    }

    /// Stores a reported IPv4 address past the endpoint, the way the endpoint does.
    pub(crate) async fn store_ipv4(&self, address: &str) -> Result<()> {
        let observation = json!({
            "address": address, "changedAt": Timestamp::now(), "protocol": "dyndns2",
        });
        let patch = json!({"status": {"observed": {"ipv4": observation}}});
        self.hosts
            .patch_status(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        // As metadata, for the same reason.
        let hosts: Api<PartialObjectMeta<DynamicHost>> =
            Api::namespaced(self.stack.client().await?, &self.namespace);
        hosts.delete(&self.name, &Default::default()).await?;
        Ok(())
    }

    pub(crate) async fn exists(&self) -> Result<bool> {
        Ok(self.hosts.get_metadata_opt(&self.name).await?.is_some())
    }

    pub(crate) async fn await_gone(&self) -> Result<()> {
        await_condition(
            &format!("host {} is gone", self.name),
            LIMIT,
            async || match self.hosts.get_opt(&self.name).await? {
                None => Ok(Some(())),
                Some(host) => {
                    anyhow::bail!("finalizers {:?}, {:#?}", host.finalizers(), host.status)
                }
            },
        )
        .await
        .with_context(|| self.stack.operator.log_tail(20))
    }

    pub(crate) async fn await_host(
        &self,
        wanted: &str,
        is_wanted: impl Fn(&DynamicHost) -> bool,
    ) -> Result<DynamicHost> {
        self.stack
            .await_host(&self.namespace, &self.name, wanted, is_wanted)
            .await
    }

    pub(crate) async fn await_reason(
        &self,
        of: ConditionType,
        reason: Reason,
    ) -> Result<DynamicHost> {
        self.stack
            .await_reason(&self.namespace, &self.name, of, reason)
            .await
    }

    /// Waits until status says that exactly `rrsets` (each `type ttl value`) are in DNS, and that
    /// the host is Published and Ready as of its present spec.
    pub(crate) async fn await_published(&self, rrsets: &[&str]) -> Result<DynamicHost> {
        let wanted = format!("is published as {rrsets:?}");
        self.await_host(&wanted, |host| {
            is_settled(host) && published_rrsets(host) == rrsets
        })
        .await
    }

    /// As [`Self::await_published`], for addresses as they are reported, whatever the TTL.
    pub(crate) async fn await_published_addresses(&self, addresses: &str) -> Result<DynamicHost> {
        let wanted = format!("is published as {addresses}");
        self.await_host(&wanted, |host| {
            let rrsets = published_rrsets(host);
            let values = rrsets.iter().filter_map(|rrset| rrset.rsplit(' ').next());
            is_settled(host) && values.eq(addresses.split(','))
        })
        .await
    }

    /// Waits until BIND answers with exactly this IPv4 address, or none.
    pub(crate) async fn await_a(&self, addresses: &[&str]) -> Result<()> {
        self.stack
            .await_dns(&self.hostname, RecordType::A, addresses)
            .await
    }
}

/// Published and Ready, as of the present spec.
fn is_settled(host: &DynamicHost) -> bool {
    let is_true = |of| {
        condition(host, of).is_some_and(|condition| {
            condition.status == ConditionStatus::True
                && condition.observed_generation == host.metadata.generation
        })
    };
    is_true(ConditionType::Published) && is_true(ConditionType::Ready)
}

/// What status says to be in DNS, each RRset as `type ttl value`.
pub(crate) fn published_rrsets(host: &DynamicHost) -> Vec<String> {
    let status = host.status.as_ref();
    let published = status.and_then(|status| status.published.as_ref());
    let rrsets = published
        .into_iter()
        .flat_map(|published| &published.rrsets);
    rrsets
        .map(|rrset| format!("{} {} {}", rrset.rtype, rrset.ttl, rrset.values.join(",")))
        .collect()
}

/// The text of the marker that status says to be in DNS.
pub(crate) fn published_marker(host: &DynamicHost) -> Option<&str> {
    host.status.as_ref()?.published.as_ref()?.marker.as_deref()
}

/// A condition's `(status, reason)`.
pub(crate) fn verdict(host: &DynamicHost, of: ConditionType) -> Option<(ConditionStatus, &str)> {
    let condition = condition(host, of)?;
    Some((condition.status, condition.reason.as_str()))
}
