//! The ownership marker: the text of a TXT record beside a host's addresses, a versioned wire
//! contract that `docs/marker.md` gives to other programs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::name::RecordName;
use serde::{Deserialize, Serialize};

/// The longest marker in octets: one character-string of a TXT record (RFC 1035 section 3.3).
pub const MAX_OCTETS: usize = 255;

/// The name at which the marker of a name stands, without the trailing dot: `_dynhost.<name>`.
///
/// A valid domain name for names of at most 244 octets, which the resource's schema ensures.
pub fn marker_name(name: &RecordName) -> String {
    format!("_dynhost.{name}")
}

/// Who writes the RRsets of a host, and in which message they were last written.
///
/// Text: `v=1 o=<owner> h=<host> n=<nonce>`, single spaces, then perhaps fields of a later
/// version, which are kept as they are: a marker is a compare-and-swap value, so what was read
/// must render to the same octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Marker {
    pub owner: OwnerId,
    pub host: HostDigest,
    pub nonce: Nonce,
    /// Empty, or a space and fields that this version does not know.
    later_fields: Box<str>,
}

/// Why a text is not a marker of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// No `v=1` in front: not a marker, or of a version that may mean something else.
    #[error("not a marker of version 1")]
    Version,
    /// Over 255 octets.
    #[error("a marker has at most {MAX_OCTETS} octets")]
    Length,
    /// `o=` is missing or no owner id.
    #[error(
        "an owner id has 1 to {} characters of [A-Za-z0-9._-]",
        OwnerId::MAX_OCTETS
    )]
    Owner,
    /// `h=` is missing or no digest.
    #[error("a host digest is 16 octets in base64url without padding")]
    Host,
    /// `n=` is missing or no nonce.
    #[error("a nonce is 64 bits in 16 lower-case hexadecimal digits")]
    Nonce,
    /// What follows the known fields is not `key=value` after single spaces.
    #[error("later fields are key=value in printable ASCII, after one space each")]
    LaterFields,
}

impl Marker {
    pub fn new(owner: OwnerId, host: HostDigest, nonce: Nonce) -> Self {
        Self {
            owner,
            host,
            nonce,
            later_fields: Box::default(),
        }
    }

    /// Parses the text of a marker exactly: no other order, case or spacing is accepted.
    pub fn parse(text: &str) -> Result<Self, MarkerError> {
        if text.len() > MAX_OCTETS {
            return Err(MarkerError::Length);
        }
        let rest = text.strip_prefix("v=1 ").ok_or(MarkerError::Version)?;
        let (owner, rest) = field(rest, "o=").ok_or(MarkerError::Owner)?;
        let (host, rest) = field(rest, " h=").ok_or(MarkerError::Host)?;
        let (nonce, later_fields) = field(rest, " n=").ok_or(MarkerError::Nonce)?;
        let marker = Self {
            owner: owner.parse()?,
            host: host.parse()?,
            nonce: nonce.parse()?,
            later_fields: later_fields.into(),
        };
        match later_fields.strip_prefix(' ') {
            Some(fields) if fields.split(' ').all(is_field) => Ok(marker),
            None if later_fields.is_empty() => Ok(marker),
            _ => Err(MarkerError::LaterFields),
        }
    }

    /// Whether `owner` wrote it for `host`; any nonce will do.
    pub fn is_of(&self, owner: &OwnerId, host: &HostDigest) -> bool {
        self.owner == *owner && self.host == *host
    }
}

/// The value after `key` and what follows it, which is empty or begins with a space.
fn field<'a>(text: &'a str, key: &str) -> Option<(&'a str, &'a str)> {
    let rest = text.strip_prefix(key)?;
    Some(rest.split_at(rest.find(' ').unwrap_or(rest.len())))
}

fn is_field(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, value)| {
        !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric())
            && value.bytes().all(|b| b.is_ascii_graphic())
    })
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            host,
            nonce,
            later_fields,
        } = self;
        write!(f, "v=1 o={owner} h={host} n={nonce}{later_fields}")
    }
}

