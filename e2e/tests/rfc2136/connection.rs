//! Servers that close, die, stall or lie.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use dynhost::name::RecordName;
use dynhost::provider::{Applied, ApplyError, Provider};
use dynhost::record::change::{Basis, HostChange};
use dynhost_e2e::{Mode, TcpProxy, await_condition, free_port};
use futures::future::join_all;
use tokio::time::timeout;

use super::scripted_server::{Act, Script, ScriptedServer, frame};
use super::zone::{Keep, Set, Zone, apply, change, first_write, host, marker};

const LIMIT: Duration = Duration::from_secs(10);

fn replacement(ipv4: &str, nonce: u8) -> HostChange {
    let basis = Basis::Marker(marker(nonce - 1));
    change(Set(ipv4), Keep, Some(marker(nonce)), basis)
}

fn pass(_: usize, reply: Vec<u8>) -> Act {
    Act::Send(frame(&reply))
}

fn servfail(_: usize, mut reply: Vec<u8>) -> Act {
    reply[3] |= 2;
    Act::Send(frame(&reply))
}

fn is_unknown(outcome: &Result<Applied, ApplyError>) -> bool {
    matches!(outcome, Err(ApplyError::Unknown(_)))
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced_without_an_error() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let server = ScriptedServer::start(zone.bind.address(), |_, reply| {
        Act::SendAndClose(frame(&reply))
    })
    .await?;
    let provider = zone.provider_at(&[server.address])?;
    provider.probe().await?;
    await_condition("the connection is closed", LIMIT, async || {
        Ok((server.closed() == 1).then_some(()))
    })
    .await?;
    apply(&provider, first_write("198.51.100.7")).await?;
    assert_eq!(server.opened(), 2);
    Ok(())
}

#[tokio::test]
async fn messages_in_flight_share_one_connection() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let server = ScriptedServer::start(zone.bind.address(), pass).await?;
    let provider = zone.provider_at(&[server.address])?;
    let changes = (0..100).map(|number| {
        let mut change = first_write("198.51.100.7");
        let name = format!("h{number}.dyn.example.org");
        change.names[0].name = RecordName::parse(&name).unwrap();
        apply(&provider, change)
    });
    assert_eq!(join_all(changes).await, vec![Ok(Applied); 100]);
    assert_eq!((server.opened(), server.requests()), (1, 100));
    assert_eq!(zone.records().await?.len(), 200);
    Ok(())
}

#[tokio::test]
async fn the_next_server_is_used_where_one_takes_no_connection() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let dead: SocketAddr = ([127, 0, 0, 1], free_port()?).into();
    let provider = zone.provider_at(&[dead, zone.bind.address()])?;
    apply(&provider, first_write("198.51.100.7")).await?;

    let provider = zone.provider_at(&[dead, dead])?;
    let outcome = apply(&provider, replacement("198.51.100.8", 2)).await;
    let Err(ApplyError::Unavailable { detail, .. }) = outcome else {
        anyhow::bail!("{outcome:?}");
    };
    assert_eq!(detail.matches(&dead.to_string()).count(), 2, "{detail}");
    Ok(())
}

#[tokio::test]
async fn the_server_that_answered_last_is_kept_until_a_probe_finds_the_first_again() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let first = ScriptedServer::start(zone.bind.address(), |request, reply| match request {
        1 => Act::SendAndClose(Vec::new()),
        _ => Act::Send(frame(&reply)),
    })
    .await?;
    let second = ScriptedServer::start(zone.bind.address(), pass).await?;
    let provider = zone.provider_at(&[first.address, second.address])?;
    let requests = || (first.requests(), second.requests());
    provider.probe().await?;
    assert_eq!(requests(), (1, 0));
    provider.read(&host()).await?;
    assert_eq!(requests(), (2, 4));
    apply(&provider, first_write("198.51.100.7")).await?;
    assert_eq!(requests(), (2, 5));
    provider.probe().await?;
    assert_eq!(requests(), (3, 5));
    apply(&provider, replacement("198.51.100.8", 2)).await?;
    assert_eq!(requests(), (4, 5));
    Ok(())
}

#[tokio::test]
async fn a_first_server_that_answers_and_does_not_serve_is_passed_over_by_the_probe() -> Result<()>
{
    let zone = Zone::start(&[]).await?;
    let first = ScriptedServer::start(zone.bind.address(), |request, reply| match request {
        0 => Act::SendAndClose(Vec::new()),
        _ => servfail(request, reply),
    })
    .await?;
    let second = ScriptedServer::start(zone.bind.address(), pass).await?;
    let provider = zone.provider_at(&[first.address, second.address])?;
    let requests = || (first.requests(), second.requests());
    provider.probe().await?;
    assert_eq!(requests(), (1, 1));
    provider.probe().await?;
    assert_eq!(requests(), (2, 2));
    apply(&provider, first_write("198.51.100.7")).await?;
    assert_eq!(requests(), (2, 3));

    // Where no other is spoken to, its word counts.
    let first = ScriptedServer::start(zone.bind.address(), servfail).await?;
    let second = ScriptedServer::start(zone.bind.address(), pass).await?;
    let provider = zone.provider_at(&[first.address, second.address])?;
    let outcome = provider.probe().await;
    assert!(
        matches!(outcome, Err(ApplyError::Unavailable { .. })),
        "{outcome:?}"
    );
    assert_eq!((first.requests(), second.requests()), (1, 0));
    Ok(())
}

