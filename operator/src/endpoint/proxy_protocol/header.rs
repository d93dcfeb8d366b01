//! PURE: a PROXY protocol header at the beginning of some octets.
//!
//! HAProxy's `proxy-protocol.txt`, sections 2.1 (version 1) and 2.2 (version 2). TLVs are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest header of version 1, with its line end (section 2.1).
const MAX_V1: usize = 107;

/// The longest header of either version.
pub const MAX_HEADER: usize = V2_PREFIX + MAX_V2_REST;

/// What version 2 has before its addresses.
const V2_PREFIX: usize = 16;

/// The longest rest of a header of version 2: addresses take up to 216 octets, and what load
/// balancers add of TLS, connection and endpoint some hundred more.
const MAX_V2_REST: usize = 1024;

const V1_BEGIN: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 and the command, in one octet.
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;

/// Address family and transport, in one octet; and the last known of each.
const V2_TCP_OVER_IPV4: u8 = 0x11;
const V2_TCP_OVER_IPV6: u8 = 0x21;
const V2_MAX_FAMILY: u8 = 3;
const V2_MAX_TRANSPORT: u8 = 2;

/// What the first octets of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header: every octet belongs to it, and more are to come.
    Incomplete,
    Header {
        /// `None`: the proxy speaks for itself, or for somebody whom it cannot name.
        source: Option<SocketAddr>,
        /// In octets. What follows is the client's.
        length: usize,
    },
    /// No header, and no beginning of one.
    Invalid,
}

/// Reads a header at the beginning of `octets`; what follows it is not looked at.
pub fn parse(octets: &[u8]) -> Parsed {
    let begins = |with: &[u8]| octets.iter().zip(with).all(|(a, b)| a == b);
    if begins(V2_SIGNATURE) {
        parse_v2(octets)
    } else if begins(V1_BEGIN) {
        parse_v1(octets)
    } else {
        Parsed::Invalid
    }
}

fn parse_v1(octets: &[u8]) -> Parsed {
    let octets = &octets[..octets.len().min(MAX_V1)];
    let Some(end) = octets.windows(2).position(|pair| pair == b"\r\n") else {
        return if octets.len() < MAX_V1 {
            Parsed::Incomplete
        } else {
            Parsed::Invalid
        };
    };
    let length = end + 2;
    let fields = octets[V1_BEGIN.len()..end].split(|octet| *octet == b' ');
    match v1_source(fields) {
        Some(source) => Parsed::Header { source, length },
        None => Parsed::Invalid,
    }
}

/// `TCP4 source destination port port`, or `UNKNOWN` and anything.
fn v1_source<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Option<SocketAddr>> {
    let mut next = || str::from_utf8(fields.next()?).ok();
    let protocol = next()?;
    let source: IpAddr = match protocol {
        "UNKNOWN" => return Some(None),
        "TCP4" => v1_addresses::<Ipv4Addr>(next()?, next()?)?.into(),
        "TCP6" => v1_addresses::<Ipv6Addr>(next()?, next()?)?.into(),
        _ => return None,
    };
    let port = v1_port(next()?)?;
    v1_port(next()?)?;
    fields
        .next()
        .is_none()
        .then_some(Some(SocketAddr::new(source, port)))
}

/// The source, where the destination is an address of the same family.
fn v1_addresses<A: FromStr>(source: &str, destination: &str) -> Option<A> {
    destination.parse::<A>().ok()?;
    source.parse().ok()
}

/// Without leading zeros or a plus sign.
fn v1_port(text: &str) -> Option<u16> {
    let is_canonical = text == "0" || text.starts_with(|c: char| ('1'..='9').contains(&c));
    is_canonical.then(|| text.parse().ok()).flatten()
}

fn parse_v2(octets: &[u8]) -> Parsed {
    let Some((prefix, rest)) = octets.split_first_chunk::<V2_PREFIX>() else {
        return Parsed::Incomplete;
    };
    let [.., command, family, high, low] = *prefix;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_known = match command {
        V2_LOCAL => true,
        V2_PROXY => family >> 4 <= V2_MAX_FAMILY && family & 0xf <= V2_MAX_TRANSPORT,
        _ => false,
    };
    if !is_known || length > MAX_V2_REST {
        return Parsed::Invalid;
    }
    let Some(rest) = rest.get(..length) else {
        return Parsed::Incomplete;
    };
    let source = match (command, family) {
        (V2_PROXY, V2_TCP_OVER_IPV4) => v2_source::<4>(rest).map(Some),
        (V2_PROXY, V2_TCP_OVER_IPV6) => v2_source::<16>(rest).map(Some),
        _ => Some(None),
    };
    match source {
        Some(source) => Parsed::Header {
            source,
            length: V2_PREFIX + length,
        },
        None => Parsed::Invalid,
    }
}