/// Which installation of the operator writes a zone: 1 to 64 characters of `[A-Za-z0-9._-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnerId(Arc<str>);

impl OwnerId {
    /// The longest owner id in octets.
    pub const MAX_OCTETS: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OwnerId {
    type Err = MarkerError;

    fn from_str(text: &str) -> Result<Self, MarkerError> {
        let fits = (1..=Self::MAX_OCTETS).contains(&text.len());
        if fits && text.bytes().all(is_owner_character) {
            Ok(Self(text.into()))
        } else {
            Err(MarkerError::Owner)
        }
    }
}

fn is_owner_character(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which DynamicHost a marker belongs to: the first 16 octets of SHA-256 of `namespace/name`,
/// so that the zone does not tell what namespaces and hosts are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostDigest([u8; 16]);

impl HostDigest {
    /// The digest of the DynamicHost `name` in `namespace`.
    pub fn of(namespace: &str, name: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(namespace)
            .chain_update("/")
            .chain_update(name)
            .finalize();
        let mut octets = [0; 16];
        octets.copy_from_slice(&digest[..16]);
        Self(octets)
    }
}

impl FromStr for HostDigest {
    type Err = MarkerError;

    fn from_str(text: &str) -> Result<Self, MarkerError> {
        let octets = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| MarkerError::Host)?;
        Ok(Self(octets.try_into().map_err(|_| MarkerError::Host)?))
    }
}

impl fmt::Display for HostDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// 64 random bits, new in every message: two writers never choose the same, so a message that
/// requires one marker and writes another is a compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nonce(u64);

impl Nonce {
    /// A nonce of bits that the caller has drawn at random.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl FromStr for Nonce {
    type Err = MarkerError;

