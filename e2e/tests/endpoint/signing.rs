//! Signed requests as their clients make them: written from the formats' descriptions, not by the
//! code that reads them.

use std::fmt::Write as _;

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::caller::Request;

/// The account of the 2012 script in these tests.
pub(crate) const SHA1_USER: &str = "alice";

/// Now, in whole seconds since 1970.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A client with an Ed25519 key.
#[derive(Debug)]
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    /// As `auth.publicKeys` lists it.
    pub(crate) fn public_key(&self) -> String {
        BASE64_STANDARD.encode(self.0.public_key())
    }

    /// Our own form. `addresses`: IPv4, IPv6 and prefix, each of which may be empty.
    pub(crate) fn signed(&self, hostname: &str, at: i64, addresses: [&str; 3]) -> Request {
        let at = at.to_string();
        let [ipv4, ipv6, prefix] = addresses;
        let values = [
            "dynhost.dev/signed-update/v1",
            hostname,
            &at,
            ipv4,
            ipv6,
            prefix,
        ];
        let text: String = values.map(netstring).concat();
        let body = text.clone() + &netstring(&self.signature(&text));
        Request::post("/signed/update", "application/octet-stream", body)
    }

    /// The envelope of soerenschneider/dyndns; `time` is of RFC 3339.
    pub(crate) fn envelope(&self, hostname: &str, time: &str, ipv4: &str, ipv6: &str) -> Request {
        let at = time.parse::<Timestamp>().unwrap().as_second();
        let digest = Sha256::digest(format!("{at}{hostname}{ipv4}{ipv6}"));
        let mut public_ip = json!({"host": hostname, "timestamp": time});
        for (member, address) in [("ipv4", ipv4), ("ipv6", ipv6)] {
            if !address.is_empty() {
                public_ip[member] = address.into();
            }
        }
        let signature = self.signature(&hexadecimal(&digest));
        let body = json!({"public_ip": public_ip, "signature": signature});
        Request::post("/update", "application/json", body.to_string())
    }

    fn signature(&self, text: &str) -> String {
        BASE64_STANDARD.encode(self.0.sign(text.as_bytes()))
    }
}

/// A request of the 2012 script.
pub(crate) fn sha1_script(user: &str, hostname: &str, at: i64, secret: &str) -> Request {
    let at = Timestamp::from_second(at).unwrap();
    let time = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let text = format!("{hostname}\n{time}\n{secret}\n");
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    Request::get(format!(
        "/ip.php?user={user}&id={hostname}&timeST={}&hash={}",
        time.replace(' ', "%20"),
        hexadecimal(digest.as_ref())
    ))
}

/// Such a time as an envelope has it, with a fraction of the second.
pub(crate) fn rfc_3339(at: i64) -> String {
    let at = Timestamp::from_second(at).unwrap();
    at.strftime("%Y-%m-%dT%H:%M:%S.987654321Z").to_string()
}

fn netstring(value: &str) -> String {
    format!("{}:{value},", value.len())
}

fn hexadecimal(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets {
        write!(text, "{octet:02x}").unwrap();
    }
    text
}
