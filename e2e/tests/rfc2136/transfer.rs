//! Whole zones, read by transfer.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use dynhost::provider::rfc2136::Rfc2136;
use dynhost::provider::rfc2136::tsig::TsigKey;
use dynhost::provider::{Provider, TransferError};
use dynhost::record::contents::Data;
use dynhost_e2e::{Bind, TsigAlgorithm, ZoneSpec, free_port};
use futures::FutureExt;

use super::scripted_server::{Transfers, read_transfer};
use super::zone::{APEX, Keep, Set, Zone, change, constant, marker, parse_key, provider};

/// A zone with `records` that may be transferred.
async fn zone_with(records: Vec<String>, algorithm: TsigAlgorithm) -> Result<Zone> {
    let bind = Bind::start().await?;
    let key = dynhost_e2e::TsigKey::generate(algorithm)?;
    bind.add_zone(ZoneSpec {
        apex: APEX.to_owned(),
        keys: vec![key.clone()],
        records,
        allow_transfer: true,
    })
    .await?;
    let provider = provider(&[bind.address()], constant(parse_key(&key)?))?;
    Ok(Zone {
        bind,
        key,
        provider,
    })
}

/// Hosts `h0` and so on, each with an address and a text.
fn hosts(count: u32) -> Vec<String> {
    (0..count)
        .flat_map(|number| {
            let address = Ipv4Addr::from(0x0a00_0000 + number);
            [
                format!("h{number} 60 A {address}"),
                format!("_dynhost.h{number} 60 TXT \"text of {number}\""),
            ]
        })
        .collect()
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
async fn a_zone_is_read_whole() -> Result<()> {
    const HOSTS: u32 = 12_000;
    for algorithm in [TsigAlgorithm::HmacSha256, TsigAlgorithm::HmacSha1] {
        let zone = zone_with(hosts(HOSTS), algorithm).await?;
        let (records, serial) = read(&zone.provider).await?;
        let mut expected = vec![
            " 60 Other(2)".to_owned(),
            "ns1 60 Ipv4(127.0.0.1)".to_owned(),
        ];
        expected.extend((0..HOSTS).flat_map(|number| {
            let address = Ipv4Addr::from(0x0a00_0000 + number);
            [
                format!("h{number} 60 Ipv4({address})"),
                format!("_dynhost.h{number} 60 Text(\"text of {number}\")"),
            ]
        }));
        expected.sort();
        assert!(records == expected, "{} records", records.len());
        assert_eq!(zone.provider.serial().await, Ok(Some(serial)));
    }
    Ok(())
}

#[tokio::test]
async fn every_kind_of_record_is_told() -> Result<()> {
    let records = [
        "a 30 A 198.51.100.7",
        "A 30 A 198.51.100.8",
        "aaaa 30 AAAA 2001:db8::7",
        "*.cname 30 CNAME Target.Example.Net.",
        "text 30 TXT \"one\"",
        "texts 30 TXT \"one\" \"two\"",
        "caa 30 CAA 0 issue \"ca.example.net\"",
        "odd 30 TYPE65280 \\# 3 abcdef",
        "a\\.b 30 TXT \"dot\"",
    ];
    let records = records.map(str::to_owned).to_vec();
    let zone = zone_with(records, TsigAlgorithm::HmacSha512).await?;
    let (records, serial) = read(&zone.provider).await?;
    assert_eq!(
        records,
        [
            " 60 Other(2)",
            "*.cname 30 Cname(\"target.example.net.\")",
            "a 30 Ipv4(198.51.100.7)",
            "a 30 Ipv4(198.51.100.8)",
            "a\\046b 30 Text(\"dot\")",
            "aaaa 30 Ipv6(2001:db8::7)",
            "caa 30 Other(257)",
            "ns1 60 Ipv4(127.0.0.1)",
            "odd 30 Other(65280)",
            "text 30 Text(\"one\")",
            "texts 30 Text(\"\\\"one\\\" \\\"two\\\"\")",
        ]
    );
    assert_eq!(serial, 1);
    Ok(())
}

#[tokio::test]
async fn a_refused_transfer_is_told_from_refused_credentials() -> Result<()> {
    let zone = Zone::start(&["home 60 A 198.51.100.7"]).await?;
    let refused = read(&zone.provider).await;
    assert_eq!(refused, Err(TransferError::Refused("REFUSED".to_owned())));
    let found = zone.provider.read(&super::zone::host()).await?;
    assert_eq!(found.ipv4, [Ipv4Addr::new(198, 51, 100, 7)]);

    let zone = zone_with(Vec::new(), TsigAlgorithm::HmacSha256).await?;
    let other = dynhost_e2e::TsigKey::generate(TsigAlgorithm::HmacSha256)?;
    let wrong = TsigKey::new(
        &zone.key.name,
        "hmac-sha256".parse()?,
        other.secret.as_bytes(),
    )?;
    for (key, word) in [(parse_key(&other)?, "BADKEY"), (wrong, "BADSIG")] {
        let provider = provider(&[zone.bind.address()], constant(key))?;
        match read(&provider).await {
            Err(TransferError::Unauthorized(why)) => assert!(why.starts_with(word), "{why}"),
            other => panic!("{word}: {other:?}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_key_is_read_again() -> Result<()> {
    let zone = zone_with(Vec::new(), TsigAlgorithm::HmacSha256).await?;
    let (good, bad) = (
        parse_key(&zone.key)?,
        parse_key(&dynhost_e2e::TsigKey::generate(TsigAlgorithm::HmacSha256)?)?,
    );
    let is_renewed = Arc::new(AtomicBool::new(false));
    let source = Box::new(move || {
        let key = match is_renewed.swap(true, Ordering::SeqCst) {
            true => good.clone(),
            false => bad.clone(),
        };
        async move { Ok(key) }.boxed()
    });
    let provider = provider(&[zone.bind.address()], source)?;
    let (records, _) = read(&provider).await?;
    assert_eq!(records.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_takes_no_connection() -> Result<()> {
    let zone = zone_with(Vec::new(), TsigAlgorithm::HmacSha256).await?;
    let nobody: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()?).into();
    let provider = zone.provider_at(&[nobody, zone.bind.address()])?;
    assert_eq!(read(&provider).await?.0.len(), 2);
    let provider = zone.provider_at(&[nobody])?;
    let outcome = read(&provider).await;
    assert!(
        matches!(outcome, Err(TransferError::Unavailable(_))),
        "{outcome:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_zone_that_changes_meanwhile_is_read_as_it_was_at_one_moment() -> Result<()> {
    let zone = zone_with(hosts(4000), TsigAlgorithm::HmacSha256).await?;
    let stop = AtomicBool::new(false);
    let change_on_and_on = async {
        let mut basis = dynhost::record::change::Basis::Absent;
        let mut changes = 0;
        while !stop.load(Ordering::SeqCst) {
            let nonce = u8::try_from(1 + changes % 15)?;
            let address = format!("198.51.100.{nonce}");
            let next = marker(nonce);
            zone.apply(change(Set(&address), Keep, Some(next.clone()), basis))
                .await?;
            basis = dynhost::record::change::Basis::Marker(next);
            changes += 1;
        }
        Ok::<_, anyhow::Error>(changes)
    };
    let read_on_and_on = async {
        let mut serials = BTreeMap::new();
        while serials.len() < 10 {
            let (records, serial) = read(&zone.provider).await?;
            let of_host = |begin: &str| {
                let found = records.iter().find(|record| record.starts_with(begin));
                found.cloned().unwrap_or_default()
            };
            let (address, text) = (of_host("home "), of_host("_dynhost.home "));
            // One message sets both to the same number.
            let number = address.rsplit('.').next().unwrap().trim_end_matches(')');
            let nonce = text
                .rsplit('0')
                .next()
                .unwrap()
                .trim_end_matches(['"', ')']);
            let number: u8 = number.parse().unwrap_or_default();
            ensure!(
                nonce == format!("{number:x}") || (number, nonce) == (0, ""),
                "{address} {text}"
            );
            serials.insert(serial, number);
        }
        stop.store(true, Ordering::SeqCst);
        Ok(serials)
    };
    let (changes, serials) = futures::try_join!(change_on_and_on, read_on_and_on)?;
    assert!(changes >= 9 && serials.len() >= 10, "{changes} {serials:?}");
    Ok(())
}

/// What comes of a transfer of several messages that somebody spoils on the way.
async fn check_spoiled(
    zone: &Zone,
    name: &str,
    spoil: fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>,
    expected: &str,
) -> Result<()> {
    let server = Transfers::start(zone.bind.address(), spoil).await?;
    let provider = zone.provider_at(&[server.address])?;
    let outcome = read(&provider).await;
    let outcome = outcome.map_or_else(|error| error.to_string(), |_| "whole".to_owned());
    assert_eq!(outcome, expected, "{name}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_concluded_from_a_transfer_that_is_cut_or_changed() -> Result<()> {
    let zone = zone_with(hosts(4000), TsigAlgorithm::HmacSha256).await?;
    let messages = read_transfer(zone.bind.address(), APEX).await?;
    assert!(messages.len() > 4, "{}", messages.len());
    let wrong = "the transfer broke off: the reply's MAC is wrong";
    check_spoiled(&zone, "untouched", |all| all, "whole").await?;
    check_spoiled(
        &zone,
        "cut between messages",
        |mut all| {
            all.truncate(all.len() / 2);
            all
        },
        "unavailable: the server closed the connection in a transfer",
    )
    .await?;
    check_spoiled(
        &zone,
        "cut at once",
        |_| Vec::new(),
        "unavailable: the server closed the connection in a transfer",
    )
    .await?;
    check_spoiled(
        &zone,
        "one left out",
        |mut all| {
            all.remove(2);
            all
        },
        wrong,
    )
    .await?;
    check_spoiled(
        &zone,
        "one twice",
        |mut all| {
            all.insert(2, all[1].clone());
            all
        },
        wrong,
    )
    .await?;
    check_spoiled(
        &zone,
        "two swapped",
        |mut all| {
            all.swap(1, 2);
            all
        },
        wrong,
    )
    .await?;
    check_spoiled(
        &zone,
        "a signature taken off",
        |mut all| {
            all[1] = without_tsig(&all[1]);
            all
        },
        wrong,
    )
    .await?;
    check_spoiled(
        &zone,
        "the last signature taken off",
        |mut all| {
            let last = all.len() - 1;
            all[last] = without_tsig(&all[last]);
            all
        },
        "the transfer broke off: the last message is not signed",
    )
    .await?;
    check_spoiled(
        &zone,
        "an address changed",
        |mut all| {
            let address = [0, 4, 10, 0];
            let place = all[1].windows(4).position(|octets| octets == address);
            all[1][place.unwrap() + 3] = 1;
            all
        },
        wrong,
    )
    .await
}

fn without_tsig(message: &[u8]) -> Vec<u8> {
    let layout = dynhost::provider::rfc2136::wire::Layout::of(message).unwrap();
    let mut message = message[..layout.tsig.unwrap()].to_vec();
    message[11] -= 1;
    message
}
