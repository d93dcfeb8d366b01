//! Several changes in one call, and several names in one change.

use anyhow::Result;
use dynhost::name::RecordName;
use dynhost::provider::{Applied, ApplyError, Provider};
use dynhost::record::change::{Basis, HostChange, NameChange};
use dynhost_e2e::{Mode, TcpProxy, TsigAlgorithm, TsigKey};

use super::every_server::on_every_server;
use super::zone::{
    APEX, Keep, Outcome, Remove, Set, TTL, Zone, addresses, first_write, marker, name, provider,
};

fn outcomes(outcomes: &[Result<Applied, ApplyError>]) -> Vec<Outcome> {
    outcomes.iter().map(Outcome::of).collect()
}

#[tokio::test]
async fn a_change_that_is_refused_costs_its_neighbours_nothing() -> Result<()> {
    on_every_server(async |software| {
        let foreign = ["b 300 A 192.0.2.1", "e 300 CNAME target.example.net."];
        let zone = Zone::start(software, &foreign).await?;
        let mut changes: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|host| first_write(host, "198.51.100.7"))
            .into();
        let outside = RecordName::parse("outside.example.org")?;
        changes[2].names[0].name = outside;
        let result = zone.provider.apply(&changes).await;
        assert_eq!(
            outcomes(&result),
            [
                Outcome::Done,
                Outcome::PreconditionFailed,
                Outcome::Rejected,
                Outcome::Done,
                Outcome::PreconditionFailed,
            ],
            "{result:?}"
        );
        assert_eq!(
            zone.records().await?,
            [
                "_dynhost.a 60 TXT #1",
                "_dynhost.d 60 TXT #1",
                "a 60 A 198.51.100.7",
                "b 300 A 192.0.2.1",
                "d 60 A 198.51.100.7",
                "e 300 CNAME target.example.net.",
            ]
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_hundred_changes_are_applied_over_one_connection() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let proxy = TcpProxy::start(zone.server.address()).await?;
        let provider = zone.provider_at(proxy.address())?;
        let changes: Vec<_> = (0..100)
            .map(|number| first_write(&format!("h{number}"), "198.51.100.7"))
            .collect();
        let result = provider.apply(&changes).await;
        assert_eq!(outcomes(&result), vec![Outcome::Done; 100], "{result:?}");
        assert_eq!(proxy.opened(), 1);
        assert_eq!(zone.records().await?.len(), 200);
        Ok(())
    })
    .await
}

/// Refusals of a whole message are no change's own fault, and no reason to try each by itself.
#[tokio::test]
async fn what_befalls_a_whole_message_befalls_each_of_its_changes() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &["other 300 A 192.0.2.1"]).await?;
        let changes: Vec<_> = (0..20)
            .map(|number| first_write(&format!("h{number}"), "198.51.100.7"))
            .collect();
        let stranger = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
        let stranger = provider(APEX, zone.server.address(), &stranger)?;
        let result = stranger.apply(&changes).await;
        assert_eq!(outcomes(&result), vec![Outcome::Unauthorized; 20]);
        assert_eq!(zone.records().await?, ["other 300 A 192.0.2.1"]);

        zone.server.stop().await?;
        let result = zone.provider.apply(&changes).await;
        assert_eq!(outcomes(&result), vec![Outcome::Unavailable; 20]);
        zone.server.start_again().await?;
        assert_eq!(zone.records().await?, ["other 300 A 192.0.2.1"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_lost_reply_leaves_every_change_of_its_message_unknown_and_whole() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let proxy = TcpProxy::start(zone.server.address()).await?;
        let provider = zone.provider_at(proxy.address())?;
        let hosts: Vec<String> = (0..20).map(|number| format!("h{number}")).collect();
        let changes: Vec<_> = hosts
            .iter()
            .map(|host| first_write(host, "198.51.100.7"))
            .collect();
        proxy.set_mode(Mode::CutAtReply);
        let result = provider.apply(&changes).await;
        assert_eq!(outcomes(&result), vec![Outcome::Unknown; 20], "{result:?}");

        // The server may still be at work on what it got, so what is read is there afterwards.
        proxy.set_mode(Mode::Pass);
        let mut read_back = Vec::new();
        for change in &changes {
            let found = provider.read(&change.names[0].name).await?;
            read_back.push(!found.marker_texts.is_empty());
        }
        assert!(read_back.contains(&true));
        let records = zone.records().await?;
        for (host, was_marked) in hosts.iter().zip(read_back) {
            let is_there = |record: String| records.contains(&record);
            let is_written = is_there(format!("{host} 60 A 198.51.100.7"));
            let is_marked = is_there(format!("_dynhost.{host} 60 TXT #1"));
            assert_eq!(is_written, is_marked, "{host}");
            assert!(is_marked || !was_marked, "{host}");
        }
        Ok(())
    })
    .await
}

