//! What a signed request proves: that whoever holds a host's key or secret made it, and when.
//!
//! That it is newer than what the host has stored is for `decide` to say.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use super::protocol::printable;
use crate::index::key::without_line_end;
use crate::name::Fqdn;
use serde::{Deserialize, Serialize};

/// How far the clocks of a client with a key and of the endpoint may differ, in seconds.
const MAX_SKEW: i64 = 300;

/// The age at which a request of the script of 2012 is dropped, in seconds; the script's own.
const MAX_SHA1_AGE: i64 = 15;

/// How far in the future such a request may be, in seconds.
const MAX_SHA1_LEAD: i64 = 5;

/// An Ed25519 public key (RFC 8032).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey([u8; 32]);

/// Why a text is not a [`PublicKey`]. It is for whoever wrote the key, who has to correct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not base64, or without its padding.
    #[error("a public key is written in base64 with padding")]
    NotBase64,
    /// Another form of the key was encoded. The DER and PEM forms have it in their last 32 octets.
    #[error("a public key has 32 octets, this one has {0}")]
    Length(usize),
    /// One of the points of small order, such as 32 zeros: anybody can make signatures for it.
    #[error("anybody can sign for this public key")]
    Weak,
}

impl PublicKey {
    /// Parses the base64 (RFC 4648 section 4, with padding) of a key's 32 octets.
    ///
    /// Octets that are no point of the curve are taken, and verify nothing.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        let octets = STANDARD.decode(text);
        let octets = octets.map_err(|_| PublicKeyError::NotBase64)?;
        let length = PublicKeyError::Length(octets.len());
        let octets: [u8; 32] = octets.try_into().map_err(|_| length)?;
        let mut y = octets;
        y[31] &= 0x7f;
        if WEAK.contains(&y) {
            return Err(PublicKeyError::Weak);
        }
        Ok(Self(octets))
    }
}

/// The encodings of the points whose order divides 8, without the sign bit, also those that are not
/// reduced modulo p: for these a signature can be made without a secret key. RFC 8032 leaves the
/// check to the user; libsodium refuses the same list.
const WEAK: [[u8; 32]; 7] = [
    y(0, 0, 0),
    y(1, 0, 0),
    y(0xec, 0xff, 0x7f),
    y(0xed, 0xff, 0x7f),
    y(0xee, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// 32 octets: a first one, equal ones, and a last one.
const fn y(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut octets = [middle; 32];
    octets[0] = first;
    octets[31] = last;
    octets
}

/// A request that an Ed25519 key signed; whose key, is for the host to say.
#[derive(Clone, PartialEq)]
pub struct SignedMessage {
    /// The host that the message is about.
    pub name: Fqdn,
    /// The octets that are signed.
    pub text: Vec<u8>,
    pub signature: [u8; 64],
    /// When the message was made, by its own word, in seconds since 1970 (UTC).
    pub at: i64,
}

impl SignedMessage {
    /// Whether this key's owner signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &key.0);
        key.verify(&self.text, &self.signature).is_ok()
    }

    /// Whether it was made within five minutes of `now`, in seconds since 1970 (UTC).
    pub fn is_timely(&self, now: i64) -> bool {
        is_within(self.at, now, MAX_SKEW, MAX_SKEW)
    }
}

impl fmt::Debug for SignedMessage {
    // Whoever has text and signature can send the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SignedMessage");
        fields.field("name", &self.name).field("at", &self.at);
        fields.finish_non_exhaustive()
    }
}

/// A request of the script of 2012, with the SHA-1 digest of its text and a secret.
#[derive(Clone, PartialEq)]
pub struct Sha1Proof {
    /// The host that the request is about.
    pub name: Fqdn,
    /// The account, in the client's spelling; the digest does not cover it.
    pub user: String,
    /// What is digested before the secret.
    pub text: Vec<u8>,
    pub digest: [u8; 20],
    /// When the request was made, by its own word, in seconds since 1970 (UTC).
    pub at: i64,
}

impl Sha1Proof {
    /// Whether a holder of this secret made it.
    pub fn is_made_with(&self, secret: &Sha1Secret) -> bool {
        let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        digest.update(&self.text);
        digest.update(&secret.0);
        digest.update(b"\n");
        digest.finish().as_ref().ct_eq(&self.digest).into()
    }

    /// Whether it was made in the last 15 s before `now`, in seconds since 1970 (UTC); clocks may
    /// be 5 s ahead.
    pub fn is_timely(&self, now: i64) -> bool {
        is_within(self.at, now, MAX_SHA1_AGE, MAX_SHA1_LEAD)
    }
}

