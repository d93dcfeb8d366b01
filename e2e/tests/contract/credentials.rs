//! Keys and clocks that are wrong: told apart from a refused change, and never half obeyed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use dynhost::leader::fence::Fence;
use dynhost::name::{Fqdn, RecordName};
use dynhost::provider::Provider;
use dynhost::provider::rfc2136::transport::Transport;
use dynhost::provider::rfc2136::{message, reply};
use dynhost_e2e::{TsigAlgorithm, TsigKey, ZoneSpec, random_base64};

use super::every_server::{Each, on_every_server};
use super::zone::{APEX, Zone, apply, first_write, parse_key, provider};

/// `expected` is the beginning of the error; `None`: there is none.
fn check(what: &str, outcome: &Result<(), String>, expected: Option<&str>) {
    let is_expected = match (outcome, expected) {
        (Ok(()), None) => true,
        (Err(text), Some(beginning)) => text.starts_with(beginning),
        _ => false,
    };
    assert!(is_expected, "{what}: {outcome:?} is not {expected:?}");
}

#[tokio::test]
async fn every_algorithm_is_taken_and_every_reply_verified() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        for algorithm in [
            TsigAlgorithm::HmacSha1,
            TsigAlgorithm::HmacSha256,
            TsigAlgorithm::HmacSha384,
            TsigAlgorithm::HmacSha512,
        ] {
            let apex = format!("{}.example.org", algorithm.name());
            let key = TsigKey::generate(algorithm)?;
            zone.server
                .add_zone(ZoneSpec {
                    apex: apex.clone(),
                    keys: vec![key.clone()],
                    records: Vec::new(),
                    allow_transfer: false,
                })
                .await?;
            let provider = provider(&apex, zone.server.address(), &key)?;
            provider.probe().await?;
            let home = RecordName::parse(&format!("home.{apex}"))?;
            let mut change = first_write("home", "198.51.100.7");
            change.names[0].name = home.clone();
            apply(&provider, change).await?;
            let found = provider.read(&home).await?;
            assert_eq!(found.ipv4, ["198.51.100.7".parse::<Ipv4Addr>()?]);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_that_is_wrong_is_told_apart_and_changes_nothing() -> Result<()> {
    /// How a change (and a probe) ends, and how a reading does.
    struct Row {
        what: &'static str,
        key: TsigKey,
        apex: &'static str,
        change: Each<&'static str>,
        read: Each<Option<&'static str>>,
    }
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        // A key that the server knows and that may update another zone only.
        let other = TsigKey::generate(TsigAlgorithm::HmacSha256)?;
        zone.server
            .add_zone(ZoneSpec {
                apex: "other.example.org".to_owned(),
                keys: vec![other.clone()],
                records: Vec::new(),
                allow_transfer: false,
            })
            .await?;
        let bad_sig = "credentials rejected: BADSIG";
        let bad_key = "credentials rejected: BADKEY";
        let refused_unsigned = "credentials rejected: REFUSED without TSIG";
        let not_auth_unsigned = "credentials rejected: NOTAUTH without TSIG";
        let rows = [
            Row {
                what: "another secret",
                key: TsigKey {
                    secret: random_base64(32)?,
                    ..zone.key.clone()
                },
                apex: APEX,
                change: Each {
                    powerdns: refused_unsigned,
                    ..Each::all(bad_sig)
                },
                read: Each {
                    powerdns: Some(not_auth_unsigned),
                    ..Each::all(Some(bad_sig))
                },
            },
            Row {
                what: "another algorithm",
                key: TsigKey {
                    algorithm: TsigAlgorithm::HmacSha512,
                    ..zone.key.clone()
                },
                apex: APEX,
                change: Each {
                    powerdns: refused_unsigned,
                    ..Each::all(bad_key)
                },
                read: Each {
                    powerdns: Some(not_auth_unsigned),
                    ..Each::all(Some(bad_key))
                },
            },
            Row {
                what: "a name that the server does not know",
                key: TsigKey::generate(TsigAlgorithm::HmacSha256)?,
                apex: APEX,
                change: Each {
                    powerdns: refused_unsigned,
                    ..Each::all(bad_key)
                },
                read: Each {
                    powerdns: Some(not_auth_unsigned),
                    ..Each::all(Some(bad_key))
                },
            },
            Row {
                what: "another zone's",
                key: other,
                apex: APEX,
                change: Each {
                    knot: bad_key,
                    ..Each::all("refused: REFUSED")
                },
                read: Each {
                    knot: Some(bad_key),
                    ..Each::all(None)
                },
            },
            Row {
                what: "a zone that the server does not hold",
                key: zone.key.clone(),
                apex: "elsewhere.example.org",
                change: Each {
                    bind: "refused: NOTAUTH",
                    knot: not_auth_unsigned,
                    powerdns: "refused: REFUSED",
                },
                read: Each {
                    knot: Some(refused_unsigned),
                    ..Each::all(Some("refused: REFUSED"))
                },
            },
        ];
        for Row {
            what,
            key,
            apex,
            change: change_is,
            read,
        } in rows
        {
            let provider = provider(apex, zone.server.address(), &key)?;
            let home = RecordName::parse(&format!("home.{apex}"))?;
            let mut change = first_write("home", "198.51.100.7");
            change.names[0].name = home.clone();
            let errors = [
                apply(&provider, change).await.map(|_| ()),
                provider.probe().await,
                provider.read(&home).await.map(|_| ()),
            ];
            let errors = errors.map(|outcome| outcome.map_err(|error| error.to_string()));
            let printed = format!("{errors:?}");
            assert!(!printed.contains(&key.secret), "a secret is never printed");
            let change = Some(change_is.of(software));
            for (outcome, expected) in errors.iter().zip([change, change, read.of(software)]) {
                check(what, outcome, expected);
            }
            assert_eq!(zone.records().await?, [""; 0], "{what}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_and_changes_nothing() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &[] as &[&str]).await?;
        let key = parse_key(&zone.key)?;
        let transport = Transport::new(
            zone.server.address().to_string().parse()?,
            Arc::new(Fence::open()),
        );
        // A second may go by between reading the clock and sending.
        let unsigned = ["credentials rejected: REFUSED without TSIG"; 2];
        for (error, expected) in [
            (
                -1000,
                Each {
                    powerdns: unsigned,
                    ..Each::all([
                        "credentials rejected: BADTIME: our clock is 1000 s behind",
                        "credentials rejected: BADTIME: our clock is 1001 s behind",
                    ])
                },
            ),
            (
                400,
                Each {
                    powerdns: unsigned,
                    ..Each::all([
                        "credentials rejected: BADTIME: our clock is 400 s ahead",
                        "credentials rejected: BADTIME: our clock is 399 s ahead",
                    ])
                },
            ),
        ] {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let ours = now.saturating_add_signed(error);
            let change = [first_write("home", "198.51.100.7")];
            let request = message::update(7, &Fqdn::parse(APEX)?, &change)?;
            let request = message::encode(request, &key, ours)?;
            let reply = transport.exchange(&request.wire).await?;
            let outcome = reply::applied(&key.open(&reply, &request.mac, ours)?);
            let told = outcome.expect_err("a wrong clock").to_string();
            let expected = expected.of(software);
            assert!(
                expected.iter().any(|expected| told.starts_with(expected)),
                "{told:?} is none of {expected:?}"
            );
            assert_eq!(zone.records().await?, [""; 0], "{error} s");
        }
        Ok(())
    })
    .await
}
