//! Which addresses a request would publish for a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::decide::Addresses;
use super::protocol::address::Declared;
use crate::index::host::HostSpec;

/// The addresses to publish, and what the answer echoes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Empty where only families are declared that the host does not publish.
    pub addresses: Addresses,
    pub echo: String,
}

/// Why a request brings no usable address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The client has to declare another address, or the host's owner to allow private ones.
    #[error("the declared address is of a kind that is not published")]
    Declared,
    /// Nothing is declared, and the connection's address is not public (a proxy's or a node's),
    /// or not of a family that the host publishes.
    #[error("the address of the connection cannot be published")]
    Connection,
}

/// What an address is for, by the IANA special-purpose address registries (RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Globally reachable.
    Global,
    /// For tests and examples: published where declared.
    Documentation,
    /// Private, shared (carrier-grade NAT), unique local, link-local or loopback.
    Private,
    /// Unspecified, multicast, reserved, or of a mechanism that no host can be reached by.
    Unusable,
}

/// Chooses by the host's policy: declared addresses, else the connection's.
///
/// A declared family that the host does not publish is echoed and otherwise ignored, so that a
/// client which always sends both is not stopped by the one nobody asked for.
pub fn choose(
    spec: &HostSpec,
    declared: &Declared,
    peer: IpAddr,
) -> Result<Chosen, AddressError> {
    if declared.is_empty() {
        return from_connection(spec, peer.to_canonical());
    }
    let ipv4 = declared.ipv4.as_ref().filter(|_| spec.ipv4);
    let ipv6 = declared.ipv6.as_ref().filter(|_| spec.ipv6);
    let addresses = Addresses {
        ipv4: ipv4.map(|spelled| spelled.address),
        ipv6: ipv6.map(|spelled| spelled.address),
    };
    let ipv4 = addresses.ipv4.map(IpAddr::V4);
    let ipv6 = addresses.ipv6.map(IpAddr::V6);
    let mut all = ipv4.into_iter().chain(ipv6);
    if !all.all(|address| is_publishable(address, spec.allow_private)) {
        return Err(AddressError::Declared);
    }
    Ok(Chosen {
        addresses,
        echo: declared.spelling(),
    })
}

/// Whether a host may publish an address that a client declared.
pub fn is_publishable(address: IpAddr, allow_private: bool) -> bool {
    match scope(address) {
        Scope::Global | Scope::Documentation => true,
        Scope::Private => allow_private,
        Scope::Unusable => false,
    }
}

fn from_connection(spec: &HostSpec, peer: IpAddr) -> Result<Chosen, AddressError> {
    let usable = match scope(peer) {
        Scope::Global => true,
        Scope::Documentation | Scope::Private => spec.allow_private,
        Scope::Unusable => false,
    };
    let addresses = match peer {
        IpAddr::V4(ipv4) if usable && spec.ipv4 => Addresses {
            ipv4: Some(ipv4),
            ipv6: None,
        },
        IpAddr::V6(ipv6) if usable && spec.ipv6 => Addresses {
            ipv4: None,
            ipv6: Some(ipv6),
        },
        _ => return Err(AddressError::Connection),
    };
    Ok(Chosen {
        addresses,
        echo: peer.to_string(),
    })
}

/// The scope of an address; an IPv4-mapped one is that of the IPv4 address.
pub fn scope(address: IpAddr) -> Scope {
    match address.to_canonical() {
        IpAddr::V4(address) => scope_of_ipv4(address),
        IpAddr::V6(address) => scope_of_ipv6(address),
    }
}

fn scope_of_ipv4(address: Ipv4Addr) -> Scope {
    let bits = address.to_bits();
    let covers = |prefix: u32, length: u32| (bits ^ prefix).leading_zeros() >= length;
    IPV4.iter()
        .find(|(prefix, length, _)| covers(prefix.to_bits(), *length))
        .map_or(Scope::Global, |(_, _, scope)| *scope)
}

fn scope_of_ipv6(address: Ipv6Addr) -> Scope {
    let bits = address.to_bits();
    let covers = |prefix: u128, length: u32| (bits ^ prefix).leading_zeros() >= length;
    IPV6.iter()
        .find(|(prefix, length, _)| covers(prefix.to_bits(), *length))
        // IANA has allocated nothing else for global unicast than 2000::/3, which the table has.
        .map_or(Scope::Unusable, |(_, _, scope)| *scope)
}

