//! A reply of one message or of several, verified message by message (RFC 8945 section 5.3).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use hickory_net::proto::rr::rdata::tsig::{TSIG, TsigError};
use hickory_net::proto::rr::{DNSClass, Name, RData, Record};
use hickory_net::proto::serialize::binary::{BinDecodable, BinDecoder, BinEncoder};

use super::{FUDGE, Proof, TsigKey, server_clock};

/// How many messages in a row may come without a signature (RFC 8945 section 5.3.1).
const MOST_UNSIGNED: u32 = 99;

/// What is known of a reply so far. Its last message must be signed, and so must its first; those
/// between may be covered by the next signature.
pub struct Chain<'a> {
    key: &'a TsigKey,
    /// Of the last MAC and of every message since.
    covered: hmac::Context,
    is_first: bool,
    unsigned: u32,
}

impl<'a> Chain<'a> {
    /// The reply to a request that was signed with `key` and this MAC.
    pub fn new(key: &'a TsigKey, request_mac: &[u8]) -> Self {
        Self {
            key,
            covered: after(key, request_mac),
            is_first: true,
            unsigned: 0,
        }
    }

    /// What the reply's next message proves, whose TSIG record begins at `tsig`; `now` is in
    /// seconds since the epoch. After anything but [`Proof::Verified`] and, behind a verified
    /// message, [`Proof::Unsigned`], the chain is of no more use.
    pub fn take(&mut self, message: &[u8], tsig: Option<usize>, now: u64) -> Proof {
        let Some(begin) = tsig else {
            self.covered.update(message);
            self.unsigned += 1;
            return match self.unsigned <= MOST_UNSIGNED {
                true => Proof::Unsigned,
                false => Proof::Broken("too many messages are not signed"),
            };
        };
        let Some((name, tsig)) = read(message, begin) else {
            return Proof::Broken("the reply's TSIG record is malformed");
        };
        // RFC 8945 sections 5.2.1 and 5.2.2: these errors come without a MAC.
        if let (Some(error), true) = (tsig.error, tsig.mac.is_empty()) {
            return Proof::Refused(error);
        }
        if !self.key.is_named(&name, &tsig) {
            return Proof::Broken("the reply is signed with another key");
        }
        let mut covered = self.covered.clone();
        if cover(&mut covered, message, begin, &name, &tsig, self.is_first).is_none() {
            return Proof::Broken("the reply's TSIG record is malformed");
        }
        // Compares in constant time; a shortened MAC does not match.
        if verify_slices_are_equal(covered.sign().as_ref(), &tsig.mac).is_err() {
            return Proof::Broken("the reply's MAC is wrong");
        }
        // RFC 8945 section 5.2.3: a BADTIME reply carries our time, and the server's in 48 bits.
        if tsig.error == Some(TsigError::BadTime) {
            return match server_clock(&tsig.other) {
                Some(clock) => Proof::BadTime {
                    behind_server: clock.cast_signed() - now.cast_signed(),
                },
                None => Proof::Broken("the reply says BADTIME without the server's time"),
            };
        }
        if tsig.time.abs_diff(now) > u64::from(FUDGE) {
            return Proof::Broken("the reply was signed at another time");
        }
        if let Some(error) = tsig.error {
            return Proof::Refused(error);
        }
        self.covered = after(self.key, &tsig.mac);
        self.is_first = false;
        self.unsigned = 0;
        Proof::Verified
    }
}

/// A MAC begins with the one before, of the request or of the last signed message.
fn after(key: &TsigKey, mac: &[u8]) -> hmac::Context {
    let mut covered = hmac::Context::with_key(&key.mac);
    // A MAC has at most 64 octets here: ours, or one that was equal to it.
    let length = u16::try_from(mac.len()).unwrap_or_default();
    covered.update(&length.to_be_bytes());
    covered.update(mac);
    covered
}

fn read(message: &[u8], begin: usize) -> Option<(Name, TSIG)> {
    let mut decoder = BinDecoder::new(message).clone(u16::try_from(begin).ok()?);
    let record = Record::read(&mut decoder).ok()?;
    // RFC 8945 section 4.2. The MAC covers these two as they must be, not as they are.
    let is_meant = record.dns_class == DNSClass::ANY && record.ttl == 0;
    match record.data {
        RData::TSIG(tsig) if is_meant => Some((record.name, tsig)),
        _ => None,
    }
}

/// Adds the message as it was before the TSIG record was added, and that record's variables, of
/// which later messages have the timers only (RFC 8945 sections 4.3.2, 4.3.3 and 5.3.1).
fn cover(
    covered: &mut hmac::Context,
    message: &[u8],
    begin: usize,
    name: &Name,
    tsig: &TSIG,
    is_first: bool,
) -> Option<()> {
    let (header, rest) = message.get(..begin)?.split_first_chunk::<12>()?;
    let [_, _, fields @ .., high, low] = header;
    let additionals = u16::from_be_bytes([*high, *low]).checked_sub(1)?;
    covered.update(&tsig.oid.to_be_bytes());
    covered.update(fields);
    covered.update(&additionals.to_be_bytes());
    covered.update(rest);
    let mut variables = Vec::new();
    if is_first {
        let mut encoder = BinEncoder::new(&mut variables);
        tsig.emit_tsig_for_mac(&mut encoder, name).ok()?;
    } else {
        // 48 bits.
        variables.extend(tsig.time.to_be_bytes().get(2..)?);
        variables.extend(tsig.fudge.to_be_bytes());
    }
    covered.update(&variables);
    Some(())
}
