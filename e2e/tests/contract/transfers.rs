//! Zones that are read whole, to see what others have changed.

use std::net::Ipv4Addr;

use anyhow::Result;
use dynhost::provider::rfc2136::Rfc2136;
use dynhost::provider::{Provider, TransferError};
use dynhost::record::contents::Data;
use dynhost_e2e::{NameServer, TsigAlgorithm, TsigKey, ZoneSpec, random_base64};

use super::every_server::{Each, on_every_server};
use super::zone::{APEX, Zone, apply, first_write, provider};

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

/// Gives the zone a key that may transfer it.
async fn reader(server: &NameServer, records: Vec<String>) -> Result<TsigKey> {
    let key = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
    server
        .add_zone(ZoneSpec {
            apex: APEX.to_owned(),
            keys: vec![key.clone()],
            records,
            allow_transfer: true,
        })
        .await?;
    Ok(key)
}

#[tokio::test]
async fn a_zone_is_read_whole_and_with_its_serial() -> Result<()> {
    on_every_server(async |software| {
        let server = NameServer::start(software, None).await?;
        let records = [
            "a 30 A 198.51.100.7",
            "a 30 A 198.51.100.8",
            "aaaa 30 AAAA 2001:db8::7",
            "*.cname 30 CNAME target.example.net.",
            "text 30 TXT \"one\"",
            "texts 30 TXT \"one\" \"two\"",
            "mail 30 MX 10 mail.example.net.",
        ];
        let key = reader(&server, records.map(str::to_owned).to_vec()).await?;
        let provider = provider(APEX, server.address(), &key)?;
        let (records, serial) = read(&provider).await?;
        let mut expected = vec![
            " 60 Other(2)",
            "*.cname 30 Cname(\"target.example.net.\")",
            "a 30 Ipv4(198.51.100.7)",
            "a 30 Ipv4(198.51.100.8)",
            "aaaa 30 Ipv6(2001:db8::7)",
            "mail 30 Other(15)",
            "ns1 60 Ipv4(127.0.0.1)",
            "text 30 Text(\"one\")",
            "texts 30 Text(\"\\\"one\\\" \\\"two\\\"\")",
        ];
        assert_eq!(records, expected);
        assert_eq!(provider.serial().await, Ok(Some(serial)));

        let mut change = first_write("home", "198.51.100.7");
        change.names[0].marker = None;
        apply(&provider, change).await?;
        let (records, later) = read(&provider).await?;
        expected.push("home 60 Ipv4(198.51.100.7)");
        expected.sort_unstable();
        assert_eq!(records, expected);
        assert_ne!(later, serial);
        assert_eq!(provider.serial().await, Ok(Some(later)));
        Ok(())
    })
    .await
}

/// Servers sign the messages of a transfer, all or some of them, in one chain.
#[tokio::test]
async fn a_zone_of_many_messages_is_read_whole() -> Result<()> {
    const HOSTS: u32 = 4000;
    on_every_server(async |software| {
        let server = NameServer::start(software, None).await?;
        let address = |number| Ipv4Addr::from(0x0a00_0000 + number);
        let records = (0..HOSTS).map(|number| format!("h{number} 60 A {}", address(number)));
        let key = reader(&server, records.collect()).await?;
        let provider = provider(APEX, server.address(), &key)?;
        let (records, _) = read(&provider).await?;
        let mut expected: Vec<String> = (0..HOSTS)
            .map(|number| format!("h{number} 60 Ipv4({})", address(number)))
            .collect();
        expected.push(" 60 Other(2)".to_owned());
        expected.push("ns1 60 Ipv4(127.0.0.1)".to_owned());
        expected.sort();
        assert!(records == expected, "{} records", records.len());
        Ok(())
    })
    .await
}

fn assert_begins(outcome: Result<(Vec<String>, u32), TransferError>, expected: &str) {
    let error = outcome.expect_err(expected).to_string();
    assert!(
        error.starts_with(expected),
        "{error:?} does not begin with {expected:?}"
    );
}

#[tokio::test]
async fn a_zone_that_may_not_be_transferred_is_told() -> Result<()> {
    on_every_server(async |software| {
        // Its key may write and query, and not transfer.
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let refused = read(&zone.provider).await;
        let expected = Each {
            bind: "transfer refused: REFUSED",
            knot: "credentials rejected: BADKEY",
            powerdns: "transfer refused: NOTAUTH without TSIG",
        };
        assert_begins(refused, expected.of(software));

        let key = reader(&zone.server, Vec::new()).await?;
        let stranger = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
        let wrong = TsigKey {
            secret: random_base64(32)?,
            ..key
        };
        let of_powerdns = "transfer refused: NOTAUTH without TSIG";
        for (key, expected) in [
            (
                stranger,
                Each {
                    powerdns: of_powerdns,
                    ..Each::all("credentials rejected: BADKEY")
                },
            ),
            (
                wrong,
                Each {
                    powerdns: of_powerdns,
                    ..Each::all("credentials rejected: BADSIG")
                },
            ),
        ] {
            let provider = provider(APEX, zone.server.address(), &key)?;
            assert_begins(read(&provider).await, expected.of(software));
        }
        Ok(())
    })
    .await
}
