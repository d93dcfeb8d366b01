//! When the key is read, and what is said where it cannot be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use dynhost::provider::rfc2136::tsig::{InvalidKey, TsigKey};
use dynhost::provider::rfc2136::{KeyError, KeySource};
use dynhost::provider::{ApplyError, Provider};
use dynhost::record::change::Found;
use futures::FutureExt;

use super::zone::{Zone, apply, first_write, host, parse_key, provider};

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
