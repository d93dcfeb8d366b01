//! Keys that are right, wrong, changed or missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use dynhost::name::Fqdn;
use dynhost::provider::rfc2136::transport::Transport;
use dynhost::provider::rfc2136::tsig::{InvalidKey, TsigKey};
use dynhost::provider::rfc2136::{KeyError, KeySource, message, reply};
use dynhost::provider::{ApplyError, Provider};
use dynhost::record::change::Found;
use dynhost_e2e::{TsigAlgorithm, ZoneSpec, random_base64};
use futures::FutureExt;

use super::zone::{APEX, Zone, apply, constant, first_write, host, parse_key, provider};

#[tokio::test]
async fn every_algorithm_is_taken_and_every_reply_verified() -> Result<()> {
    for algorithm in [
        TsigAlgorithm::HmacSha1,
        TsigAlgorithm::HmacSha256,
        TsigAlgorithm::HmacSha384,
        TsigAlgorithm::HmacSha512,
    ] {
        let zone = Zone::start_with(&[], algorithm).await?;
        zone.provider.probe().await?;
        zone.apply(first_write("198.51.100.7")).await?;
        let found = zone.provider.read(&host()).await?;
        assert_eq!(found.ipv4, ["198.51.100.7".parse::<std::net::Ipv4Addr>()?]);
    }
    Ok(())
}

#[tokio::test]
async fn each_kind_of_refusal_is_told_apart() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    // A key that the server knows and that may update another zone only.
    let other = dynhost_e2e::TsigKey::generate(TsigAlgorithm::HmacSha256)?;
    zone.bind
        .add_zone(ZoneSpec {
            apex: "other.example.org".to_owned(),
            keys: vec![other.clone()],
            records: Vec::new(),
            allow_transfer: false,
        })
        .await?;
    let wrong_secret = dynhost_e2e::TsigKey {
        secret: random_base64(32)?,
        ..zone.key.clone()
    };
    let wrong_algorithm = dynhost_e2e::TsigKey {
        algorithm: TsigAlgorithm::HmacSha512,
        ..zone.key.clone()
    };
    let unknown = dynhost_e2e::TsigKey::generate(TsigAlgorithm::HmacSha256)?;
    for (key, kind, reads) in [
        (wrong_secret, "credentials rejected: BADSIG", false),
        (wrong_algorithm, "credentials rejected: BADKEY", false),
        (unknown, "credentials rejected: BADKEY", false),
        (other, "refused: REFUSED", true),
    ] {
        let provider = provider(&[zone.bind.address()], constant(parse_key(&key)?))?;
        let errors = [
            apply(&provider, first_write("198.51.100.7"))
                .await
                .map(|_| ()),
            provider.probe().await,
        ];
        for error in errors {
            let text = error.expect_err(kind).to_string();
            assert!(
                text.starts_with(kind),
                "{text:?} does not start with {kind:?}"
            );
            assert!(!text.contains(&key.secret), "a secret is never printed");
        }
        assert_eq!(provider.read(&host()).await.is_ok(), reads, "{kind}");
    }
    assert_eq!(zone.records().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_zone_that_the_server_does_not_hold_is_rejected() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let elsewhere = dynhost::provider::rfc2136::Rfc2136::new(
        Fqdn::parse("elsewhere.example.org")?,
        vec![zone.bind.address().to_string().parse()?],
        constant(parse_key(&zone.key)?),
    );
    let error = elsewhere.probe().await.expect_err("NOTAUTH");
    assert!(error.to_string().starts_with("refused: NOTAUTH"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_clock_is_told_with_its_error() -> Result<()> {
    async fn check(zone: &Zone, error: i64, expected: &str) -> Result<()> {
        let key = parse_key(&zone.key)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let ours = now.saturating_add_signed(error);
        let request = message::probe(7, &Fqdn::parse(APEX)?)?;
        let request = message::encode(request, &key, ours)?;
        let transport = Transport::new(zone.bind.address().to_string().parse()?);
        let reply = transport.exchange(&request.wire).await?;
        let outcome = reply::applied(&key.open(&reply, &request.mac, ours)?);
        let Err(ApplyError::Unauthorized(text)) = outcome else {
            anyhow::bail!("{outcome:?}");
        };
        // The server may have gone on to the next second meanwhile.
        let next = expected.replace("00 s", "01 s").replace("400 s", "399 s");
        assert!(text.contains(expected) || text.contains(&next), "{text}");
        Ok(())
    }
    let zone = Zone::start(&[]).await?;
    check(&zone, -1000, "our clock is 1000 s behind").await?;
    check(&zone, 400, "our clock is 400 s ahead").await?;
    Ok(())
}

/// A source that gives `keys` one after the other, the last for ever, and counts how often.
fn successive(keys: Vec<Result<TsigKey, KeyError>>) -> (KeySource, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reads);
    let source: KeySource = Box::new(move || {
        let read = counter.fetch_add(1, Ordering::SeqCst);
        let key = keys[read.min(keys.len() - 1)].clone();
        async move { key }.boxed()
    });
    (source, reads)
}

#[tokio::test]
async fn a_key_is_read_once_and_again_only_when_it_is_refused() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let right = parse_key(&zone.key)?;
    let wrong = TsigKey::new(&zone.key.name, "hmac-sha256".parse()?, b"d3Jvbmc=")?;

    let (source, reads) = successive(vec![Ok(wrong.clone()), Ok(right)]);
    let renewed = provider(&[zone.bind.address()], source)?;
    assert_eq!(reads.load(Ordering::SeqCst), 0, "read when first needed");
    apply(&renewed, first_write("198.51.100.7")).await?;
    assert_eq!(reads.load(Ordering::SeqCst), 2);
    renewed.probe().await?;
    assert_eq!(reads.load(Ordering::SeqCst), 2, "the good key is kept");

    let (source, reads) = successive(vec![Ok(wrong)]);
    let unchanged = provider(&[zone.bind.address()], source)?;
    for expected in [2, 3] {
        let refused = unchanged.probe().await;
        assert!(
            matches!(refused, Err(ApplyError::Unauthorized(_))),
            "{refused:?}"
        );
        assert_eq!(reads.load(Ordering::SeqCst), expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_be_read_says_what_to_do_next() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let right = parse_key(&zone.key)?;
    let missing = KeyError::NotFound("Secret dns/dyn-tsig".to_owned());
    let (source, _) = successive(vec![
        Err(missing),
        Err(KeyError::Invalid(InvalidKey::Secret)),
        Err(KeyError::Unavailable("no API server".to_owned())),
        Ok(right),
    ]);
    let provider = provider(&[zone.bind.address()], source)?;
    let error = provider.probe().await;
    assert!(
        matches!(error, Err(ApplyError::CredentialsMissing(_))),
        "{error:?}"
    );
    let error = provider.probe().await;
    assert!(
        matches!(error, Err(ApplyError::Unauthorized(_))),
        "{error:?}"
    );
    let error = provider.probe().await;
    assert!(
        matches!(error, Err(ApplyError::Unavailable { .. })),
        "{error:?}"
    );
    assert_eq!(provider.read(&host()).await, Ok(Found::default()));
    Ok(())
}
