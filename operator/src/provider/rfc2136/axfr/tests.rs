//! Against messages of a server of the test's own, which are put together octet by octet.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::provider::rfc2136::tsig::Algorithm;

const NOW: u64 = 1_800_000_000;
const ID: u16 = 7;
const SECRET: &[u8] = b"secret";

/// The SOA record of `dyn` with this serial.
fn soa(serial: u8) -> Vec<u8> {
    let names = b"\x02ns\x03dyn\0\x04root\x03dyn\0\0\0\0";
    record(b"\x03dyn\0", 6, &[&names[..], &[serial; 17]].concat())
}

/// The same, at the beginning of a message, where its names point at its owner.
fn first_soa(serial: u8) -> Vec<u8> {
    let names = b"\x02NS\xc0\x0c\x04root\xc0\x0c\0\0\0";
    record(b"\x03dyn\0", 6, &[&names[..], &[serial; 17]].concat())
}

fn record(owner: &[u8], rr_type: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [owner, &[0, rr_type, 0, 1, 0, 0, 0, 60], &length, data].concat()
}

fn address(last: u8) -> Vec<u8> {
    record(b"\x04Home\x03dyn\x00", 1, &[198, 51, 100, last])
}

/// An answer of these records.
fn message(rcode: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(records.len()).unwrap();
    let header = [0, 7, 0x84, rcode, 0, 0, 0, count, 0, 0, 0, 0];
    [&header[..], &records.concat()].concat()
}

/// What a server does that has our key: it signs as RFC 8945 section 5.3.1 says, in octets.
struct Server {
    algorithm: Algorithm,
    key: hmac::Key,
    mac: Vec<u8>,
    since: Vec<u8>,
    is_first: bool,
}

impl Server {
    fn new(algorithm: Algorithm, secret: &[u8]) -> Self {
        let hmac = match algorithm {
            Algorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            _ => hmac::HMAC_SHA256,
        };
        Self {
            algorithm,
            key: hmac::Key::new(hmac, secret),
            mac: b"request".to_vec(),
            since: Vec::new(),
            is_first: true,
        }
    }

    fn leave(&mut self, message: Vec<u8>) -> Vec<u8> {
        self.since.extend(&message);
        message
    }

    fn sign(&mut self, message: Vec<u8>) -> Vec<u8> {
        let length = |octets: &[u8]| u16::try_from(octets.len()).unwrap().to_be_bytes();
        let name = self.algorithm.as_str();
        let algorithm = match name.split_once('-') {
            Some((one, two)) => [one, two].map(str::len),
            None => unreachable!(),
        };
        assert_eq!(algorithm[0], 4);
        let algorithm = [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), b"\0"].concat();
        let timers = [&NOW.to_be_bytes()[2..], &300_u16.to_be_bytes()].concat();
        let owner = b"\x07dyn-key\0";
        let mut covered = [&length(&self.mac)[..], &self.mac, &self.since, &message].concat();
        if self.is_first {
            covered.extend(owner);
            covered.extend([0, 255, 0, 0, 0, 0]);
            covered.extend(&algorithm);
            covered.extend(&timers);
            covered.extend([0, 0, 0, 0]);
        } else {
            covered.extend(&timers);
        }
        self.mac = hmac::sign(&self.key, &covered).as_ref().to_vec();
        self.since.clear();
        self.is_first = false;
        let data = [
            &algorithm[..],
            &timers,
            &length(&self.mac),
            &self.mac,
            &[0, 7, 0, 0, 0, 0],
        ];
        let data = data.concat();
        let mut signed = message;
        signed[11] += 1;
        signed.extend(owner);
        signed.extend([0, 250, 0, 255, 0, 0, 0, 0]);
        signed.extend(length(&data));
        signed.extend(data);
        signed
    }
}

/// The addresses that were handed over, and how it ended.
fn read(algorithm: Algorithm, messages: &[Vec<u8>]) -> (Vec<u8>, String) {
    let apex = Fqdn::parse("dyn").unwrap();
    let secret = STANDARD.encode(SECRET);
    let key = TsigKey::new("dyn-key", algorithm, secret.as_bytes()).unwrap();
    let mut transfer = Transfer::new(ID, &apex, &key, b"request");
    let mut seen = Vec::new();
    let mut visit = |name: &str, ttl: u32, data: Data<'_>| {
        assert_eq!((name, ttl), ("home.dyn", 60));
        match data {
            Data::Ipv4(address) => seen.push(address.octets()[3]),
            other => panic!("{other:?}"),
        }
    };
    for (number, message) in messages.iter().enumerate() {
        let is_last = number + 1 == messages.len();
        match transfer.take(message, NOW, &mut visit) {
            Ok(Progress::Begun) if !is_last => {}
            Ok(Progress::Begun) => return (seen, "more".to_owned()),
            Ok(Progress::Whole { serial }) => {
                assert!(is_last);
                return (seen, format!("whole: {}", serial & 0xff));
            }
            Err(error) => {
                assert!(is_last, "message {number}: {error}");
                return (seen, error.to_string());
            }
        }
    }
    unreachable!("there are messages");
}

/// Messages of a server with our key, each signed or not.
fn check(name: &str, messages: &[(bool, Vec<u8>)], addresses: &[u8], expected: &str) {
    for algorithm in [Algorithm::HmacSha1, Algorithm::HmacSha256] {
        let mut server = Server::new(algorithm, SECRET);
        let messages: Vec<_> = messages
            .iter()
            .map(|(is_signed, message)| match is_signed {
                true => server.sign(message.clone()),
                false => server.leave(message.clone()),
            })
            .collect();
        let expected = (addresses.to_vec(), expected.to_owned());
        assert_eq!(read(algorithm, &messages), expected, "{name}");
    }
}