/// A name of `octets` octets, the longest that its marker allows being 244.
fn long_name(number: usize, octets: usize) -> String {
    let mut name = format!("n{number}");
    while name.len() + 1 + APEX.len() < octets {
        let room = octets - name.len() - 1 - APEX.len();
        name = match room {
            1 => format!("{name}x"),
            room => format!("{}.{name}", "x".repeat((room - 1).min(60))),
        };
    }
    name
}

/// Over 65,535 octets in all, which no message may have. A message that was cut would be applied
/// in part and be answered NOERROR.
#[tokio::test]
async fn changes_that_fit_no_message_together_are_all_applied_or_told() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let hosts: Vec<String> = (0..150).map(|number| long_name(number, 244)).collect();
        let changes: Vec<_> = hosts
            .iter()
            .map(|host| first_write(host, "198.51.100.7"))
            .collect();
        let result = zone.provider.apply(&changes).await;
        assert_eq!(outcomes(&result), vec![Outcome::Done; hosts.len()]);
        let mut expected: Vec<String> = hosts
            .iter()
            .flat_map(|host| {
                [
                    format!("{host} 60 A 198.51.100.7"),
                    format!("_dynhost.{host} 60 TXT #1"),
                ]
            })
            .collect();
        expected.sort();
        assert_eq!(zone.records().await?, expected);
        Ok(())
    })
    .await
}

fn several_names(names: &[String]) -> HostChange {
    let names = names.iter().map(|relative| NameChange {
        name: name(relative),
        records: addresses(Set("198.51.100.7"), Keep),
        marker: Some(marker(1)),
        basis: Basis::Absent,
    });
    HostChange {
        ttl: TTL,
        names: names.collect(),
    }
}

#[tokio::test]
async fn a_change_that_fits_no_message_is_refused_and_never_cut() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let names: Vec<String> = (0..150).map(|number| long_name(number, 244)).collect();
        let changes = [
            first_write("a", "198.51.100.7"),
            several_names(&names),
            first_write("b", "198.51.100.7"),
        ];
        let result = zone.provider.apply(&changes).await;
        assert_eq!(
            outcomes(&result),
            [Outcome::Done, Outcome::Rejected, Outcome::Done],
            "{result:?}"
        );
        assert_eq!(
            zone.records().await?,
            [
                "_dynhost.a 60 TXT #1",
                "_dynhost.b 60 TXT #1",
                "a 60 A 198.51.100.7",
                "b 60 A 198.51.100.7",
            ]
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_names_of_a_host_are_written_all_or_none() -> Result<()> {
    on_every_server(async |software| {
        let foreign = "www.taken 300 A 192.0.2.1";
        let zone = Zone::start(software, &[foreign]).await?;
        let names = |host: &str| ["", "www.", "*."].map(|label| format!("{label}{host}"));
        let changes = ["free", "taken"].map(|host| several_names(&names(host)));
        let result = zone.provider.apply(&changes).await;
        assert_eq!(
            outcomes(&result),
            [Outcome::Done, Outcome::PreconditionFailed],
            "{result:?}"
        );
        let written = [
            "*.free 60 A 198.51.100.7",
            "_dynhost.*.free 60 TXT #1",
            "_dynhost.free 60 TXT #1",
            "_dynhost.www.free 60 TXT #1",
            "free 60 A 198.51.100.7",
            "www.free 60 A 198.51.100.7",
            foreign,
        ];
        assert_eq!(zone.records().await?, written);

        // Their removal fails whole, too.
        let removal = |nonces: [u8; 3]| {
            let mut change = several_names(&names("free"));
            for (name, nonce) in change.names.iter_mut().zip(nonces) {
                name.records = addresses(Remove, Remove);
                name.marker = None;
                name.basis = Basis::Marker(marker(nonce));
            }
            [change]
        };
        let result = zone.provider.apply(&removal([1, 1, 2])).await;
        assert_eq!(outcomes(&result), [Outcome::PreconditionFailed]);
        assert_eq!(zone.records().await?, written);
        let result = zone.provider.apply(&removal([1, 1, 1])).await;
        assert_eq!(outcomes(&result), [Outcome::Done]);
        assert_eq!(zone.records().await?, [foreign]);
        Ok(())
    })
    .await
}