impl fmt::Debug for Sha1Proof {
    // Whoever has text and digest can send the request, and guess secrets at leisure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Sha1Proof");
        fields.field("name", &self.name).field("at", &self.at);
        fields.finish_non_exhaustive()
    }
}

fn is_within(at: i64, now: i64, max_age: i64, max_lead: i64) -> bool {
    let oldest = now.saturating_sub(max_age);
    let newest = now.saturating_add(max_lead);
    (oldest..=newest).contains(&at)
}

/// As much of a secret as shall not be seen, in octets.
const MIN_PART: usize = 4;

/// The longest secret of the script of 2012, in octets: it is kept in memory, and hashed for
/// requests of everybody.
const MAX_SECRET: usize = 256;

/// What the script of 2012 and its server share. It is needed in the clear.
#[derive(Clone)]
pub struct Sha1Secret(Box<[u8]>);

impl Sha1Secret {
    /// From the Secret's data; one trailing line end is an editor's. `None`: empty, or over 256
    /// octets.
    pub fn new(data: &[u8]) -> Option<Self> {
        let secret = without_line_end(data);
        (1..=MAX_SECRET)
            .contains(&secret.len())
            .then(|| Self(secret.into()))
    }

    pub(crate) fn from_octets(octets: Box<[u8]>) -> Self {
        Self(octets)
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Whether a client's name (see [`CheckIn`](super::protocol::CheckIn)) holds it, or ends within
    /// it, as names are cut off.
    pub fn is_in(&self, client: &str) -> bool {
        let secret = printable(&self.0);
        let is_cut = || (MIN_PART..secret.len()).any(|end| client.ends_with(&secret[..end]));
        !secret.is_empty() && (client.contains(&secret) || is_cut())
    }
}

impl PartialEq for Sha1Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Sha1Secret {}

impl fmt::Debug for Sha1Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha1Secret")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn name() -> Fqdn {
        Fqdn::parse("home.dyn.example.org").unwrap()
    }

    /// The key pair of this seed, and the public key as a host's spec has it.
    fn key_pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = STANDARD.encode(pair.public_key());
        (pair, PublicKey::parse(&public).unwrap())
    }

    fn message(text: &[u8], signature: &[u8], at: i64) -> SignedMessage {
        SignedMessage {
            name: name(),
            text: text.to_vec(),
            signature: signature.try_into().unwrap(),
            at,
        }
    }

    fn request(digest: [u8; 20], at: i64) -> Sha1Proof {
        Sha1Proof {
            name: name(),
            user: "alice".to_owned(),
            text: b"host1.h.lohray.com\n2012-06-14 15:58:27\n".to_vec(),
            digest,
            at,
        }
    }

    #[test]
    fn a_public_key_is_32_octets_in_padded_base64() {
        fn check(text: &str, expected: Result<(), PublicKeyError>) {
            assert_eq!(PublicKey::parse(text).map(|_| ()), expected, "{text}");
        }
        const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        check(KEY, Ok(()));
        check(KEY.trim_end_matches('='), Err(PublicKeyError::NotBase64));
        check(&format!("{KEY}\n"), Err(PublicKeyError::NotBase64));
        check(&KEY.replace('/', "_"), Err(PublicKeyError::NotBase64));
        // Bits that do not count are not zero.
        check(&KEY.replace("o=", "p="), Err(PublicKeyError::NotBase64));
        check("", Err(PublicKeyError::Length(0)));
        check(
            &format!("MCowBQYDK2VwAyEA{KEY}"),
            Err(PublicKeyError::Length(44)),
        );
    }

    #[test]
    fn only_the_keys_owner_signs_a_message() {
        let (pair, key) = key_pair(1);
        let (_, other) = key_pair(2);
        let signature = pair.sign(b"text");
        let signature = signature.as_ref();
        assert!(message(b"text", signature, 0).is_signed_by(&key));
        assert!(!message(b"text", signature, 0).is_signed_by(&other));
        assert!(!message(b"texT", signature, 0).is_signed_by(&key));
        assert!(!message(b"text", &[0; 64], 0).is_signed_by(&key));
    }

    /// RFC 8032 section 7.1, TEST 2.
    #[test]
    fn signatures_are_those_of_rfc_8032() {
        let key = PublicKey::parse("PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=").unwrap();
        let signature = STANDARD
            .decode(
                "kqAJqfDUyrhyDoILX2QlQKKye1QWUD+Ps3YiI+vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA==",
            )
            .unwrap();
        assert!(message(&[0x72], &signature, 0).is_signed_by(&key));
        assert!(!message(&[0x73], &signature, 0).is_signed_by(&key));
    }

    #[test]
    fn a_key_that_anybody_can_sign_for_is_refused() {
        /// A signature with R = `point` and S = 0 holds for at least one text in eight where the
        /// key is of small order.
        fn is_forged(key: [u8; 32]) -> bool {
            let texts = || (0..=u8::MAX).map(|n| [n]);
            WEAK.iter().any(|point| {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(point);
                texts().any(|text| message(&text, &signature, 0).is_signed_by(&PublicKey(key)))
            })
        }
        let mut forged = 0;
        for weak in WEAK {
            for sign in [0, 0x80] {
                let mut octets = weak;
                octets[31] |= sign;
                let key = PublicKey::parse(&STANDARD.encode(octets));
                assert_eq!(key, Err(PublicKeyError::Weak), "{octets:x?}");
                forged += usize::from(is_forged(octets));
            }
        }
        // The library takes these keys: the check is ours to make.
        assert!(forged >= 8, "{forged}");
        assert!(!is_forged(key_pair(1).1.0));
    }

    #[test]
    fn a_signed_message_is_dead_after_five_minutes() {
        fn check(age: i64, expected: bool) {
            let now = 1_700_000_000;
            let message = message(b"", &[0; 64], now - age);
            assert_eq!(message.is_timely(now), expected, "{age}");
        }
        check(0, true);
        check(300, true);
        check(301, false);
        check(-300, true);
        check(-301, false);
        assert!(!message(b"", &[0; 64], i64::MIN).is_timely(i64::MAX));
        assert!(!message(b"", &[0; 64], i64::MAX).is_timely(i64::MIN));
    }

    #[test]
    fn a_request_of_2012_is_dead_after_fifteen_seconds() {
        fn check(age: i64, expected: bool) {
            let now = 1_700_000_000;
            assert_eq!(
                request([0; 20], now - age).is_timely(now),
                expected,
                "{age}"
            );
        }
        check(0, true);
        check(15, true);
        check(16, false);
        check(-5, true);
        check(-6, false);
    }

    #[test]
    fn only_the_secret_makes_the_digest_of_2012() {
        fn check(data: &[u8], expected: Option<bool>) {
            // sha1sum's, of the text, the secret and a line end.
            let digest = [
                0x2b, 0xd2, 0xa2, 0x4f, 0x7c, 0x89, 0x86, 0x94, 0x91, 0xbb, 0x96, 0x95, 0xae, 0xfd,
                0xa8, 0xda, 0x3d, 0xae, 0xe0, 0x0f,
            ];
            let secret = Sha1Secret::new(data);
            let found = secret.map(|secret| request(digest, 0).is_made_with(&secret));
            assert_eq!(found, expected, "{data:?}");
        }
        check(b"secretkey1", Some(true));
        check(b"secretkey1\n", Some(true));
        check(b"secretkey1\r\n", Some(true));
        check(b"secretkey1\n\n", Some(false));
        check(b"secretkey2", Some(false));
        check(b"Secretkey1", Some(false));
        check(b"\n", None);
        check(b"", None);
    }

    #[test]
    fn a_secret_is_kept_up_to_256_octets() {
        fn check(octets: usize, end: &[u8], expected: bool) {
            let data = [&vec![b'a'; octets], end].concat();
            assert_eq!(Sha1Secret::new(&data).is_some(), expected, "{octets}");
        }
        check(256, b"", true);
        check(256, b"\r\n", true);
        check(257, b"", false);
        check(1 << 20, b"", false);
    }

    #[test]
    fn a_secret_is_seen_in_a_clients_name() {
        fn check(secret: &str, client: &str, expected: bool) {
            let secret = Sha1Secret::new(secret.as_bytes()).unwrap();
            assert_eq!(secret.is_in(client), expected, "{client}");
        }
        check("secretkey1", "script secretkey1 (Linux)", true);
        check("secretkey1", "secretkey1", true);
        check("secretkey1", "a name cut off in secretk", true);
        check("secretkey1", "a name cut off in secr", true);
        check("secretkey1", "secretkey2", false);
        check("secretkey1", "no sec", false);
        check("secretkey1", "", false);
        // A name has printable ASCII only.
        check("schl\u{fc}ssel", "my schlssel", true);
        check("\u{fc}", "curl/7.88.1", false);
        check("abc", "abcd", true);
        check("abc", "ab", false);
    }

    #[test]
    fn proofs_and_secrets_print_no_more_than_name_and_time() {
        let message = message(b"text", &[7; 64], 5);
        assert_eq!(
            format!("{message:?}"),
            "SignedMessage { name: home.dyn.example.org, at: 5, .. }"
        );
        assert_eq!(
            format!("{:?}", request([7; 20], 5)),
            "Sha1Proof { name: home.dyn.example.org, at: 5, .. }"
        );
        let secret = Sha1Secret::new(b"secretkey1");
        assert_eq!(format!("{secret:?}"), "Some(Sha1Secret)");
    }
}
