//! A writer that is stopped in the middle of an update, and goes on when another one writes.

use anyhow::Result;
use dynhost_e2e::Signal;

use super::team::{SHORT, Team, await_leader, await_standby};

const ROUNDS: u8 = 4;

#[tokio::test]
async fn a_writer_that_was_stopped_for_longer_than_the_lease_overwrites_nothing_newer() -> Result<()>
{
    let team = Team::gather().await?;
    let (mut writer, mut standby) = team.pair(SHORT).await?;
    let host = team.host().await?;
    for round in 1..=ROUNDS {
        let older = format!("198.51.100.{round}");
        let newer = format!("203.0.113.{round}");
        // It is stopped somewhere between the watch's event and its status.
        let (reported, frozen) = tokio::join!(host.report(&standby, &older), writer.freeze());
        reported?;
        frozen?;
        await_leader(&standby).await?;
        host.report(&standby, &newer).await?;
        host.await_published(&newer).await?;
        writer.signal(Signal::CONT).await?;
        // Whatever it was about to send comes before it knows of the newer one.
        await_standby(&writer).await?;
        host.await_known(&writer, &newer).await?;
        assert_eq!(host.published().await?, [newer.as_str()], "round {round}");
        std::mem::swap(&mut writer, &mut standby);
    }
    // Whoever writes knows what DNS has.
    host.report(&standby, "192.0.2.1").await?;
    host.await_published("192.0.2.1").await
}
