//! Whether a report is news.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use crate::index::host::Host;

/// What a report says of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told<A> {
    /// It is left alone.
    #[default]
    Nothing,
    /// It shall have no address.
    Withdrawn,
    Address(A),
}

/// What a report says of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub ipv4: Told<Ipv4Addr>,
    pub ipv6: Told<Ipv6Addr>,
    /// The network behind the client.
    pub prefix: Told<Ipv6Net>,
}

/// A set of families; the prefix counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    pub ipv4: bool,
    pub ipv6: bool,
    pub prefix: bool,
}

impl<A> Told<A> {
    /// Whether the family is mentioned.
    pub fn is_something(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// For people: the address, or that there is none.
    pub fn shown(&self) -> Option<String>
    where
        A: ToString,
    {
        match self {
            Self::Nothing => None,
            Self::Withdrawn => Some("withdrawn".to_owned()),
            Self::Address(address) => Some(address.to_string()),
        }
    }

    /// The address to publish.
    pub fn address(self) -> Option<A> {
        match self {
            Self::Address(address) => Some(address),
            Self::Nothing | Self::Withdrawn => None,
        }
    }
}

impl Addresses {
    /// The families that are mentioned.
    pub fn families(&self) -> Families {
        Families {
            ipv4: self.ipv4.is_something(),
            ipv6: self.ipv6.is_something(),
            prefix: self.prefix.is_something(),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The time in a signed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedTime {
    /// Seconds since 1970 (UTC).
    pub at: i64,
    /// The signature does not cover the address (the script of 2012): whoever repeats the request
    /// could publish another, so that the time is stored although nothing else is news.
    pub always_stored: bool,
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
    /// A signed request as new or newer was stored already.
    Replayed,
    /// Everything is as stored: no write.
    NoChange,
    Store(News),
}

/// What to store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Some may be equal to what seems to be stored.
    pub addresses: Addresses,
    /// The time of a signed request, in seconds since 1970 (UTC).
    pub signed_at: Option<i64>,
}

/// Decides on a report for a host; `signed` is the time of a signed request.
///
/// `NoChange` says that the stored value is known to be equal: it is fresh and not in doubt. In all
/// other cases a write is harmless, and no write might leave the wrong address for ever. The stored
/// time of signed requests only ever grows, so that whatever a stale one refuses, the newest would.
pub fn decide(
    host: &Host,
    reported: Addresses,
    signed: Option<SignedTime>,
    reliance: Reliance,
) -> Decision {
    if host.spec.as_ref().is_ok_and(|spec| spec.suspend) {
        return Decision::Suspended;
    }
    let observed = &host.observed;
    let newest = observed.signed_at.map(|at| at.as_second());
    if signed.is_some_and(|signed| newest.is_some_and(|newest| signed.at <= newest)) {
        return Decision::Replayed;
    }
    let Reliance { fresh, in_doubt } = reliance;
    let stored4 = observed.ipv4.as_ref().map(|o| o.address);
    let stored6 = observed.ipv6.as_ref().map(|o| o.address);
    // A prefix that was never reported need not be withdrawn: nothing in DNS comes of it.
    let prefix = observed.ipv6_prefix.as_ref();
    let prefix = Some(prefix.and_then(|o| o.prefix));
    let addresses = Addresses {
        ipv4: news(reported.ipv4, stored4, fresh && !in_doubt.ipv4),
        ipv6: news(reported.ipv6, stored6, fresh && !in_doubt.ipv6),
        prefix: news(reported.prefix, prefix, fresh && !in_doubt.prefix),
    };
    let always_stored = signed.is_some_and(|signed| signed.always_stored);
    if addresses.is_empty() && !always_stored {
        return Decision::NoChange;
    }
    Decision::Store(News {
        addresses,
        signed_at: signed.map(|signed| signed.at),
    })
}

/// What of a report differs from what is stored; where that cannot be relied on, all of it.
fn news<A: PartialEq>(told: Told<A>, stored: Option<Option<A>>, reliable: bool) -> Told<A> {
    let is_stored = match (&told, stored) {
        (Told::Nothing, _) => true,
        (Told::Withdrawn, stored) => stored == Some(None),
        (Told::Address(address), stored) => stored.flatten().as_ref() == Some(address),
    };
    if is_stored && reliable {
        Told::Nothing
    } else {
        told
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::update::fixture;

    const V4: Told<Ipv4Addr> = Told::Address(Ipv4Addr::new(198, 51, 100, 7));
    const V6: Told<Ipv6Addr> = Told::Address(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
    const NEW4: Told<Ipv4Addr> = Told::Address(Ipv4Addr::new(198, 51, 100, 8));
    const NEW6: Told<Ipv6Addr> = Told::Address(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 8));
    const SURE: Reliance = Reliance {
        fresh: true,
        in_doubt: Families {
            ipv4: false,
            ipv6: false,
            prefix: false,
        },
    };

    fn addresses(ipv4: Told<Ipv4Addr>, ipv6: Told<Ipv6Addr>) -> Addresses {
        Addresses {
            ipv4,
            ipv6,
            prefix: Told::Nothing,
        }
    }

    fn store(addresses: Addresses) -> Decision {
        Decision::Store(News {
            addresses,
            signed_at: None,
        })
    }

    /// A host that has both addresses.
    fn stored(suspend: bool) -> Host {
        let seen = "2026-01-01T00:00:00Z";
        fixture::object(json!({
            "spec": {"suspend": suspend},
            "status": {"observed": {
                "ipv4": {"address": V4.address(), "changedAt": seen, "protocol": "dyndns2"},
                "ipv6": {"address": V6.address(), "changedAt": seen, "protocol": "dyndns2"},
            }},
        }))
    }

    #[test]
    fn only_what_differs_is_stored() {
        fn check(host: &Host, reported: Addresses, expected: Decision) {
            assert_eq!(decide(host, reported, None, SURE), expected, "{reported:?}");
        }
        const NONE4: Told<Ipv4Addr> = Told::Nothing;
        const NONE6: Told<Ipv6Addr> = Told::Nothing;
        let store = |ipv4, ipv6| store(addresses(ipv4, ipv6));
        let host = stored(false);
        check(&host, addresses(V4, V6), Decision::NoChange);
        check(&host, addresses(V4, NONE6), Decision::NoChange);
        check(&host, addresses(NONE4, NONE6), Decision::NoChange);
        check(&host, addresses(NEW4, V6), store(NEW4, NONE6));
        check(&host, addresses(V4, NEW6), store(NONE4, NEW6));
        check(&host, addresses(NEW4, NEW6), store(NEW4, NEW6));

        let empty = fixture::host(json!({}));
        check(&empty, addresses(V4, NONE6), store(V4, NONE6));
        check(&empty, addresses(NONE4, V6), store(NONE4, V6));

        check(&stored(true), addresses(V4, V6), Decision::Suspended);
        check(&stored(true), addresses(NEW4, NONE6), Decision::Suspended);

        // A family that was never reported may be in DNS: withdrawing it is news once.
        let gone = || addresses(Told::Withdrawn, NONE6);
        check(&host, gone(), store(Told::Withdrawn, NONE6));
        check(&empty, gone(), store(Told::Withdrawn, NONE6));
        let withdrawn = fixture::object(json!({"status": {"observed": {
            "ipv4": {"changedAt": "2026-01-01T00:00:00Z", "protocol": "dyndns2"},
        }}}));
        check(&withdrawn, gone(), Decision::NoChange);
        check(&withdrawn, addresses(V4, NONE6), store(V4, NONE6));
    }

    #[test]
    fn a_prefix_is_an_observation_of_its_own() {
        fn check(stored: Option<&str>, told: Told<&str>, is_news: bool) {
            let host = fixture::object(json!({"status": {"observed": {
                "ipv6Prefix": stored.map(|prefix| json!({
                    "prefix": prefix, "changedAt": "2026-01-01T00:00:00Z", "protocol": "dyndns2",
                })),
            }}}));
            let prefix = match told {
                Told::Nothing => Told::Nothing,
                Told::Withdrawn => Told::Withdrawn,
                Told::Address(text) => Told::Address(text.parse().unwrap()),
            };
            let reported = Addresses {
                prefix,
                ..Addresses::default()
            };
            let expected = if is_news {
                store(reported)
            } else {
                Decision::NoChange
            };
            assert_eq!(
                decide(&host, reported, None, SURE),
                expected,
                "{stored:?} {told:?}"
            );
        }
        const NET: &str = "2001:db8:1:2::/64";
        check(None, Told::Address(NET), true);
        check(Some(NET), Told::Address(NET), false);
        check(Some(NET), Told::Address("2001:db8:1::/48"), true);
        check(Some(NET), Told::Nothing, false);
        check(Some(NET), Told::Withdrawn, true);
        check(None, Told::Withdrawn, false);
    }

    #[test]
    fn a_signed_request_must_be_newer_than_the_last_one() {
        /// `expected`: the time to store with the news, where it is taken.
        fn check(
            stored_at: Option<&str>,
            (at, always_stored): (i64, bool),
            reported: Addresses,
            expected: Result<Option<i64>, Decision>,
        ) {
            let mut host = stored(false);
            host.observed.signed_at = stored_at.map(|at| at.parse().unwrap());
            let signed = SignedTime { at, always_stored };
            let found = match decide(&host, reported, Some(signed), SURE) {
                Decision::Store(news) => Ok(news.signed_at),
                other => Err(other),
            };
            assert_eq!(found, expected, "{stored_at:?} {signed:?} {reported:?}");
        }
        let same = || addresses(V4, Told::Nothing);
        let new = || addresses(NEW4, Told::Nothing);
        let at = Some("1970-01-01T00:01:40Z");
        check(None, (100, false), new(), Ok(Some(100)));
        check(at, (101, false), new(), Ok(Some(101)));
        check(at, (100, false), new(), Err(Decision::Replayed));
        check(at, (99, false), new(), Err(Decision::Replayed));
        check(at, (99, false), same(), Err(Decision::Replayed));
        check(at, (101, false), same(), Err(Decision::NoChange));
        check(at, (101, true), same(), Ok(Some(101)));
        check(at, (100, true), same(), Err(Decision::Replayed));
    }

    #[test]
    fn nothing_is_called_unchanged_that_is_stale_or_in_doubt() {
        fn check(fresh: bool, in_doubt: (bool, bool), stored_again: Option<Addresses>) {
            let (ipv4, ipv6) = in_doubt;
            let prefix = false;
            let in_doubt = Families { ipv4, ipv6, prefix };
            let reliance = Reliance { fresh, in_doubt };
            let expected = stored_again.map_or(Decision::NoChange, store);
            let decision = decide(&stored(false), addresses(V4, V6), None, reliance);
            assert_eq!(decision, expected, "{reliance:?}");
        }
        check(true, (false, false), None);
        check(true, (true, false), Some(addresses(V4, Told::Nothing)));
        check(true, (false, true), Some(addresses(Told::Nothing, V6)));
        check(true, (true, true), Some(addresses(V4, V6)));
        check(false, (false, false), Some(addresses(V4, V6)));
        check(false, (true, false), Some(addresses(V4, V6)));
    }
}
