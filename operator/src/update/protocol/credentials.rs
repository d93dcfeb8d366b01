//! Who a client says it is.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::index::key::TokenDigest;

/// Some routers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client presents: a user name, and an update key of which only the digest is kept.
#[derive(Clone, PartialEq)]
pub struct Credentials {
    /// Any text; a host's name where the request names none. May be empty.
    pub user: String,
    pub token: TokenDigest,
}

impl Credentials {
    /// From the value of a header `Authorization` of the scheme Basic (RFC 7617 section 2).
    ///
    /// `None` for every other scheme and for what cannot be decoded.
    pub fn from_basic(authorization: &[u8]) -> Option<Self> {
        let space = authorization.iter().position(|octet| *octet == b' ')?;
        let (scheme, encoded) = authorization.split_at(space);
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let decoded = BASE64.decode(encoded.trim_ascii()).ok()?;
        // A user name has no colon, a password may have (RFC 7617 section 2).
        let colon = decoded.iter().position(|octet| *octet == b':')?;
        Some(Self {
            user: String::from_utf8_lossy(&decoded[..colon]).into_owned(),
            token: TokenDigest::new(&decoded[colon + 1..]),
        })
    }
}

impl fmt::Debug for Credentials {
    // Some people put the update key where the user name belongs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read_and_everything_else_is_none() {
        fn check(header: &str, expected: Option<(&str, &str)>) {
            let expected = expected.map(|(user, token)| Credentials {
                user: user.to_owned(),
                token: TokenDigest::new(token.as_bytes()),
            });
            assert!(
                Credentials::from_basic(header.as_bytes()) == expected,
                "{header:?}"
            );
        }
        check("Basic aG9tZTpzM2NyZXQ=", Some(("home", "s3cret")));
        check("basic aG9tZTpzM2NyZXQ=", Some(("home", "s3cret")));
        check("Basic  aG9tZTpzM2NyZXQ", Some(("home", "s3cret")));
        check("Basic OnMzY3JldA==", Some(("", "s3cret")));
        check("Basic aG9tZTo=", Some(("home", "")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Basic", None);
        check("Basic ", None);
        check("Basic aG9tZQ==", None);
        check("Basic a:b", None);
        check("Bearer aG9tZTpzM2NyZXQ=", None);
        check("Digest username=\"home\"", None);
        check("", None);
    }

    #[test]
    fn credentials_print_nothing() {
        let credentials = Credentials::from_basic(b"Basic aG9tZTpzM2NyZXQ=");
        assert_eq!(format!("{credentials:?}"), "Some(Credentials)");
    }
}
