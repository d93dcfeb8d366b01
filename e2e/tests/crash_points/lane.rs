//! A control plane, a name server and an operator behind the seam, lent to one test after the other.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use anyhow::{Context, Result, ensure};
use dynhost_crds::{host::DynamicHost, key};
use dynhost_e2e::{
    Bind, ControlPlane, Memory, Operator, Release, SideEffects, Stack, Zone, ZoneOptions,
    await_condition, operator_binary,
    stack::{LIMIT, install, operator_kubeconfig},
};
use hickory_net::proto::rr::RecordType;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Lanes that run side by side. An operator takes care of every namespace, so each has a control
/// plane of its own; it waits about half of the time (for processes to start, mostly), so there
/// are as many as the smallest machine has cores.
pub(crate) const LANES: usize = 2;

static FREE: Semaphore = Semaphore::const_new(LANES);
static IDLE: Mutex<Vec<Parts>> = Mutex::new(Vec::new());

/// What a lane is made of.
pub(crate) struct Parts {
    pub(crate) stack: Stack,
    pub(crate) seam: SideEffects,
    witness: Witness,
}

const WITNESS: &str = "witness";

/// A host that no test but this file changes.
struct Witness {
    zone: Zone,
    hostname: String,
    token: String,
    reports: AtomicU8,
}

/// A lane, until the test gives it back by dropping it.
pub(crate) struct Lane {
    parts: Option<Parts>,
    /// Those that this test has made.
    zones: Mutex<Vec<Zone>>,
    /// As administrator, for the runtime of this test.
    pub(crate) client: Client,
    _permit: SemaphorePermit<'static>,
}

impl Lane {
    /// Waits for a lane. Its operator runs and is neither misled nor about to die.
    pub(crate) async fn get() -> Result<Self> {
        let permit = FREE.acquire().await?;
        let idle = idle().pop();
        let parts = match idle {
            Some(parts) => parts,
            None => Parts::start().await?,
        };
        let client = parts.stack.client().await?;
        let lane = Self {
            parts: Some(parts),
            zones: Mutex::default(),
            client,
            _permit: permit,
        };
        lane.restore().await?;
        Ok(lane)
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.parts().stack
    }

    pub(crate) fn seam(&self) -> &SideEffects {
        &self.parts().seam
    }

    fn parts(&self) -> &Parts {
        // It is taken by drop only.
        self.parts.as_ref().unwrap()
    }

    /// A zone of BIND that the operator reaches through the seam; not waited for.
    pub(crate) async fn create_zone(&self, records: &[&str]) -> Result<Zone> {
        let parts = self.parts();
        let zone = create_zone(&parts.stack, &parts.seam, records).await?;
        self.zones().push(zone.clone());
        Ok(zone)
    }

    fn zones(&self) -> MutexGuard<'_, Vec<Zone>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hosts of a zone's namespace.
    pub(crate) fn hosts(&self, zone: &Zone) -> Api<DynamicHost> {
        Api::namespaced(self.client.clone(), &zone.namespace)
    }

