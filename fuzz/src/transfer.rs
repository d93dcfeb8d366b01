//! What a name server sends in a zone transfer.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dynhost::name::Fqdn;
use dynhost::provider::TransferError;
use dynhost::provider::rfc2136::axfr::{Progress, Transfer};
use dynhost::provider::rfc2136::tsig::{Algorithm, TsigKey};
use dynhost::provider::rfc2136::wire::{Layout, Record, rr_type};
use dynhost::record::contents::Data;
use hickory_net::proto::op::Message;
use hickory_net::proto::rr::RData;

const SECRET: &[u8] = b"secret";
const NOW: u64 = 1_800_000_000;
const REQUEST_MAC: &[u8] = b"mac of the request";

/// Messages with their lengths before them, as they are and signed as a server that has our key
/// would sign them.
pub fn transfer(octets: &[u8]) {
    let messages = split(octets);
    for message in &messages {
        check_message(message);
    }
    let (handed_over, whole) = take(&messages);
    assert!(handed_over == 0 && !whole);

    let (handed_over, whole) = take(&sign(&messages));
    let layouts = messages
        .iter()
        .filter_map(|m| Some((m, Layout::of(m).ok()?)));
    let all: Vec<Record<'_>> = layouts
        .flat_map(|(message, layout)| layout.answers(message))
        .filter_map(Result::ok)
        .collect();
    assert!(handed_over <= all.len());
    if whole {
        let soas = all.iter().filter(|record| record.rr_type == rr_type::SOA);
        let soas: Vec<_> = soas.take(2).map(|record| record.soa().unwrap()).collect();
        assert!(soas.len() == 2 && soas[0] == soas[1]);
    }
}

/// The messages, the last one as far as it is there.
fn split(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = octets.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (message, rest) = rest.split_at(length);
        messages.push(message.to_vec());
        octets = rest;
    }
    messages
}

fn sign(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut signer = Signer {
        mac: REQUEST_MAC.to_vec(),
        is_first: true,
    };
    messages
        .iter()
        .map(|message| signer.sign(message))
        .collect()
}

/// How many records were handed over, and whether the zone was whole.
fn take(messages: &[Vec<u8>]) -> (usize, bool) {
    let apex = Fqdn::parse("dyn").unwrap();
    let secret = STANDARD.encode(SECRET);
    let key = TsigKey::new("dyn-key", Algorithm::HmacSha256, secret.as_bytes()).unwrap();
    let mut transfer = Transfer::new(7, &apex, &key, REQUEST_MAC);
    let mut handed_over = 0;
    let mut visit = |name: &str, _: u32, data: Data<'_>| {
        handed_over += 1;
        check_name(name);
        if let Data::Cname(target) = data {
            check_name(target.strip_suffix('.').unwrap());
        }
    };
    for message in messages {
        match transfer.take(message, NOW, &mut visit) {
            Ok(Progress::Begun) => {}
            Ok(Progress::Whole { .. }) => return (handed_over, true),
            Err(
                TransferError::Refused(_)
                | TransferError::Unauthorized(_)
                | TransferError::Unavailable(_)
                | TransferError::Broken(_),
            ) => break,
        }
    }
    (handed_over, false)
}

/// Lower case, printable, and of at most four characters for each of 255 octets.
fn check_name(name: &str) {
    assert!(name.len() <= 4 * 255);
    let is_harmless =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_*.\\".contains(&b);
    assert!(name.bytes().all(is_harmless), "{name:?}");
}

/// What hickory reads in a message is what we read in it.
fn check_message(message: &[u8]) {
    let Ok(layout) = Layout::of(message) else {
        return;
    };
    let records: Vec<Record<'_>> = layout.answers(message).map(Result::unwrap).collect();
    let mut name = String::new();
    for record in &records {
        let _ = (record.target(), record.strings(), record.soa());
        if record.owner(&mut name).is_ok() {
            check_name(&name);
        }
    }
    let Ok(theirs) = Message::from_vec(message) else {
        return;
    };
    assert_eq!(layout.tsig.is_some(), theirs.signature().is_some());
    assert_eq!(records.len(), theirs.answers.len());
    for (ours, theirs) in records.iter().zip(&theirs.answers) {
        assert_eq!(ours.rr_type, u16::from(theirs.record_type()));
        ours.owner(&mut name).unwrap();
        // It writes octets that are no letters in another way.
        if !name.contains('\\') {
            let theirs = theirs.name.to_lowercase().to_ascii();
            assert_eq!(format!("{name}."), theirs);
        }
        match &theirs.data {
            RData::A(address) => assert_eq!(ours.address().ok(), Some(address.0.octets())),
            RData::AAAA(address) => assert_eq!(ours.address().ok(), Some(address.0.octets())),
            RData::SOA(soa) => assert_eq!(ours.soa().unwrap().serial(), soa.serial),
            RData::TXT(text) => {
                let theirs: Vec<&[u8]> = text.txt_data.iter().map(AsRef::as_ref).collect();
                assert_eq!(ours.strings().unwrap(), theirs);
            }
            RData::CNAME(_) => drop(ours.target().unwrap()),
            _ => {}
        }
    }
}

/// Signs as RFC 8945 section 5.3.1 says.
struct Signer {
    mac: Vec<u8>,
    is_first: bool,
}

impl Signer {
    /// What is no message, or has a TSIG record already, stays as it is.
    fn sign(&mut self, message: &[u8]) -> Vec<u8> {
        let mut signed = message.to_vec();
        let layout = Layout::of(message).ok().filter(|l| l.tsig.is_none());
        let Some((additionals, _)) = signed.get_mut(10..).and_then(|o| o.split_first_chunk_mut())
        else {
            return signed;
        };
        let count = u16::from_be_bytes(*additionals).checked_add(1);
        let (Some(_), Some(count)) = (layout, count) else {
            return signed;
        };
        *additionals = count.to_be_bytes();
        let length = |octets: &[u8]| u16::try_from(octets.len()).unwrap().to_be_bytes();
        let owner = b"\x07dyn-key\0";
        let algorithm = b"\x0bhmac-sha256\0";
        let timers = [&NOW.to_be_bytes()[2..], &300_u16.to_be_bytes()].concat();
        let mut covered = [&length(&self.mac)[..], &self.mac, message].concat();
        if self.is_first {
            covered.extend([&owner[..], &[0, 255, 0, 0, 0, 0], algorithm].concat());
        }
        covered.extend(&timers);
        if self.is_first {
            covered.extend([0; 4]);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        self.mac = hmac::sign(&key, &covered).as_ref().to_vec();
        self.is_first = false;
        let data = [
            &algorithm[..],
            &timers,
            &length(&self.mac),
            &self.mac,
            &message[..2],
            &[0; 4],
        ];
        let data = data.concat();
        signed.extend(
            [
                &owner[..],
                &[0, 250, 0, 255, 0, 0, 0, 0],
                &length(&data),
                &data,
            ]
            .concat(),
        );
        signed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_here_is_believed() {
        fn check(file: &str, expected: (usize, bool)) {
            let path = format!("{}/corpus/transfer/{file}", env!("CARGO_MANIFEST_DIR"));
            let messages = split(&std::fs::read(path).unwrap());
            assert_eq!(take(&sign(&messages)), expected, "{file}");
        }
        check("one-message", (4, true));
        check("several", (7, true));
        check("another-soa", (1, false));
    }
}
