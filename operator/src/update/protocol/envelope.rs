//! The signed envelope of soerenschneider/dyndns, as its HTTP client posts it to `/update`.
//!
//! `{"public_ip":{"ipv4"?,"ipv6"?,"host","timestamp"},"signature"}`. The signature (Ed25519) is of
//! the SHA-256 digest, in lower-case hexadecimal, of seconds ‖ host ‖ ipv4 ‖ ipv6 without anything
//! between them. So that such a text has one meaning only, less is accepted than its own server
//! accepts; read from the left and from the right, each end is then where it must be:
//!
//! * seconds: ten digits, which is 2001 to 2286. The rest begins with the host, whatever its first
//!   character.
//! * ipv6: as RFC 5952 writes it, and its first group has four digits (every address that can be
//!   published has). It begins four characters before the first colon of the text; without a colon
//!   there is none, since neither host nor ipv4 has one.
//! * ipv4: as [`Ipv4Addr`](std::net::Ipv4Addr) prints it. The host is in lower case without a
//!   trailing dot and does not end in a digit: ipv4 is what digits and dots remain at the end.
//!
//! The client takes exactly status 200 for success and looks at nothing else; after every other
//! answer it sends the same envelope again each minute (`http_dispatch.go`, `reconciler.go`).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::address::Declared;
use super::{Asked, CheckIn, Input, Names, ParseError, Report, canonical};
use crate::name::{Fqdn, NameError};
use crate::update::proof::SignedMessage;

/// The times that have ten digits, in seconds since 1970.
const TIMES: std::ops::RangeInclusive<i64> = 1_000_000_000..=9_999_999_999;

/// Unknown members are ignored, as Go's decoder does.
#[derive(Deserialize)]
struct Envelope {
    public_ip: PublicIp,
    signature: String,
}

/// Missing, `null` and empty addresses are all none.
#[derive(Deserialize)]
struct PublicIp {
    ipv4: Option<String>,
    ipv6: Option<String>,
    host: String,
    timestamp: String,
}

/// Why a body is not an envelope. Whoever wrote the client has to correct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON, or a member is missing, given twice, or of another type.
    #[error("not an envelope")]
    Json,
    /// Not a domain name.
    #[error("not a domain name")]
    Host,
    /// Not a time of RFC 3339, or one that has not ten digits in seconds since 1970.
    #[error("not a time")]
    Time,
    /// Not the base64 of 64 octets.
    #[error("not a signature")]
    Signature,
}

/// Reads a request; what cannot be understood is in the result.
pub fn parse(input: &Input<'_>) -> CheckIn {
    CheckIn::of_signed(input, read(input.body).ok())
}

/// Takes a body apart. Where only name or addresses are wrong, it is still a message that can be
/// verified, so that its sender is told what is wrong.
pub fn read(body: &[u8]) -> Result<(SignedMessage, Result<Report, ParseError>), EnvelopeError> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| EnvelopeError::Json)?;
    let PublicIp {
        ipv4,
        ipv6,
        host,
        timestamp,
    } = envelope.public_ip;
    let (ipv4, ipv6) = (ipv4.unwrap_or_default(), ipv6.unwrap_or_default());
    let name = Fqdn::parse(&host).map_err(|_| EnvelopeError::Host)?;
    let at: Timestamp = timestamp.parse().map_err(|_| EnvelopeError::Time)?;
    let at = at.as_second();
    if !TIMES.contains(&at) {
        return Err(EnvelopeError::Time);
    }
    let signature = STANDARD.decode(envelope.signature).ok();
    let signature = signature.and_then(|octets| octets.try_into().ok());
    let report = declared(&ipv4, &ipv6).map(|declared| Report {
        names: Names::Listed(vec![asked(&name, &host)]),
        declared,
        ..Report::default()
    });
    let message = SignedMessage {
        name,
        text: digest(&concatenated(at, &host, &ipv4, &ipv6)),
        signature: signature.ok_or(EnvelopeError::Signature)?,
        at,
    };
    Ok((message, report))
}

/// What is digested (`dns_record.go`).
fn concatenated(at: i64, host: &str, ipv4: &str, ipv6: &str) -> String {
    format!("{at}{host}{ipv4}{ipv6}")
}

/// What is signed: the digest's hexadecimal digits, not its octets.
fn digest(text: &str) -> Vec<u8> {
    let mut digits = String::with_capacity(64);
    for octet in Sha256::digest(text) {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{octet:02x}");
    }
    digits.into_bytes()
}

