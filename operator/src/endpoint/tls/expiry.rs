//! PURE: until when a certificate is valid.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::sign::CertifiedKey;

// Tags of DER (ITU-T X.690).
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The end of the first one's time, which is the server's own; `None` where it cannot be read, which
/// is no reason not to show it.
pub(super) fn not_after(key: &CertifiedKey) -> Option<Timestamp> {
    let mut certificate = Der(key.cert.first()?);
    let mut certificate = Der(certificate.take(SEQUENCE)?);
    let mut fields = Der(certificate.take(SEQUENCE)?);
    // RFC 5280 section 4.1: version, serialNumber, signature, issuer, validity.
    fields.take(VERSION);
    fields.take(INTEGER)?;
    fields.take(SEQUENCE)?;
    fields.take(SEQUENCE)?;
    let mut validity = Der(fields.take(SEQUENCE)?);
    validity.take_time()?;
    validity.take_time()
}

/// Values one after the other, each with its tag and length.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The octets of the next value, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[first, length], rest) = self.0.split_first_chunk()?;
        if first != tag {
            return None;
        }
        let (length, rest) = match length {
            0..=0x7f => (length.into(), rest),
            0x81..=0x83 => {
                let (octets, rest) = rest.split_at_checked((length - 0x80).into())?;
                let length = octets
                    .iter()
                    .fold(0, |length, octet| length << 8 | usize::from(*octet));
                (length, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    /// As RFC 5280 section 4.1.2.5 has it: in UTC, to the second; years of two digits are 1950 to
    /// 2049.
    fn take_time(&mut self) -> Option<Timestamp> {
        let text = match self.take(UTC_TIME) {
            Some(short) => {
                let short = str::from_utf8(short).ok()?;
                let century = if short < "5" { "20" } else { "19" };
                format!("{century}{short}")
            }
            None => str::from_utf8(self.take(GENERALIZED_TIME)?)
                .ok()?
                .to_owned(),
        };
        let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
        let time = time.to_zoned(TimeZone::UTC).ok()?;
        Some(time.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(octets: &[u8]) -> Option<i64> {
        Der(octets).take_time().map(Timestamp::as_second)
    }

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(seconds(b"\x17\x0d700101000000Z"), Some(0));
        assert_eq!(seconds(b"\x17\x0d491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(b"\x18\x0f20500101000000Z"), Some(2_524_608_000));
        assert_eq!(seconds(b"\x17\x81\x0d700101000000Z"), Some(0));
        for malformed in [
            &b""[..],
            b"\x17",
            b"\x17\x0d",
            b"\x17\x0d70010100000Z",
            b"\x17\x0d701301000000Z",
            b"\x17\x0d7001010000+0Z",
            b"\x17\x80700101000000Z",
            b"\x17\x84\0\0\0\x0d700101000000Z",
            b"\x18\x0d700101000000Z",
            b"\x19\x0f20500101000000Z",
        ] {
            assert_eq!(seconds(malformed), None, "{}", malformed.escape_ascii());
        }
    }
}
