//! TSIG keys (RFC 8945).

use anyhow::Result;

use crate::{random_base64, random_hex};

/// The algorithms that a DynamicZone offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha1`, for old servers.
    HmacSha1,
    /// `hmac-sha256`, the default.
    HmacSha256,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha512`.
    HmacSha512,
}

impl TsigAlgorithm {
    /// The name that named, nsupdate and a DynamicZone use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

/// A TSIG key of a test's own.
#[derive(Clone, Debug)]
pub struct TsigKey {
    /// The key's name, without trailing dot.
    pub name: String,
    /// The algorithm both sides must use.
    pub algorithm: TsigAlgorithm,
    /// 32 octets in base64.
    pub secret: String,
}

impl TsigKey {
    /// A key with a name and secret that nothing else has.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn generate(algorithm: TsigAlgorithm) -> Result<Self> {
        Ok(Self {
            name: format!("key-{}", random_hex(4)?),
            algorithm,
            secret: random_base64(32)?,
        })
    }
}
