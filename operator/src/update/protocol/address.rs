//! The addresses that a client declares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::ParseError;
use super::parameters::Parameters;

/// The names of the IPv4 parameter, in order of precedence, and whether it may hold IPv6 as well.
const IPV4: [(&str, bool); 9] = [
    ("myip", true),
    ("myipv4", false),
    ("ip", true),
    ("ipv4", false),
    ("ip4", false),
    ("ipaddr", true),
    ("address", true),
    ("addr", true),
    ("a", false),
];

/// The names of the IPv6 parameter, in order of precedence.
const IPV6: [&str; 5] = ["myipv6", "ipv6", "ip6", "ip6addr", "aaaa"];

/// The names of the IPv6 prefix parameter, in order of precedence; FRITZ!Box fills the first.
const PREFIX: [&str; 3] = ["ip6lanprefix", "ipv6prefix", "ip6prefix"];

/// The shortest and the longest prefix of a network that has machines in it.
const PREFIX_LENGTHS: std::ops::RangeInclusive<u8> = 48..=64;

/// An address as the client wrote it: answers echo its own spelling, since pfSense compares them
/// octet by octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelled<A> {
    pub address: A,
    pub spelling: Box<str>,
}

/// At most one of each family; what is not mentioned is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    pub ipv4: Option<Spelled<Ipv4Addr>>,
    pub ipv6: Option<Spelled<Ipv6Addr>>,
    /// The network behind the client, of 48 to 64 bits.
    pub prefix: Option<Spelled<Ipv6Net>>,
    /// A family shall be kept as it is (`preserve`, deSEC's word): not even the address of the
    /// connection stands in for it.
    pub preserve: bool,
}

impl Declared {
    /// Reads `myip` and its synonyms; of several names for one family the first with a value counts.
    pub fn parse(parameters: &Parameters<'_>) -> Result<Self, ParseError> {
        let list = |name| parameters.list(name);
        let mut declared = Self::default();
        for name in PREFIX {
            let mut found = Self::default();
            for text in list(name).filter(|text| !is_placeholder(text)) {
                found.add_prefix(text)?;
            }
            declared.take_missing(found);
        }
        for name in IPV6 {
            let found = Self::read(list(name))?;
            if found.ipv4.is_some() {
                return Err(ParseError::BadAddress);
            }
            declared.take_missing(found);
        }
        for (name, may_hold_ipv6) in IPV4 {
            // A family is settled by its first name; what else stands there is not looked at.
            if declared.ipv4.is_some() && declared.ipv6.is_some() {
                break;
            }
            let found = Self::read(list(name))?;
            if !may_hold_ipv6 && (found.ipv6.is_some() || found.prefix.is_some()) {
                return Err(ParseError::BadAddress);
            }
            declared.take_missing(found);
        }
        Ok(declared)
    }

    /// Whether a parameter of this name holds addresses.
    pub fn is_parameter(name: &str) -> bool {
        IPV4.iter().any(|(known, _)| *known == name)
            || IPV6.contains(&name)
            || PREFIX.contains(&name)
    }

    /// Whether nothing is mentioned.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn read<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, ParseError> {
        let mut found = Self::default();
        for text in texts.filter(|text| !is_placeholder(text)) {
            if text.eq_ignore_ascii_case("preserve") {
                found.preserve = true;
            } else if text.contains('/') {
                found.add_network(text)?;
            } else {
                // Brackets, ports and zone identifiers do not parse.
                let address: IpAddr = text.parse().map_err(|_| ParseError::BadAddress)?;
                found.add(address, text)?;
            }
        }
        Ok(found)
    }

    fn add(&mut self, address: IpAddr, text: &str) -> Result<(), ParseError> {
        match address.to_canonical() {
            address if address.is_unspecified() => Ok(()),
            IpAddr::V4(address) => put(&mut self.ipv4, address, text),
            IpAddr::V6(address) => put(&mut self.ipv6, address, text),
        }
    }

    /// An address with the length of its network, as `ip address` prints it, or an IPv6 prefix.
    fn add_network(&mut self, text: &str) -> Result<(), ParseError> {
        let network = network(text).ok_or(ParseError::BadAddress)?;
        if network.addr().is_unspecified() {
            return Ok(());
        }
        let is_whole = network.prefix_len() == network.max_prefix_len();
        let names_a_host = is_whole || network.addr() != network.network();
        let is_prefix = matches!(network, IpNet::V6(n) if PREFIX_LENGTHS.contains(&n.prefix_len()));
        if is_prefix {
            self.add_prefix(text)?;
        }
        match (names_a_host, is_prefix) {
            (true, _) => self.add(network.addr(), text),
            (false, true) => Ok(()),
            (false, false) => Err(ParseError::BadAddress),
        }
    }

    /// A prefix, where no length is given one of 64 bits.
    fn add_prefix(&mut self, text: &str) -> Result<(), ParseError> {
        let network = match text.contains('/') {
            true => network(text),
            false => network(&format!("{text}/64")),
        };
        match network {
            Some(IpNet::V6(network)) if network.addr().is_unspecified() => Ok(()),
            Some(IpNet::V6(network))
                if PREFIX_LENGTHS.contains(&network.prefix_len())
                    && network.addr().to_ipv4_mapped().is_none() =>
            {
                put(&mut self.prefix, network.trunc(), text)
            }
            _ => Err(ParseError::BadAddress),
        }
    }

    fn take_missing(&mut self, found: Self) {
        self.ipv4 = self.ipv4.take().or(found.ipv4);
        self.ipv6 = self.ipv6.take().or(found.ipv6);
        self.prefix = self.prefix.take().or(found.prefix);
        self.preserve |= found.preserve;
    }
}

