//! Whether a report is news.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::index::host::Host;

/// At most one address of each family; a family without one is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

/// A set of address families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    pub ipv4: bool,
    pub ipv6: bool,
}

impl Addresses {
    /// The families that have an address.
    pub fn families(&self) -> Families {
        Families {
            ipv4: self.ipv4.is_some(),
            ipv6: self.ipv6.is_some(),
        }
    }

    fn is_empty(&self) -> bool {
        self.ipv4.is_none() && self.ipv6.is_none()
    }
}

/// How far the stored value at hand can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reliance {
    /// It was read from the API server, or its watch was heard, recently.
    pub fresh: bool,
    /// The families of which an earlier write has an unknown outcome.
    pub in_doubt: Families,
}

/// What to do with a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The host's owner has suspended it.
    Suspended,
    /// Everything is as stored: no write.
    NoChange,
    /// Store these addresses, some of which may be equal to what seems to be stored.
    Store(Addresses),
}

/// Decides on a report for a host.
///
/// `NoChange` says that the stored value is known to be equal: it is fresh and not in doubt. In all
/// other cases a write is harmless, and no write might leave the wrong address for ever.
pub fn decide(host: &Host, reported: Addresses, reliance: Reliance) -> Decision {
    if host.spec.as_ref().is_ok_and(|spec| spec.suspend) {
        return Decision::Suspended;
    }
    let stored4 = host.observed.ipv4.as_ref().map(|o| o.address);
    let stored6 = host.observed.ipv6.as_ref().map(|o| o.address);
    let rely4 = reliance.fresh && !reliance.in_doubt.ipv4;
    let rely6 = reliance.fresh && !reliance.in_doubt.ipv6;
    let news = Addresses {
        ipv4: reported.ipv4.filter(|a| !rely4 || stored4 != Some(*a)),
        ipv6: reported.ipv6.filter(|a| !rely6 || stored6 != Some(*a)),
    };
    if news.is_empty() {
        Decision::NoChange
    } else {
        Decision::Store(news)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::update::fixture;

    const V4: Option<Ipv4Addr> = Some(Ipv4Addr::new(198, 51, 100, 7));
    const V6: Option<Ipv6Addr> = Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
    const NEW4: Option<Ipv4Addr> = Some(Ipv4Addr::new(198, 51, 100, 8));
    const NEW6: Option<Ipv6Addr> = Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 8));

    fn addresses(ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Addresses {
        Addresses { ipv4, ipv6 }
    }

    /// A host that has both addresses.
    fn stored(suspend: bool) -> Host {
        let seen = "2026-01-01T00:00:00Z";
        fixture::object(json!({
            "spec": {"suspend": suspend},
            "status": {"observed": {
                "ipv4": {"address": V4, "changedAt": seen, "protocol": "dyndns2"},
                "ipv6": {"address": V6, "changedAt": seen, "protocol": "dyndns2"},
            }},
        }))
    }

    #[test]
    fn only_what_differs_is_stored() {
        fn check(host: &Host, reported: Addresses, expected: Decision) {
            let sure = Reliance {
                fresh: true,
                in_doubt: Families::default(),
            };
            assert_eq!(decide(host, reported, sure), expected, "{reported:?}");
        }
        let store = |ipv4, ipv6| Decision::Store(addresses(ipv4, ipv6));
        let host = stored(false);
        check(&host, addresses(V4, V6), Decision::NoChange);
        check(&host, addresses(V4, None), Decision::NoChange);
        check(&host, addresses(None, None), Decision::NoChange);
        check(&host, addresses(NEW4, V6), store(NEW4, None));
        check(&host, addresses(V4, NEW6), store(None, NEW6));
        check(&host, addresses(NEW4, NEW6), store(NEW4, NEW6));

        let empty = fixture::host(json!({}));
        check(&empty, addresses(V4, None), store(V4, None));
        check(&empty, addresses(None, V6), store(None, V6));

        check(&stored(true), addresses(V4, V6), Decision::Suspended);
        check(&stored(true), addresses(NEW4, None), Decision::Suspended);
    }

    #[test]
    fn nothing_is_called_unchanged_that_is_stale_or_in_doubt() {
        fn check(fresh: bool, in_doubt: (bool, bool), stored_again: Option<Addresses>) {
            let (ipv4, ipv6) = in_doubt;
            let reliance = Reliance {
                fresh,
                in_doubt: Families { ipv4, ipv6 },
            };
            let expected = stored_again.map_or(Decision::NoChange, Decision::Store);
            let decision = decide(&stored(false), addresses(V4, V6), reliance);
            assert_eq!(decision, expected, "{reliance:?}");
        }
        check(true, (false, false), None);
        check(true, (true, false), Some(addresses(V4, None)));
        check(true, (false, true), Some(addresses(None, V6)));
        check(true, (true, true), Some(addresses(V4, V6)));
        check(false, (false, false), Some(addresses(V4, V6)));
        check(false, (true, false), Some(addresses(V4, V6)));
    }
}
