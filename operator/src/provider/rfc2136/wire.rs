//! PURE: DNS messages read octet by octet (RFC 1035 section 4.1), for whole zones.
//!
//! A record costs no allocation, and one of a type that nobody here knows, or whose data is
//! malformed within, spoils no other.

use std::fmt::Write as _;
use std::ops::Range;

/// The header of every message.
const HEADER_OCTETS: usize = 12;

/// The longest name on the wire (RFC 1035 section 2.3.4).
const NAME_OCTETS: usize = 255;

/// Type codes of IANA's registry "Resource Record (RR) TYPEs".
pub mod rr_type {
    pub const A: u16 = 1;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const TSIG: u16 = 250;
}

/// The class of the Internet.
pub const CLASS_IN: u16 = 1;

/// Octets are no DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(&'static str);

const SHORT: Malformed = Malformed("it ends too soon");

/// A message taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub id: u16,
    pub is_response: bool,
    /// RFC 1035 section 4.1.1; 0 is a query.
    pub op_code: u8,
    pub is_truncated: bool,
    /// Without the upper bits that an OPT record may hold.
    pub rcode: u8,
    /// Where the answer section begins, and how many records it has.
    answers: (usize, u16),
    /// Where the TSIG record begins, which must be the last one (RFC 8945 section 5.1).
    pub tsig: Option<usize>,
}

impl Layout {
    /// Finds every record of a message, up to its last octet.
    pub fn of(message: &[u8]) -> Result<Self, Malformed> {
        let header: &[u8; HEADER_OCTETS] = message.first_chunk().ok_or(SHORT)?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let [flags, rcode] = [header[2], header[3]];
        let [questions, answers, authorities, additionals] = [4, 6, 8, 10].map(field);
        let mut at = HEADER_OCTETS;
        for _ in 0..questions {
            at = skip_name(message, at)? + 4;
        }
        let begin = at;
        let mut tsig = None;
        let others = u32::from(answers) + u32::from(authorities);
        for number in 0..others + u32::from(additionals) {
            if tsig.is_some() {
                return Err(Malformed("a record follows the TSIG record"));
            }
            let record = Record::read(message, at)?;
            if record.rr_type == rr_type::TSIG {
                if number < others {
                    return Err(Malformed("a TSIG record is among the answers"));
                }
                tsig = Some(at);
            }
            at = record.data.end;
        }
        if at != message.len() {
            return Err(Malformed("octets are left over"));
        }
        Ok(Self {
            id: field(0),
            is_response: flags & 0x80 != 0,
            op_code: flags >> 3 & 0x0f,
            is_truncated: flags & 0x02 != 0,
            rcode: rcode & 0x0f,
            answers: (begin, answers),
            tsig,
        })
    }

    /// The records of the answer section of the message that this is the layout of.
    pub fn answers<'a>(
        &self,
        message: &'a [u8],
    ) -> impl Iterator<Item = Result<Record<'a>, Malformed>> + use<'a> {
        let (mut at, count) = self.answers;
        (0..count).map(move |_| {
            let record = Record::read(message, at)?;
            at = record.data.end;
            Ok(record)
        })
    }
}

/// A record, whose data is not looked at yet.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    message: &'a [u8],
    owner: usize,
    data: Range<usize>,
    pub rr_type: u16,
    pub class: u16,
    /// Seconds.
    pub ttl: u32,
}

