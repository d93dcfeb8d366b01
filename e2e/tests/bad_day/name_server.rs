//! Each trouble of a name server has its reason, costs no report, and ends with it.

use std::time::Duration;

use anyhow::{Result, ensure};
use dynhost_crds::conditions::{
    ConditionType,
    Reason::{self, CredentialsRejected, ProviderRefused, ProviderUnavailable, Published},
};
use dynhost_e2e::{Stack, ZoneOptions, await_condition, stack::condition};
use futures::future::join_all;
use hickory_net::proto::op::ResponseCode;
use hickory_net::proto::rr::RecordType;

use super::strange_server::{Mood, StrangeServer};

/// The longest pause between attempts is a minute.
const LIMIT: Duration = Duration::from_secs(90);

/// How a report fares in this mood: the reason of Published, and a part of its message.
async fn check(mood: Mood, reason: Reason, message: &str) -> Result<()> {
    let stack = Stack::shared().await?;
    let server = StrangeServer::start(stack.bind.address()).await?;
    let zone = stack
        .create_zone(ZoneOptions {
            servers: Some(vec![server.address.to_string()]),
            ..ZoneOptions::default()
        })
        .await?;
    let host = zone.host("home");
    let token = stack.create_host(&host).await?;
    let hostname = &host.spec.hostname;
    let report = async |address: &str| {
        let answer = stack.update(hostname, &token, address).await?;
        ensure!(
            answer.text() == format!("good {address}"),
            "{mood:?}: {answer:?}"
        );
        Ok(())
    };
    let hosts = stack.hosts(&zone.namespace).await?;
    let told = async |reason: Reason, message: &str| {
        let what = format!(
            "{mood:?}: Published is {} with {message:?}",
            reason.as_str()
        );
        await_condition(&what, LIMIT, async || {
            let host = hosts.get("home").await?;
            let published = condition(&host, ConditionType::Published).cloned();
            let Some(published) = published else {
                return Ok(None);
            };
            let is_told =
                published.reason == reason.as_str() && published.message.contains(message);
            ensure!(
                is_told,
                "it is {} with {:?}",
                published.reason,
                published.message
            );
            Ok(Some(()))
        })
        .await
    };
    let in_dns = async |address: &str| {
        let what = format!("{mood:?}: {address} is in DNS");
        await_condition(&what, LIMIT, async || {
            let answer = stack.bind.query(hostname, RecordType::A).await?;
            ensure!(answer.rdata == [address], "{answer:?}");
            Ok(Some(()))
        })
        .await
    };
    report("198.51.100.1").await?;
    in_dns("198.51.100.1").await?;
    told(Published, "").await?;

    server.set(mood);
    report("198.51.100.2").await?;
    report("198.51.100.3").await?;
    if reason == Published {
        in_dns("198.51.100.3").await?;
    }
    told(reason, message).await?;

    server.set(Mood::Relay);
    in_dns("198.51.100.3").await?;
    told(Published, "").await?;
    Ok(())
}

#[tokio::test]
async fn each_trouble_has_its_reason_and_costs_no_report() -> Result<()> {
    use ResponseCode::{FormErr, NotAuth, NotImp, Refused, ServFail};
    const SLOW: Mood = Mood::Slow(Duration::from_millis(1500));
    let rows = [
        (Mood::Answer(ServFail), ProviderUnavailable, "SERVFAIL"),
        (
            Mood::Answer(Refused),
            CredentialsRejected,
            "REFUSED without TSIG",
        ),
        (
            Mood::Answer(NotAuth),
            CredentialsRejected,
            "NOTAUTH without TSIG",
        ),
        (
            Mood::Answer(FormErr),
            ProviderRefused,
            "FORMERR without TSIG",
        ),
        (Mood::Answer(NotImp), ProviderRefused, "NOTIMP without TSIG"),
        (Mood::Silent, ProviderUnavailable, ""),
        // It is late, and no trouble.
        (SLOW, Published, ""),
    ];
    let checks = rows.map(|(mood, reason, message)| check(mood, reason, message));
    for outcome in join_all(checks).await {
        outcome?;
    }
    Ok(())
}
