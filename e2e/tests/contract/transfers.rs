//! Whole zones and their serials, which tell what somebody else has changed.

use anyhow::Result;
use dynhost::provider::rfc2136::Rfc2136;
use dynhost::provider::{Provider, TransferError};
use dynhost::record::contents::Data;
use dynhost_e2e::{NameServer, Software, TsigAlgorithm, TsigKey, ZoneSpec};

use super::every_server::on_every_server;
use super::zone::{APEX, Zone, apply, first_write, name, provider, replacement};

/// A zone with these records, which the key may transfer.
async fn transferable(software: Software, records: &[String]) -> Result<Zone> {
    let server = NameServer::start(software, None).await?;
    let key = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
    server
        .add_zone(ZoneSpec {
            apex: APEX.to_owned(),
            keys: vec![key.clone()],
            records: records.to_vec(),
            allow_transfer: true,
        })
        .await?;
    let provider = provider(APEX, server.address(), &key)?;
    Ok(Zone {
        server,
        key,
        provider,
    })
}

/// Every record as `name ttl data`, sorted, and the serial.
async fn read(provider: &Rfc2136) -> Result<(Vec<String>, u32), TransferError> {
    let mut records = Vec::new();
    let mut visit = |name: &str, ttl: u32, data: Data<'_>| {
        let name = name.strip_suffix(APEX).unwrap().trim_end_matches('.');
        records.push(format!("{name} {ttl} {data:?}"));
    };
    let serial = provider.transfer(&mut visit).await?;
    records.sort();
    Ok((records, serial))
}

#[tokio::test]
async fn a_zone_is_transferred_whole() -> Result<()> {
    // More than one message's worth, of a server that fills them.
    const HOSTS: usize = 3000;
    on_every_server(async |software| {
        let records: Vec<_> = (0..HOSTS)
            .flat_map(|number| {
                [
                    format!("h{number} 60 A 10.0.{}.{}", number / 250, number % 250),
                    format!("_dynhost.h{number} 60 TXT \"text of {number}\""),
                ]
            })
            .chain(["*.wild 60 CNAME Target.example.net.".to_owned()])
            .collect();
        let zone = transferable(software, &records).await?;
        let mut expected: Vec<_> = (0..HOSTS)
            .flat_map(|number| {
                let address = format!("10.0.{}.{}", number / 250, number % 250);
                [
                    format!("h{number} 60 Ipv4({address})"),
                    format!("_dynhost.h{number} 60 Text(\"text of {number}\")"),
                ]
            })
            .collect();
        expected.extend([
            " 60 Other(2)".to_owned(),
            "*.wild 60 Cname(\"target.example.net.\")".to_owned(),
            "ns1 60 Ipv4(127.0.0.1)".to_owned(),
        ]);
        expected.sort();
        let (records, serial) = read(&zone.provider).await?;
        assert!(records == expected, "{} records", records.len());
        assert_eq!(zone.provider.serial().await, Ok(Some(serial)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_change_makes_the_serial_another_one_and_is_in_the_next_transfer() -> Result<()> {
    on_every_server(async |software| {
        let zone = transferable(software, &[]).await?;
        let (before, first) = read(&zone.provider).await?;
        assert_eq!(before.len(), 2);
        apply(&zone.provider, first_write("home", "198.51.100.7")).await?;
        let (records, second) = read(&zone.provider).await?;
        assert_eq!(records.len(), 4);
        assert!(records.contains(&"home 60 Ipv4(198.51.100.7)".to_owned()));
        apply(&zone.provider, replacement("home", "198.51.100.8")).await?;
        let (records, third) = read(&zone.provider).await?;
        assert!(records.contains(&"home 60 Ipv4(198.51.100.8)".to_owned()));
        assert!(first != second && second != third && first != third);
        assert_eq!(zone.provider.serial().await, Ok(Some(third)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refused_transfer_leaves_queries() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &["home 60 A 198.51.100.7"]).await?;
        let outcome = read(&zone.provider).await;
        match software {
            // As if it did not know the key.
            Software::Knot => assert!(
                matches!(outcome, Err(TransferError::Unauthorized(_))),
                "{outcome:?}"
            ),
            Software::Bind | Software::PowerDns => assert!(
                matches!(outcome, Err(TransferError::Refused(_))),
                "{outcome:?}"
            ),
        }
        let found = zone.provider.read(&name("home")).await?;
        assert_eq!(found.ipv4.len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_that_the_server_does_not_take_transfers_nothing() -> Result<()> {
    on_every_server(async |software| {
        let zone = transferable(software, &[]).await?;
        let unknown = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
        let forged = TsigKey {
            secret: unknown.secret.clone(),
            ..zone.key.clone()
        };
        for key in [unknown, forged] {
            let provider = provider(APEX, zone.server.address(), &key)?;
            let outcome = read(&provider).await;
            match software {
                Software::Bind | Software::Knot => assert!(
                    matches!(outcome, Err(TransferError::Unauthorized(_))),
                    "{outcome:?}"
                ),
                // It does not say why; its answer to a query then does.
                Software::PowerDns => assert!(
                    matches!(outcome, Err(TransferError::Refused(_))),
                    "{outcome:?}"
                ),
            }
            let asked = provider.read(&name("home")).await;
            assert!(asked.is_err(), "{asked:?}");
        }
        Ok(())
    })
    .await
}