/// See the module's rules.
fn asked(name: &Fqdn, host: &str) -> Asked {
    match host.ends_with(|last: char| last.is_ascii_digit()) {
        true => Asked::Bad(NameError::Label),
        false => canonical::name(name, host),
    }
}

/// See the module's rules. At least one address: nobody signed the connection's.
fn declared(ipv4: &str, ipv6: &str) -> Result<Declared, ParseError> {
    let declared = Declared {
        ipv4: canonical::ipv4(ipv4)?,
        ipv6: canonical::ipv6(ipv6)?,
        ..Declared::default()
    };
    let has_four_digits = declared.ipv6.is_none() || ipv6.find(':') == Some(4);
    match declared.is_empty() || !has_four_digits {
        true => Err(ParseError::BadAddress),
        false => Ok(declared),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::Proof;
    use super::*;
    use crate::update::proof::PublicKey;

    /// The public key in the project's README.
    const PUBLIC_KEY: &str = "IyXH8z/+vRsIUEAldlGgKKFcVHoll8w2tzC6o9717m8=";

    /// What the project's own code makes with the key pair in its README, and the text that it signs.
    const ENVELOPES: [(&str, &str); 4] = [
        (
            r#"{"public_ip":{"ipv4":"203.0.113.7","host":"my.host.tld","timestamp":"2023-11-14T22:13:20Z"},"signature":"JwWM22biBXWenbnk3Qq6FU02YHU2tZCeSqC4DWdjykfmd7/7Gh/cLqf3lkF87++Wmjo4e63tZkyIHBqqou+fAA=="}"#,
            "dcf810e886217c5888db20d9fbdae29628634e0c477eea664d73378c2e03ff43",
        ),
        (
            r#"{"public_ip":{"ipv4":"203.0.113.7","host":"my.host.tld","timestamp":"2023-11-14T23:13:20.123456789+01:00"},"signature":"JwWM22biBXWenbnk3Qq6FU02YHU2tZCeSqC4DWdjykfmd7/7Gh/cLqf3lkF87++Wmjo4e63tZkyIHBqqou+fAA=="}"#,
            "dcf810e886217c5888db20d9fbdae29628634e0c477eea664d73378c2e03ff43",
        ),
        (
            r#"{"public_ip":{"ipv4":"203.0.113.7","ipv6":"2001:db8::7","host":"my.host.tld","timestamp":"2023-11-14T23:13:20.12+01:00"},"signature":"qDMG7eSR6648fwQxarbwMgXpkWhYPWLGS7J958vnifVoPLV1ZrFrrqRVCTfnr78etZXLbLFUKwuHZF+shLBnDA=="}"#,
            "ca716bb4f9c578d6599d8d34e789ae95b5cfbc8f10fef68390dc73eef0b7e264",
        ),
        (
            r#"{"public_ip":{"ipv6":"2001:db8::7","host":"my.host.tld","timestamp":"2023-11-14T18:43:20.999999999-03:30"},"signature":"A/+n5O7J0MAWH++5bv+9mSkcjfescfd7ss8nwUc7CNcvpBWOiOFz4Hhigvwcugmy8m5Z2KU+zDCRo43yz3I/DQ=="}"#,
            "39efcda6c105088ecee6d62abfac852455b01e5c26e140ee72fe6e5d5597f23f",
        ),
    ];

    #[test]
    fn what_the_projects_own_code_signs_is_verified() {
        for (body, text) in ENVELOPES {
            let (message, report) = read(body.as_bytes()).unwrap();
            assert_eq!(message.at, 1_700_000_000, "{body}");
            assert_eq!(str::from_utf8(&message.text), Ok(text), "{body}");
            assert!(message.is_signed_by(&PublicKey::parse(PUBLIC_KEY).unwrap()));
            let Report {
                names, declared, ..
            } = report.unwrap();
            let name = Fqdn::parse("my.host.tld").unwrap();
            assert_eq!(message.name, name);
            assert_eq!(names, Names::Listed(vec![Asked::Full(name)]));
            let ipv4 = declared.ipv4.map(|a| a.address.to_string());
            let ipv6 = declared.ipv6.map(|a| a.address.to_string());
            assert_eq!(ipv4.is_some(), body.contains("ipv4"));
            assert_eq!(ipv6.is_some(), body.contains("ipv6"));
            assert!(ipv4.is_none_or(|a| a == "203.0.113.7"));
            assert!(ipv6.is_none_or(|a| a == "2001:db8::7"));
        }
    }

    #[test]
    fn a_request_is_a_signature_and_a_report_for_one_name() {
        let (body, _) = ENVELOPES[0];
        let input = Input {
            body: body.as_bytes(),
            user_agent: Some(b"Go-http-client/1.1"),
            ..Input::default()
        };
        let check_in = parse(&input);
        assert_eq!(check_in.client.as_deref(), Some("Go-http-client/1.1"));
        let (message, report) = read(body.as_bytes()).unwrap();
        assert_eq!(check_in.proof, Proof::Signature(message));
        assert_eq!(check_in.report, report);
        let check_in = parse(&Input::default());
        assert_eq!(check_in.proof, Proof::Missing);
        assert_eq!(check_in.report, Err(ParseError::NotText));
    }

    fn body(host: &str, ipv4: &str, ipv6: &str) -> Value {
        json!({
            "public_ip": {
                "host": host, "ipv4": ipv4, "ipv6": ipv6, "timestamp": "2023-11-14T22:13:20Z",
            },
            "signature": STANDARD.encode([0; 64]),
        })
    }

    fn read_value(
        body: &Value,
    ) -> Result<(SignedMessage, Result<Report, ParseError>), EnvelopeError> {
        read(body.to_string().as_bytes())
    }

    #[test]
    fn members_are_read_as_gos_decoder_reads_them() {
        fn check(change: impl Fn(&mut Value), expected: Result<(), EnvelopeError>) {
            let mut body = body("my.host.tld", "203.0.113.7", "2001:db8::7");
            change(&mut body);
            assert_eq!(read_value(&body).map(|_| ()), expected, "{body}");
        }
        const JSON: Result<(), EnvelopeError> = Err(EnvelopeError::Json);
        check(|_| {}, Ok(()));
        check(|body| body["new"] = json!({"a": [1, null]}), Ok(()));
        check(|body| body["public_ip"]["new"] = json!([]), Ok(()));
        check(|body| body["public_ip"]["ipv6"] = Value::Null, Ok(()));
        check(|body| body["public_ip"]["ipv6"] = json!(""), Ok(()));
        check(|body| body["public_ip"]["ipv4"] = json!(1), JSON);
        check(|body| body["public_ip"]["host"] = Value::Null, JSON);
        check(|body| body["public_ip"]["host"] = json!(["a"]), JSON);
        check(|body| body["public_ip"] = json!("a"), JSON);
        check(
            |body| body["public_ip"]["timestamp"] = json!(1_700_000_000),
            JSON,
        );
        check(|body| body["signature"] = Value::Null, JSON);
        check(|body| *body = json!([]), JSON);
        check(|body| *body = Value::Null, JSON);

        let text = body("my.host.tld", "203.0.113.7", "").to_string();
        let check =
            |text: String| assert_eq!(read(text.as_bytes()).err(), Some(EnvelopeError::Json));
        check(format!("{text}{text}"));
        check(format!("{text}x"));
        check(text[1..].to_owned());
        check(text.replace(r#""ipv4":"#, r#""ipv4":"203.0.113.8","ipv4":"#));
        check(String::new());
        check("[".repeat(100_000));
        let with_spaces = format!("\n {text}\r\n");
        assert!(read(with_spaces.as_bytes()).is_ok());
    }

    #[test]
    fn names_times_and_signatures_are_read_or_nothing_is_proved() {
        fn check(member: &str, value: &str, expected: Result<i64, EnvelopeError>) {
            let mut body = body("my.host.tld", "203.0.113.7", "");
            match member {
                "signature" => body[member] = value.into(),
                _ => body["public_ip"][member] = value.into(),
            }
            assert_eq!(
                read_value(&body).map(|(message, _)| message.at),
                expected,
                "{value}"
            );
        }
        const AT: Result<i64, EnvelopeError> = Ok(1_700_000_000);
        check("timestamp", "2023-11-14T22:13:20Z", AT);
        check("timestamp", "2023-11-14T22:13:20.999999999Z", AT);
        check("timestamp", "2023-11-15T12:13:20.5+14:00", AT);
        check("timestamp", "2023-11-14T13:13:20-09:00", AT);
        check("timestamp", "2001-09-09T01:46:40Z", Ok(1_000_000_000));
        check("timestamp", "2286-11-20T17:46:39.999Z", Ok(9_999_999_999));
        const TIME: Result<i64, EnvelopeError> = Err(EnvelopeError::Time);
        check("timestamp", "2001-09-09T01:46:39Z", TIME);
        check("timestamp", "2286-11-20T17:46:40Z", TIME);
        check("timestamp", "0001-01-01T00:00:00Z", TIME);
        check("timestamp", "2023-11-14T22:13:20", TIME);
        check("timestamp", "2023-11-14", TIME);
        check("timestamp", "2023-02-30T22:13:20Z", TIME);
        check("timestamp", "1700000000", TIME);
        check("timestamp", "", TIME);
        for host in [
            "",
            ".",
            "my_host.tld",
            "*.host.tld",
            "my.host.tld\n",
            "mü.host.tld",
        ] {
            check("host", host, Err(EnvelopeError::Host));
        }
        let signature = STANDARD.encode([7; 64]);
        check("signature", &signature, AT);
        for other in [
            "",
            &signature[..87],
            signature.trim_end_matches('='),
            &format!("{signature}\n"),
            &STANDARD.encode([7; 63]),
            &STANDARD.encode([7; 65]),
        ] {
            check("signature", other, Err(EnvelopeError::Signature));
        }
    }

    /// The contents of one envelope: seconds, host, ipv4, ipv6.
    type Contents<'a> = (i64, &'a str, &'a str, &'a str);

    fn text_of((at, host, ipv4, ipv6): Contents<'_>) -> String {
        concatenated(at, host, ipv4, ipv6)
    }

    /// Whether such an envelope changes anything where its signature holds.
    fn is_accepted((at, host, ipv4, ipv6): Contents<'_>) -> bool {
        let mut body = body(host, ipv4, ipv6);
        let time = Timestamp::from_second(at).unwrap();
        body["public_ip"]["timestamp"] = time.to_string().into();
        let Ok((message, report)) = read_value(&body) else {
            return false;
        };
        assert_eq!(message.text, digest(&concatenated(at, host, ipv4, ipv6)));
        let expected = Names::Listed(vec![Asked::Full(message.name)]);
        report.is_ok_and(|report| report.names == expected)
    }

    #[test]
    fn of_contents_with_one_text_at_most_one_is_accepted() {
        fn check(accepted: Contents<'_>, refused: &[Contents<'_>]) {
            assert!(is_accepted(accepted), "{accepted:?}");
            for other in refused {
                assert_ne!(*other, accepted);
                assert_eq!(text_of(*other), text_of(accepted), "{other:?}");
                assert!(!is_accepted(*other), "{other:?}");
            }
        }
        const AT: i64 = 1_700_000_000;
        // Where the time ends and the host begins.
        check(
            (AT, "1a.example.org", "12.3.4.5", ""),
            &[
                (17_000_000_001, "a.example.org", "12.3.4.5", ""),
                (170_000_000, "01a.example.org", "12.3.4.5", ""),
            ],
        );
        // Where the host ends and an IPv4 address begins.
        check(
            (AT, "a.example.org", "12.3.4.5", ""),
            &[
                (AT, "a.example.org1", "2.3.4.5", ""),
                (AT, "a.example.or", "g12.3.4.5", ""),
                (AT, "a.example.org12.3.4.5", "", ""),
            ],
        );
        check(
            (AT, "a.example.org", "1.2.3.4", ""),
            &[(AT, "a.example.org1.2.3.4", "", "")],
        );
        // Where the host ends and an IPv6 address begins.
        check(
            (AT, "a.example.org", "", "2001:db8::7"),
            &[
                (AT, "a.example.org2", "", "001:db8::7"),
                (AT, "a.example.org2001", "", ":db8::7"),
                (AT, "a.example.org200", "", "1:db8::7"),
            ],
        );
        check(
            (AT, "a.example.de", "", "fd00::7"),
            &[
                (AT, "a.example.def", "", "d00::7"),
                (AT, "a.example.defd00", "", "::7"),
                (AT, "a.example.d", "", "efd00::7"),
            ],
        );
        // Where an IPv4 address ends and an IPv6 address begins.
        check(
            (AT, "a.example.org", "1.2.3.4", "2100:db8::7"),
            &[
                (AT, "a.example.org", "1.2.3.42", "100:db8::7"),
                (AT, "a.example.org", "1.2.3.421", "00:db8::7"),
                (AT, "a.example.org", "1.2.3.42100", ":db8::7"),
                (AT, "a.example.org1", "", ".2.3.42100:db8::7"),
                (AT, "a.example.org1.2.3.4", "", "2100:db8::7"),
            ],
        );
        // Which family an address is of.
        check(
            (AT, "a.example.org", "12.3.4.5", ""),
            &[(AT, "a.example.org", "", "12.3.4.5")],
        );
        check(
            (AT, "a.example.org", "", "2001:db8::7"),
            &[(AT, "a.example.org", "2001:db8::7", "")],
        );
        // One IPv4 address as the other family.
        check(
            (AT, "a.example.org", "", "2001:db8::7"),
            &[(AT, "a.example.org", "2001", ":db8::7")],
        );
    }

    #[test]
    fn every_value_has_one_spelling() {
        fn check(contents: Contents<'_>) {
            assert!(!is_accepted(contents), "{contents:?}");
        }
        const AT: i64 = 1_700_000_000;
        check((AT, "A.example.org", "12.3.4.5", ""));
        check((AT, "a.example.org.", "12.3.4.5", ""));
        check((AT, "a.example.org.1", "2.3.4.5", ""));
        check((AT, "a.example.org", "12.3.4.05", ""));
        check((AT, "a.example.org", "12.3.4.5", "2001:DB8::7"));
        check((AT, "a.example.org", "", "2001:db8:0::7"));
        check((AT, "a.example.org", "", "::ffff:12.3.4.5"));
        check((AT, "a.example.org", "", "::1"));
        check((AT, "a.example.org", "", ""));
    }

    /// The only contents that a text can have, by the module's rules.
    fn taken_apart(text: &str) -> Contents<'_> {
        let (at, rest) = text.split_at(10);
        let (rest, ipv6) = match rest.find(':') {
            Some(colon) => rest.split_at(colon - 4),
            None => (rest, ""),
        };
        let host = rest.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        (at.parse().unwrap(), host, &rest[host.len()..], ipv6)
    }

    proptest! {
        #[test]
        fn an_accepted_text_can_be_taken_apart(
            at in TIMES,
            labels in prop::collection::vec("[a-f0-9]([a-z0-9-]{0,4}[a-f0-9])?", 1..5),
            ipv4 in prop::option::of(any::<Ipv4Addr>()),
            ipv6 in prop::option::of((0u16..0x3000, any::<[u16; 7]>())),
        ) {
            let host = labels.join(".");
            let ipv6 = ipv6.map(|(first, [b, c, d, e, f, g, h])| {
                Ipv6Addr::new(first, b, c, d, e, f, g, h)
            });
            let ipv4 = ipv4.map_or_else(String::new, |a| a.to_string());
            let ipv6 = ipv6.map_or_else(String::new, |a| a.to_string());
            let contents: Contents<'_> = (at, &host, &ipv4, &ipv6);
            if is_accepted(contents) {
                let text = text_of(contents);
                prop_assert_eq!(taken_apart(&text), contents);
            }
        }

        #[test]
        fn no_octets_stop_the_parser(
            body in prop::collection::vec(any::<u8>(), 0..100),
            host in ".{0,20}",
            ipv4 in ".{0,20}",
            timestamp in ".{0,30}|[0-9TZ:.+-]{0,30}",
            signature in "[A-Za-z0-9+/=]{80,90}",
        ) {
            let _ = read(&body);
            let public_ip = json!({"host": host, "ipv4": ipv4, "timestamp": timestamp});
            let _ = read_value(&json!({"public_ip": public_ip, "signature": signature}));
        }
    }

    #[test]
    fn a_change_of_any_octet_of_the_contents_is_noticed() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let key = PublicKey::parse(&STANDARD.encode(pair.public_key())).unwrap();
        let contents = body("my.host.tld", "203.0.113.7", "2001:db8::7");
        let (message, report) = read_value(&contents).unwrap();
        let signature = STANDARD.encode(pair.sign(&message.text));
        let text = contents.to_string();
        let body = text.replace(&STANDARD.encode([0; 64]), &signature);
        assert!(read(body.as_bytes()).unwrap().0.is_signed_by(&key));
        for at in 0..body.len() {
            for octet in 0..=u8::MAX {
                let mut changed = body.clone().into_bytes();
                changed[at] = octet;
                // Where it still holds, it says the same: spaces, fractions of a second, zones.
                if let Ok((message, found)) = read(&changed)
                    && message.is_signed_by(&key)
                {
                    assert_eq!(message.at, 1_700_000_000, "{at} {octet}");
                    assert_eq!(found, report, "{at} {octet}");
                }
            }
        }
    }
}
