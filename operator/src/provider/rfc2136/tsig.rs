//! TSIG keys (RFC 8945): signing requests, verifying replies.
//!
//! The records and the octets that a MAC covers are hickory's; the MAC itself is made here,
//! because hickory has no hmac-sha1 and reads no message but a whole one. Truncated MACs are refused.

pub mod chain;

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hickory_net::proto::ProtoError;
use hickory_net::proto::op::Message;
use hickory_net::proto::rr::Name;
use hickory_net::proto::rr::rdata::tsig::{self, TSIG, TsigAlgorithm, TsigError};
use hickory_net::proto::serialize::binary::DecodeError;
use sha2::{Digest, Sha256};

use self::chain::Chain;
use super::wire::{Layout, Malformed};

/// How far the clocks of the two sides may differ, in seconds (RFC 8945 section 10 recommends 300).
pub const FUDGE: u16 = 300;

/// Base64 with or without padding, since both are found in key files.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The MAC algorithms of RFC 8945 section 6 that are offered; MD5 and the truncated ones are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

impl Algorithm {
    /// The name on the wire and in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }

    fn wire(self) -> TsigAlgorithm {
        match self {
            Self::HmacSha1 => TsigAlgorithm::HmacSha1,
            Self::HmacSha256 => TsigAlgorithm::HmacSha256,
            Self::HmacSha384 => TsigAlgorithm::HmacSha384,
            Self::HmacSha512 => TsigAlgorithm::HmacSha512,
        }
    }
}

impl FromStr for Algorithm {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        [
            Self::HmacSha1,
            Self::HmacSha256,
            Self::HmacSha384,
            Self::HmacSha512,
        ]
        .into_iter()
        .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
        .ok_or(InvalidKey::Algorithm)
    }
}

/// Why a name, an algorithm and a secret are not a TSIG key. The text never holds the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The key's name is no domain name.
    #[error("the TSIG key's name is not a domain name")]
    Name,
    /// Not one of [`Algorithm`].
    #[error("the TSIG algorithm is not hmac-sha1, hmac-sha256, hmac-sha384 or hmac-sha512")]
    Algorithm,
    /// The secret is not base64, or it is empty.
    #[error("the TSIG secret is not base64 text as tsig-keygen prints it")]
    Secret,
}

/// A TSIG key. It does not print its secret.
#[derive(Clone)]
pub struct TsigKey {
    name: Name,
    algorithm: Algorithm,
    mac: hmac::Key,
    /// SHA-256 of the secret, to tell one key from another.
    fingerprint: [u8; 32],
}

impl TsigKey {
    /// A key of the name that the server knows it by, with or without trailing dot, and its
    /// secret as base64 text; white space around the text is ignored.
    pub fn new(name: &str, algorithm: Algorithm, secret: &[u8]) -> Result<Self, InvalidKey> {
        let mut name = Name::from_ascii(name).map_err(|_| InvalidKey::Name)?;
        name.set_fqdn(true);
        if name.is_root() {
            return Err(InvalidKey::Name);
        }
        let secret = BASE64
            .decode(secret.trim_ascii())
            .map_err(|_| InvalidKey::Secret)?;
        if secret.is_empty() {
            return Err(InvalidKey::Secret);
        }
        Ok(Self {
            name: name.to_lowercase(),
            algorithm,
            mac: hmac::Key::new(algorithm.hmac(), &secret),
            fingerprint: Sha256::digest(&secret).into(),
        })
    }

    /// Signs a request (RFC 8945 section 5.1) and encodes it; `now` is in seconds since the epoch.
    pub fn sign(&self, mut request: Message, now: u64) -> Result<Signed, ProtoError> {
        let unsigned = TSIG::new(
            self.algorithm.wire(),
            now,
            FUDGE,
            Vec::new(),
            request.id,
            None,
            Vec::new(),
        );
        let covered = tsig::message_tbs(&request, &unsigned, &self.name)?;
        let mac = hmac::sign(&self.mac, &covered).as_ref().to_vec();
        let record = tsig::make_tsig_record(self.name.clone(), unsigned.set_mac(mac.clone()));
        request.set_signature(Box::new(record));
        Ok(Signed {
            wire: request.to_vec()?,
            mac,
        })
    }

    /// Decodes a reply to the request whose MAC is `request_mac` and says what its TSIG proves
    /// (RFC 8945 section 5.3); `now` is in seconds since the epoch.
    pub fn open(&self, reply: &[u8], request_mac: &[u8], now: u64) -> Result<Reply, OpenError> {
        let message = Message::from_vec(reply)?;
        let tsig = Layout::of(reply)?.tsig;
        let proof = Chain::new(self, request_mac).take(reply, tsig, now);
        Ok(Reply { message, proof })
    }