impl<'a> Record<'a> {
    fn read(message: &'a [u8], owner: usize) -> Result<Self, Malformed> {
        let at = skip_name(message, owner)?;
        let fixed: &[u8; 10] = message
            .get(at..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(SHORT)?;
        let [t0, t1, c0, c1, ttl0, ttl1, ttl2, ttl3, l0, l1] = *fixed;
        let begin = at + fixed.len();
        let data = begin..begin + usize::from(u16::from_be_bytes([l0, l1]));
        if data.end > message.len() {
            return Err(SHORT);
        }
        Ok(Self {
            message,
            owner,
            data,
            rr_type: u16::from_be_bytes([t0, t1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([ttl0, ttl1, ttl2, ttl3]),
        })
    }

    /// Writes the owner's name as [`read_name`] does.
    pub fn owner(&self, into: &mut String) -> Result<(), Malformed> {
        read_name(self.message, self.owner, into).map(drop)
    }

    /// The octets of the data.
    pub fn data(&self) -> &'a [u8] {
        self.message.get(self.data.clone()).unwrap_or_default()
    }

    /// The data of an address record, of as many octets.
    pub fn address<const OCTETS: usize>(&self) -> Result<[u8; OCTETS], Malformed> {
        let octets = self.data().try_into();
        octets.map_err(|_| Malformed("an address of another length"))
    }

    /// The name that all of the data is: the target of a CNAME.
    pub fn target(&self) -> Result<String, Malformed> {
        let (name, rest) = self.names_and_rest(1)?;
        if !rest.is_empty() {
            return Err(Malformed("octets are left over in a record"));
        }
        Ok(name)
    }

    /// The data of a SOA record, whose two names may be compressed (RFC 1035 section 3.3.13).
    pub fn soa(&self) -> Result<Soa, Malformed> {
        let (names, rest) = self.names_and_rest(2)?;
        let numbers = rest.try_into();
        Ok(Soa {
            names,
            numbers: numbers.map_err(|_| Malformed("a SOA record of another length"))?,
        })
    }

    /// So many names at the beginning of the data, and what follows.
    fn names_and_rest(&self, names: usize) -> Result<(String, &'a [u8]), Malformed> {
        let (mut text, mut name, mut at) = (String::new(), String::new(), self.data.start);
        for _ in 0..names {
            at = read_name(self.message, at, &mut name)?;
            text += &name;
            text.push('.');
        }
        let rest = self.message.get(at..self.data.end);
        Ok((text, rest.ok_or(SHORT)?))
    }

    /// The character-strings of a TXT record (RFC 1035 section 3.3.14).
    pub fn strings(&self) -> Result<Vec<&'a [u8]>, Malformed> {
        let mut rest = self.data();
        let mut strings = Vec::with_capacity(1);
        while let Some((length, after)) = rest.split_first() {
            let split = after.split_at_checked(usize::from(*length));
            let (string, after) = split.ok_or(Malformed("a text beyond its record"))?;
            strings.push(string);
            rest = after;
        }
        Ok(strings)
    }
}

/// The data of a SOA record, to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    /// Of the primary and of the person responsible, one after the other.
    names: String,
    /// Serial, refresh, retry, expire, minimum.
    numbers: [u8; 20],
}

