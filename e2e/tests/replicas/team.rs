//! Replicas over one control plane, for one test at a time.

use anyhow::{Context, Result, ensure};
use dynhost_e2e::{
    Operator, Stack, StackOptions, Zone, ZoneOptions, await_condition, http, stack::LIMIT,
};
use hickory_net::proto::rr::RecordType;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// A lease that ends soon, and that a busy machine may lose: for tests that do not mind.
pub(crate) const SHORT: &str = "2s";

/// A lease that ends after a while, as it does without a flag.
pub(crate) const USUAL: &str = "6s";

/// A lease that no test sees the end of: what is taken over was released.
pub(crate) const LONG: &str = "1h";

/// The stack; its own operator does not run.
pub(crate) struct Team(MutexGuard<'static, Stack>);

impl Team {
    /// Waits until no other test has it.
    pub(crate) async fn gather() -> Result<Self> {
        static STACK: OnceCell<Mutex<Stack>> = OnceCell::const_new();
        let stack = STACK
            .get_or_try_init(|| async {
                let stack = Stack::start(StackOptions::default()).await?;
                stack.operator.terminate().await?;
                Ok::<_, anyhow::Error>(Mutex::new(stack))
            })
            .await?
            .lock()
            .await;
        let team = Self(stack);
        // Nobody lives who could hold it.
        team.write_holder("").await?;
        Ok(team)
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.0
    }

    /// A replica whose lease lasts that long.
    pub(crate) async fn replica(&self, lease: &str) -> Result<Operator> {
        self.0
            .start_replica(vec!["--lease-duration".to_owned(), lease.to_owned()])
            .await
    }

    /// A replica that writes, and one that does not.
    pub(crate) async fn pair(&self, lease: &str) -> Result<(Operator, Operator)> {
        let writer = self.replica(lease).await?;
        await_leader(&writer).await?;
        let standby = self.replica(lease).await?;
        ensure!(!standby.is_leader().await?, "two replicas hold the lease");
        Ok((writer, standby))
    }

    pub(crate) async fn leases(&self) -> Result<Api<Lease>> {
        Ok(Api::namespaced(self.0.client().await?, "dynhost-system"))
    }

    /// Who the Lease says holds it.
    pub(crate) async fn holder(&self) -> Result<String> {
        let lease = self.leases().await?.get("dynhost").await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        holder.context("the lease names no holder")
    }

    /// Writes a holder into the Lease, as a person does.
    pub(crate) async fn write_holder(&self, holder: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"holderIdentity": holder}}));
        let params = PatchParams::default();
        self.leases()
            .await?
            .patch("dynhost", &params, &patch)
            .await?;
        Ok(())
    }

    /// A zone with a host in it.
    pub(crate) async fn host(&self) -> Result<Host<'_>> {
        let zone = self.0.create_zone(ZoneOptions::default()).await?;
        let host = zone.host("home");
        Ok(Host {
            stack: &self.0,
            hostname: host.spec.hostname.clone(),
            token: self.0.create_host(&host).await?,
            zone,
        })
    }
}

/// Waits until it says that it holds the lease.
pub(crate) async fn await_leader(operator: &Operator) -> Result<()> {
    await_role(operator, true).await
}

/// Waits until it says that it does not.
pub(crate) async fn await_standby(operator: &Operator) -> Result<()> {
    await_role(operator, false).await
}

async fn await_role(operator: &Operator, expected: bool) -> Result<()> {
    let what = format!("is_leader is {expected}");
    await_condition(&what, LIMIT, async || {
        Ok((operator.is_leader().await? == expected).then_some(()))
    })
    .await
    .with_context(|| operator.log_tail(20))
}

/// A host whose client may ask any replica.
pub(crate) struct Host<'a> {
    stack: &'a Stack,
    zone: Zone,
    pub(crate) hostname: String,
    pub(crate) token: String,
}

impl Host<'_> {
    /// What a replica answers to a report.
    pub(crate) async fn try_report(&self, to: &Operator, address: &str) -> Result<String> {
        let target = format!("/nic/update?hostname={}&myip={address}", self.hostname);
        let answer = http::get(to.update_address(), &target, Some(("router", &self.token)));
        Ok(answer.await?.text())
    }

    /// Reports an address, until it is acknowledged.
    pub(crate) async fn report(&self, to: &Operator, address: &str) -> Result<()> {
        await_condition(&format!("{address} is acknowledged"), LIMIT, async || {
            let answer = self.try_report(to, address).await?;
            let is_acknowledged = answer.starts_with("good ") || answer.starts_with("nochg ");
            ensure!(is_acknowledged, "{answer}");
            Ok(Some(()))
        })
        .await
        .with_context(|| to.log_tail(20))
    }

    /// Waits until this replica knows that this is the address.
    pub(crate) async fn await_known(&self, to: &Operator, address: &str) -> Result<()> {
        await_condition(&format!("{address} is known"), LIMIT, async || {
            let answer = self.try_report(to, address).await?;
            Ok(answer.starts_with("nochg ").then_some(()))
        })
        .await
    }

    pub(crate) async fn await_published(&self, address: &str) -> Result<()> {
        self.stack
            .await_dns(&self.hostname, RecordType::A, &[address])
            .await
    }

    /// What DNS says now.
    pub(crate) async fn published(&self) -> Result<Vec<String>> {
        let answer = self.stack.bind.query(&self.hostname, RecordType::A).await?;
        Ok(answer.rdata)
    }

    /// UPDATE messages that its zone has got, probes included.
    pub(crate) async fn updates(&self) -> Result<u64> {
        let counts = self.stack.bind.update_counts(&self.zone.apex).await?;
        Ok(counts.total())
    }
}