/// The source of an address block: both addresses, then both ports. `None` where it is too short.
fn v2_source<const N: usize>(rest: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = rest.split_first_chunk::<N>()?;
    let (_destination, rest) = rest.split_first_chunk::<N>()?;
    let (port, rest) = rest.split_first_chunk()?;
    let _destination_port = rest.first_chunk::<2>()?;
    Some(SocketAddr::new((*source).into(), u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &[u8] = b"GET /ip HTTP/1.1\r\nHost: x\r\n\r\n";

    fn v2(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
        let mut header = V2_SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(length.to_be_bytes());
        header.extend(rest);
        header
    }

    /// With a rest as long as it says.
    fn whole_v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        v2(command, family, u16::try_from(rest.len()).unwrap(), rest)
    }

    fn v2_over_ipv4(source: [u8; 4], port: u16, tlvs: &[u8]) -> Vec<u8> {
        let mut rest = [source, [192, 0, 2, 1]].concat();
        rest.extend(port.to_be_bytes());
        rest.extend(443_u16.to_be_bytes());
        rest.extend(tlvs);
        whole_v2(0x21, 0x11, &rest)
    }

    fn v2_over_ipv6(source: [u8; 16], port: u16) -> Vec<u8> {
        let mut rest = [source, Ipv6Addr::LOCALHOST.octets()].concat();
        rest.extend(port.to_be_bytes());
        rest.extend(443_u16.to_be_bytes());
        whole_v2(0x21, 0x21, &rest)
    }

    /// Checks a whole header, each of its beginnings, and that what follows it changes nothing.
    fn check_header(header: &[u8], source: Option<&str>) {
        let source = source.map(|source| source.parse().unwrap());
        let length = header.len();
        let expected = Parsed::Header { source, length };
        assert_eq!(parse(header), expected, "{}", header.escape_ascii());
        for following in [REQUEST, header, b"\r\n"] {
            let octets = [header, following].concat();
            assert_eq!(parse(&octets), expected, "{}", octets.escape_ascii());
        }
        for end in 0..length {
            let beginning = &header[..end];
            let shown = beginning.escape_ascii();
            assert_eq!(parse(beginning), Parsed::Incomplete, "{shown}");
        }
    }

    #[test]
    fn a_line_of_version_1_names_the_source() {
        fn check(line: &str, source: Option<&str>) {
            check_header(format!("{line}\r\n").as_bytes(), source);
        }
        check(
            "PROXY TCP4 198.51.100.7 192.0.2.1 56324 443",
            Some("198.51.100.7:56324"),
        );
        check(
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
            Some("255.255.255.255:65535"),
        );
        check("PROXY TCP4 0.0.0.0 0.0.0.0 0 0", Some("0.0.0.0:0"));
        check(
            "PROXY TCP6 2001:db8::7 ::1 56324 443",
            Some("[2001:db8::7]:56324"),
        );
        check(
            "PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 1 1",
            Some("[2001:db8::7]:1"),
        );
        check(
            "PROXY TCP6 ::ffff:c633:6407 ::1 1 1",
            Some("[::ffff:198.51.100.7]:1"),
        );
        check("PROXY UNKNOWN", None);
        check("PROXY UNKNOWN ", None);
        check("PROXY UNKNOWN 198.51.100.7 x \r \n \u{fc}", None);
        let ffff = ["ffff"; 8].join(":");
        let longest = format!("PROXY UNKNOWN {ffff} {ffff} 65535 65535");
        assert_eq!(longest.len() + 2, MAX_V1);
        check(&longest, None);
    }

    #[test]
    fn a_header_of_version_2_names_the_source() {
        let ipv4 = v2_over_ipv4([198, 51, 100, 7], 56324, b"");
        check_header(&ipv4, Some("198.51.100.7:56324"));
        let ipv4 = v2_over_ipv4([198, 51, 100, 7], 0, b"\x04\0\x03abc");
        check_header(&ipv4, Some("198.51.100.7:0"));
        let longest = v2_over_ipv4([198, 51, 100, 7], 1, &[0; MAX_V2_REST - 12]);
        check_header(&longest, Some("198.51.100.7:1"));
        let ipv6: Ipv6Addr = "2001:db8::7".parse().unwrap();
        check_header(
            &v2_over_ipv6(ipv6.octets(), 56324),
            Some("[2001:db8::7]:56324"),
        );
        // LOCAL, whatever it has.
        check_header(&whole_v2(0x20, 0x00, b""), None);
        check_header(&whole_v2(0x20, 0x11, &[198; 12]), None);
        check_header(&whole_v2(0x20, 0xff, b"x"), None);
        // Nothing that HTTP comes over.
        check_header(&whole_v2(0x21, 0x00, b""), None);
        check_header(&whole_v2(0x21, 0x10, &[198; 12]), None);
        check_header(&whole_v2(0x21, 0x12, &[198; 12]), None);
        check_header(&whole_v2(0x21, 0x22, &[0x20; 36]), None);
        check_header(&whole_v2(0x21, 0x31, &[b'x'; 216]), None);
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_it_shows() {
        fn check(octets: &[u8]) {
            assert_eq!(parse(octets), Parsed::Invalid, "{}", octets.escape_ascii());
        }
        check(b"G");
        check(REQUEST);
        check(b"\x16\x03\x01");
        check(b"\r\n\r\nG");
        check(b"PROXy");
        check(b"PROXY\r\n");
        for line in [
            "",
            " TCP4 198.51.100.7 192.0.2.1 1 2",
            "TCP5 198.51.100.7 192.0.2.1 1 2",
            "tcp4 198.51.100.7 192.0.2.1 1 2",
            "UNKNOWNS",
            "TCP4",
            "TCP4 198.51.100.7",
            "TCP4 198.51.100.7 192.0.2.1 1",
            "TCP4 198.51.100.7 192.0.2.1 1 ",
            "TCP4 198.51.100.7 192.0.2.1 1 2 ",
            "TCP4 198.51.100.7 192.0.2.1 1 2 3",
            "TCP4  198.51.100.7 192.0.2.1 1 2",
            "TCP4\t198.51.100.7 192.0.2.1 1 2",
            "TCP4 198.51.100.07 192.0.2.1 1 2",
            "TCP4 198.51.100.7 192.0.2.256 1 2",
            "TCP4 198.51.100.7 ::1 1 2",
            "TCP4 2001:db8::7 ::1 1 2",
            "TCP6 198.51.100.7 192.0.2.1 1 2",
            "TCP6 [2001:db8::7] ::1 1 2",
            "TCP6 fe80::7%eth0 ::1 1 2",
            "TCP4 198.51.100.7 192.0.2.1 01 2",
            "TCP4 198.51.100.7 192.0.2.1 +1 2",
            "TCP4 198.51.100.7 192.0.2.1 65536 2",
            "TCP4 198.51.100.7 192.0.2.1 1 x",
            "TCP4 198.51.100.7 192.0.2.1 1 2\n",
            "TCP4 198.51.100.7 192.0.2.1 1 2\r",
        ] {
            check(format!("PROXY {line}\r\n").as_bytes());
        }
        // A single CR or LF ends no line.
        let no_end = format!("PROXY TCP4 198.51.100.7 192.0.2.1 1 2\n{:90}\r\n", "");
        check(no_end.as_bytes());
        check(format!("PROXY UNKNOWN {:93}", "").as_bytes());
        check(format!("PROXY UNKNOWN {:92}\r\n", "").as_bytes());

        check(&v2(0x11, 0x11, 12, b""));
        check(&v2(0x22, 0x11, 12, b""));
        check(&v2(0x21, 0x41, 12, b""));
        check(&v2(0x21, 0x13, 12, b""));
        check(&v2(0x21, 0x11, 1025, b""));
        check(&v2(0x20, 0x00, u16::MAX, b""));
        check(&whole_v2(0x21, 0x11, &[198; 11]));
        check(&whole_v2(0x21, 0x21, &[0x20; 35]));
        check(&whole_v2(0x21, 0x21, &[198; 12]));
    }

    proptest! {
        #[test]
        fn every_source_is_read_as_it_was_written(source: SocketAddr) {
            let line = match source {
                SocketAddr::V4(v4) => format!("PROXY TCP4 {} 192.0.2.1 {} 443\r\n", v4.ip(), v4.port()),
                SocketAddr::V6(v6) => format!("PROXY TCP6 {} ::1 {} 443\r\n", v6.ip(), v6.port()),
            };
            let binary = match source {
                SocketAddr::V4(v4) => v2_over_ipv4(v4.ip().octets(), v4.port(), b""),
                SocketAddr::V6(v6) => v2_over_ipv6(v6.ip().octets(), v6.port()),
            };
            // Neither form has flow labels and scopes.
            let expected = Some(SocketAddr::new(source.ip(), source.port()));
            for header in [line.into_bytes(), binary] {
                let length = header.len();
                prop_assert_eq!(parse(&header), Parsed::Header { source: expected, length });
            }
        }

        #[test]
        fn more_octets_never_change_what_is_known(
            begin in prop::sample::select(vec![&b""[..], b"PROXY ", V2_SIGNATURE]),
            octets in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"\x20\x21\x11\0\r\n 1.:T".to_vec())],
                0..200,
            ),
        ) {
            let octets = [begin, &octets].concat();
            let whole = parse(&octets);
            for end in 0..octets.len() {
                match parse(&octets[..end]) {
                    Parsed::Incomplete => {}
                    known => prop_assert_eq!(known, whole),
                }
            }
            if let Parsed::Header { length, .. } = whole {
                prop_assert!(length <= octets.len());
            }
        }
    }
}