impl Soa {
    /// Compares by RFC 1982; what is another is just another to us.
    pub fn serial(&self) -> u32 {
        let [a, b, c, d, ..] = self.numbers;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// Where the name at `at` ends.
fn skip_name(message: &[u8], mut at: usize) -> Result<usize, Malformed> {
    loop {
        match label(message, at)? {
            Label::Root => return Ok(at + 1),
            Label::Pointer(_) => return Ok(at + 2),
            Label::Octets(octets) => at += 1 + octets.len(),
        }
    }
}

/// Writes the name at `at` over what `into` holds, and says where it ends: lower case, without the
/// dot at its end, with octets that are no letter, digit, hyphen, underscore or asterisk as `\DDD`
/// (RFC 1035 section 5.1). The root is empty.
pub fn read_name(message: &[u8], at: usize, into: &mut String) -> Result<usize, Malformed> {
    into.clear();
    let end = skip_name(message, at)?;
    let (mut at, mut octets_left) = (at, NAME_OCTETS);
    // Every pointer leads to before the part of the name that it ends (RFC 1035 section 4.1.4), so
    // that there is an end.
    let mut part = at;
    loop {
        match label(message, at)? {
            Label::Root => return Ok(end),
            Label::Pointer(to) if to < part => (at, part) = (to, to),
            Label::Pointer(_) => return Err(Malformed("a name points ahead")),
            Label::Octets(octets) => {
                at += 1 + octets.len();
                octets_left = octets_left
                    .checked_sub(1 + octets.len())
                    .filter(|left| *left > 0)
                    .ok_or(Malformed("a name is too long"))?;
                if !into.is_empty() {
                    into.push('.');
                }
                write_label(octets, into);
            }
        }
    }
}

fn write_label(octets: &[u8], into: &mut String) {
    for octet in octets {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => {
                into.push(char::from(octet.to_ascii_lowercase()));
            }
            // Writing to a String cannot fail.
            other => drop(write!(into, "\\{other:03}")),
        }
    }
}

enum Label<'a> {
    Root,
    Pointer(usize),
    Octets(&'a [u8]),
}

fn label(message: &[u8], at: usize) -> Result<Label<'_>, Malformed> {
    let (first, rest) = message
        .get(at..)
        .and_then(<[u8]>::split_first)
        .ok_or(SHORT)?;
    match first {
        0 => Ok(Label::Root),
        1..=63 => {
            let octets = rest.get(..usize::from(*first));
            octets.map(Label::Octets).ok_or(SHORT)
        }
        0xc0.. => {
            let low = rest.first().ok_or(SHORT)?;
            let to = u16::from_be_bytes([first & 0x3f, *low]);
            Ok(Label::Pointer(to.into()))
        }
        _ => Err(Malformed("a label of no known kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 12] = [0, 7, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];

    #[test]
    fn names_are_read_or_refused() {
        /// A message of these octets, and the name at `at` with the place after it.
        fn check(octets: &[u8], at: usize, expected: Result<(&str, usize), Malformed>) {
            let mut name = "rest of another".to_owned();
            let read = read_name(octets, at, &mut name);
            let read = read.map(|end| (name.as_str(), end));
            assert_eq!(read, expected, "{octets:?} at {at}");
        }
        let octets = b"\x03Dyn\x07example\x00\x04home\xc0\x00\xc0\x0d\x02\x2e\xff\xc0\x04";
        check(octets, 0, Ok(("dyn.example", 13)));
        check(octets, 12, Ok(("", 13)));
        check(octets, 13, Ok(("home.dyn.example", 20)));
        check(octets, 20, Ok(("home.dyn.example", 22)));
        check(octets, 22, Ok(("\\046\\255.example", 27)));
        check(b"\x01*\x01_\x00", 0, Ok(("*._", 5)));
        check(b"", 0, Err(SHORT));
        check(b"\x03ab", 0, Err(SHORT));
        check(b"\x01a", 0, Err(SHORT));
        check(b"\xc0", 0, Err(SHORT));
        let ahead = Err(Malformed("a name points ahead"));
        check(b"\xc0\x00", 0, ahead);
        check(b"\xc0\x02\x00", 0, ahead);
        check(b"\x01a\xc0\x00", 0, ahead);
        check(b"\x01a\xc0\x04\xc0\x00", 0, ahead);
        check(b"\x41a\x00", 0, Err(Malformed("a label of no known kind")));
        // Labels of 63 and 61 octets: 255 on the wire with the root, and one more.
        let longest = |last: u8| {
            let mut octets = Vec::new();
            for length in [63, 63, 63, last] {
                octets.push(length);
                octets.extend(vec![b'a'; length.into()]);
            }
            octets.push(0);
            octets
        };
        let mut name = String::new();
        assert_eq!(read_name(&longest(61), 0, &mut name), Ok(255));
        assert_eq!(name.len(), 253);
        check(&longest(62), 0, Err(Malformed("a name is too long")));
    }

    #[test]
    fn messages_are_taken_apart_or_refused() {
        fn check(octets: &[u8], expected: Result<usize, Malformed>) {
            let layout = Layout::of(octets);
            let answers = layout.map(|layout| {
                let answers = layout.answers(octets).collect::<Result<Vec<_>, _>>();
                answers.unwrap().len()
            });
            assert_eq!(answers, expected, "{octets:?}");
        }
        let message = |counts: [u8; 4], rest: &[u8]| {
            let mut octets = HEADER.to_vec();
            for (place, count) in [5, 7, 9, 11].into_iter().zip(counts) {
                octets[place] = count;
            }
            [octets, rest.to_vec()].concat()
        };
        let question = b"\x00\x00\xfc\x00\x01";
        let record = b"\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x33\x64\x07";
        let tsig = b"\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00";
        let both = [&record[..], record].concat();
        check(&message([0, 0, 0, 0], b""), Ok(0));
        check(&message([1, 0, 0, 0], question), Ok(0));
        check(&message([0, 2, 0, 0], &both), Ok(2));
        check(&message([0, 1, 1, 0], &both), Ok(1));
        check(&message([0, 1, 0, 1], &[&record[..], tsig].concat()), Ok(1));
        check(
            &message([0, 1, 0, 0], &both),
            Err(Malformed("octets are left over")),
        );
        check(&message([0, 3, 0, 0], &both), Err(SHORT));
        check(&message([1, 1, 0, 0], &both[..7]), Err(SHORT));
        check(
            &message([0, 0, 0, 2], &[&tsig[..], record].concat()),
            Err(Malformed("a record follows the TSIG record")),
        );
        check(
            &message([0, 1, 0, 0], tsig),
            Err(Malformed("a TSIG record is among the answers")),
        );
        for end in 0..both.len() {
            check(&message([0, 2, 0, 0], &both[..end]), Err(SHORT));
        }
        check(&HEADER[..11], Err(SHORT));
    }

    #[test]
    fn the_data_of_a_record_is_read_or_refused() {
        fn record(data: &[u8]) -> Vec<u8> {
            let length = u16::try_from(data.len()).unwrap().to_be_bytes();
            [
                &HEADER,
                &b"\x00\x00\x01\x00\x01\x00\x00\x00\x3c"[..],
                &length,
                data,
            ]
            .concat()
        }
        fn check<T: std::fmt::Debug + PartialEq>(
            data: &[u8],
            read: impl Fn(&Record<'_>) -> Result<T, Malformed>,
            expected: Result<T, Malformed>,
        ) {
            let message = record(data);
            let layout = Layout::of(&message).unwrap();
            let record = layout.answers(&message).next().unwrap().unwrap();
            assert_eq!((record.class, record.ttl), (CLASS_IN, 60));
            assert_eq!(read(&record), expected, "{data:?}");
        }
        let other_length = Malformed("an address of another length");
        check(
            b"\xc6\x33\x64\x07",
            |r| r.address::<4>(),
            Ok([198, 51, 100, 7]),
        );
        check(b"\xc6\x33\x64", |r| r.address::<4>(), Err(other_length));
        check(b"\x01a\x00", |r| r.target(), Ok("a.".to_owned()));
        let left_over = Malformed("octets are left over in a record");
        check(b"\x01a\x00\x00", |r| r.target(), Err(left_over));
        check(b"\x01a", |r| r.target(), Err(SHORT));
        check(
            b"\x01a\x02bc",
            |r| r.strings().map(|s| s.concat()),
            Ok(b"abc".to_vec()),
        );
        check(b"", |r| r.strings().map(|s| s.len()), Ok(0));
        let beyond = Malformed("a text beyond its record");
        check(b"\x02a", |r| r.strings().map(|s| s.len()), Err(beyond));
        let mut soa = b"\x01a\x00\x01b\x00\x00\x00\x01\x02".to_vec();
        soa.extend([0; 16]);
        check(
            &soa,
            |r| r.soa().map(|soa| (soa.names.clone(), soa.serial())),
            Ok(("a.b.".to_owned(), 258)),
        );
        let short = Malformed("a SOA record of another length");
        check(&soa[..25], |r| r.soa().map(|soa| soa.serial()), Err(short));
    }
}
