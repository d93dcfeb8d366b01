//! Servers that are gone, replies that are lost or late, and connections that are closed.

use std::time::Duration;

use anyhow::Result;
use dynhost::provider::{ApplyError, Provider};
use dynhost::record::change::{Basis, Found};
use dynhost_e2e::{Mode, TcpProxy, await_condition};
use futures::future::join;

use super::every_server::on_every_server;
use super::zone::{Outcome, Zone, apply, first_write, marker, name, replacement};

const LIMIT: Duration = Duration::from_secs(30);

const WRITTEN: [&str; 2] = ["_dynhost.home 60 TXT #1", "home 60 A 198.51.100.7"];
const REPLACED: [&str; 2] = ["_dynhost.home 60 TXT #2", "home 60 A 198.51.100.8"];

async fn await_records(zone: &Zone, expected: &[&str]) -> Result<()> {
    await_condition("the zone holds the records", LIMIT, async || {
        Ok((zone.records().await? == expected).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable_and_used_again_when_it_is_back() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &["other 300 A 192.0.2.1"]).await?;
        apply(&zone.provider, first_write("home", "198.51.100.7")).await?;
        zone.server.stop().await?;
        for _ in 0..2 {
            let outcome = apply(&zone.provider, replacement("home", "198.51.100.8")).await;
            assert_eq!(Outcome::of(&outcome), Outcome::Unavailable, "{outcome:?}");
        }
        let read = zone.provider.read(&name("home")).await;
        assert_eq!(Outcome::of(&read), Outcome::Unavailable, "{read:?}");
        let probe = zone.provider.probe().await;
        assert_eq!(Outcome::of(&probe), Outcome::Unavailable, "{probe:?}");

        zone.server.start_again().await?;
        let other = ["other 300 A 192.0.2.1"];
        assert_eq!(zone.records().await?, [&WRITTEN[..], &other].concat());
        apply(&zone.provider, replacement("home", "198.51.100.8")).await?;
        assert_eq!(zone.records().await?, [&REPLACED[..], &other].concat());
        Ok(())
    })
    .await
}

/// The connection is open when the server goes, so that only the next message finds out.
#[tokio::test]
async fn a_server_that_was_restarted_costs_no_error() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        apply(&zone.provider, first_write("home", "198.51.100.7")).await?;
        zone.server.stop().await?;
        zone.server.start_again().await?;
        apply(&zone.provider, replacement("home", "198.51.100.8")).await?;
        assert_eq!(zone.records().await?, REPLACED);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_connection_that_the_server_closed_for_idleness_is_replaced_without_an_error()
-> Result<()> {
    on_every_server(async |software| {
        let idle_limit = Some(Duration::from_secs(1));
        let zone = Zone::start_with(software, idle_limit, &[] as &[&str]).await?;
        let proxy = TcpProxy::start(zone.server.address()).await?;
        let provider = zone.provider_at(proxy.address())?;
        apply(&provider, first_write("home", "198.51.100.7")).await?;
        assert_eq!((proxy.opened(), proxy.open()), (1, 1));
        await_condition("the server closes", LIMIT, async || {
            Ok((proxy.open() == 0).then_some(()))
        })
        .await?;
        apply(&provider, replacement("home", "198.51.100.8")).await?;
        assert_eq!(proxy.opened(), 2);
        assert_eq!(zone.records().await?, REPLACED);
        Ok(())
    })
    .await
}

/// The server has applied the message, and nobody was told.
#[tokio::test]
async fn a_lost_reply_leaves_the_outcome_unknown_and_reading_back_tells_it() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let proxy = TcpProxy::start(zone.server.address()).await?;
        let provider = zone.provider_at(proxy.address())?;
        proxy.set_mode(Mode::CutAtReply);
        let outcome = apply(&provider, first_write("home", "198.51.100.7")).await;
        assert_eq!(Outcome::of(&outcome), Outcome::Unknown, "{outcome:?}");
        assert_eq!(proxy.opened(), 1, "it is not sent again");
        assert_eq!(zone.records().await?, WRITTEN);

        proxy.set_mode(Mode::Pass);
        let found = provider.read(&name("home")).await?;
        assert_eq!(found.marker_texts, [marker(1).to_string()]);
        let again = apply(&provider, first_write("home", "198.51.100.7")).await;
        assert_eq!(
            Outcome::of(&again),
            Outcome::PreconditionFailed,
            "{again:?}"
        );
        apply(&provider, replacement("home", "198.51.100.8")).await?;
        assert_eq!(zone.records().await?, REPLACED);
        Ok(())
    })
    .await
}

