//! The dialects that are signed, and what they are made of.

use std::net::{Ipv4Addr, Ipv6Addr};

use dynhost::name::Fqdn;
use dynhost::update::proof::{PublicKey, Sha1Secret};
use dynhost::update::protocol::netstring::{Netstrings, write};
use dynhost::update::protocol::signed::{TAG, Update, read, render_body, render_text};
use dynhost::update::protocol::{Asked, CheckIn, Dialect, Names, Proof, Report};
use ipnet::Ipv6Net;
use sha2::{Digest as _, Sha256};

use crate::answers::{check, check_signed};
use crate::request::Request;

/// The script of 2012.
pub fn sha1_script(octets: &[u8]) {
    let Some(request) = Request::split(octets) else {
        return;
    };
    let check_in = check(Dialect::Sha1Script, &request.input());
    check_signed(&check_in);
    let Proof::Sha1(proof) = check_in.proof else {
        return;
    };
    // The text is host and time, each with a line feed, and has no third line.
    let text = str::from_utf8(&proof.text).unwrap();
    let lines: Vec<&str> = text.split('\n').collect();
    let [host, time, ""] = lines[..] else {
        panic!("{text:?}");
    };
    assert_eq!(Fqdn::parse(host), Ok(proof.name.clone()));
    assert_eq!((time.len(), time.as_bytes()[10]), (19, b' '), "{time:?}");
    let report = check_in.report.unwrap();
    assert_eq!(
        report.names,
        Names::Listed(vec![Asked::Full(proof.name.clone())])
    );
    // The hash covers no address, so none may be declared.
    assert!(report.declared.is_empty());
    // Nobody's octets are made with a secret that they were not made with: the blog's own example and
    // the one of our tests are all that there is.
    let secret = Sha1Secret::new(b"secretkey1").unwrap();
    let made = [
        "host1.h.lohray.com\n2012-06-14 15:58:27\n",
        "Home.Example.ORG.\n2026-11-21 00:00:00\n",
    ];
    assert!(
        !proof.is_made_with(&secret) || made.contains(&text),
        "{text:?}"
    );
}

/// soerenschneider's envelope.
pub fn envelope(octets: &[u8]) {
    // A whole request, or the body alone.
    let request = Request::split(octets);
    let body = match &request {
        Some(request) if octets.starts_with(b"POST ") => request.input(),
        _ => dynhost::update::protocol::Input {
            body: octets,
            ..Default::default()
        },
    };
    let check_in = check(Dialect::Envelope, &body);
    check_signed(&check_in);
    let Some((message, host, report)) = understood(&check_in) else {
        return;
    };
    let spelled = |address: Option<String>| address.unwrap_or_default();
    let ipv4 = spelled(report.declared.ipv4.as_ref().map(|a| a.address.to_string()));
    let ipv6 = spelled(report.declared.ipv6.as_ref().map(|a| a.address.to_string()));
    assert!(report.declared.prefix.is_none());
    let text = format!("{}{host}{ipv4}{ipv6}", message.at);
    let digest = Sha256::digest(&text);
    let digits: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(message.text, digits.as_bytes());
    // What was signed can be understood in one way only.
    assert_eq!(meaning(&text), [host.as_str(), &ipv4, &ipv6], "{text}");
    check_signature(message.signature, b"");
}

/// Takes the envelope's concatenated text apart, from both ends, by the rules of its module.
fn meaning(text: &str) -> [&str; 3] {
    let (_seconds, rest) = text.split_at(10);
    let (rest, ipv6) = match rest.find(':') {
        Some(colon) => rest.split_at(colon - 4),
        None => (rest, ""),
    };
    let host = rest.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    [host, &rest[host.len()..], ipv6]
}

/// Our own form: what is read, and what is written, are each other's inverse.
pub fn signed(octets: &[u8]) {
    written_and_read(octets);
    let request = Request::split(octets);
    let input = match &request {
        Some(request) if octets.starts_with(b"POST ") => request.input(),
        _ => dynhost::update::protocol::Input {
            body: octets,
            ..Default::default()
        },
    };
    let check_in = check(Dialect::Signed, &input);
    check_signed(&check_in);
    if let Proof::Signature(message) = &check_in.proof {
        // Whatever is signed is the body up to the signature, and the signature its rest.
        assert_eq!(render_body(&message.text, &message.signature), input.body);
        assert!(
            message
                .text
                .starts_with(format!("{}:{TAG},", TAG.len()).as_bytes())
        );
        check_signature(message.signature, &message.text);
    }
    let Some((message, name, report)) = understood(&check_in) else {
        return;
    };
    let declared = &report.declared;
    // From 2106 to 2286 there are times that are read and cannot be written.
    let Ok(at) = message.at.try_into() else {
        return;
    };
    let update = Update {
        name: name.clone(),
        at,
        ipv4: declared.ipv4.as_ref().map(|a| a.address),
        ipv6: declared.ipv6.as_ref().map(|a| a.address),
        prefix: declared.prefix.as_ref().map(|a| a.address),
    };
    let shown = String::from_utf8_lossy(&message.text);
    assert_eq!(render_text(&update), message.text, "{shown}");
}