/// IANA IPv4 Special-Purpose Address Registry and RFC 5771; the longer prefix first.
const IPV4: [(Ipv4Addr, u32, Scope); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, Scope::Unusable), // "this network", RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8, Scope::Private), // RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10, Scope::Private), // shared, RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8, Scope::Private), // loopback, RFC 1122
    (Ipv4Addr::new(169, 254, 0, 0), 16, Scope::Private), // link-local, RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12, Scope::Private), // RFC 1918
    (Ipv4Addr::new(192, 0, 0, 9), 32, Scope::Global), // PCP anycast, RFC 7723
    (Ipv4Addr::new(192, 0, 0, 10), 32, Scope::Global), // TURN anycast, RFC 8155
    (Ipv4Addr::new(192, 0, 0, 0), 24, Scope::Unusable), // IETF protocol assignments, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24, Scope::Documentation), // TEST-NET-1, RFC 5737
    (Ipv4Addr::new(192, 88, 99, 0), 24, Scope::Unusable), // former 6to4 anycast, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16, Scope::Private), // RFC 1918
    (Ipv4Addr::new(198, 18, 0, 0), 15, Scope::Unusable), // benchmarking, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24, Scope::Documentation), // TEST-NET-2, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24, Scope::Documentation), // TEST-NET-3, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4, Scope::Unusable), // multicast, RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4, Scope::Unusable), // reserved, broadcast: RFC 1112, RFC 919
];

/// IANA IPv6 Special-Purpose Address Registry and IPv6 Address Space; the longer prefix first.
const IPV6: [(Ipv6Addr, u32, Scope); 26] = [
    (Ipv6Addr::LOCALHOST, 128, Scope::Private),
    (Ipv6Addr::UNSPECIFIED, 128, Scope::Unusable),
    // Embeds any IPv4 address, private ones too (RFC 6052).
    (ip6(0x64, 0xff9b, 0, 0), 96, Scope::Unusable),
    (ip6(0x64, 0xff9b, 1, 0), 48, Scope::Unusable), // local translation, RFC 8215
    (ip6(0x100, 0, 0, 0), 64, Scope::Unusable),     // discard-only, RFC 6666
    (ip6(0x100, 0, 0, 1), 64, Scope::Unusable),     // dummy, RFC 9780
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128, Scope::Global), // PCP anycast, RFC 7723
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128, Scope::Global), // TURN anycast, RFC 8155
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128, Scope::Global), // DNS-SD anycast, RFC 9665
    (ip6(0x2001, 2, 0, 0), 48, Scope::Unusable),    // benchmarking, RFC 5180
    (ip6(0x2001, 3, 0, 0), 32, Scope::Global),      // AMT, RFC 7450
    (ip6(0x2001, 4, 0x112, 0), 48, Scope::Global),  // AS112, RFC 7535
    (ip6(0x2001, 0x10, 0, 0), 28, Scope::Unusable), // former ORCHID, RFC 4843
    (ip6(0x2001, 0x20, 0, 0), 28, Scope::Global),   // ORCHIDv2, RFC 7343
    (ip6(0x2001, 0x30, 0, 0), 28, Scope::Global),   // drone identifiers, RFC 9374
    (ip6(0x2001, 0, 0, 0), 32, Scope::Unusable),    // Teredo, RFC 4380
    (ip6(0x2001, 0, 0, 0), 23, Scope::Unusable),    // IETF protocol assignments, RFC 2928
    (ip6(0x2001, 0xdb8, 0, 0), 32, Scope::Documentation), // RFC 3849
    (ip6(0x2002, 0, 0, 0), 16, Scope::Unusable),    // 6to4, RFC 3056
    (ip6(0x3fff, 0, 0, 0), 20, Scope::Documentation), // RFC 9637
    (ip6(0x2000, 0, 0, 0), 3, Scope::Global),       // global unicast, RFC 4291
    (ip6(0x5f00, 0, 0, 0), 16, Scope::Unusable),    // SRv6 SIDs, RFC 9602
    (ip6(0xfc00, 0, 0, 0), 7, Scope::Private),      // unique local, RFC 4193
    (ip6(0xfe80, 0, 0, 0), 10, Scope::Private),     // link-local, RFC 4291
    (ip6(0xfec0, 0, 0, 0), 10, Scope::Unusable),    // former site-local, RFC 3879
    (ip6(0xff00, 0, 0, 0), 8, Scope::Unusable),     // multicast, RFC 4291
];