#[tokio::test]
async fn a_lost_reply_leaves_the_outcome_unknown_and_reading_back_tells_it() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let proxy = TcpProxy::start(zone.bind.address()).await?;
    // The other server is never asked to do what the first may have done.
    let provider = zone.provider_at(&[proxy.address(), zone.bind.address()])?;
    provider.probe().await?;
    proxy.set_mode(Mode::SwallowReplies);
    let outcome = apply(&provider, first_write("198.51.100.7")).await;
    assert!(is_unknown(&outcome), "{outcome:?}");
    assert_eq!(
        zone.bind
            .update_counts(super::zone::APEX)
            .await?
            .bad_prerequisite,
        0
    );

    proxy.set_mode(Mode::Pass);
    let found = provider.read(&host()).await?;
    assert_eq!(found.marker_texts, [marker(1).to_string()]);
    apply(&provider, replacement("198.51.100.8", 2)).await?;
    Ok(())
}

#[tokio::test]
async fn a_connection_that_lost_a_reply_is_not_used_again() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let server = ScriptedServer::start(zone.bind.address(), |request, reply| match request {
        0 => Act::Send(Vec::new()),
        _ => Act::Send(frame(&reply)),
    })
    .await?;
    let provider = zone.provider_at(&[server.address])?;
    let outcome = apply(&provider, first_write("198.51.100.7")).await;
    assert!(is_unknown(&outcome), "{outcome:?}");
    apply(&provider, replacement("198.51.100.8", 2)).await?;
    assert_eq!(server.opened(), 2);
    Ok(())
}

#[tokio::test]
async fn a_hostile_reply_leaves_the_outcome_unknown() -> Result<()> {
    async fn check(what: &str, script: Script) -> Result<()> {
        let zone = Zone::start(&[]).await?;
        let server = ScriptedServer::start(zone.bind.address(), script).await?;
        let provider = zone.provider_at(&[server.address])?;
        let outcome = apply(&provider, first_write("198.51.100.7")).await;
        assert!(is_unknown(&outcome), "{what}: {outcome:?}");
        let read = provider.read(&host()).await;
        assert!(
            matches!(read, Err(ApplyError::Unavailable { .. })),
            "{what}: {read:?}"
        );
        Ok(())
    }
    fn with_octet(mut reply: Vec<u8>, place: usize, change: u8) -> Act {
        reply[place] ^= change;
        Act::Send(frame(&reply))
    }
    check("no reply", |_, _| Act::SendAndClose(Vec::new())).await?;
    check("wrong id", |_, reply| with_octet(reply, 0, 0x80)).await?;
    check("wrong rcode", |_, reply| with_octet(reply, 3, 0x05)).await?;
    check("no TSIG", |_, reply| {
        let header = [&reply[..4], &[0; 8]].concat();
        Act::Send(frame(&header))
    })
    .await?;
    check("spoiled MAC", |_, reply| {
        let place = reply.len() - 20;
        with_octet(reply, place, 1)
    })
    .await?;
    check("counts of records that are not there", |_, reply| {
        with_octet(reply, 7, 0xff)
    })
    .await?;
    check("a frame cut short", |_, reply| {
        Act::SendAndClose(frame(&reply)[..20].to_vec())
    })
    .await?;
    check("a frame shorter than a header", |_, _| {
        Act::Send(frame(&[0; 3]))
    })
    .await?;
    check("the longest frame, of zeros", |_, reply| {
        let id = reply[..2].to_vec();
        Act::Send(frame(&[id, vec![0; 65_533]].concat()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn replies_that_nobody_waits_for_are_ignored() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let server = ScriptedServer::start(zone.bind.address(), |_, reply| {
        let mut other = reply.clone();
        other[0] ^= 0x80;
        let reply = frame(&reply);
        Act::Send([frame(&other), reply.clone(), reply].concat())
    })
    .await?;
    let provider = zone.provider_at(&[server.address])?;
    apply(&provider, first_write("198.51.100.7")).await?;
    apply(&provider, replacement("198.51.100.8", 2)).await?;
    assert_eq!(server.opened(), 1);
    Ok(())
}

#[tokio::test]
async fn callers_that_give_up_leave_the_connection_usable() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    for micros in (0..2_000).step_by(50) {
        let change = change(Set("198.51.100.7"), Keep, Some(marker(1)), Basis::Absent);
        let limit = Duration::from_micros(micros);
        // Some are given up before they are sent, some after, and some are answered.
        let _ = timeout(limit, zone.apply(change)).await;
        zone.provider.probe().await?;
    }
    let basis = Basis::Adopt {
        marker_texts: vec![marker(1).to_string()],
    };
    let last = change(Set("198.51.100.8"), Keep, Some(marker(2)), basis);
    zone.apply(last).await?;
    assert_eq!(
        zone.records().await?,
        ["@ 60 A 198.51.100.8", "_dynhost.@ 60 TXT #2"]
    );
    Ok(())
}