    /// Whether a TSIG record with this owner is made with this key, as far as it says.
    fn is_named(&self, owner: &Name, tsig: &TSIG) -> bool {
        let algorithm = self.algorithm.wire().to_name();
        owner.eq_ignore_root(&self.name) && tsig.algorithm.to_name().eq_ignore_root(&algorithm)
    }
}

/// Octets are no reply.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

fn server_clock(other: &[u8]) -> Option<u64> {
    let octets: [u8; 6] = other.try_into().ok()?;
    Some(octets.iter().fold(0, |sum, b| (sum << 8) | u64::from(*b)))
}

impl PartialEq for TsigKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.algorithm == other.algorithm
            && self.fingerprint == other.fingerprint
    }
}

impl Eq for TsigKey {}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({} {})", self.algorithm.as_str(), self.name)
    }
}

/// A signed request.
#[derive(Debug)]
pub struct Signed {
    /// The message as it is sent.
    pub wire: Vec<u8>,
    /// Its MAC, which the reply's MAC covers.
    pub mac: Vec<u8>,
}

/// A reply and what is proved about it.
#[derive(Debug)]
pub struct Reply {
    pub message: Message,
    pub proof: Proof,
}

/// What a reply's TSIG proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A holder of our key made this reply to this request, within [`FUDGE`] of now.
    Verified,
    /// The same, but the server refused our time.
    BadTime {
        /// How far our clock is behind the server's, in seconds; negative where it is ahead.
        behind_server: i64,
    },
    /// The server did not take our key or our MAC; mostly this comes without a MAC of its own.
    Refused(TsigError),
    /// No TSIG: from a server that knows no TSIG, or that did not get so far.
    Unsigned,
    /// The reply proves nothing, and says why.
    Broken(&'static str),
}

#[cfg(test)]
mod tests {
    use hickory_net::proto::op::{MessageType, OpCode, ResponseCode};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(algorithm: Algorithm, secret: &str) -> TsigKey {
        TsigKey::new("dyn-key", algorithm, secret.as_bytes()).unwrap()
    }