const fn ip6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::fixture;
    use crate::update::protocol::parameters::Parameters;

    #[test]
    fn every_special_purpose_range_has_its_scope() {
        /// The first and the last address of a range, and its neighbours' scopes.
        fn check(first: &str, last: &str, expected: Scope) {
            for address in [first, last] {
                let parsed: IpAddr = address.parse().unwrap();
                assert_eq!(scope(parsed), expected, "{address}");
            }
        }
        use Scope::{Documentation, Global, Private, Unusable};

        check("0.0.0.0", "0.255.255.255", Unusable);
        check("1.0.0.0", "9.255.255.255", Global);
        check("10.0.0.0", "10.255.255.255", Private);
        check("11.0.0.0", "100.63.255.255", Global);
        check("100.64.0.0", "100.127.255.255", Private);
        check("100.128.0.0", "126.255.255.255", Global);
        check("127.0.0.0", "127.255.255.255", Private);
        check("128.0.0.0", "169.253.255.255", Global);
        check("169.254.0.0", "169.254.255.255", Private);
        check("169.255.0.0", "172.15.255.255", Global);
        check("172.16.0.0", "172.31.255.255", Private);
        check("172.32.0.0", "191.255.255.255", Global);
        check("192.0.0.0", "192.0.0.8", Unusable);
        check("192.0.0.9", "192.0.0.10", Global);
        check("192.0.0.11", "192.0.0.255", Unusable);
        check("192.0.1.0", "192.0.1.255", Global);
        check("192.0.2.0", "192.0.2.255", Documentation);
        check("192.0.3.0", "192.88.98.255", Global);
        check("192.31.196.0", "192.31.196.255", Global);
        check("192.52.193.0", "192.52.193.255", Global);
        check("192.88.99.0", "192.88.99.255", Unusable);
        check("192.88.100.0", "192.167.255.255", Global);
        check("192.168.0.0", "192.168.255.255", Private);
        check("192.169.0.0", "198.17.255.255", Global);
        check("192.175.48.0", "192.175.48.255", Global);
        check("198.18.0.0", "198.19.255.255", Unusable);
        check("198.20.0.0", "198.51.99.255", Global);
        check("198.51.100.0", "198.51.100.255", Documentation);
        check("198.51.101.0", "203.0.112.255", Global);
        check("203.0.113.0", "203.0.113.255", Documentation);
        check("203.0.114.0", "223.255.255.255", Global);
        check("224.0.0.0", "239.255.255.255", Unusable);
        check("240.0.0.0", "255.255.255.255", Unusable);

        check("::", "::", Unusable);
        check("::1", "::1", Private);
        check("::2", "::fffe:ffff:ffff", Unusable);
        check("::ffff:10.0.0.1", "::ffff:192.168.0.1", Private);
        check("::ffff:9.9.9.9", "::ffff:8.8.8.8", Global);
        check("::1:0:0:0", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("64:ff9b::", "64:ff9b::ffff:ffff", Unusable);
        check("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("100::", "100::ffff:ffff:ffff:ffff", Unusable);
        check("100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", Unusable);
        check("200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2001:1::", "2001:1::", Unusable);
        check("2001:1::1", "2001:1::3", Global);
        check("2001:1::4", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", Global);
        check("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2001:40::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Documentation);
        check("2001:db9::", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2003::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", Global);
        check("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Documentation);
        check("3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private);
        check("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private);
        check("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
    }

    const BOTH: &[&str] = &["IPv4", "IPv6"];

    fn chosen(
        families: &[&str],
        allow_private: bool,
        query: &str,
        peer: &str,
    ) -> Result<String, AddressError> {
        let host = fixture::host(serde_json::json!({
            "families": families, "address": {"allowPrivate": allow_private},
        }));
        let parameters = Parameters::parse(query.as_bytes(), b"").unwrap();
        let declared = Declared::parse(&parameters).unwrap();
        let chosen = choose(&host.spec.unwrap(), &declared, peer.parse().unwrap())?;
        let Addresses { ipv4, ipv6 } = chosen.addresses;
        let ipv4 = ipv4.map_or_else(|| "-".to_owned(), |a| a.to_string());
        let ipv6 = ipv6.map_or_else(|| "-".to_owned(), |a| a.to_string());
        Ok(format!("{ipv4} {ipv6} echo {}", chosen.echo))
    }

    #[test]
    fn declared_addresses_are_published_by_policy() {
        fn check(allow_private: bool, query: &str, expected: Option<&str>) {
            // The connection's address never stands in for a declared one.
            let found = chosen(BOTH, allow_private, query, "9.9.9.9");
            let expected = expected.ok_or(AddressError::Declared);
            assert_eq!(found.as_deref(), expected.as_ref().map(|e| *e).map_err(|e| e), "{query}");
        }
        check(false, "myip=9.1.2.3", Some("9.1.2.3 - echo 9.1.2.3"));
        check(false, "myip=2003::DB8", Some("- 2003::db8 echo 2003::DB8"));
        check(
            false,
            "myip=198.51.100.7,2001:db8::7",
            Some("198.51.100.7 2001:db8::7 echo 198.51.100.7,2001:db8::7"),
        );
        for private in ["192.168.1.2", "100.64.0.1", "fd00::1", "fe80::1", "127.0.0.1", "::1"] {
            check(false, &format!("myip={private}"), None);
            assert!(chosen(BOTH, true, &format!("myip={private}"), "9.9.9.9").is_ok());
        }
        check(false, "myip=::ffff:10.0.0.1", None);
        // One bad address spoils the line: the client is told, nothing is half done.
        check(false, "myip=9.1.2.3,fd00::1", None);
        for unusable in ["224.0.0.1", "255.255.255.255", "0.0.0.1", "198.18.0.1", "ff02::1"] {
            check(true, &format!("myip={unusable}"), None);
        }
    }

    #[test]
    fn a_family_that_the_host_does_not_publish_is_ignored() {
        fn check(families: &[&str], query: &str, expected: &str) {
            let found = chosen(families, false, query, "9.9.9.9");
            assert_eq!(found.as_deref(), Ok(expected), "{families:?} {query}");
        }
        const QUERY: &str = "myip=198.51.100.7,2001:db8::7";
        const ECHO: &str = "echo 198.51.100.7,2001:db8::7";
        check(&["IPv4"], QUERY, &format!("198.51.100.7 - {ECHO}"));
        check(&["IPv6"], QUERY, &format!("- 2001:db8::7 {ECHO}"));
        check(&["IPv6"], "myip=198.51.100.7", "- - echo 198.51.100.7");
        check(&["IPv4"], "myip=fd00::1", "- - echo fd00::1");
    }

    #[test]
    fn the_connections_address_counts_where_it_is_public() {
        fn check(families: &[&str], allow_private: bool, peer: &str, expected: Option<&str>) {
            let found = chosen(families, allow_private, "myip=&hostname=x", peer);
            let expected = expected.map(str::to_owned).ok_or(AddressError::Connection);
            assert_eq!(found, expected, "{peer}");
        }
        check(BOTH, false, "9.9.9.9", Some("9.9.9.9 - echo 9.9.9.9"));
        check(BOTH, false, "::ffff:9.9.9.9", Some("9.9.9.9 - echo 9.9.9.9"));
        check(BOTH, false, "2003::7", Some("- 2003::7 echo 2003::7"));
        for peer in ["10.42.0.1", "127.0.0.1", "::1", "fd00::1", "100.64.0.1", "192.0.2.1", "2001:db8::1"] {
            check(BOTH, false, peer, None);
            assert!(chosen(BOTH, true, "", peer).is_ok(), "{peer}");
        }
        check(BOTH, true, "224.0.0.1", None);
        check(&["IPv6"], false, "9.9.9.9", None);
        check(&["IPv4"], true, "2003::7", None);
    }
}
