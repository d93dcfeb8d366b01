//! Our own signed request, on `/signed/update`: a wire format, described with test vectors in
//! `docs/signed-updates.md`.
//!
//! The body is a sequence of netstrings: [`TAG`], host name, time (seconds since 1970, UTC), IPv4,
//! IPv6, IPv6 prefix (each may be empty), and the base64 of an Ed25519 signature of all octets
//! before it. Lengths keep the fields apart, the tag keeps the text apart from everything else that
//! the key may sign, and each value has one spelling: so a text has one meaning. Answered like
//! dyndns2.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::Ipv6Net;

use super::address::Declared;
use super::netstring::{self, NetstringError, Netstrings};
use super::{CheckIn, Input, Names, ParseError, Report, canonical};
use crate::name::Fqdn;
use crate::update::proof::SignedMessage;

/// What the text begins with: no other protocol's texts do.
pub const TAG: &str = "dynhost.dev/signed-update/v1";

/// The longest value of an address field: a prefix, `xxxx:xxxx:xxxx:xxxx:xxxx:xxxx:xxxx:xxxx/64`.
const MAX_ADDRESS: usize = 42;

/// The most digits of a time: until the year 2286.
const MAX_TIME: usize = 10;

/// The length of a signature in base64.
const SIGNATURE: usize = 88;

/// What a client signs.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub name: Fqdn,
    /// Seconds since 1970 (UTC).
    pub at: u32,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub prefix: Option<Ipv6Net>,
}

/// The octets to sign.
pub fn render_text(update: &Update) -> Vec<u8> {
    fn or_empty<A: ToString>(address: Option<A>) -> String {
        address.map_or_else(String::new, |address| address.to_string())
    }
    let values = [
        TAG.to_owned(),
        update.name.to_string(),
        update.at.to_string(),
        or_empty(update.ipv4),
        or_empty(update.ipv6),
        or_empty(update.prefix),
    ];
    let mut text = Vec::new();
    for value in values {
        netstring::write(&mut text, value.as_bytes());
    }
    text
}

/// The request's body: the octets that are signed, and the signature.
pub fn render_body(text: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut body = text.to_vec();
    netstring::write(&mut body, STANDARD.encode(signature).as_bytes());
    body
}

/// Why a body is not a signed request. Whoever wrote the client has to correct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    #[error(transparent)]
    Netstring(#[from] NetstringError),
    /// The text is for something else, or of a version that is not known.
    #[error("not of this protocol")]
    Tag,
    /// Not a domain name.
    #[error("not a domain name")]
    Name,
    /// Not decimal seconds, or with leading zeros.
    #[error("not a time")]
    Time,
    /// Not UTF-8.
    #[error("not text")]
    NotText,
    /// Not the base64 of 64 octets, or something follows it.
    #[error("no signature at the end")]
    Signature,
}

/// Reads a request; what cannot be understood is in the result.
pub fn parse(input: &Input<'_>) -> CheckIn {
    CheckIn::of_signed(input, read(input.body).ok())
}

/// Takes a body apart. Where only name or addresses are wrong, it is still a message that can be
/// verified, so that its sender is told what is wrong.
pub fn read(body: &[u8]) -> Result<(SignedMessage, Result<Report, ParseError>), SignedError> {
    let mut strings = Netstrings::new(body);
    if strings.next(TAG.len())? != TAG.as_bytes() {
        return Err(SignedError::Tag);
    }
    let mut text = |max| {
        let octets = strings.next(max)?;
        str::from_utf8(octets).map_err(|_| SignedError::NotText)
    };
    let name_text = text(Fqdn::MAX_OCTETS + 1)?;
    let name = Fqdn::parse(name_text).map_err(|_| SignedError::Name)?;
    let at = seconds(text(MAX_TIME)?).ok_or(SignedError::Time)?;
    let addresses = [text(MAX_ADDRESS)?, text(MAX_ADDRESS)?, text(MAX_ADDRESS)?];
    let signed = body.len() - strings.rest().len();
    let signature = strings.next(SIGNATURE)?;
    if !strings.rest().is_empty() {
        return Err(SignedError::Signature);
    }
    let signature = STANDARD.decode(signature).ok();
    let signature = signature.and_then(|octets| octets.try_into().ok());
    let report = declared(addresses).map(|declared| Report {
        names: Names::Listed(vec![canonical::name(&name, name_text)]),
        declared,
        ..Report::default()
    });
    let message = SignedMessage {
        name,
        text: body[..signed].to_vec(),
        signature: signature.ok_or(SignedError::Signature)?,
        at,
    };
    Ok((message, report))
}

