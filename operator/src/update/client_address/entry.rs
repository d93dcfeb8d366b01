//! What one proxy wrote of who called it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::forwarded;
use super::header::AddressHeader;

/// One entry of the header as it stands there, and the address that it names.
pub(super) struct Entry<'a> {
    pub(super) text: &'a [u8],
    pub(super) address: Result<IpAddr, EntryError>,
}

/// Why an entry names no address. The walk ends there: what stands to its left may be anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    /// RFC 9110, 5.6.1, has empty elements of a list skipped. Not here: a proxy that appends a
    /// variable which happens to be empty would make the client's own entry the next one.
    #[error("is empty")]
    Empty,
    /// RFC 7239, 6.2.
    #[error("says that the proxy does not know its client")]
    Unknown,
    /// RFC 7239, 6.3.
    #[error("is a made-up name")]
    Obfuscated,
    #[error("is not an address")]
    NotAnAddress,
    /// A header that has one address came in several lines: one of them is not the proxy's.
    #[error("is one of several lines where one is expected")]
    SeveralLines,
    #[error("is not of the form of RFC 7239")]
    Malformed,
    #[error("has no parameter `for`")]
    WithoutFor,
}

/// The entries of a header's lines, from the right to the left.
pub(super) struct Entries<'h, 'l, 'a, L> {
    header: &'h AddressHeader,
    lines: &'l mut L,
    /// What is left of the line that the last entry stood in.
    rest: Option<&'a [u8]>,
}

impl<'h, 'l, 'a, L: DoubleEndedIterator<Item = &'a [u8]>> Entries<'h, 'l, 'a, L> {
    pub(super) fn new(header: &'h AddressHeader, lines: &'l mut L) -> Self {
        Self {
            header,
            lines,
            rest: None,
        }
    }
}

impl<'a, L: DoubleEndedIterator<Item = &'a [u8]>> Iterator for Entries<'_, '_, 'a, L> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let line = self.rest.take().or_else(|| self.lines.next_back())?;
        let (rest, text, address) = match self.header {
            AddressHeader::XForwardedFor => {
                let (rest, text) = match line.iter().rposition(|octet| *octet == b',') {
                    Some(comma) => (Some(&line[..comma]), &line[comma + 1..]),
                    None => (None, line),
                };
                (rest, text, parse_node(text))
            }
            AddressHeader::Forwarded => match forwarded::split_last(line, b',') {
                Ok((rest, text)) => (rest, text, forwarded::parse_element(text)),
                Err(error) => (None, line, Err(error)),
            },
            AddressHeader::Named(_) => match self.lines.next_back() {
                Some(_) => (None, line, Err(EntryError::SeveralLines)),
                None => (None, line, parse_node(line)),
            },
        };
        self.rest = rest;
        Some(Entry { text, address })
    }
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets (a port
/// needs them) and zone id. The node of RFC 7239, section 6, and all that is seen in
/// `X-Forwarded-For`. An IPv4-mapped address becomes the IPv4 address.
pub(super) fn parse_node(text: &[u8]) -> Result<IpAddr, EntryError> {
    let text = text.trim_ascii();
    match text {
        b"" => return Err(EntryError::Empty),
        [b'_', ..] => return Err(EntryError::Obfuscated),
        _ if text.eq_ignore_ascii_case(b"unknown") => return Err(EntryError::Unknown),
        _ => {}
    }
    let address = str::from_utf8(text).ok().and_then(parse_address);
    address
        .map(|address| address.to_canonical())
        .ok_or(EntryError::NotAnAddress)
}

fn parse_address(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (ipv6, port) = bracketed.split_once(']')?;
        let is_complete = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return parse_ipv6(ipv6).filter(|_| is_complete);
    }
    if let Some(ipv6) = parse_ipv6(text) {
        return Some(ipv6);
    }
    let ipv4 = match text.split_once(':') {
        Some((ipv4, port)) if is_port(port) => ipv4,
        Some(_) => return None,
        None => text,
    };
    ipv4.parse().map(|ipv4: Ipv4Addr| ipv4.into()).ok()
}

/// Drops a zone id (RFC 4007, section 11): it means something on the proxy's machine only.
fn parse_ipv6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, _)) => address,
        None => text,
    };
    address.parse().map(|ipv6: Ipv6Addr| ipv6.into()).ok()
}

/// `node-port` of RFC 7239, section 6: a number, or a name that begins with an underscore.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            let is_of_name = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
            !name.is_empty() && name.bytes().all(is_of_name)
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_every_form_that_proxies_write() {
        fn check(text: &str, expected: &str) {
            let found = parse_node(text.as_bytes());
            assert_eq!(found, Ok(expected.parse().unwrap()), "{text}");
        }
        check("198.51.100.7", "198.51.100.7");
        check(" \t198.51.100.7 ", "198.51.100.7");
        check("198.51.100.7:1", "198.51.100.7");
        check("198.51.100.7:54321", "198.51.100.7");
        check("198.51.100.7:_http-1.x", "198.51.100.7");
        check("2001:db8::7", "2001:db8::7");
        check("2001:DB8:0::7", "2001:db8::7");
        // Without brackets nothing is a port.
        check("2001:db8::7:1234", "2001:db8::7:1234");
        check("[2001:db8::7]", "2001:db8::7");
        check("[2001:db8::7]:1234", "2001:db8::7");
        check("[2001:db8::7]:_x", "2001:db8::7");
        check("fe80::7%eth0", "fe80::7");
        check("[fe80::7%25eth0]:1234", "fe80::7");
        check("::ffff:198.51.100.7", "198.51.100.7");
        check("[::ffff:c633:6407]:1234", "198.51.100.7");
    }

    #[test]
    fn what_is_no_address_says_why() {
        fn check(text: &[u8], expected: EntryError) {
            let found = parse_node(text);
            assert_eq!(found, Err(expected), "{}", text.escape_ascii());
        }
        check(b"", EntryError::Empty);
        check(b" \t", EntryError::Empty);
        check(b"unknown", EntryError::Unknown);
        check(b"Unknown ", EntryError::Unknown);
        check(b"_", EntryError::Obfuscated);
        check(b"_SEVKISEK", EntryError::Obfuscated);
        for text in [
            "proxy.example.org",
            "unix:",
            "-",
            "198.51.100.7:",
            "198.51.100.7:http",
            "198.51.100.7:+80",
            "198.51.100.7:123456",
            "198.51.100.7:_",
            "198.51.100.7:_a b",
            "198.51.100.7:80:80",
            "198.51.100.7%eth0",
            "198.51.100.007",
            "198.51.100",
            "198.51.100.7/24",
            "198.51.100.7 203.0.113.9",
            "198.51.100.7;203.0.113.9",
            "\"198.51.100.7\"",
            "[198.51.100.7]",
            "[2001:db8::7",
            "2001:db8::7]",
            "[2001:db8::7]1234",
            "[2001:db8::7]:",
            "[[2001:db8::7]]",
            "[]",
            "fe80::7%",
            "[fe80::7%]",
            "2001:db8::7::",
            "for=198.51.100.7",
        ] {
            check(text.as_bytes(), EntryError::NotAnAddress);
        }
        check(b"198.51.100.7\xff", EntryError::NotAnAddress);
        check(b"198.51.100.7\0", EntryError::NotAnAddress);
    }
}