    /// The token of a generated update key.
    pub(crate) async fn token(&self, zone: &Zone, secret: &str) -> Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &zone.namespace);
        let data = secrets.get(secret).await?.data.unwrap_or_default();
        let token = data.get(key::TOKEN).context("the key has no token")?;
        Ok(String::from_utf8(token.0.clone())?)
    }

    /// Lets `life` go on while the operator is killed where it dies, and started again. Returns how
    /// often that was.
    pub(crate) async fn survive<T>(
        &self,
        life: impl Future<Output = Result<T>>,
    ) -> Result<(T, usize)> {
        let mut life = std::pin::pin!(life);
        let mut deaths = 0;
        loop {
            tokio::select! {
                // What the world says is not looked at before the operator is back.
                biased;
                () = self.seam().died() => {
                    deaths += 1;
                    self.bury().await?;
                    self.start_again().await?;
                }
                outcome = &mut life => return Ok((outcome?, deaths)),
            }
        }
    }

    /// Ends the process of an operator, whether it has died or not.
    pub(crate) async fn bury(&self) -> Result<()> {
        self.stack().operator.kill().await?;
        self.seam().revive();
        Ok(())
    }

    /// Starts a buried operator again, and waits until it has looked at everything.
    pub(crate) async fn start_again(&self) -> Result<()> {
        self.stack().operator.start_again().await?;
        self.await_looked().await
    }

    /// What the API server has of hosts and zones now.
    pub(crate) async fn remember(&self) -> Result<Memory> {
        let resources = ["dynamichosts", "dynamiczones"];
        self.seam().remember(&self.client, &resources).await
    }

    /// Ends the operator, and starts the next onto an older state of the API server.
    pub(crate) async fn restart_onto(&self, past: Memory) -> Result<()> {
        let before = self.seam().times_misled("dynamichosts");
        self.bury().await?;
        self.seam().mislead(past);
        self.start_again().await?;
        let now = self.seam().times_misled("dynamichosts");
        ensure!(now > before, "the operator was not misled");
        Ok(())
    }

    /// Waits until the operator has published what is reported now, which it looks at behind all
    /// that it has heard of before.
    pub(crate) async fn await_looked(&self) -> Result<()> {
        self.parts().await_looked(&self.client).await
    }

    /// A test that failed may have left anything behind.
    async fn restore(&self) -> Result<()> {
        let parts = self.parts();
        parts.seam.begin(None);
        parts.seam.release(Release::InOrder);
        let mut runs = parts.stack.operator.pid().await.is_ok();
        if runs && parts.seam.is_dead() {
            self.bury().await?;
            runs = false;
        }
        if !runs {
            parts.seam.revive();
            parts.stack.operator.start_again().await?;
        }
        Ok(())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Its hosts stay, and some are tried again for ever.
        self.zones()
            .iter()
            .for_each(|zone| self.seam().retire(zone));
        idle().extend(self.parts.take());
    }
}

fn idle() -> MutexGuard<'static, Vec<Parts>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parts {
    async fn start() -> Result<Self> {
        let (control_plane, bind, _built) =
            tokio::try_join!(ControlPlane::start(), Bind::start(), operator_binary())?;
        install(&control_plane).await?;
        let kubeconfig = operator_kubeconfig(&control_plane, None).await?;
        let seam = SideEffects::start(&kubeconfig, bind.address()).await?;
        let (operator, ()) = tokio::try_join!(
            Operator::start(seam.kubeconfig(), &[]),
            control_plane.start_controller_manager()
        )?;
        let stack = Stack {
            operator,
            api_proxy: None,
            bind,
            control_plane,
        };
        let zone = create_zone(&stack, &seam, &[]).await?;
        let host = zone.host(WITNESS);
        let witness = Witness {
            hostname: host.spec.hostname.clone(),
            token: stack.create_host(&host).await?,
            zone,
            reports: AtomicU8::new(0),
        };
        let parts = Self {
            stack,
            seam,
            witness,
        };
        let client = parts.stack.client().await?;
        parts.await_looked(&client).await?;
        parts.seam.retire(&parts.witness.zone);
        Ok(parts)
    }

    async fn await_looked(&self, client: &Client) -> Result<()> {
        let witness = &self.witness;
        let reports = witness.reports.fetch_add(1, Relaxed);
        let address = format!("198.51.100.{reports}");
        let update = await_condition("the witness is updated", LIMIT, async || {
            let answer = self
                .stack
                .update(&witness.hostname, &witness.token, &address)
                .await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            Ok(Some(()))
        });
        update
            .await
            .with_context(|| self.stack.operator.log_tail(20))?;
        self.stack
            .await_dns(&witness.hostname, RecordType::A, &[&address])
            .await?;
        // Its status is the last that the operator writes for it.
        let hosts: Api<DynamicHost> = Api::namespaced(client.clone(), &witness.zone.namespace);
        await_condition("the witness is told of", LIMIT, async || {
            let status = hosts.get(WITNESS).await?.status;
            let published = status.and_then(|status| status.published);
            let rrset = published.and_then(|published| published.rrsets.into_iter().next());
            Ok(rrset.filter(|rrset| rrset.values == [address.as_str()]))
        })
        .await
        .with_context(|| self.stack.operator.log_tail(8))?;
        Ok(())
    }
}

async fn create_zone(stack: &Stack, seam: &SideEffects, records: &[&str]) -> Result<Zone> {
    let options = ZoneOptions {
        records: records.iter().map(|&record| record.to_owned()).collect(),
        ownership_id: Some("home".to_owned()),
        servers: Some(vec![seam.name_server().to_string()]),
        ..ZoneOptions::default()
    };
    stack.create_zone_unready(options).await
}