/// An address and the length of its network. The address is std's, which has no leading zeros: to
/// ipnet `010.0.0.1` is 10.0.0.1, to others it is 8.0.0.1.
fn network(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let is_number = length.bytes().all(|octet| octet.is_ascii_digit());
    let length = length.parse().ok().filter(|_| is_number)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

/// Fills the slot; a second, different address makes the request ambiguous.
fn put<A: PartialEq>(
    slot: &mut Option<Spelled<A>>,
    address: A,
    text: &str,
) -> Result<(), ParseError> {
    match slot {
        Some(known) if known.address == address => Ok(()),
        Some(_) => Err(ParseError::BadAddress),
        None => {
            let spelling = text.into();
            *slot = Some(Spelled { address, spelling });
            Ok(())
        }
    }
}

/// Whether a value stands for "none": empty, a word for it, or what a router's template left in place
/// (`<ipaddr>`, `[IP]`, `%IP%`, `__MYIP__`).
fn is_placeholder(text: &str) -> bool {
    let is_word = |text: &str| {
        let mut octets = text.bytes();
        octets.all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
    };
    let wrapped = |open, close| {
        let inner = text.strip_prefix(open);
        let inner = inner.and_then(|text| text.strip_suffix(close));
        inner.is_some_and(is_word)
    };
    let words = ["", "auto", "no", "none"];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
        || wrapped("<", ">")
        || wrapped("[", "]")
        || wrapped("%", "%")
        || wrapped("__", "__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(query: &str) -> Result<Declared, ParseError> {
        Declared::parse(&Parameters::parse(query.as_bytes(), b"").unwrap())
    }

    #[test]
    fn one_address_of_each_family_is_declared() {
        fn check(query: &str, ipv4: Option<&str>, ipv6: Option<&str>) {
            let declared = declared(query).unwrap();
            let address = |text: &str| text.parse::<IpAddr>().unwrap();
            let found4 = declared.ipv4.map(|a| IpAddr::V4(a.address));
            let found6 = declared.ipv6.map(|a| IpAddr::V6(a.address));
            assert_eq!(found4, ipv4.map(address), "{query}");
            assert_eq!(found6, ipv6.map(address), "{query}");
        }
        const V4: Option<&str> = Some("198.51.100.7");
        const V6: Option<&str> = Some("2001:db8::7");

        check("", None, None);
        check("myip=198.51.100.7", V4, None);
        check("myip=2001:db8::7", None, V6);
        check("myip=2001%3aDB8%3a%3a7", None, V6);
        check("myip=198.51.100.7,2001:db8::7", V4, V6);
        check("myip=2001:db8::7,198.51.100.7", V4, V6);
        check("myip=198.51.100.7,+2001:db8::7+,", V4, V6);
        check("myip=198.51.100.7&myip=2001:db8::7", V4, V6);
        check("myip=198.51.100.7&myipv6=2001:db8::7", V4, V6);
        check("myip=::ffff:198.51.100.7", V4, None);
        check("myip=198.51.100.7,::ffff:198.51.100.7", V4, None);
        check("myip=198.51.100.7,198.51.100.7", V4, None);
        for (name, may_hold_ipv6) in IPV4 {
            check(&format!("{name}=198.51.100.7"), V4, None);
            if may_hold_ipv6 {
                check(&format!("{name}=2001:db8::7"), None, V6);
            }
        }
        for name in IPV6 {
            check(&format!("{name}=2001:db8::7"), None, V6);
        }
        // The first name with a value counts.
        check("ip=192.0.2.1&myip=198.51.100.7", V4, None);
        check("ip=192.0.2.1&myipv4=198.51.100.7", V4, None);
        check("myip=%3Cipaddr%3E&ip=198.51.100.7", V4, None);
        check("myip=2001:db8::1&myipv6=2001:db8::7", None, V6);
        check("ip6=2001:db8::1&myipv6=2001:db8::7", None, V6);
        // With the length of the network.
        check("myip=198.51.100.7/32", V4, None);
        check("myip=198.51.100.7/24,2001:db8::7/128", V4, V6);
        check("myipv6=2001:db8::7/64", None, V6);
        check("myipv6=2001:db8::7/80", None, V6);
        // Prefixes and unknown parameters.
        check("ip6lanprefix=2001:db8::/64&offline=NO&x=y", None, None);
    }

    #[test]
    fn a_prefix_is_declared_beside_the_address() {
        fn check(query: &str, ipv6: Option<&str>, prefix: Option<&str>) {
            let declared = declared(query).unwrap();
            let found6 = declared.ipv6.map(|a| a.address.to_string());
            let found = declared.prefix.map(|p| p.address.to_string());
            assert_eq!(found6.as_deref(), ipv6, "{query}");
            assert_eq!(found.as_deref(), prefix, "{query}");
        }
        const NET: Option<&str> = Some("2001:db8:1:2::/64");
        const V6: Option<&str> = Some("2001:db8:1:2::7");
        for name in PREFIX {
            check(&format!("{name}=2001:db8:1:2::/64"), None, NET);
        }
        check("ip6lanprefix=2001:DB8:1:2::", None, NET);
        check("ip6lanprefix=2001:db8:1:2::7/64", None, NET);
        check("ip6prefix=2001:db8:1::/48", None, Some("2001:db8:1::/48"));
        check(
            "ip6lanprefix=2001:db8:1:2::/64&myipv6=2001:db8:1:2::7",
            V6,
            NET,
        );
        check(
            "ip6lanprefix=2001:db8:1:2::/64&myipv6=2001:db8:f::/64",
            None,
            NET,
        );
        check("myipv6=2001:db8:1:2::/64", None, NET);
        check("myip=198.51.100.7,2001:db8:1:2::/64", None, NET);
        check("myipv6=2001:db8:1:2::7/64", V6, NET);
        check("ip6lanprefix=", None, None);
        check("ip6lanprefix=<ip6lanprefix>", None, None);
        check("ip6lanprefix=::/64", None, None);
    }

    #[test]
    fn what_shall_be_kept_is_mentioned_without_an_address() {
        fn check(query: &str, ipv4: bool) {
            let declared = declared(query).unwrap();
            assert!(declared.preserve && !declared.is_empty(), "{query}");
            assert_eq!(declared.ipv4.is_some(), ipv4, "{query}");
            assert_eq!(declared.ipv6, None, "{query}");
        }
        check("myip=preserve", false);
        check("myipv4=Preserve&myipv6=preserve", false);
        check("myip=198.51.100.7&myipv6=preserve", true);
    }

    #[test]
    fn placeholders_and_empty_values_count_as_not_mentioned() {
        fn check(value: &str) {
            for name in ["myip", "ip", "myipv6"] {
                let declared = declared(&format!("{name}={value}")).unwrap();
                assert_eq!(declared, Declared::default(), "{name}={value}");
            }
        }
        check("");
        check("+");
        check(",");
        check("auto");
        check("Auto");
        check("no");
        check("none");
        check("0.0.0.0");
        check("::");
        check("0:0::0");
        check("<ipaddr>");
        check("%3Cip6addr%3E");
        check("[IP]");
        check("%IP%");
        check("__MYIP__");
    }

    #[test]
    fn anything_else_than_plain_addresses_is_refused() {
        fn check(query: &str) {
            assert_eq!(declared(query), Err(ParseError::BadAddress), "{query}");
        }
        check("myip=198.51.100.0/24");
        check("myip=198.51.100.7/33");
        check("myip=198.51.100.7/+24");
        check("myip=198.51.100.7/24/24");
        check("myip=/24");
        // Octal to some.
        check("myip=098.51.100.7/24");
        check("myip=::ffff:098.51.100.7/128");
        check("myip=2001:db8::/32");
        check("myip=2001:db8::/80");
        check("ipv4=2001:db8::/64");
        check("ip6lanprefix=2001:db8::/32");
        check("ip6lanprefix=2001:db8::/96");
        check("ip6lanprefix=198.51.100.0/24");
        check("ip6lanprefix=x");
        check("ip6lanprefix=::098.51.100.7/64");
        check("ip6lanprefix=2001:db8:1::/64,2001:db8:2::/64");
        check("myip=[2001:db8::7]");
        check("myip=198.51.100.7:80");
        check("myip=fe80::1%25eth0");
        check("myip=198.51.100.256");
        check("myip=198.51.100");
        check("myip=0198.51.100.7");
        check("myip=3325256711");
        check("myip=home.example.org");
        check("myip=198.51.100.7;2001:db8::7");
        check("myip=198.51.100.7\0");
        // Two of one family.
        check("myip=198.51.100.7,198.51.100.8");
        check("myip=2001:db8::7&myip=2001:db8::8");
        // The other family.
        check("myipv4=2001:db8::7");
        check("myipv6=198.51.100.7");
        check("myipv6=::ffff:198.51.100.7");
    }

    #[test]
    fn the_clients_own_spelling_is_kept() {
        let declared = declared("myip=2001:DB8:0::7,::FFFF:198.51.100.7").unwrap();
        let spelled4 = declared.ipv4.map(|a| a.spelling);
        let spelled6 = declared.ipv6.map(|a| a.spelling);
        assert_eq!(spelled4.as_deref(), Some("::FFFF:198.51.100.7"));
        assert_eq!(spelled6.as_deref(), Some("2001:DB8:0::7"));
    }
}
