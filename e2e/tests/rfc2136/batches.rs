//! Many changes in one message, and what becomes of the others where one cannot be made.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use dynhost::name::RecordName;
use dynhost::provider::lane::ZoneLane;
use dynhost::provider::{Applied, ApplyError, Provider};
use dynhost::record::change::{Basis, HostChange};
use dynhost_e2e::{Mode, TcpProxy, TsigKey, UpdateCounts};
use futures::{StreamExt, stream};

use super::scripted_server::{Act, ScriptedServer, frame};
use super::zone::{
    APEX, Keep, Set, Zone, apply, change, constant, first_write, host, marker, parse_key, provider,
};

type Outcomes = Vec<Result<Applied, ApplyError>>;

/// First writes of hosts with these names below the apex, with a shared marker and address.
fn first_writes(labels: impl IntoIterator<Item = String>) -> Vec<HostChange> {
    let change = |label| {
        let mut change = first_write("198.51.100.7");
        change.names[0].name = RecordName::parse(&format!("{label}.{APEX}")).unwrap();
        change
    };
    labels.into_iter().map(change).collect()
}

fn numbered(hosts: usize) -> Vec<HostChange> {
    first_writes((0..hosts).map(|number| format!("h{number}")))
}

/// The places of the changes that were not made.
fn failed(outcomes: &Outcomes) -> Vec<usize> {
    let places = outcomes.iter().enumerate();
    let failed = places.filter(|(_, outcome)| outcome.is_err());
    failed.map(|(place, _)| place).collect()
}

async fn counts(zone: &Zone) -> Result<UpdateCounts> {
    zone.bind.update_counts(APEX).await
}

#[tokio::test]
async fn a_hundred_hosts_take_one_message() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let outcomes = zone.provider.apply(&numbered(100)).await;
    assert_eq!(outcomes, vec![Ok(Applied); 100]);
    let expected = UpdateCounts {
        done: 1,
        ..UpdateCounts::default()
    };
    assert_eq!(counts(&zone).await?, expected);
    assert_eq!(zone.records().await?.len(), 200);
    Ok(())
}

/// As many at a time as the controller looks at of one zone.
#[tokio::test]
async fn ten_thousand_hosts_that_come_through_the_lane_take_at_most_two_hundred_messages()
-> Result<()> {
    const HOSTS: usize = 10_000;
    let zone = Zone::start(&[]).await?;
    let provider = Arc::new(zone.provider_at(&[zone.bind.address()])?);
    let lane = ZoneLane::new(provider, Arc::default());
    let outcomes = stream::iter(numbered(HOSTS))
        .map(|change| lane.apply(change))
        .buffer_unordered(400);
    let outcomes: Outcomes = outcomes.collect().await;
    assert_eq!((outcomes.len(), failed(&outcomes)), (HOSTS, vec![]));
    let counts = counts(&zone).await?;
    ensure!(counts.total() <= 200, "{counts:?}");
    Ok(())
}

