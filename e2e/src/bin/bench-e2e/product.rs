//! What the operator takes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dynhost_crds::conditions::{ConditionStatus, ConditionType};
use dynhost_crds::host::DynamicHost;
pub(crate) use dynhost_e2e::measure::{api_writes, await_quiet};
use dynhost_e2e::stack::{Stack, Zone, condition};
use dynhost_e2e::{AuditEvent, AuditMark};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hickory_net::proto::rr::RecordType;
use kube::api::{ListParams, PostParams};

use crate::timing::Timing;

/// Creations in flight.
const CREATIONS: usize = 8;

/// An update is lost when it took longer.
const LIMIT: Duration = Duration::from_secs(10);

/// Updates of one client, each from its request.
pub(crate) struct Updates {
    /// Until the endpoint has answered `good`.
    pub(crate) answered: Timing,
    /// Until BIND answers with the address.
    pub(crate) in_dns: Timing,
    /// The last address.
    pub(crate) last: String,
}

/// From the request at the endpoint (a connection of its own, as routers do) until BIND answers
/// with the new address.
pub(crate) async fn updates(
    stack: &Stack,
    zone: &Zone,
    host: &DynamicHost,
    token: &str,
    n: usize,
) -> Result<Updates> {
    let hostname = &host.spec.hostname;
    ensure!(
        hostname.ends_with(&zone.apex),
        "the host is of another zone"
    );
    let mut answered = Vec::with_capacity(n);
    let mut durations = Vec::with_capacity(n);
    let mut last = String::new();
    for i in 0..n {
        let address = format!("203.0.{}.{}", 1 + i / 250 % 250, 1 + i % 250);
        let start = Instant::now();
        let answer = stack.update(hostname, token, &address).await?;
        ensure!(answer.text().starts_with("good "), "answered {answer:?}");
        answered.push(start.elapsed());
        loop {
            let dns = stack.bind.query(hostname, RecordType::A).await?;
            if dns.rdata == [address.as_str()] {
                break;
            }
            ensure!(start.elapsed() < LIMIT, "{address} did not reach DNS");
        }
        durations.push(start.elapsed());
        last = address;
    }
    Ok(Updates {
        answered: Timing::new(answered),
        in_dns: Timing::new(durations),
        last,
    })
}

/// What the API server calls the operator.
const USER: &str = "system:serviceaccount:dynhost-system:dynhost";

/// The operator's requests since then, as the API server counts them.
pub(crate) async fn operator_events(stack: &Stack, since: AuditMark) -> Result<Vec<AuditEvent>> {
    let events = stack.control_plane.audit_events(since).await?;
    Ok(events
        .into_iter()
        .filter(|event| event.user == USER)
        .collect())
}

/// Whether the request wrote anything but the lease.
pub(crate) fn is_news(event: &AuditEvent) -> bool {
    event.is_write() && event.resource != "leases"
}

pub(crate) struct Created {
    pub(crate) exist: Duration,
    pub(crate) ready: Duration,
}

/// Creates hosts as fast as the API server takes them, and waits until all are Ready.
pub(crate) async fn create_hosts(stack: &Stack, zone: &Zone, n: usize) -> Result<Created> {
    let hosts = stack.hosts(&zone.namespace).await?;
    let start = Instant::now();
    stream::iter(0..n)
        .map(|i| {
            let (hosts, host) = (&hosts, zone.host(&format!("h{i}")));
            async move { hosts.create(&PostParams::default(), &host).await }
        })
        .buffer_unordered(CREATIONS)
        .try_for_each(|_| futures::future::ok(()))
        .await?;
    let exist = start.elapsed();
    loop {
        let all = hosts.list(&ListParams::default()).await?.items;
        let ready = all.iter().filter(|host| {
            condition(host, ConditionType::Ready)
                .is_some_and(|ready| ready.status == ConditionStatus::True)
        });
        if ready.count() == n {
            break;
        }
        ensure!(
            start.elapsed() < Duration::from_secs(120),
            "hosts do not become Ready"
        );
        // Asking all the time would take what is measured from the operator.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(Created {
        exist,
        ready: start.elapsed(),
    })
}