    fn from_str(text: &str) -> Result<Self, MarkerError> {
        let is_canonical =
            text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u64::from_str_radix(text, 16) {
            Ok(bits) if is_canonical => Ok(Self(bits)),
            _ => Err(MarkerError::Nonce),
        }
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "7Nd9k5dQX1ELoFYx-EBQOw";

    #[test]
    fn a_digest_is_of_namespace_and_name() {
        // printf 'family/home' | sha256sum
        assert_eq!(HostDigest::of("family", "home").to_string(), HOST);
        assert_ne!(
            HostDigest::of("family", "home"),
            HostDigest::of("famil", "y/home")
        );
    }

    #[test]
    fn a_marker_belongs_to_one_owner_and_host_whatever_its_nonce() {
        let owner: OwnerId = "home".parse().unwrap();
        let host = HostDigest::of("family", "home");
        let marker = Marker::new(owner.clone(), host, Nonce::from_bits(7));
        assert!(marker.is_of(&owner, &host));
        assert!(!marker.is_of(&"other".parse().unwrap(), &host));
        assert!(!marker.is_of(&owner, &HostDigest::of("family", "other")));
    }

    #[test]
    fn texts_are_markers_or_refused() {
        fn check(text: &str, expected: Result<(), MarkerError>) {
            let parsed = Marker::parse(text);
            assert_eq!(
                parsed.as_ref().map(|_| ()).map_err(|e| *e),
                expected,
                "{text:?}"
            );
            if let Ok(marker) = parsed {
                assert_eq!(marker.to_string(), text);
            }
        }
        let good = format!("v=1 o=home h={HOST} n=00000000000000ff");
        check(&good, Ok(()));
        check(&format!("{good} x=1"), Ok(()));
        check(&format!("{good} x=1 y=a=b z="), Ok(()));

        check("", Err(MarkerError::Version));
        check("v=1", Err(MarkerError::Version));
        check("v=spf1 -all", Err(MarkerError::Version));
        check(&good.replace("v=1", "v=2"), Err(MarkerError::Version));
        check(&good.replace("v=1", "v=10"), Err(MarkerError::Version));
        check(&format!(" {good}"), Err(MarkerError::Version));
        check(&good.to_uppercase(), Err(MarkerError::Version));

        check("v=1 ", Err(MarkerError::Owner));
        check(&good.replace("o=home", "o="), Err(MarkerError::Owner));
        check(&good.replace("o=home", "o=a/b"), Err(MarkerError::Owner));
        check(&good.replace("o=home", "o=ö"), Err(MarkerError::Owner));
        check(&good.replace("o=home ", ""), Err(MarkerError::Owner));
        let longest = format!("o={}", "a".repeat(64));
        check(&good.replace("o=home", &longest), Ok(()));
        check(
            &good.replace("o=home", &format!("{longest}a")),
            Err(MarkerError::Owner),
        );

        check("v=1 o=home", Err(MarkerError::Host));
        check(&good.replace(HOST, ""), Err(MarkerError::Host));
        check(&good.replace(HOST, &HOST[..21]), Err(MarkerError::Host));
        check(
            &good.replace(HOST, &format!("{HOST}==")),
            Err(MarkerError::Host),
        );
        // The last character carries 2 bits; with others set it is a second spelling of the digest.
        check(&good.replace("EBQOw", "EBQOx"), Err(MarkerError::Host));
        check(&good.replace(" h=", "  h="), Err(MarkerError::Host));

        check(&format!("v=1 o=home h={HOST}"), Err(MarkerError::Nonce));
        check(&good.replace("ff", "FF"), Err(MarkerError::Nonce));
        check(&good.replace("n=00", "n=0"), Err(MarkerError::Nonce));
        check(&good.replace("n=0", "n=+"), Err(MarkerError::Nonce));

        check(&format!("{good} "), Err(MarkerError::LaterFields));
        check(&format!("{good} x"), Err(MarkerError::LaterFields));
        check(&format!("{good} =x"), Err(MarkerError::LaterFields));
        check(&format!("{good}  x=1"), Err(MarkerError::LaterFields));
        check(&format!("{good} x=ö"), Err(MarkerError::LaterFields));
        check(&format!("{good} x=\u{7}"), Err(MarkerError::LaterFields));
        check(
            &format!("{good} x={}", "y".repeat(255)),
            Err(MarkerError::Length),
        );
    }

    #[test]
    fn the_longest_marker_fits_one_character_string() {
        let owner = "a".repeat(OwnerId::MAX_OCTETS).parse().unwrap();
        let marker = Marker::new(owner, HostDigest::of("a", "b"), Nonce::from_bits(u64::MAX));
        assert!(marker.to_string().len() <= MAX_OCTETS);
    }

    proptest! {
        #[test]
        fn a_rendered_marker_parses_to_itself(
            owner in "[A-Za-z0-9._-]{1,64}",
            namespace in "[a-z0-9-]{1,63}",
            name in "[a-z0-9.-]{1,63}",
            bits in any::<u64>(),
        ) {
            let marker = Marker::new(
                owner.parse().unwrap(),
                HostDigest::of(&namespace, &name),
                Nonce::from_bits(bits),
            );
            prop_assert_eq!(Marker::parse(&marker.to_string()), Ok(marker));
        }

        #[test]
        fn whatever_parses_renders_to_the_same_octets(
            text in "v=1 o=[a-z.]{0,3} h=[A-Za-z0-9_-]{21}[AQgwB] n=[0-9a-f]{16}( [a-z]{0,2}=?[a-z= ]{0,3}){0,2}",
        ) {
            if let Ok(marker) = Marker::parse(&text) {
                prop_assert_eq!(marker.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), tail in any::<String>()) {
            let _ = Marker::parse(&text);
            let _ = Marker::parse(&format!("v=1 o=a h={tail}"));
            let _ = Marker::parse(&format!("v=1 o=a h={HOST} n=0000000000000000{tail}"));
        }
    }
}