#[tokio::test]
async fn one_host_that_somebody_else_has_costs_its_neighbours_three_round_trips() -> Result<()> {
    let zone = Zone::start(&["h37 60 A 192.0.2.1"]).await?;
    let outcomes = zone.provider.apply(&numbered(100)).await;
    assert_eq!(failed(&outcomes), [37]);
    assert!(matches!(
        outcomes[37],
        Err(ApplyError::PreconditionFailed(_))
    ));
    // The whole, the ten with it, and itself; nine tens and nine neighbours. BIND also counts a
    // message whose prerequisites do not hold as failed.
    let expected = UpdateCounts {
        bad_prerequisite: 3,
        failed: 3,
        done: 18,
        ..UpdateCounts::default()
    };
    assert_eq!(counts(&zone).await?, expected);
    let records = zone.records().await?;
    assert_eq!(records.len(), 2 * 99 + 1);
    assert!(records.contains(&"h37.dyn.example.org. 60 A 192.0.2.1".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_name_outside_the_zone_is_refused_for_itself() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let mut changes = numbered(12);
    changes[11].names[0].name = RecordName::parse("home.example.com")?;
    let outcomes = zone.provider.apply(&changes).await;
    assert_eq!(failed(&outcomes), [11]);
    let Err(ApplyError::Rejected(why)) = &outcomes[11] else {
        anyhow::bail!("{outcomes:?}");
    };
    assert!(why.starts_with("NOTZONE"), "{why}");
    assert_eq!(zone.records().await?.len(), 22);
    Ok(())
}

#[tokio::test]
async fn hosts_with_aliases_are_written_whole_or_not_at_all() -> Result<()> {
    const HOSTS: usize = 250;
    let zone = Zone::start(&["www.h249 60 A 192.0.2.1"]).await?;
    let mut changes = numbered(HOSTS);
    for (number, change) in changes.iter_mut().enumerate() {
        let mut alias = change.names[0].clone();
        alias.name = RecordName::parse(&format!("www.h{number}.{APEX}"))?;
        change.names.push(alias);
    }
    let outcomes = zone.provider.apply(&changes).await;
    assert_eq!(failed(&outcomes), [249]);
    let records = zone.records().await?;
    assert_eq!(records.len(), 4 * (HOSTS - 1) + 1);
    let taken = records.iter().filter(|record| record.contains("h249."));
    assert_eq!(
        taken.collect::<Vec<_>>(),
        ["www.h249.dyn.example.org. 60 A 192.0.2.1"]
    );
    Ok(())
}

#[tokio::test]
async fn what_is_too_long_for_one_message_is_sent_in_parts() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let label = "a".repeat(60);
    let labels = (0..100).map(|number| format!("h{number:059}.{label}.{label}.{}", "a".repeat(30)));
    let outcomes = zone.provider.apply(&first_writes(labels)).await;
    assert_eq!(failed(&outcomes), [0; 0]);
    // The message of all never reaches the server.
    let expected = UpdateCounts {
        done: 10,
        ..UpdateCounts::default()
    };
    assert_eq!(counts(&zone).await?, expected);
    Ok(())
}

#[tokio::test]
async fn without_a_reply_nothing_is_known_of_any_change_in_the_message() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let proxy = TcpProxy::start(zone.bind.address()).await?;
    let provider = zone.provider_at(&[proxy.address()])?;
    provider.probe().await?;
    let before = counts(&zone).await?;
    proxy.set_mode(Mode::SwallowReplies);
    let outcomes = provider.apply(&numbered(100)).await;
    for outcome in &outcomes {
        ensure!(
            matches!(outcome, Err(ApplyError::Unknown(_))),
            "{outcome:?}"
        );
    }
    assert_eq!(outcomes.len(), 100);
    assert_eq!(counts(&zone).await?.done, before.done + 1);
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_not_tried_in_parts() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let other_secret = TsigKey {
        name: zone.key.name.clone(),
        ..TsigKey::generate(zone.key.algorithm)?
    };
    let server = ScriptedServer::start(zone.bind.address(), |_, reply| Act::Send(frame(&reply)));
    let server = server.await?;
    let key_source = constant(parse_key(&other_secret)?);
    let provider = provider(&[server.address], key_source)?;
    let outcomes = provider.apply(&numbered(100)).await;
    for outcome in &outcomes {
        ensure!(
            matches!(outcome, Err(ApplyError::Unauthorized(_))),
            "{outcome:?}"
        );
    }
    assert_eq!((outcomes.len(), server.requests()), (100, 1));
    Ok(())
}

#[tokio::test]
async fn what_a_server_took_before_it_died_is_read_at_another_and_not_written_twice() -> Result<()>
{
    let zone = Zone::start(&[]).await?;
    let first = TcpProxy::start(zone.bind.address()).await?;
    let second = TcpProxy::start(zone.bind.address()).await?;
    let provider = zone.provider_at(&[first.address(), second.address()])?;
    provider.probe().await?;
    first.set_mode(Mode::SwallowReplies);
    let before = counts(&zone).await?.total();
    let outcomes = provider.apply(&numbered(100)).await;
    assert_eq!(failed(&outcomes).len(), 100);
    // Whatever became of it: the second was not asked to do it again.
    assert_eq!(counts(&zone).await?.total(), before + 1);

    first.set_mode(Mode::Cut);
    for number in [0, 99] {
        let name = RecordName::parse(&format!("h{number}.{APEX}"))?;
        let found = provider.read(&name).await?;
        assert_eq!(found.marker_texts, [marker(1).to_string()]);
    }
    let mut next = change(
        Set("198.51.100.8"),
        Keep,
        Some(marker(2)),
        Basis::Marker(marker(1)),
    );
    next.names[0].name = RecordName::parse(&format!("h0.{APEX}"))?;
    apply(&provider, next).await?;
    Ok(())
}

#[tokio::test]
async fn a_doubtful_change_is_read_at_the_server_that_took_it_and_the_first_is_gone_back_to()
-> Result<()> {
    // Two servers with data of their own, so that what is found tells which was asked.
    let zone = Zone::start(&[]).await?;
    let other = zone.beside(&["home 60 A 192.0.2.2"]).await?;
    let first = TcpProxy::start(other.address()).await?;
    let second = TcpProxy::start(zone.bind.address()).await?;
    let provider = zone.provider_at(&[first.address(), second.address()])?;

    first.set_mode(Mode::Cut);
    provider.probe().await?;
    let before = counts(&zone).await?;
    second.set_mode(Mode::SwallowReplies);
    let outcome = apply(&provider, first_write("198.51.100.7")).await;
    ensure!(
        matches!(outcome, Err(ApplyError::Unknown(_))),
        "{outcome:?}"
    );
    assert_eq!(counts(&zone).await?.done, before.done + 1);

    first.set_mode(Mode::Pass);
    second.set_mode(Mode::Pass);
    provider.probe().await?;
    let found = provider.read(&host()).await?;
    assert_eq!(found.marker_texts, [marker(1).to_string()]);
    // What is known is asked of the first again, as is everything else.
    let found = provider.read(&host()).await?;
    assert_eq!(found.ipv4, [Ipv4Addr::new(192, 0, 2, 2)]);
    Ok(())
}