/// Any update that is written is read as it was, where its values may be sent.
fn written_and_read(octets: &[u8]) {
    let mut octets = octets.iter().copied();
    let mut number = |length: usize| -> u128 {
        let taken = octets.by_ref().take(length);
        taken.fold(0, |number, octet| number << 8 | u128::from(octet))
    };
    let label = format!("h{:x}", number(4));
    let at = u32::try_from(number(4)).unwrap();
    let present = number(1);
    let length = u8::try_from(number(1) % 129).unwrap();
    let ipv4 = Ipv4Addr::from_bits(u32::try_from(number(4)).unwrap());
    let ipv6 = Ipv6Addr::from_bits(number(16));
    let prefix = Ipv6Net::new(Ipv6Addr::from_bits(number(8) << 64), length).unwrap();
    let update = Update {
        name: Fqdn::parse(&format!("{label}.dyn.example.org")).unwrap(),
        at,
        ipv4: Some(ipv4).filter(|_| present & 1 != 0),
        ipv6: Some(ipv6).filter(|_| present & 2 != 0),
        prefix: Some(prefix).filter(|_| present & 4 != 0),
    };
    let is_sendable = update.ipv4.is_none_or(|a| !a.is_unspecified())
        && update
            .ipv6
            .is_none_or(|a| !a.is_unspecified() && a.to_ipv4_mapped().is_none())
        && update.prefix.is_none_or(|p| {
            (48..=64).contains(&p.prefix_len()) && p == p.trunc() && !p.addr().is_unspecified()
        })
        && present & 7 != 0;
    let text = render_text(&update);
    let (message, report) = read(&render_body(&text, &[7; 64])).unwrap();
    assert_eq!((&message.name, message.at), (&update.name, i64::from(at)));
    assert_eq!((message.text, message.signature), (text, [7; 64]));
    assert_eq!(report.is_ok(), is_sendable, "{update:?}");
    if let Ok(report) = report {
        let declared = report.declared;
        assert_eq!(declared.ipv4.map(|a| a.address), update.ipv4);
        assert_eq!(declared.ipv6.map(|a| a.address), update.ipv6);
        assert_eq!(declared.prefix.map(|a| a.address), update.prefix);
    }
}

/// The message, the name and the report of a request whose values all have their one spelling.
fn understood(
    check_in: &CheckIn,
) -> Option<(&dynhost::update::proof::SignedMessage, Fqdn, &Report)> {
    let Proof::Signature(message) = &check_in.proof else {
        return None;
    };
    let report = check_in.report.as_ref().ok()?;
    // Nobody signed the address of the connection.
    assert!(!report.declared.is_empty());
    let Names::Listed(names) = &report.names else {
        panic!("{:?}", report.names);
    };
    match &names[..] {
        [Asked::Full(name)] => {
            assert_eq!(*name, message.name);
            Some((message, name.clone(), report))
        }
        [Asked::Bad(_)] => None,
        names => panic!("{names:?}"),
    }
}

/// Nobody's octets are signed by a key that nobody used for them.
fn check_signature(signature: [u8; 64], text: &[u8]) {
    const KEY: &str = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
    let message = dynhost::update::proof::SignedMessage {
        name: Fqdn::parse("home.dyn.example.org").unwrap(),
        text: text.to_vec(),
        signature,
        at: 0,
    };
    assert!(!message.is_signed_by(&PublicKey::parse(KEY).unwrap()));
}

/// Netstrings: a sequence has one form.
pub fn netstrings(octets: &[u8]) {
    for max in [0, 9, 88, 100_000] {
        let mut strings = Netstrings::new(octets);
        let mut written = Vec::new();
        while let Ok(string) = strings.next(max) {
            assert!(string.len() <= max);
            write(&mut written, string);
        }
        let rest = strings.rest();
        assert!(strings.next(max).is_err() && strings.rest() == rest);
        written.extend_from_slice(rest);
        assert_eq!(written, octets);
        // Whatever stands behind a string changes nothing about it.
        let first = Netstrings::new(octets).next(max);
        if let Ok(string) = first {
            let longer = [octets, b"0:,"].concat();
            assert_eq!(Netstrings::new(&longer).next(max), Ok(string));
        }
    }
}