    /// What a server that holds `key` answers to a request with `request_mac`.
    fn reply(
        key: &TsigKey,
        request_mac: &[u8],
        time: u64,
        error: Option<TsigError>,
        other: &[u8],
    ) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Response, OpCode::Update);
        message.metadata.response_code = ResponseCode::NoError;
        let unsigned = TSIG::new(
            key.algorithm.wire(),
            time,
            FUDGE,
            Vec::new(),
            7,
            error,
            other.to_vec(),
        );
        let mut covered = u16::try_from(request_mac.len())
            .unwrap()
            .to_be_bytes()
            .to_vec();
        covered.extend(request_mac);
        covered.extend(tsig::message_tbs(&message, &unsigned, &key.name).unwrap());
        let mac = hmac::sign(&key.mac, &covered).as_ref().to_vec();
        message.set_signature(Box::new(tsig::make_tsig_record(
            key.name.clone(),
            unsigned.set_mac(mac),
        )));
        message.to_vec().unwrap()
    }

    #[test]
    fn keys_are_parsed_or_refused() {
        fn check(name: &str, secret: &[u8], expected: Result<(), InvalidKey>) {
            let key = TsigKey::new(name, Algorithm::HmacSha256, secret);
            assert_eq!(key.map(|_| ()), expected, "{name} {secret:?}");
        }
        check("dyn-key", b"c2VjcmV0", Ok(()));
        check("Dyn-Key.", b"c2VjcmV0\n", Ok(()));
        check("a.b.example", b" \tc2VjcmV0Cg==\r\n", Ok(()));
        check("dyn-key", b"c2VjcmV0Cg", Ok(()));
        check("", b"c2VjcmV0", Err(InvalidKey::Name));
        check(".", b"c2VjcmV0", Err(InvalidKey::Name));
        check("a..b", b"c2VjcmV0", Err(InvalidKey::Name));
        check("dyn-key", b"", Err(InvalidKey::Secret));
        check("dyn-key", b"\n", Err(InvalidKey::Secret));
        check("dyn-key", b"c2Vj cmV0", Err(InvalidKey::Secret));
        check("dyn-key", b"c2VjcmV0!", Err(InvalidKey::Secret));
        check("dyn-key", b"\xff\xfe", Err(InvalidKey::Secret));
    }

    #[test]
    fn keys_differ_by_name_algorithm_and_secret() {
        let one = key(Algorithm::HmacSha256, "c2VjcmV0");
        assert_eq!(
            one,
            TsigKey::new("DYN-KEY.", Algorithm::HmacSha256, b"c2VjcmV0\n").unwrap()
        );
        assert_ne!(one, key(Algorithm::HmacSha512, "c2VjcmV0"));
        assert_ne!(one, key(Algorithm::HmacSha256, "c2VjcmV1"));
        assert_ne!(
            one,
            TsigKey::new("other", Algorithm::HmacSha256, b"c2VjcmV0").unwrap()
        );
    }

    #[test]
    fn a_key_does_not_print_its_secret() {
        let printed = format!("{:?}", key(Algorithm::HmacSha256, "Y2FuYXJ5Y2FuYXJ5"));
        assert_eq!(printed, "TsigKey(hmac-sha256 dyn-key.)");
    }

    #[test]
    fn algorithms_are_named_as_on_the_wire() {
        for algorithm in [
            Algorithm::HmacSha1,
            Algorithm::HmacSha256,
            Algorithm::HmacSha384,
            Algorithm::HmacSha512,
        ] {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
            assert_eq!(algorithm.wire().to_name().to_ascii(), algorithm.as_str());
        }
        assert_eq!("HMAC-SHA256".parse(), Ok(Algorithm::HmacSha256));
        assert_eq!("hmac-md5".parse::<Algorithm>(), Err(InvalidKey::Algorithm));
    }

    #[test]
    fn a_reply_is_verified_against_key_request_and_time() {
        fn check(name: &str, wire: &[u8], request_mac: &[u8], expected: Proof) {
            let ours = key(Algorithm::HmacSha1, "c2VjcmV0");
            let proof = ours.open(wire, request_mac, NOW).unwrap().proof;
            assert_eq!(proof, expected, "{name}");
        }
        let ours = key(Algorithm::HmacSha1, "c2VjcmV0");
        let good = reply(&ours, b"mac", NOW, None, &[]);
        check("good", &good, b"mac", Proof::Verified);
        check(
            "other request",
            &good,
            b"cam",
            Proof::Broken("the reply's MAC is wrong"),
        );
        let mut changed = good.clone();
        changed[3] |= 5;
        check(
            "changed rcode",
            &changed,
            b"mac",
            Proof::Broken("the reply's MAC is wrong"),
        );
        let late = reply(&ours, b"mac", NOW + 300, None, &[]);
        check("at the fudge", &late, b"mac", Proof::Verified);
        let late = reply(&ours, b"mac", NOW - 301, None, &[]);
        check(
            "beyond the fudge",
            &late,
            b"mac",
            Proof::Broken("the reply was signed at another time"),
        );
        let other = reply(
            &key(Algorithm::HmacSha1, "b3RoZXI="),
            b"mac",
            NOW,
            None,
            &[],
        );
        check(
            "other secret",
            &other,
            b"mac",
            Proof::Broken("the reply's MAC is wrong"),
        );
        let other = reply(
            &key(Algorithm::HmacSha256, "c2VjcmV0"),
            b"mac",
            NOW,
            None,
            &[],
        );
        check(
            "other algorithm",
            &other,
            b"mac",
            Proof::Broken("the reply is signed with another key"),
        );

        let clock = &(NOW + 1000).to_be_bytes()[2..];
        let wire = reply(&ours, b"mac", NOW, Some(TsigError::BadTime), clock);
        check(
            "bad time",
            &wire,
            b"mac",
            Proof::BadTime {
                behind_server: 1000,
            },
        );
        let wire = reply(&ours, b"mac", NOW, Some(TsigError::BadTime), &[]);
        check(
            "no clock",
            &wire,
            b"mac",
            Proof::Broken("the reply says BADTIME without the server's time"),
        );

        let mut message = Message::new(7, MessageType::Response, OpCode::Update);
        check(
            "unsigned",
            &message.to_vec().unwrap(),
            b"mac",
            Proof::Unsigned,
        );
        let bare = TSIG::new(
            TsigAlgorithm::HmacSha1,
            0,
            0,
            Vec::new(),
            7,
            Some(TsigError::BadSig),
            Vec::new(),
        );
        message.set_signature(Box::new(tsig::make_tsig_record(ours.name.clone(), bare)));
        check(
            "refused",
            &message.to_vec().unwrap(),
            b"mac",
            Proof::Refused(TsigError::BadSig),
        );
    }

    #[test]
    fn no_octets_make_verification_panic() {
        let ours = key(Algorithm::HmacSha256, "c2VjcmV0");
        let good = reply(&ours, b"mac", NOW, None, &[]);
        for cut in 0..good.len() {
            assert!(ours.open(&good[..cut], b"mac", NOW).is_err());
        }
        for place in 0..good.len() {
            for octet in [0x00, 0x01, 0x7f, 0xc0, 0xff] {
                let mut wire = good.clone();
                wire[place] = octet;
                let _ = ours.open(&wire, b"mac", NOW);
            }
        }
    }
}
