//! What an address is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// The scope of an address; an IPv4-mapped one is that of the IPv4 address.
pub fn scope(address: IpAddr) -> Scope {
    match address.to_canonical() {
        IpAddr::V4(address) => scope_of_ipv4(address),
        IpAddr::V6(address) => scope_of_ipv6(address),
    }
}

/// Whether a host may publish an address that a client declared.
pub fn is_publishable(address: IpAddr, allow_private: bool) -> bool {
    match scope(address) {
        Scope::Global | Scope::Documentation => true,
        Scope::Private => allow_private,
        Scope::Unusable => false,
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
    (
        Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1),
        128,
        Scope::Global,
    ), // PCP anycast, RFC 7723
    (
        Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2),
        128,
        Scope::Global,
    ), // TURN anycast, RFC 8155
    (
        Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3),
        128,
        Scope::Global,
    ), // DNS-SD anycast, RFC 9665
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
        check(
            "::1:0:0:0",
            "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check("64:ff9b::", "64:ff9b::ffff:ffff", Unusable);
        check(
            "64:ff9b:1::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check("100::", "100::ffff:ffff:ffff:ffff", Unusable);
        check("100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", Unusable);
        check("200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2001:1::", "2001:1::", Unusable);
        check("2001:1::1", "2001:1::3", Global);
        check(
            "2001:1::4",
            "2001:1:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Unusable);
        check("2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check(
            "2001:4:112::",
            "2001:4:112:ffff:ffff:ffff:ffff:ffff",
            Global,
        );
        check(
            "2001:10::",
            "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check("2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check(
            "2001:40::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check(
            "2001:200::",
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            Global,
        );
        check(
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            Documentation,
        );
        check(
            "2001:db9::",
            "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Global,
        );
        check(
            "2002::",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check("2003::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Global);
        check(
            "2620:4f:8000::",
            "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
            Global,
        );
        check(
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            Documentation,
        );
        check(
            "3fff:1000::",
            "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Global,
        );
        check(
            "4000::",
            "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check(
            "5f00::",
            "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private);
        check("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private);
        check(
            "fec0::",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
        check(
            "ff00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Unusable,
        );
    }
}
