//! What a signature costs by itself.

use std::time::{Duration, Instant};

use anyhow::Result;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::Rate;

/// Ed25519 verifications of a text as long as those that clients sign.
pub(super) fn run(time: Duration) -> Result<Rate> {
    let pair = Ed25519KeyPair::generate()?;
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
    let text = [b'a'; 64];
    let signature = pair.sign(&text);
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < time {
        key.verify(&text, signature.as_ref())?;
        count += 1.0;
    }
    let per_second = count / start.elapsed().as_secs_f64();
    Ok(Rate {
        per_second,
        per_cpu_second: per_second,
    })
}
