//! Connections to the API server that are dead without a word, and an API server without etcd.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dynhost_crds::{
    conditions::{ConditionType, Reason},
    host::DynamicHost,
};
use dynhost_e2e::{Response, Stack, StackOptions, ZoneOptions, await_condition, stack::condition};
use futures::future::try_join_all;
use hickory_net::proto::rr::RecordType;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

/// How soon the operator has to find out of a half-open connection.
const RECOVERY: Duration = Duration::from_secs(60);

/// Hosts whose reports are sent at once, so that as many connections wait in the client's pool.
const HOSTS: usize = 6;

/// How long what is stored is confirmed though nothing is heard of it any more: 45 s, less the time
/// since it was last heard of.
const CONFIRMED: Duration = Duration::from_secs(10);

/// And the time until the API server itself finds out.
const TOO_OLD: Duration = Duration::from_secs(75);

struct Host<'a> {
    stack: &'a Stack,
    object: DynamicHost,
    token: String,
    api: Api<DynamicHost>,
}

impl Host<'_> {
    async fn report(&self, address: &str) -> Result<Response> {
        let hostname = &self.object.spec.hostname;
        self.stack.update(hostname, &self.token, address).await
    }

    /// Reports it until it is stored.
    async fn report_until_good(&self, address: &str) -> Result<()> {
        await_condition("a report is stored", RECOVERY, async || {
            let answer = self.report(address).await?;
            ensure!(matches!(answer.status, 200 | 503), "{answer:?}");
            Ok((answer.status == 200).then_some(()))
        })
        .await
    }

    async fn stored_ipv4(&self) -> Result<Option<String>> {
        let status = self
            .api
            .get_status(self.object.metadata.name.as_deref().unwrap())
            .await?;
        let observed = status.status.and_then(|status| status.observed);
        let address = observed.and_then(|observed| observed.ipv4?.address);
        Ok(address.map(|address| address.to_string()))
    }
}

fn is_unavailable(answer: &Response) -> bool {
    answer.status == 503 && answer.text() == "911" && answer.header("retry-after").is_some()
}

#[tokio::test]
async fn the_api_server_has_a_bad_day() -> Result<()> {
    let stack = Stack::start(StackOptions {
        api_proxy: true,
        ..StackOptions::default()
    })
    .await?;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let api = stack.hosts(&zone.namespace).await?;
    let hosts = try_join_all((0..HOSTS).map(async |number| {
        let object = zone.host(&format!("host-{number}"));
        let token = stack.create_host(&object).await?;
        let (stack, api) = (&stack, api.clone());
        anyhow::Ok(Host {
            stack,
            object,
            token,
            api,
        })
    }))
    .await?;
    try_join_all(
        hosts
            .iter()
            .map(|host| host.report_until_good("198.51.100.1")),
    )
    .await?;
    // Nothing is left to be written, whose failure would have the host read anew.
    for host in &hosts {
        let name = host.object.metadata.name.as_deref().unwrap();
        stack
            .await_reason(
                &zone.namespace,
                name,
                ConditionType::Published,
                Reason::Published,
            )
            .await?;
    }
    half_open_connections(&stack, &hosts).await?;
    frozen_etcd(&stack, &hosts).await?;
    etcd_gone_for_long(&stack, &hosts).await
}

/// Nothing tells the operator that its connections are dead: neither the watches' nor those that wait
/// in the pool for the next request.
async fn half_open_connections(stack: &Stack, hosts: &[Host<'_>]) -> Result<()> {
    let proxy = stack.api_proxy.as_ref().unwrap();
    let [host, ..] = hosts else {
        anyhow::bail!("no hosts");
    };
    proxy.abandon_open();
    // Something that only the watch tells, and something that is written, at the same time.
    let patch = json!({"spec": {"ttl": 77}});
    let name = host.object.metadata.name.as_deref().unwrap();
    host.api
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    let published = await_condition(
        "the new TTL is in DNS, and in status",
        RECOVERY,
        async || {
            let answer = stack
                .bind
                .query(&host.object.spec.hostname, RecordType::A)
                .await?;
            let status = host.api.get(name).await?;
            let observed =
                condition(&status, ConditionType::Published).and_then(|c| c.observed_generation);
            Ok((answer.ttl == Some(77) && observed == status.metadata.generation).then_some(()))
        },
    );
    let written = try_join_all(
        hosts[1..]
            .iter()
            .map(|host| host.report_until_good("198.51.100.2")),
    );
    tokio::try_join!(published, written)?;
    Ok(())
}

async fn frozen_etcd(stack: &Stack, hosts: &[Host<'_>]) -> Result<()> {
    let [changed, equal, ..] = hosts else {
        anyhow::bail!("too few hosts");
    };
    changed.report_until_good("198.51.100.3").await?;
    stack.control_plane.freeze_etcd().await?;
    let answer = changed.report("198.51.100.4").await?;
    ensure!(is_unavailable(&answer), "{answer:?}");
    // In doubt, and so written again, whatever the index says.
    let answer = changed.report("198.51.100.3").await?;
    ensure!(is_unavailable(&answer), "{answer:?}");
    let answer = equal.report("198.51.100.2").await?;
    ensure!(answer.text() == "nochg 198.51.100.2", "{answer:?}");
    // Keys are still known, and so is what they are for.
    let hostname = &equal.object.spec.hostname;
    let wrong = stack
        .update(hostname, "wrong-horse-battery", "198.51.100.5")
        .await?;
    ensure!(wrong.status == 401, "{wrong:?}");

    stack.control_plane.thaw_etcd().await?;
    changed.report_until_good("198.51.100.5").await?;
    ensure!(changed.stored_ipv4().await?.as_deref() == Some("198.51.100.5"));
    let hostname = &changed.object.spec.hostname;
    stack
        .await_dns(hostname, RecordType::A, &["198.51.100.5"])
        .await?;
    // What was sent into the freeze undoes nothing.
    ensure!(changed.stored_ipv4().await?.as_deref() == Some("198.51.100.5"));
    Ok(())
}

/// The API server goes on, and its watches with it; what it tells is as old as its last word from etcd.
async fn etcd_gone_for_long(stack: &Stack, hosts: &[Host<'_>]) -> Result<()> {
    let [_, equal, ..] = hosts else {
        anyhow::bail!("too few hosts");
    };
    stack.control_plane.kill_etcd().await?;
    let start = Instant::now();
    let confirmed = await_condition("what is known is too old", TOO_OLD, async || {
        let answer = equal.report("198.51.100.2").await?;
        if is_unavailable(&answer) {
            return Ok(Some(start.elapsed()));
        }
        ensure!(answer.text() == "nochg 198.51.100.2", "{answer:?}");
        Ok(None)
    })
    .await?;
    ensure!(confirmed > CONFIRMED, "after {confirmed:?}");
    stack.control_plane.start_etcd().await?;
    equal.report_until_good("198.51.100.6").await
}
