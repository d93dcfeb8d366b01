//! Which addresses a request would have published for a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dynhost_crds::host::{AddressFrom, Observed};

use super::decide::{Addresses, Told};
use super::outcome::{Echo, Outcome};
use super::protocol::Clear;
use super::protocol::address::{Declared, Spelled};
use super::scope::{Scope, is_publishable, scope};
use crate::index::host::HostSpec;

/// What to store, and what the answer echoes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Empty where only families are declared that the host does not publish, or that shall be kept.
    pub addresses: Addresses,
    pub echo: Echo,
}

/// Why a request brings no usable address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The client has to declare an address, or another one, or the host's owner to allow private
    /// ones.
    #[error("no address that is published is declared")]
    Declared,
    /// Nothing is declared, and the connection's address is not public (a proxy's or a node's), not
    /// known, or not of a family that the host publishes.
    #[error("the address of the connection cannot be published")]
    Connection,
    /// The host's owner does not let clients withdraw addresses.
    #[error("clients may not withdraw addresses of this host")]
    MayNotClear,
}

impl From<AddressError> for Outcome {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::Declared => Self::BadAddress,
            AddressError::Connection => Self::NoUsableAddress,
            AddressError::MayNotClear => Self::MayNotClear,
        }
    }
}

/// Chooses by the host's policy: declared addresses, or the one that the client calls from, which is
/// `None` where it is not known.
///
/// A declared family that the host does not publish is echoed and otherwise ignored, so that a
/// client which always sends both is not stopped by the one nobody asked for. An address of a kind
/// that is not published is passed over, and not echoed, where another one is: a router without a
/// public address of one family often declares a private one beside its public other.
pub fn choose(
    spec: &HostSpec,
    observed: &Observed,
    declared: &Declared,
    clear: Option<Clear>,
    caller: Option<IpAddr>,
) -> Result<Chosen, AddressError> {
    let mut chosen = match (clear, spec.address_from) {
        (Some(clear), _) => withdraw(spec, declared, clear)?,
        (None, AddressFrom::Any) if declared.is_empty() => from_connection(spec, caller)?,
        (None, AddressFrom::Any | AddressFrom::Request) => from_request(spec, observed, declared)?,
        (None, AddressFrom::Connection) => {
            let mut chosen = from_connection(spec, caller)?;
            // No connection tells the network behind it.
            if let Some(prefix) = usable_prefix(spec, declared) {
                chosen.addresses.prefix = Told::Address(prefix.address);
            }
            chosen
        }
    };
    chosen.echo.name = Some(spec.hostname.clone());
    Ok(chosen)
}

fn withdraw(spec: &HostSpec, declared: &Declared, clear: Clear) -> Result<Chosen, AddressError> {
    fn withdrawn<A>(is_asked: bool) -> Told<A> {
        if is_asked {
            Told::Withdrawn
        } else {
            Told::Nothing
        }
    }
    if !spec.allow_clear {
        return Err(AddressError::MayNotClear);
    }
    // A router that has no address of a family leaves the parameter empty: nothing is meant then.
    let all = clear == Clear::All;
    Ok(Chosen {
        addresses: Addresses {
            ipv4: withdrawn(spec.ipv4 && (all || declared.ipv4.is_some())),
            ipv6: withdrawn(spec.ipv6 && (all || declared.ipv6.is_some())),
            prefix: withdrawn(all || declared.prefix.is_some()),
        },
        echo: Echo::default(),
    })
}

fn from_request(
    spec: &HostSpec,
    observed: &Observed,
    declared: &Declared,
) -> Result<Chosen, AddressError> {
    // Of a family that the host does not publish every address is harmless.
    let is_refused =
        |address, published: bool| published && !is_publishable(address, spec.allow_private);
    let ipv4 = declared.ipv4.as_ref();
    let ipv4 = ipv4.filter(|a| !is_refused(a.address.into(), spec.ipv4));
    let ipv6 = declared.ipv6.as_ref();
    let ipv6 = ipv6.filter(|a| !is_refused(a.address.into(), spec.ipv6));
    let prefix = usable_prefix(spec, declared);
    let addresses = Addresses {
        ipv4: told(ipv4.filter(|_| spec.ipv4)),
        ipv6: told(ipv6.filter(|_| spec.ipv6)),
        prefix: told(prefix),
    };
    let is_any_refused = ipv4.is_some() != declared.ipv4.is_some()
        || ipv6.is_some() != declared.ipv6.is_some()
        || prefix.is_some() != declared.prefix.is_some();
    let is_nothing_said = declared.is_empty() || is_any_refused;
    if addresses == Addresses::default() && is_nothing_said {
        return Err(AddressError::Declared);
    }
    let mut echo = Echo {
        ipv4: ipv4.map(|a| a.spelling.clone()),
        ipv6: ipv6.map(|a| a.spelling.clone()),
        prefix: prefix.map(|p| p.spelling.clone()),
        name: None,
    };
    if echo == Echo::default() {
        echo = stored(observed);
    }
    Ok(Chosen { addresses, echo })
}

