//! What reading a name back tells, after a precondition has failed or an outcome is unknown.

use anyhow::Result;
use dynhost::provider::Provider;
use dynhost::record::change::Found;
use hickory_net::proto::rr::RecordType;

use super::every_server::on_every_server;
use super::zone::{APEX, Remove, Zone, addresses, apply, first_write, marker, name, replacement};

/// Reads `home.row` in zones that hold these records.
async fn check(rows: &[(&[&str], Found)]) -> Result<()> {
    on_every_server(async |software| {
        let numbered = || (0..).zip(rows);
        let records = numbered().flat_map(|(number, (records, _))| {
            let row = format!("row{number}");
            records.iter().map(move |record| record.replace('~', &row))
        });
        let zone = Zone::start(software, &records.collect::<Vec<_>>()).await?;
        for (number, (records, expected)) in numbered() {
            let found = zone
                .provider
                .read(&name(&format!("home.row{number}")))
                .await;
            assert_eq!(found.as_ref(), Ok(expected), "{records:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_name_and_its_marker_are_read_back_as_they_are() -> Result<()> {
    let target = || "target.example.net.".to_owned();
    let text = marker(1).to_string();
    let marker_record: &str = &format!("_dynhost.home.~ 60 TXT \"{text}\"");
    check(&[
        (&[], Found::default()),
        (&["a.home.~ 60 A 192.0.2.1"], Found::default()),
        (
            &[
                "home.~ 60 A 192.0.2.1",
                "home.~ 60 AAAA 2001:db8::1",
                "home.~ 60 TXT \"beside\"",
                marker_record,
            ],
            Found {
                marker_texts: vec![text],
                ipv4: vec!["192.0.2.1".parse()?],
                ipv6: vec!["2001:db8::1".parse()?],
                cname: None,
            },
        ),
        (
            &[
                "home.~ 60 CNAME ns1",
                "_dynhost.home.~ 60 CNAME target.example.net.",
            ],
            Found {
                marker_texts: vec![format!("CNAME {}", target())],
                cname: Some(format!("ns1.{APEX}.")),
                ..Found::default()
            },
        ),
        // A wildcard's data, which is why reading back proves no absence and no presence but ours.
        (
            &["*.~ 60 A 192.0.2.1"],
            Found {
                ipv4: vec!["192.0.2.1".parse()?],
                ..Found::default()
            },
        ),
        (
            &["*.~ 60 TXT \"other\""],
            Found {
                marker_texts: vec!["other".to_owned()],
                ..Found::default()
            },
        ),
        (
            &["*.~ 60 CNAME target.example.net."],
            Found {
                marker_texts: vec![format!("CNAME {}", target())],
                cname: Some(target()),
                ..Found::default()
            },
        ),
    ])
    .await
}

/// What the server answers for the name and its marker's name below a wildcard.
#[tokio::test]
async fn a_wildcard_answers_again_once_a_name_below_it_is_removed() -> Result<()> {
    on_every_server(async |software| {
        let wildcards = [
            ("*.a 300 A 192.0.2.1", "home.a", RecordType::A),
            ("*.b 300 TXT \"other\"", "home.b", RecordType::TXT),
            (
                "*.c 300 CNAME target.example.net.",
                "home.c",
                RecordType::CNAME,
            ),
        ];
        let zone = Zone::start(software, &wildcards.map(|(record, ..)| record)).await?;
        for (wildcard, host, record_type) in wildcards {
            let names = [format!("{host}.{APEX}"), format!("_dynhost.{host}.{APEX}")];
            let mut before = Vec::new();
            for name in &names {
                before.push(zone.server.query(name, record_type).await?);
            }
            assert!(
                before.iter().all(|answer| answer.rdata.len() == 1),
                "{wildcard}"
            );

            apply(&zone.provider, first_write(host, "198.51.100.7")).await?;
            let answer = zone.server.query(&names[0], RecordType::A).await?;
            assert_eq!(answer.rdata, ["198.51.100.7"], "{wildcard}");

            let mut removal = replacement(host, "198.51.100.7");
            removal.names[0].records = addresses(Remove, Remove);
            removal.names[0].marker = None;
            apply(&zone.provider, removal).await?;
            for (name, before) in names.iter().zip(before) {
                let after = zone.server.query(name, record_type).await?;
                assert_eq!(after, before, "{wildcard}: {name}");
            }
        }
        Ok(())
    })
    .await
}

/// What a pass over the zone relies on, where it skips one whose serial is the same.
#[tokio::test]
async fn the_serial_moves_with_every_change_and_with_nothing_else() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &["b 300 A 192.0.2.1"]).await?;
        let mut serials = vec![zone.provider.serial().await?];
        for change in [
            first_write("a", "198.51.100.7"),
            replacement("a", "198.51.100.7"),
        ] {
            apply(&zone.provider, change).await?;
            serials.push(zone.provider.serial().await?);
        }
        let last = serials[2];
        serials.dedup();
        assert_eq!(serials.len(), 3, "{serials:?}");

        let refused = apply(&zone.provider, first_write("b", "198.51.100.7")).await;
        assert!(refused.is_err());
        zone.provider.probe().await?;
        zone.provider.read(&name("a")).await?;
        assert_eq!(zone.provider.serial().await?, last);
        Ok(())
    })
    .await
}
