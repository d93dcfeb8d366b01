//! The host's part of an IPv6 address, behind a prefix that a router reported.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

/// The bits of an address behind its prefix; at most the last 80, and not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceId(u128);

/// Why a text is not an interface ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceIdError {
    #[error("an interface ID is written as an IPv6 address, such as ::1234")]
    NotAnAddress,
    #[error("the first 48 bits of an interface ID are zero, and not all are")]
    OutOfRange,
    #[error("a MAC address has six pairs of hexadecimal digits with : or - between")]
    NotAMacAddress,
}

/// Why an interface ID and a prefix make no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixMisfit {
    /// Only what a provider delegates to a site is used (RFC 6177).
    #[error("the prefix {0} that was reported is not between /48 and /64 long")]
    Length(Ipv6Net),
    /// Cutting the bits off would make the address of another machine.
    #[error("the interface ID has bits inside the prefix {0} that was reported")]
    Overlap(Ipv6Net),
}

impl InterfaceId {
    /// The longest interface ID in bits: what is behind a /48.
    const MAX_BITS: u32 = 80;

    /// Parses the form `::1234`, an IPv6 address whose first 48 bits are zero.
    pub fn parse(text: &str) -> Result<Self, InterfaceIdError> {
        let address: Ipv6Addr = text.parse().map_err(|_| InterfaceIdError::NotAnAddress)?;
        let bits = address.to_bits();
        match bits != 0 && bits >> Self::MAX_BITS == 0 {
            true => Ok(Self(bits)),
            false => Err(InterfaceIdError::OutOfRange),
        }
    }

    /// The modified EUI-64 of a MAC address (RFC 4291 appendix A): its universal/local bit turned
    /// over, and `ff:fe` in the middle.
    pub fn from_mac(text: &str) -> Result<Self, InterfaceIdError> {
        let mut octets = [0_u8; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|part| part.len() == 2 && !part.starts_with('+'));
            let part = part.ok_or(InterfaceIdError::NotAMacAddress)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| InterfaceIdError::NotAMacAddress)?;
        }
        if parts.next().is_some() {
            return Err(InterfaceIdError::NotAMacAddress);
        }
        let [a, b, c, d, e, f] = octets;
        let eui64 = [a ^ 0x02, b, c, 0xff, 0xfe, d, e, f];
        Ok(Self(u64::from_be_bytes(eui64).into()))
    }

    /// The address with this interface ID in `prefix`, of which only the leading bits count.
    pub fn address_in(self, prefix: Ipv6Net) -> Result<Ipv6Addr, PrefixMisfit> {
        if !(48..=64).contains(&prefix.prefix_len()) {
            return Err(PrefixMisfit::Length(prefix));
        }
        let mask = prefix.netmask().to_bits();
        if self.0 & mask != 0 {
            return Err(PrefixMisfit::Overlap(prefix));
        }
        Ok(Ipv6Addr::from_bits(prefix.network().to_bits() | self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_id_is_the_end_of_an_address_or_follows_from_a_mac_address() {
        fn check(
            parsed: Result<InterfaceId, InterfaceIdError>,
            expected: Result<&str, InterfaceIdError>,
        ) {
            let parsed = parsed.map(|id| Ipv6Addr::from_bits(id.0).to_string());
            assert_eq!(parsed, expected.map(str::to_owned));
        }
        use InterfaceIdError::{NotAMacAddress, NotAnAddress, OutOfRange};
        check(InterfaceId::parse("::1234"), Ok("::1234"));
        check(InterfaceId::parse("0:0:0:5::1"), Ok("::5:0:0:0:1"));
        check(InterfaceId::parse("0:0:1::1"), Err(OutOfRange));
        check(InterfaceId::parse("::"), Err(OutOfRange));
        check(InterfaceId::parse("1234"), Err(NotAnAddress));
        check(InterfaceId::parse("192.0.2.1"), Err(NotAnAddress));
        // The example of RFC 4291 appendix A has the bit the other way round.
        check(
            InterfaceId::from_mac("34:56:78:9A:bc:de"),
            Ok("::3656:78ff:fe9a:bcde"),
        );
        check(
            InterfaceId::from_mac("02-00-5e-00-53-01"),
            Ok("::5eff:fe00:5301"),
        );
        check(InterfaceId::from_mac("02:00:5e:00:53"), Err(NotAMacAddress));
        check(
            InterfaceId::from_mac("02:00:5e:00:53:01:02"),
            Err(NotAMacAddress),
        );
        check(
            InterfaceId::from_mac("0200:5e:00:53:01"),
            Err(NotAMacAddress),
        );
        check(
            InterfaceId::from_mac("+2:00:5e:00:53:01"),
            Err(NotAMacAddress),
        );
    }

    #[test]
    fn an_address_is_the_prefix_and_the_interface_id_and_nothing_is_cut_off() {
        fn check(id: &str, prefix: &str, expected: Result<&str, &str>) {
            let prefix: Ipv6Net = prefix.parse().unwrap();
            let address = InterfaceId::parse(id).unwrap().address_in(prefix);
            match (address, expected) {
                (Ok(address), Ok(expected)) => assert_eq!(address.to_string(), expected),
                (Err(misfit), Err(expected)) => {
                    assert!(misfit.to_string().contains(expected), "{misfit}");
                }
                (address, _) => panic!("{id} in {prefix}: {address:?}"),
            }
        }
        check("::1234", "2001:db8:1:2::/64", Ok("2001:db8:1:2::1234"));
        check(
            "0:0:0:5::1",
            "2001:db8:1:ff00::/56",
            Ok("2001:db8:1:ff05::1"),
        );
        check("0:0:0:5::1", "2001:db8:1::/48", Ok("2001:db8:1:5::1"));
        check("::1", "2001:db8:1:2::99/64", Ok("2001:db8:1:2::1"));
        check(
            "0:0:0:5::1",
            "2001:db8:1:2::/64",
            Err("bits inside the prefix"),
        );
        check(
            "0:0:0:100::1",
            "2001:db8:1::/56",
            Err("bits inside the prefix"),
        );
        check("::1", "2001:db8::/47", Err("not between"));
        check("::1", "2001:db8::/65", Err("not between"));
    }
}
