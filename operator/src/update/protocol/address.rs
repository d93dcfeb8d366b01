//! The addresses that a client declares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ParseError;
use super::parameters::Parameters;

/// The parameter that may hold both families, as a list.
const EITHER: &str = "myip";

/// Other names of the IPv4 parameter, in order of precedence.
const IPV4: [&str; 8] = [
    "myipv4", "ip", "ipv4", "ip4", "ipaddr", "address", "addr", "a",
];

/// The names of the IPv6 parameter, in order of precedence.
const IPV6: [&str; 5] = ["myipv6", "ipv6", "ip6", "ip6addr", "aaaa"];

/// An address as the client wrote it: answers echo its own spelling, since pfSense compares them
/// octet by octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelled<A> {
    pub address: A,
    pub spelling: Box<str>,
}

/// At most one address of each family; a family that is not mentioned is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    pub ipv4: Option<Spelled<Ipv4Addr>>,
    pub ipv6: Option<Spelled<Ipv6Addr>>,
}

impl Declared {
    /// Reads `myip` and its synonyms; of several names for one family the first with a value counts.
    pub fn parse(parameters: &Parameters) -> Result<Self, ParseError> {
        let either = one_of_each(parameters, EITHER)?;
        let ipv4 = match either.ipv4 {
            Some(address) => Some(address),
            None => first_of(&IPV4, |name| match one_of_each(parameters, name)? {
                Self { ipv6: Some(_), .. } => Err(ParseError::BadAddress),
                found => Ok(found.ipv4),
            })?,
        };
        let ipv6 = first_of(&IPV6, |name| match one_of_each(parameters, name)? {
            Self { ipv4: Some(_), .. } => Err(ParseError::BadAddress),
            found => Ok(found.ipv6),
        })?;
        Ok(Self {
            ipv4,
            ipv6: ipv6.or(either.ipv6),
        })
    }

    /// Whether no family is mentioned.
    pub fn is_empty(&self) -> bool {
        self.ipv4.is_none() && self.ipv6.is_none()
    }

    /// The addresses in the client's spelling, IPv4 first, with a comma between them.
    pub fn spelling(&self) -> String {
        let ipv4 = self.ipv4.as_ref().map(|a| &*a.spelling);
        let ipv6 = self.ipv6.as_ref().map(|a| &*a.spelling);
        let both: Vec<_> = ipv4.into_iter().chain(ipv6).collect();
        both.join(",")
    }
}

fn first_of<A>(
    names: &[&str],
    read: impl Fn(&str) -> Result<Option<A>, ParseError>,
) -> Result<Option<A>, ParseError> {
    let mut values = names.iter().map(|name| read(name));
    values.find_map(Result::transpose).transpose()
}

fn one_of_each(parameters: &Parameters, name: &str) -> Result<Declared, ParseError> {
    let mut found = Declared::default();
    for text in parameters.list(name).filter(|text| !is_placeholder(text)) {
        // Networks, brackets, ports and zone identifiers do not parse.
        let address: IpAddr = text.parse().map_err(|_| ParseError::BadAddress)?;
        match address.to_canonical() {
            address if address.is_unspecified() => {}
            IpAddr::V4(address) => put(&mut found.ipv4, address, text)?,
            IpAddr::V6(address) => put(&mut found.ipv6, address, text)?,
        }
    }
    Ok(found)
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
        for name in IPV4 {
            check(&format!("{name}=198.51.100.7"), V4, None);
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
        // Another feature's parameters, and unknown ones.
        check("ip6lanprefix=2001:db8::/64&offline=NO&x=y", None, None);
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
        check("myip=198.51.100.7/32");
        check("myip=2001:db8::/64");
        check("myip=[2001:db8::7]");
        check("myip=198.51.100.7:80");
        check("myip=fe80::1%25eth0");
        check("myip=198.51.100.256");
        check("myip=198.51.100");
        check("myip=0198.51.100.7");
        check("myip=3325256711");
        check("myip=home.example.org");
        check("myip=preserve");
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
        fn check(query: &str, expected: &str) {
            assert_eq!(declared(query).unwrap().spelling(), expected, "{query}");
        }
        check("", "");
        check(
            "myip=2001:DB8:0::7,198.51.100.7",
            "198.51.100.7,2001:DB8:0::7",
        );
        check("myip=::FFFF:198.51.100.7", "::FFFF:198.51.100.7");
    }
}
