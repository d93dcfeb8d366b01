//! Random names and secrets from the system's generator.

use anyhow::{Result, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};

/// `octets` random octets as lower-case hexadecimal, for names that must be unique.
///
/// # Errors
/// Where the system gives no randomness.
pub fn random_hex(octets: usize) -> Result<String> {
    Ok(random(octets)?
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect())
}

/// `octets` random octets as padded base64, the form of a TSIG secret.
///
/// # Errors
/// Where the system gives no randomness.
pub fn random_base64(octets: usize) -> Result<String> {
    Ok(BASE64_STANDARD.encode(random(octets)?))
}

fn random(octets: usize) -> Result<Vec<u8>> {
    let mut buffer = vec![0; octets];
    aws_lc_rs::rand::fill(&mut buffer).map_err(|_| anyhow!("the system gave no randomness"))?;
    Ok(buffer)
}