/// The server has not got the message, which the sender cannot know.
#[tokio::test]
async fn a_connection_that_breaks_under_a_message_leaves_its_outcome_unknown() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let proxy = TcpProxy::start(zone.server.address()).await?;
        let provider = zone.provider_at(proxy.address())?;
        proxy.set_mode(Mode::CutAtRequest);
        let outcome = apply(&provider, first_write("home", "198.51.100.7")).await;
        assert_eq!(Outcome::of(&outcome), Outcome::Unknown, "{outcome:?}");
        assert_eq!(proxy.opened(), 1, "it is not sent again");
        let read = provider.read(&name("home")).await;
        assert_eq!(Outcome::of(&read), Outcome::Unavailable, "{read:?}");
        assert_eq!(zone.records().await?, [""; 0]);

        proxy.set_mode(Mode::Pass);
        assert_eq!(provider.read(&name("home")).await?, Found::default());
        apply(&provider, first_write("home", "198.51.100.7")).await?;
        assert_eq!(zone.records().await?, WRITTEN);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_late_reply_is_taken_until_the_time_is_up_and_for_no_other_message() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let proxy = TcpProxy::start(zone.server.address()).await?;
        let provider = zone.provider_at(proxy.address())?;
        provider.probe().await?;

        proxy.set_mode(Mode::HoldReplies);
        let (outcome, applied) = join(
            apply(&provider, first_write("home", "198.51.100.7")),
            async {
                await_records(&zone, &WRITTEN).await?;
                proxy.set_mode(Mode::Pass);
                anyhow::Ok(())
            },
        )
        .await;
        applied?;
        assert_eq!(Outcome::of(&outcome), Outcome::Done, "{outcome:?}");
        assert_eq!(proxy.opened(), 1);

        // Nobody lets this one through before the sender gives up.
        proxy.set_mode(Mode::HoldReplies);
        let outcome = apply(&provider, replacement("home", "198.51.100.8")).await;
        assert_eq!(Outcome::of(&outcome), Outcome::Unknown, "{outcome:?}");
        proxy.set_mode(Mode::Pass);
        let again = apply(&provider, replacement("home", "198.51.100.8")).await;
        assert_eq!(
            Outcome::of(&again),
            Outcome::PreconditionFailed,
            "{again:?}"
        );
        assert_eq!(
            proxy.opened(),
            2,
            "a connection that lost a reply is not used again"
        );
        let found = provider.read(&name("home")).await?;
        assert_eq!(found.marker_texts, [marker(2).to_string()]);
        assert_eq!(zone.records().await?, REPLACED);
        Ok(())
    })
    .await
}

/// Connections stay open and nothing answers.
#[tokio::test]
async fn a_frozen_server_leaves_a_change_unknown_and_a_reading_unavailable() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        zone.provider.probe().await?;
        zone.server.freeze().await?;
        let change = first_write("home", "198.51.100.7");
        // On connections of their own, as one that lost a reply is not used again.
        let second = zone.provider_at(zone.server.address())?;
        let name = name("home");
        let (change, read) = join(apply(&zone.provider, change), second.read(&name)).await;
        zone.server.thaw().await?;
        assert_eq!(Outcome::of(&change), Outcome::Unknown, "{change:?}");
        assert_eq!(Outcome::of(&read), Outcome::Unavailable, "{read:?}");

        // It may take up the message as late as between reading back and writing again, which
        // the basis then tells.
        await_condition("what was read back is built on", LIMIT, async || {
            let found = zone.provider.read(&name).await?;
            let mut change = replacement("home", "198.51.100.8");
            if found.marker_texts.is_empty() {
                change.names[0].basis = Basis::Absent;
            }
            match apply(&zone.provider, change).await {
                Err(ApplyError::PreconditionFailed(_)) => Ok(None),
                outcome => Ok(Some(outcome)),
            }
        })
        .await??;
        assert_eq!(zone.records().await?, REPLACED);
        Ok(())
    })
    .await
}