/// Digits without leading zeros.
fn seconds(text: &str) -> Option<i64> {
    let seconds: u64 = text.parse().ok()?;
    (seconds.to_string() == text).then(|| seconds.try_into().ok())?
}

/// At least one address: a signed request never reports the connection's, which nobody signed.
fn declared([ipv4, ipv6, prefix]: [&str; 3]) -> Result<Declared, ParseError> {
    let declared = Declared {
        ipv4: canonical::ipv4(ipv4)?,
        ipv6: canonical::ipv6(ipv6)?,
        prefix: canonical::prefix(prefix)?,
        ..Declared::default()
    };
    match declared.is_empty() {
        true => Err(ParseError::BadAddress),
        false => Ok(declared),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::Ed25519KeyPair;
    use proptest::prelude::*;

    use super::super::Asked;
    use super::super::Proof;
    use super::*;
    use crate::name::NameError;
    use crate::update::proof::PublicKey;

    /// RFC 8032 section 7.1, TEST 1.
    const PUBLIC_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];

    /// What `examples/clients/signed-update.sh` sent, with the time set to 1700000000.
    const EXAMPLES: [(&str, &str, &str, &str); 4] = [
        (
            "198.51.100.7",
            "2001:db8::7",
            "2001:db8:1:2::/64",
            "28:dynhost.dev/signed-update/v1,20:home.dyn.example.org,10:1700000000,\
             12:198.51.100.7,11:2001:db8::7,17:2001:db8:1:2::/64,\
             88:5XYkVtvGbv83qgfUsbLs2oEaSOAoiBXXYE3ie1l3sBA7mfedR1vnFx9s77PSvcGVICQO5u+VNzlQ5lajXWtlDQ==,",
        ),
        (
            "198.51.100.7",
            "",
            "",
            "28:dynhost.dev/signed-update/v1,20:home.dyn.example.org,10:1700000000,\
             12:198.51.100.7,0:,0:,\
             88:QyLMrgmZt+mdmF/74GLhZ/bQbShHE/irtX2G03sGOVjj/ZhmxLyiPU/9Y0/vuxso3JprIZ9wtAJkB83RErkzAg==,",
        ),
        (
            "",
            "2001:db8::7",
            "",
            "28:dynhost.dev/signed-update/v1,20:home.dyn.example.org,10:1700000000,\
             0:,11:2001:db8::7,0:,\
             88:0graIpCKCER/sy4+QKeyNfhkpOBTXxaWo1ePs9o3gEtzSSzjLJKGj7De+C5C64jpGmaZKg8lLQWZERgkxu80Aw==,",
        ),
        (
            "",
            "",
            "2001:db8:1:2::/64",
            "28:dynhost.dev/signed-update/v1,20:home.dyn.example.org,10:1700000000,\
             0:,0:,17:2001:db8:1:2::/64,\
             88:+vSFFungFlmuEmcfevzSLyOKJ85Z5BeGBRZjvmWbjIEnsbpWMqdNwKtU4h7RuMpJdH9MEjS8BhG7jtP6C7b3Bg==,",
        ),
    ];

    fn update(name: &str, ipv4: &str, ipv6: &str, prefix: &str) -> Update {
        Update {
            name: Fqdn::parse(name).unwrap(),
            at: 1_700_000_000,
            ipv4: ipv4.parse().ok(),
            ipv6: ipv6.parse().ok(),
            prefix: prefix.parse().ok(),
        }
    }

    fn signed(text: &[u8]) -> Vec<u8> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
        let signature = pair.sign(text).as_ref().try_into().unwrap();
        render_body(text, &signature)
    }

    /// Whether the key's owner signed it.
    fn is_ours(message: &SignedMessage) -> bool {
        message.is_signed_by(&PublicKey::parse(PUBLIC_KEY).unwrap())
    }

    /// What a body says, where it is signed and every value is as it must be.
    fn accepted(body: &[u8]) -> Option<Update> {
        let (message, report) = read(body).ok()?;
        let report = report.ok().filter(|_| is_ours(&message))?;
        assert_eq!(
            report.names,
            Names::Listed(vec![Asked::Full(message.name.clone())])
        );
        Some(Update {
            name: message.name,
            at: message.at.try_into().unwrap(),
            ipv4: report.declared.ipv4.map(|a| a.address),
            ipv6: report.declared.ipv6.map(|a| a.address),
            prefix: report.declared.prefix.map(|a| a.address),
        })
    }

    #[test]
    fn what_the_example_client_sends_is_understood() {
        for (ipv4, ipv6, prefix, body) in EXAMPLES {
            let update = update("home.dyn.example.org", ipv4, ipv6, prefix);
            assert_eq!(
                String::from_utf8(signed(&render_text(&update))).unwrap(),
                body
            );
            assert_eq!(accepted(body.as_bytes()), Some(update));
        }
    }

    #[test]
    fn a_request_is_a_signature_and_a_report_for_one_name() {
        let (.., body) = EXAMPLES[0];
        let input = Input {
            body: body.as_bytes(),
            user_agent: Some(b"curl/7.88.1"),
            ..Input::default()
        };
        let check_in = parse(&input);
        assert_eq!(check_in.client.as_deref(), Some("curl/7.88.1"));
        let (message, report) = read(body.as_bytes()).unwrap();
        assert_eq!(check_in.proof, Proof::Signature(message));
        assert_eq!(check_in.report, report);
        let check_in = parse(&Input::default());
        assert_eq!(check_in.proof, Proof::Missing);
        assert_eq!(check_in.report, Err(ParseError::NotText));
    }

    /// The body of these values, signed; without the signature where it is empty.
    fn body_of(values: [&str; 6]) -> Vec<u8> {
        let mut text = Vec::new();
        for value in values {
            netstring::write(&mut text, value.as_bytes());
        }
        signed(&text)
    }

    const NAME: &str = "home.dyn.example.org";
    const NOW: &str = "1700000000";

    #[test]
    fn what_is_not_this_protocol_cannot_be_verified() {
        fn check(body: &[u8], expected: SignedError) {
            let found = read(body).map(|_| ());
            assert_eq!(found, Err(expected), "{}", String::from_utf8_lossy(body));
        }
        fn check_values(values: [&str; 6], expected: SignedError) {
            check(&body_of(values), expected);
        }
        const IP: &str = "198.51.100.7";
        let other = TAG.replace("v1", "v2");
        check_values([&other, NAME, NOW, IP, "", ""], SignedError::Tag);
        check_values(["", NAME, NOW, IP, "", ""], SignedError::Tag);
        for name in [
            "",
            "h_me.example.org",
            "*.example.org",
            "home..org",
            "a\nb.org",
            "ü.org",
        ] {
            check_values([TAG, name, NOW, IP, "", ""], SignedError::Name);
        }
        for time in [
            "",
            "01700000000"[..10].as_ref(),
            "00",
            "+1700000",
            "-1",
            "1.5",
            "1e9",
            " 1",
            "1 ",
        ] {
            check_values([TAG, NAME, time, IP, "", ""], SignedError::Time);
        }
        let too_long = SignedError::Netstring(NetstringError::TooLong);
        check_values([TAG, NAME, "17000000000", IP, "", ""], too_long);
        check_values([TAG, &"a".repeat(255), NOW, IP, "", ""], too_long);
        check_values([TAG, NAME, NOW, &"1".repeat(43), "", ""], too_long);
        check_values([&format!("{TAG}0"), NAME, NOW, IP, "", ""], too_long);

        let body = body_of([TAG, NAME, NOW, IP, "", ""]);
        assert!(read(&body).is_ok());
        check(&[&body[..], b"\n"].concat(), SignedError::Signature);
        check(&[&body[..], b"0:,"].concat(), SignedError::Signature);
        check(b"", SignedError::Netstring(NetstringError::Length));
        let text = body.len() - "88:,".len() - SIGNATURE;
        check(
            &body[..text],
            SignedError::Netstring(NetstringError::Length),
        );
        for length in 0..body.len() {
            assert!(read(&body[..length]).is_err(), "{length}");
        }
        let with_signature = |signature: &str| {
            let mut body = body[..text].to_vec();
            netstring::write(&mut body, signature.as_bytes());
            body
        };
        let signature = str::from_utf8(&body[text + 3..body.len() - 1]).unwrap();
        assert!(accepted(&with_signature(signature)).is_some());
        for other in [
            "",
            &signature[..87],
            &signature.replace("==", ""),
            &signature.replace('/', "_"),
            // The same octets, with bits set that do not count.
            &signature.replace("g==", "h=="),
            &format!("{}\n=", &signature[..86]),
            &STANDARD.encode([0; 63]),
            &STANDARD.encode([0; 65]),
        ] {
            check(&with_signature(other), SignedError::Signature);
        }
        let mut not_text = Vec::new();
        netstring::write(&mut not_text, TAG.as_bytes());
        netstring::write(&mut not_text, b"h\xffme.example.org");
        check(&not_text, SignedError::NotText);
    }

    #[test]
    fn a_verified_sender_is_told_what_is_wrong() {
        fn check([name, ipv4, ipv6, prefix]: [&str; 4], expected: Result<Asked, ParseError>) {
            let body = body_of([TAG, name, NOW, ipv4, ipv6, prefix]);
            let (message, report) = read(&body).unwrap();
            assert!(is_ours(&message), "{name} {ipv4} {ipv6} {prefix}");
            let names = report.map(|report| report.names);
            let expected = expected.map(|asked| Names::Listed(vec![asked]));
            assert_eq!(names, expected, "{name} {ipv4} {ipv6} {prefix}");
        }
        const IP: &str = "198.51.100.7";
        const REFUSED: Result<Asked, ParseError> = Err(ParseError::BadAddress);
        let fully = || Ok(Asked::Full(Fqdn::parse(NAME).unwrap()));
        check([NAME, IP, "", ""], fully());
        check([NAME, "", "2001:db8::7", ""], fully());
        check([NAME, "", "", "2001:db8:1:2::/64"], fully());
        let bad = || Ok(Asked::Bad(NameError::Label));
        check(["Home.dyn.example.org", IP, "", ""], bad());
        check(["home.dyn.example.org.", IP, "", ""], bad());
        check([NAME, "", "", ""], REFUSED);
        check([NAME, "198.51.100.07", "", ""], REFUSED);
        check([NAME, "2001:db8::7", "", ""], REFUSED);
        check([NAME, "", IP, ""], REFUSED);
        check([NAME, "", "::ffff:198.51.100.7", ""], REFUSED);
        check([NAME, "", "2001:DB8::7", ""], REFUSED);
        check([NAME, "", "2001:db8::7/64", ""], REFUSED);
        check([NAME, "", "", "2001:db8:1:2::7/64"], REFUSED);
        check([NAME, "", "", "2001:db8:1:2::/80"], REFUSED);
        check([NAME, "", "", "2001:db8:1:2::"], REFUSED);
    }

    fn updates() -> impl Strategy<Value = Update> {
        let label = "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?";
        let name = prop::collection::vec(label, 1..5).prop_map(|labels| labels.join("."));
        let prefix = (any::<Ipv6Addr>(), 48u8..=64)
            .prop_map(|(address, length)| Ipv6Net::new(address, length).unwrap().trunc());
        let ipv6 = any::<Ipv6Addr>().prop_filter("mapped", |a| a.to_ipv4_mapped().is_none());
        let addresses = (
            prop::option::of(any::<Ipv4Addr>()),
            prop::option::of(ipv6),
            prop::option::of(prefix),
        );
        (name, any::<u32>(), addresses)
            .prop_map(|(name, at, (ipv4, ipv6, prefix))| Update {
                name: Fqdn::parse(&name).unwrap(),
                at,
                ipv4: ipv4.filter(|a| !a.is_unspecified()),
                ipv6: ipv6.filter(|a| !a.is_unspecified()),
                prefix: prefix.filter(|p| !p.addr().is_unspecified()),
            })
            .prop_filter("no address", |update| {
                update.ipv4.is_some() || update.ipv6.is_some() || update.prefix.is_some()
            })
    }

    #[test]
    fn a_change_of_any_octet_is_noticed() {
        let (.., body) = EXAMPLES[0];
        for at in 0..body.len() {
            for octet in 0..=u8::MAX {
                let mut changed = body.as_bytes().to_vec();
                if changed[at] != octet {
                    changed[at] = octet;
                    let is_taken = read(&changed).is_ok_and(|(message, _)| is_ours(&message));
                    assert!(!is_taken, "{at} {octet}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_understood(update in updates()) {
            prop_assert_eq!(accepted(&signed(&render_text(&update))), Some(update));
        }

        #[test]
        fn a_text_has_one_meaning(a in updates(), b in updates()) {
            prop_assert_eq!(a == b, render_text(&a) == render_text(&b));
        }

        #[test]
        fn an_octet_changed_added_or_removed_is_noticed(
            update in updates(),
            at in any::<prop::sample::Index>(),
            octet in any::<u8>(),
        ) {
            let body = signed(&render_text(&update));
            let at = at.index(body.len());
            let (mut changed, mut longer, mut shorter) = (body.clone(), body.clone(), body.clone());
            changed[at] = octet;
            longer.insert(at, octet);
            shorter.remove(at);
            for other in [changed, longer, shorter] {
                let is_taken = read(&other).is_ok_and(|(message, _)| is_ours(&message));
                prop_assert!(!is_taken || other == body);
            }
        }

        #[test]
        fn no_octets_stop_the_parser(
            values in prop::collection::vec("[0-9a-f:./]{0,20}|.{0,8}", 0..8),
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut body = Vec::new();
            netstring::write(&mut body, TAG.as_bytes());
            for value in values {
                netstring::write(&mut body, value.as_bytes());
            }
            body.extend_from_slice(&rest);
            let _ = read(&body);
            let _ = read(&rest);
        }
    }
}
