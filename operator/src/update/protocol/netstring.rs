//! Netstrings (D. J. Bernstein, 1997): `<length in decimal>:<octets>,`.
//!
//! Strictly read: a sequence of octet strings has one form only.

/// The most digits of a length: a body has less than 100,000 octets.
const MAX_DIGITS: usize = 5;

/// Why octets do not begin with a netstring. Whoever made them has to correct that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetstringError {
    /// No decimal length followed by a colon, or one with a leading zero.
    #[error("no length")]
    Length,
    /// Longer than this string may be.
    #[error("too long")]
    TooLong,
    /// The octets end early, or no comma follows them.
    #[error("no comma after the octets")]
    Comma,
}

/// Reads netstrings one after the other.
#[derive(Clone, Copy)]
pub struct Netstrings<'a> {
    rest: &'a [u8],
}

impl<'a> Netstrings<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// The next string, of at most `max` octets. After an error nothing is consumed.
    pub fn next(&mut self, max: usize) -> Result<&'a [u8], NetstringError> {
        let digits = self.rest.iter().take(MAX_DIGITS);
        let digits = digits.take_while(|octet| octet.is_ascii_digit()).count();
        let (digits, after) = self.rest.split_at(digits);
        let after = after.strip_prefix(b":").ok_or(NetstringError::Length)?;
        let length = match digits {
            [] | [b'0', _, ..] => return Err(NetstringError::Length),
            digits => digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')),
        };
        if length > max {
            return Err(NetstringError::TooLong);
        }
        let (octets, after) = after
            .split_at_checked(length)
            .ok_or(NetstringError::Comma)?;
        self.rest = after.strip_prefix(b",").ok_or(NetstringError::Comma)?;
        Ok(octets)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Appends a netstring.
pub fn write(into: &mut Vec<u8>, octets: &[u8]) {
    into.extend_from_slice(octets.len().to_string().as_bytes());
    into.push(b':');
    into.extend_from_slice(octets);
    into.push(b',');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn netstrings_are_read_one_after_the_other() {
        let mut strings = Netstrings::new(b"12:hello world!,0:,3:a,:,rest");
        assert_eq!(strings.next(12), Ok(&b"hello world!"[..]));
        assert_eq!(strings.next(0), Ok(&b""[..]));
        assert_eq!(strings.next(9), Ok(&b"a,:"[..]));
        assert_eq!(strings.rest(), b"rest");
    }

    #[test]
    fn every_other_form_is_refused_and_not_consumed() {
        fn check(octets: &str, expected: NetstringError) {
            let mut strings = Netstrings::new(octets.as_bytes());
            assert_eq!(strings.next(20), Err(expected), "{octets}");
            assert_eq!(strings.rest(), octets.as_bytes());
        }
        check("", NetstringError::Length);
        check(":", NetstringError::Length);
        check(":,", NetstringError::Length);
        check("1", NetstringError::Length);
        check("1a,", NetstringError::Length);
        check("-1:a,", NetstringError::Length);
        check("+1:a,", NetstringError::Length);
        check(" 1:a,", NetstringError::Length);
        check("1 :a,", NetstringError::Length);
        check("0x1:a,", NetstringError::Length);
        check("01:a,", NetstringError::Length);
        check("00:,", NetstringError::Length);
        check("21:aaaaaaaaaaaaaaaaaaaaa,", NetstringError::TooLong);
        check("99999:a,", NetstringError::TooLong);
        check("100000:a,", NetstringError::Length);
        check("99999999999999999999999:a,", NetstringError::Length);
        check("1:", NetstringError::Comma);
        check("1:a", NetstringError::Comma);
        check("2:a,", NetstringError::Comma);
        check("1:ab,", NetstringError::Comma);
        check("1:a;", NetstringError::Comma);
        check("0:a,", NetstringError::Comma);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..5)) {
            let mut octets = Vec::new();
            for string in &strings {
                write(&mut octets, string);
            }
            let mut reader = Netstrings::new(&octets);
            for string in &strings {
                prop_assert_eq!(reader.next(149), Ok(&string[..]));
            }
            prop_assert!(reader.rest().is_empty());
        }

        #[test]
        fn what_is_read_has_one_form(octets in "[0-9]{0,3}:?[0-9:,a]{0,12}") {
            let mut reader = Netstrings::new(octets.as_bytes());
            if let Ok(string) = reader.next(12) {
                let mut written = Vec::new();
                write(&mut written, string);
                written.extend_from_slice(reader.rest());
                prop_assert_eq!(written, octets.as_bytes());
            }
        }
    }
}
