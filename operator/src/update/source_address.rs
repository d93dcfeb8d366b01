//! Which addresses a request would publish for a host.

use std::net::IpAddr;

use super::decide::Addresses;
use super::protocol::address::Declared;
use super::scope::{Scope, is_publishable, scope};
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

/// Chooses by the host's policy: declared addresses, else the connection's.
///
/// A declared family that the host does not publish is echoed and otherwise ignored, so that a
/// client which always sends both is not stopped by the one nobody asked for. An address of a kind
/// that is not published is passed over, and not echoed, where another one is: a router without a
/// public address of one family often declares a private one beside its public other.
pub fn choose(spec: &HostSpec, declared: &Declared, peer: IpAddr) -> Result<Chosen, AddressError> {
    if declared.is_empty() {
        return from_connection(spec, peer.to_canonical());
    }
    let is_refused = |address| !is_publishable(address, spec.allow_private);
    let mut usable = declared.clone();
    usable
        .ipv4
        .take_if(|a| spec.ipv4 && is_refused(a.address.into()));
    usable
        .ipv6
        .take_if(|a| spec.ipv6 && is_refused(a.address.into()));
    let addresses = Addresses {
        ipv4: usable
            .ipv4
            .as_ref()
            .filter(|_| spec.ipv4)
            .map(|a| a.address),
        ipv6: usable
            .ipv6
            .as_ref()
            .filter(|_| spec.ipv6)
            .map(|a| a.address),
    };
    if addresses == Addresses::default() && usable != *declared {
        return Err(AddressError::Declared);
    }
    Ok(Chosen {
        addresses,
        echo: usable.spelling(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::fixture;
    use crate::update::protocol::parameters::Parameters;

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
            let expected = expected.map(str::to_owned).ok_or(AddressError::Declared);
            assert_eq!(found, expected, "{query}");
        }
        check(false, "myip=9.1.2.3", Some("9.1.2.3 - echo 9.1.2.3"));
        check(false, "myip=2003::DB8", Some("- 2003::db8 echo 2003::DB8"));
        check(
            false,
            "myip=198.51.100.7,2001:db8::7",
            Some("198.51.100.7 2001:db8::7 echo 198.51.100.7,2001:db8::7"),
        );
        for private in [
            "192.168.1.2",
            "100.64.0.1",
            "fd00::1",
            "fe80::1",
            "127.0.0.1",
            "::1",
        ] {
            check(false, &format!("myip={private}"), None);
            assert!(chosen(BOTH, true, &format!("myip={private}"), "9.9.9.9").is_ok());
        }
        check(false, "myip=::ffff:10.0.0.1", None);
        check(false, "myip=10.0.0.1,fd00::1", None);
        check(
            false,
            "myip=9.1.2.3,fd00::1",
            Some("9.1.2.3 - echo 9.1.2.3"),
        );
        check(
            false,
            "myip=100.64.0.1,2003::7",
            Some("- 2003::7 echo 2003::7"),
        );
        for unusable in [
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.1",
            "198.18.0.1",
            "ff02::1",
        ] {
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
        check(
            BOTH,
            false,
            "::ffff:9.9.9.9",
            Some("9.9.9.9 - echo 9.9.9.9"),
        );
        check(BOTH, false, "2003::7", Some("- 2003::7 echo 2003::7"));
        for peer in [
            "10.42.0.1",
            "127.0.0.1",
            "::1",
            "fd00::1",
            "100.64.0.1",
            "192.0.2.1",
            "2001:db8::1",
        ] {
            check(BOTH, false, peer, None);
            assert!(chosen(BOTH, true, "", peer).is_ok(), "{peer}");
        }
        check(BOTH, true, "224.0.0.1", None);
        check(&["IPv6"], false, "9.9.9.9", None);
        check(&["IPv4"], true, "2003::7", None);
    }
}