fn usable_prefix<'a>(
    spec: &HostSpec,
    declared: &'a Declared,
) -> Option<&'a Spelled<ipnet::Ipv6Net>> {
    let prefix = declared.prefix.as_ref()?;
    is_publishable(prefix.address.network().into(), spec.allow_private).then_some(prefix)
}

fn told<A: Copy>(spelled: Option<&Spelled<A>>) -> Told<A> {
    spelled.map_or(Told::Nothing, |spelled| Told::Address(spelled.address))
}

/// What is kept, where the client declares nothing else.
fn stored(observed: &Observed) -> Echo {
    let ipv4 = observed.ipv4.as_ref().and_then(|o| o.address);
    let ipv6 = observed.ipv6.as_ref().and_then(|o| o.address);
    let text4 = |a: Ipv4Addr| a.to_string().into_boxed_str();
    let text6 = |a: Ipv6Addr| a.to_string().into_boxed_str();
    Echo {
        ipv4: ipv4.map(text4),
        ipv6: ipv6.map(text6),
        ..Echo::default()
    }
}

fn from_connection(spec: &HostSpec, caller: Option<IpAddr>) -> Result<Chosen, AddressError> {
    let caller = caller.ok_or(AddressError::Connection)?;
    let usable = match scope(caller) {
        Scope::Global => true,
        Scope::Documentation | Scope::Private => spec.allow_private,
        Scope::Unusable => false,
    };
    let spelling = Some(caller.to_canonical().to_string().into_boxed_str());
    match caller.to_canonical() {
        IpAddr::V4(ipv4) if usable && spec.ipv4 => Ok(Chosen {
            addresses: Addresses {
                ipv4: Told::Address(ipv4),
                ..Addresses::default()
            },
            echo: Echo {
                ipv4: spelling,
                ..Echo::default()
            },
        }),
        IpAddr::V6(ipv6) if usable && spec.ipv6 => Ok(Chosen {
            addresses: Addresses {
                ipv6: Told::Address(ipv6),
                ..Addresses::default()
            },
            echo: Echo {
                ipv6: spelling,
                ..Echo::default()
            },
        }),
        _ => Err(AddressError::Connection),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
        let spec = json!({"families": families, "address": {"allowPrivate": allow_private}});
        chosen_by(spec, query, None, peer)
    }

    /// IPv4, IPv6 and prefix to store, and the echo; `-` for what is left alone.
    fn chosen_by(
        spec: Value,
        query: &str,
        clear: Option<Clear>,
        caller: &str,
    ) -> Result<String, AddressError> {
        fn text<A: ToString>(told: Told<A>) -> String {
            match told {
                Told::Nothing => "-".to_owned(),
                Told::Withdrawn => "none".to_owned(),
                Told::Address(address) => address.to_string(),
            }
        }
        let host = fixture::object(json!({"spec": spec, "status": {"observed": {
            "ipv4": {"address": "9.0.0.9", "changedAt": "2026-01-01T00:00:00Z", "protocol": "p"},
        }}}));
        let parameters = Parameters::parse(query.as_bytes(), b"").unwrap();
        let declared = Declared::parse(&parameters).unwrap();
        let caller = caller.parse().ok();
        let chosen = choose(
            &host.spec.unwrap(),
            &host.observed,
            &declared,
            clear,
            caller,
        )?;
        let Addresses { ipv4, ipv6, prefix } = chosen.addresses;
        let prefix = match prefix {
            Told::Nothing => String::new(),
            prefix => format!("{} ", text(prefix)),
        };
        let (ipv4, ipv6, echo) = (text(ipv4), text(ipv6), chosen.echo.spelling());
        Ok(format!("{ipv4} {ipv6} {prefix}echo {echo}"))
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

    #[test]
    fn the_host_says_where_addresses_are_taken_from() {
        fn check(from: &str, query: &str, caller: &str, expected: Result<&str, AddressError>) {
            let spec = json!({"address": {"from": from}});
            let found = chosen_by(spec, query, None, caller);
            assert_eq!(
                found,
                expected.map(str::to_owned),
                "{from} {query} {caller}"
            );
        }
        const V4: &str = "9.9.9.9 - echo 9.9.9.9";
        check(
            "Any",
            "myip=9.1.2.3",
            "9.9.9.9",
            Ok("9.1.2.3 - echo 9.1.2.3"),
        );
        check("Any", "", "9.9.9.9", Ok(V4));
        check("Any", "", "", Err(AddressError::Connection));
        check(
            "Request",
            "myip=9.1.2.3",
            "9.9.9.9",
            Ok("9.1.2.3 - echo 9.1.2.3"),
        );
        check("Request", "", "9.9.9.9", Err(AddressError::Declared));
        check("Connection", "myip=9.1.2.3", "9.9.9.9", Ok(V4));
        check("Connection", "", "9.9.9.9", Ok(V4));
        check(
            "Connection",
            "myip=9.1.2.3",
            "10.0.0.1",
            Err(AddressError::Connection),
        );
        check(
            "Connection",
            "myip=9.1.2.3",
            "",
            Err(AddressError::Connection),
        );
        check(
            "Connection",
            "ip6lanprefix=2003:1:2:3::/64",
            "9.9.9.9",
            Ok("9.9.9.9 - 2003:1:2:3::/64 echo 9.9.9.9"),
        );
    }

    #[test]
    fn what_shall_be_kept_is_echoed_as_it_is_stored() {
        fn check(query: &str, expected: &str) {
            let found = chosen_by(json!({}), query, None, "9.9.9.9");
            assert_eq!(found.as_deref(), Ok(expected), "{query}");
        }
        check("myip=preserve", "- - echo 9.0.0.9");
        check("myip=preserve&myipv6=2003::7", "- 2003::7 echo 2003::7");
    }

    #[test]
    fn a_prefix_is_taken_beside_addresses_and_alone() {
        fn check(query: &str, expected: Option<&str>) {
            let found = chosen_by(json!({"families": ["IPv4"]}), query, None, "9.9.9.9");
            let expected = expected.map(str::to_owned).ok_or(AddressError::Declared);
            assert_eq!(found, expected, "{query}");
        }
        const NET: &str = "ip6lanprefix=2003:1:2:3::/64";
        check(NET, Some("- - 2003:1:2:3::/64 echo 2003:1:2:3::/64"));
        check(
            &format!("{NET}&myip=9.1.2.3"),
            Some("9.1.2.3 - 2003:1:2:3::/64 echo 9.1.2.3"),
        );
        check("ip6lanprefix=fd00::/64", None);
        check(
            "ip6lanprefix=fd00::/64&myip=9.1.2.3",
            Some("9.1.2.3 - echo 9.1.2.3"),
        );
        check("ip6lanprefix=fe80::/64&myip=10.0.0.1", None);
    }

    #[test]
    fn addresses_are_withdrawn_only_where_the_owner_lets_clients_do_that() {
        fn check(spec: Value, query: &str, clear: Clear, expected: Result<&str, AddressError>) {
            let found = chosen_by(spec, query, Some(clear), "9.9.9.9");
            assert_eq!(found, expected.map(str::to_owned), "{query} {clear:?}");
        }
        let may = || json!({"auth": {"allowClear": true}});
        const ALL: Result<&str, AddressError> = Ok("none none none echo ");
        check(json!({}), "", Clear::All, Err(AddressError::MayNotClear));
        check(may(), "", Clear::All, ALL);
        check(may(), "myip=9.1.2.3", Clear::All, ALL);
        check(may(), "", Clear::Declared, Ok("- - echo "));
        check(may(), "myip=9.1.2.3", Clear::Declared, Ok("none - echo "));
        check(may(), "myip=2003::7", Clear::Declared, Ok("- none echo "));
        let ipv6 = json!({"families": ["IPv6"], "auth": {"allowClear": true}});
        check(ipv6, "", Clear::All, Ok("- none none echo "));
    }
}
