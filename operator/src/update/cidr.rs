//! Ranges of addresses, as `spec.address.allowedSources` and `--trusted-proxies` name them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// A range of addresses: `198.51.100.0/24`, `2001:db8::/32`, or one address alone.
///
/// Its host bits are zero, and a range of IPv4-mapped IPv6 addresses is the range of the IPv4
/// addresses. A range of one family never contains an address of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cidr(IpNet);

/// Why a text is not a range. It is for whoever wrote the range, who has to correct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// What stands before the slash is not an address. Names, ports, brackets and zone ids are
    /// not for ranges.
    #[error("not an IPv4 or IPv6 address or CIDR range")]
    Address,
    /// What stands after the slash is not a number up to 32 (IPv4) or 128 (IPv6).
    #[error("the prefix length must be 0 to {max}")]
    Length { max: u8 },
}

impl Cidr {
    /// Whether the address is in the range; an IPv4-mapped one counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let max = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let length = match length {
            // `parse` alone takes a plus sign too.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
            None => Some(max),
        };
        let range = length.and_then(|length| IpNet::new(address, length).ok());
        let range = range.ok_or(CidrError::Length { max })?;
        Ok(Self(unmapped(range).trunc()))
    }
}

/// The range of IPv4 addresses that a range within `::ffff:0:0/96` (RFC 4291, 2.5.5.2) stands for.
fn unmapped(range: IpNet) -> IpNet {
    let ipv4 = |address: Ipv4Addr| {
        let length = range.prefix_len().checked_sub(96)?;
        Ipv4Net::new(address, length).ok()
    };
    match range {
        IpNet::V6(mapped) => mapped.addr().to_ipv4_mapped().and_then(ipv4),
        IpNet::V4(_) => None,
    }
    .map_or(range, IpNet::V4)
}

/// The range with its prefix length, in the form that [`FromStr`] takes.
impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_told_in_its_shortest_canonical_form() {
        fn check(text: &str, expected: &str) {
            let range: Cidr = text.parse().unwrap();
            assert_eq!(range.to_string(), expected, "{text}");
            assert_eq!(expected.parse(), Ok(range), "{text}");
        }
        check("198.51.100.0/24", "198.51.100.0/24");
        check("198.51.100.7/24", "198.51.100.0/24");
        check("198.51.100.7", "198.51.100.7/32");
        check("198.51.100.7/0", "0.0.0.0/0");
        check("2001:db8::/32", "2001:db8::/32");
        check("2001:DB8:0:0:1::7/33", "2001:db8::/33");
        check("2001:db8::7", "2001:db8::7/128");
        check("::/0", "::/0");
        check("::ffff:198.51.100.7", "198.51.100.7/32");
        check("::ffff:198.51.100.7/120", "198.51.100.0/24");
        check("::ffff:0:0/96", "0.0.0.0/0");
        // Wider than the mapped addresses: a range of IPv6 addresses.
        check("::ffff:198.51.100.7/95", "::fffe:0:0/95");
        check("::ffff:0:0/1", "::/1");
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        fn check(text: &str, expected: CidrError) {
            assert_eq!(text.parse::<Cidr>(), Err(expected), "{text}");
        }
        for text in [
            "",
            "/",
            "/24",
            "proxy.example.org",
            "198.51.100/24",
            "198.51.100.07",
            "198.51.100.7:80",
            "[2001:db8::7]",
            "fe80::1%eth0/64",
            " 198.51.100.0/24",
            "0/0",
        ] {
            check(text, CidrError::Address);
        }
        for length in ["", "33", "256", "-1", "+8", " 8", "8 ", "8/8", "255.0.0.0"] {
            check(
                &format!("198.51.100.0/{length}"),
                CidrError::Length { max: 32 },
            );
        }
        for length in ["", "129", "0x20"] {
            check(
                &format!("2001:db8::/{length}"),
                CidrError::Length { max: 128 },
            );
        }
        check("::ffff:198.51.100.0/129", CidrError::Length { max: 128 });
    }

    #[test]
    fn a_range_contains_the_addresses_of_its_family_between_its_ends() {
        fn check(range: &str, address: &str, expected: bool) {
            let parsed: Cidr = range.parse().unwrap();
            let found = parsed.contains(address.parse().unwrap());
            assert_eq!(found, expected, "{range} {address}");
        }
        check("198.51.100.128/25", "198.51.100.127", false);
        check("198.51.100.128/25", "198.51.100.128", true);
        check("198.51.100.128/25", "198.51.100.255", true);
        check("198.51.100.128/25", "198.51.101.0", false);
        check("198.51.100.128/25", "::ffff:198.51.100.129", true);
        check("::ffff:198.51.100.128/121", "198.51.100.129", true);
        check("::ffff:198.51.100.128/121", "::ffff:198.51.100.127", false);
        check("198.51.100.7", "198.51.100.7", true);
        check("198.51.100.7", "198.51.100.8", false);
        check("2001:db8::/33", "2001:db8:7fff:ffff::1", true);
        check("2001:db8::/33", "2001:db8:8000::", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "2001:db8::7", false);
        check("::/0", "2001:db8::7", true);
        check("::/0", "198.51.100.7", false);
        check("::/0", "::ffff:198.51.100.7", false);
    }
}
