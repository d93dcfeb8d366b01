//! What a zone holds, and a zone that is written through a proxy or on a BIND of a test's own.

use anyhow::{Context, Result, bail, ensure};
use dynhost_crds::{
    conditions::{Condition, Reason},
    zone::DynamicZone,
};
use dynhost_e2e::{
    Bind, NameServer, Software, Stack, TcpProxy, Zone, ZoneOptions, ZoneSpec, await_condition,
    stack::LIMIT,
};
use hickory_net::proto::rr::RecordType;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::Value;

/// What a zone holds beside its SOA and its name server, sorted, each record as
/// `name ttl type data` with names relative to the apex; markers without their text.
pub(crate) async fn records(bind: &Bind, zone: &Zone) -> Result<Vec<String>> {
    let apex = format!(".{}.", zone.apex);
    let records = bind.dump(&zone.apex).await?;
    let records = records
        .iter()
        .filter(|record| !record.starts_with("ns1.") && !record.contains(" NS "))
        .map(|record| {
            let record = record.replacen(&apex, "", 1).replace(" IN ", " ");
            match record.split_once("v=1 ") {
                Some((front, _)) => format!("{front}marker"),
                None => record,
            }
        });
    let mut records: Vec<_> = records.collect();
    records.sort();
    Ok(records)
}

/// The text of the TXT record at a host's marker's name.
pub(crate) async fn marker_text(bind: &Bind, hostname: &str) -> Result<String> {
    let answer = bind
        .query(&format!("_dynhost.{hostname}"), RecordType::TXT)
        .await?;
    ensure!(answer.rdata.len() == 1, "{answer:?}");
    Ok(answer.rdata[0].clone())
}

/// A zone of the stack's BIND that the operator writes through a proxy.
pub(crate) async fn zone_behind_proxy(
    stack: &Stack,
    options: ZoneOptions,
) -> Result<(Zone, TcpProxy)> {
    let proxy = TcpProxy::start(stack.bind.address()).await?;
    let servers = Some(vec![proxy.address().to_string()]);
    let zone = stack
        .create_zone(ZoneOptions { servers, ..options })
        .await?;
    Ok((zone, proxy))
}

/// A zone that a BIND of the test's own serves, which so can be stopped.
pub(crate) async fn zone_on_own_bind(stack: &Stack) -> Result<(Zone, Bind)> {
    match zone_on_own(stack, Software::Bind).await? {
        (zone, NameServer::Bind(bind)) => Ok((zone, bind)),
        (_, other) => bail!("{other:?} is no BIND"),
    }
}

/// A zone that a name server of the test's own serves, and that its key may not transfer.
pub(crate) async fn zone_on_own(stack: &Stack, software: Software) -> Result<(Zone, NameServer)> {
    let server = NameServer::start(software, None).await?;
    let servers = Some(vec![server.address().to_string()]);
    let options = ZoneOptions {
        servers,
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone_unready(options).await?;
    server
        .add_zone(ZoneSpec {
            apex: zone.apex.clone(),
            keys: vec![zone.key.clone()],
            records: Vec::new(),
            allow_transfer: false,
        })
        .await?;
    await_zone_reason(stack, &zone, Reason::Ready).await?;
    Ok((zone, server))
}

/// The DynamicZones beside this one, as administrator.
pub(crate) async fn zones(stack: &Stack, zone: &Zone) -> Result<Api<DynamicZone>> {
    Ok(Api::namespaced(stack.client().await?, &zone.namespace))
}

/// Changes the DynamicZone's metadata or spec by a merge patch.
pub(crate) async fn merge_zone(stack: &Stack, zone: &Zone, patch: Value) -> Result<()> {
    zones(stack, zone)
        .await?
        .patch(&zone.name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// Waits until the DynamicZone's Ready has `reason`, and returns that condition.
pub(crate) async fn await_zone_reason(
    stack: &Stack,
    zone: &Zone,
    reason: Reason,
) -> Result<Condition> {
    let zones = zones(stack, zone).await?;
    let what = format!("zone {} is {}", zone.apex, reason.as_str());
    await_condition(&what, LIMIT, async || {
        let status = zones.get(&zone.name).await?.status.unwrap_or_default();
        let ready = status.conditions.into_iter().find(|c| c.type_ == "Ready");
        let ready = ready.context("it has no Ready")?;
        ensure!(ready.reason == reason.as_str(), "{ready:?}");
        Ok(Some(ready))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))
}

pub(crate) async fn await_zone_gone(stack: &Stack, zone: &Zone) -> Result<()> {
    let zones = zones(stack, zone).await?;
    let what = format!("DynamicZone {} is gone", zone.apex);
    await_condition(&what, LIMIT, async || {
        Ok(zones.get_opt(&zone.name).await?.is_none().then_some(()))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))
}

/// Waits until the DynamicZone says that it admits so many hosts.
pub(crate) async fn await_host_count(stack: &Stack, zone: &Zone, hosts: u32) -> Result<()> {
    let zones = zones(stack, zone).await?;
    let what = format!("zone {} has {hosts} hosts", zone.apex);
    await_condition(&what, LIMIT, async || {
        let status = zones.get(&zone.name).await?.status.unwrap_or_default();
        ensure!(status.hosts == Some(hosts), "{:?}", status.hosts);
        Ok(Some(()))
    })
    .await
}