#[test]
fn a_zone_is_whole_between_two_equal_soa_records_that_are_both_signed() {
    let ok = |records: &[Vec<u8>]| message(0, records);
    let all = ok(&[first_soa(1), address(7), address(8), soa(1)]);
    check("one message", &[(true, all)], &[7, 8], "whole: 1");
    let (first, last) = (ok(&[soa(1), address(7)]), ok(&[address(9), soa(1)]));
    check(
        "all signed",
        &[
            (true, first.clone()),
            (true, ok(&[address(8)])),
            (true, last.clone()),
        ],
        &[7, 8, 9],
        "whole: 1",
    );
    check(
        "not signed between",
        &[
            (true, first.clone()),
            (false, ok(&[address(8)])),
            (false, ok(&[])),
            (true, last.clone()),
        ],
        &[7, 8, 9],
        "whole: 1",
    );
    let many = |between: usize| {
        let unsigned = vec![(false, ok(&[])); between];
        [
            &[(true, first.clone())][..],
            &unsigned,
            &[(true, last.clone())],
        ]
        .concat()
    };
    check("99 not signed", &many(99), &[7, 9], "whole: 1");
    let too_many = &many(100)[..101];
    check(
        "100 not signed",
        too_many,
        &[7],
        "the transfer broke off: too many messages are not signed",
    );
    check(
        "the last one not signed",
        &[(true, first.clone()), (false, last.clone())],
        &[7, 9],
        "the transfer broke off: the last message is not signed",
    );
    check(
        "the first one not signed",
        &[(false, first.clone())],
        &[],
        "the transfer broke off: the first message is not signed",
    );
    check("not yet", &[(true, first.clone())], &[7], "more");
    check(
        "another SOA record at the end",
        &[(true, first.clone()), (true, ok(&[address(9), soa(2)]))],
        &[7, 9],
        "the transfer broke off: the SOA record at the end is another one",
    );
    check(
        "no SOA record at the beginning",
        &[(true, last)],
        &[],
        "the transfer broke off: the first record is no SOA record",
    );
    check(
        "nothing",
        &[(true, ok(&[]))],
        &[],
        "the transfer broke off: the first message is empty",
    );
    check(
        "records after the end",
        &[(true, ok(&[soa(1), soa(1), address(7)]))],
        &[],
        "the transfer broke off: records follow the last SOA record",
    );
    check(
        "an error in the middle",
        &[(true, first), (true, message(2, &[]))],
        &[7],
        "the transfer broke off: SERVFAIL in the middle",
    );
}

#[test]
fn what_is_refused_is_told_from_what_is_broken() {
    check(
        "refused",
        &[(true, message(5, &[]))],
        &[],
        "transfer refused: REFUSED",
    );
    check(
        "not its zone",
        &[(true, message(9, &[]))],
        &[],
        "transfer refused: NOTAUTH",
    );
    check(
        "PowerDNS",
        &[(false, message(9, &[]))],
        &[],
        "transfer refused: NOTAUTH without TSIG",
    );
    check(
        "trouble",
        &[(true, message(2, &[]))],
        &[],
        "unavailable: SERVFAIL",
    );
    let bare = |error: u8| {
        let data = [
            &b"\x09hmac-sha1\0"[..],
            &[0; 8],
            &[0, 0, 0, 7, 0, error, 0, 0],
        ]
        .concat();
        let length = u8::try_from(data.len()).unwrap();
        let mut wire = message(9, &[]);
        wire[11] = 1;
        wire.extend(b"\x07dyn-key\0\x00\xfa\x00\xff\0\0\0\0\0");
        wire.push(length);
        wire.extend(data);
        wire
    };
    for (error, word) in [(16, "BADSIG"), (17, "BADKEY")] {
        let (_, outcome) = read(Algorithm::HmacSha1, &[bare(error)]);
        assert!(
            outcome.starts_with(&format!("credentials rejected: {word}")),
            "{outcome}"
        );
    }
}

#[test]
fn nothing_is_believed_that_was_changed_on_the_way() {
    let mut server = Server::new(Algorithm::HmacSha256, SECRET);
    let messages = [
        server.sign(message(0, &[soa(1), address(7)])),
        server.leave(message(0, &[address(8)])),
        server.sign(message(0, &[address(9), soa(1)])),
    ];
    let (_, outcome) = read(Algorithm::HmacSha256, &messages);
    assert_eq!(outcome, "whole: 1");
    for (number, message) in messages.iter().enumerate() {
        for place in 0..message.len() {
            let mut changed = messages.clone();
            changed[number][place] ^= 1;
            // A message that is taken for another leaves the rest over.
            let apex = Fqdn::parse("dyn").unwrap();
            let secret = STANDARD.encode(SECRET);
            let key = TsigKey::new("dyn-key", Algorithm::HmacSha256, secret.as_bytes());
            let key = key.unwrap();
            let mut transfer = Transfer::new(ID, &apex, &key, b"request");
            let mut visit = |_: &str, _: u32, _: Data<'_>| {};
            let outcomes: Result<Vec<_>, _> = changed
                .iter()
                .map(|message| transfer.take(message, NOW, &mut visit))
                .collect();
            assert!(outcomes.is_err(), "octet {place} of message {number}");
        }
    }
    let mut other = Server::new(Algorithm::HmacSha256, b"other");
    let (seen, outcome) = read(
        Algorithm::HmacSha256,
        &[other.sign(message(0, &[soa(1), soa(1)]))],
    );
    assert_eq!(
        (seen, &*outcome),
        (vec![], "the transfer broke off: the reply's MAC is wrong")
    );
}
