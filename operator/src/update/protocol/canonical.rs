//! Values of signed requests: each has one spelling only, so that what is signed has one meaning
//! only. Empty texts count as not mentioned.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv6Net;

use super::address::Spelled;
use super::{Asked, ParseError};
use crate::name::{Fqdn, NameError};

/// The lengths of prefixes in version 1 of our own form.
const PREFIX_LENGTHS: std::ops::RangeInclusive<u8> = 48..=64;

/// A name in lower case without the trailing dot. `name` is what `text` was parsed to.
pub(super) fn name(name: &Fqdn, text: &str) -> Asked {
    match name.as_str() == text {
        true => Asked::Full(name.clone()),
        false => Asked::Bad(NameError::Label),
    }
}

/// Four decimal numbers without leading zeros.
pub(super) fn ipv4(text: &str) -> Result<Option<Spelled<Ipv4Addr>>, ParseError> {
    one_spelling(text, |address: &Ipv4Addr| !address.is_unspecified())
}

/// An address as RFC 5952 writes it; not an IPv4-mapped one, which is another family's.
pub(super) fn ipv6(text: &str) -> Result<Option<Spelled<Ipv6Addr>>, ParseError> {
    one_spelling(text, |address: &Ipv6Addr| {
        !address.is_unspecified() && address.to_ipv4_mapped().is_none()
    })
}

/// A network without host bits, of 48 to 64 bits.
pub(super) fn prefix(text: &str) -> Result<Option<Spelled<Ipv6Net>>, ParseError> {
    one_spelling(text, |network: &Ipv6Net| {
        !network.addr().is_unspecified()
            && network.addr() == network.network()
            && PREFIX_LENGTHS.contains(&network.prefix_len())
    })
}

fn one_spelling<A: FromStr + Display>(
    text: &str,
    is_taken: impl Fn(&A) -> bool,
) -> Result<Option<Spelled<A>>, ParseError> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: A = text.parse().map_err(|_| ParseError::BadAddress)?;
    if !is_taken(&address) || address.to_string() != text {
        return Err(ParseError::BadAddress);
    }
    let spelling = text.into();
    Ok(Some(Spelled { address, spelling }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_one_spelling() {
        fn check<A: Display>(
            read: impl Fn(&str) -> Result<Option<Spelled<A>>, ParseError>,
            taken: &[&str],
            refused: &[&str],
        ) {
            for text in taken {
                let found = read(text).unwrap().unwrap();
                assert_eq!(found.address.to_string(), *text);
                assert_eq!(&*found.spelling, *text);
            }
            for text in refused {
                assert_eq!(read(text).err(), Some(ParseError::BadAddress), "{text}");
            }
            assert!(read("").unwrap().is_none());
        }
        check(
            ipv4,
            &["198.51.100.7", "10.0.0.1", "255.255.255.255"],
            &[
                " ",
                "0.0.0.0",
                "198.51.100.07",
                "198.51.100.7 ",
                "198.51.100.7\n",
                "198.51.100",
                "198.51.100.7/32",
                "2001:db8::7",
                "<ipaddr>",
            ],
        );
        check(
            ipv6,
            &["2001:db8::7", "::1", "2001:db8:0:1:1:1:1:1", "fd00::"],
            &[
                "::",
                "2001:DB8::7",
                "2001:0db8::7",
                "2001:db8:0::7",
                "2001:db8::0:7",
                "2001:db8:0:0:0:0:0:7",
                "2001:db8::1:1:1:1:1",
                "::ffff:198.51.100.7",
                "::ffff:c633:6407",
                "[2001:db8::7]",
                "2001:db8::7%eth0",
                "2001:db8::7/64",
                "198.51.100.7",
            ],
        );
        check(
            prefix,
            &[
                "2001:db8:1:2::/64",
                "2001:db8:1::/48",
                "2001:db8:1:200::/56",
            ],
            &[
                "2001:db8:1:2::7/64",
                "2001:db8:1:3::/63",
                "2001:db8:1:2::/65",
                "2001:db8:1:2::",
                "2001:db8:1:2::/064",
                "2001:db8:1:2::/+64",
                "2001:db8:1:2:0::/64",
                "2001:DB8:1:2::/64",
                "2001:db8::/47",
                "2001:db8::/32",
                "::/64",
                "198.51.100.0/64",
            ],
        );
    }

    #[test]
    fn a_name_has_one_spelling() {
        fn check(text: &str, is_taken: bool) {
            let parsed = Fqdn::parse(text).unwrap();
            let expected = match is_taken {
                true => Asked::Full(parsed.clone()),
                false => Asked::Bad(NameError::Label),
            };
            assert_eq!(name(&parsed, text), expected, "{text}");
        }
        check("home.dyn.example.org", true);
        check("home.dyn.example.org.", false);
        check("Home.dyn.example.org", false);
    }
}
