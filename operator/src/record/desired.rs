//! What DNS should say of a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dynhost_crds::host::{Observation, Observed, ObservedPrefix};

use super::alias::Alias;
use super::change::{Known, RrsetChange};
use super::interface_id::{InterfaceId, PrefixMisfit};
use crate::admission::Admitted;
use crate::update::scope::is_publishable;

/// What is to become of a host's RRsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Seconds.
    pub ttl: u32,
    pub ipv4: RrsetChange<Ipv4Addr>,
    pub ipv6: RrsetChange<Ipv6Addr>,
    /// The aliases, which are there while the host has an address.
    pub aliases: Box<[Alias]>,
    /// Why no IPv6 address can be made: it is left as DNS has it.
    pub misfit: Option<PrefixMisfit>,
}

/// What clients reported that a host's records depend on.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    /// What was reported for the host itself.
    pub observed: &'a Observed,
    /// The prefix that its IPv6 address is made from, where it is made from one: as reported for
    /// this host or the one that it names.
    pub prefix: Option<&'a ObservedPrefix>,
}

/// What DNS should say, from the specs and from what clients reported.
///
/// A family that no client has ever reported is left as DNS has it, so that a host re-created with
/// empty status keeps resolving. One that the host does not publish is removed; so is one that a
/// client withdrew, and an address that the policy does not let it publish (any more).
pub fn desired(admitted: Admitted<'_>, reported: Reported<'_>) -> Desired {
    let Admitted { host, zone } = admitted;
    let Reported { observed, prefix } = reported;
    let ipv4 = observed.ipv4.as_ref();
    let (ipv6, misfit) = match host.from_prefix.as_deref() {
        None => (told(observed.ipv6.as_ref()), None),
        Some(from_prefix) => match address_in(prefix, from_prefix.interface_id) {
            Ok(told) => (told, None),
            Err(misfit) => (Told::Nothing, Some(misfit)),
        },
    };
    Desired {
        ttl: host.ttl.unwrap_or(zone.ttl),
        ipv4: family(host.ipv4, host.allow_private, told(ipv4)),
        ipv6: family(host.ipv6, host.allow_private, ipv6),
        aliases: host.aliases.clone(),
        misfit: misfit.filter(|_| host.ipv6),
    }
}

impl Desired {
    /// The same without any record: what is `known` to be there or would be set is removed.
    pub fn without_records(self, known: &Known) -> Self {
        fn family<A>(change: RrsetChange<A>, known: Option<A>) -> RrsetChange<A> {
            match (change, known) {
                (RrsetChange::Keep, None) => RrsetChange::Keep,
                _ => RrsetChange::Remove,
            }
        }
        Self {
            ipv4: family(self.ipv4, known.ipv4),
            ipv6: family(self.ipv6, known.ipv6),
            misfit: None,
            ..self
        }
    }
}

/// What clients have said of one family.
enum Told<A> {
    Nothing,
    Withdrawn,
    Address(A),
}

fn told<A: Copy>(observed: Option<&Observation<A>>) -> Told<A> {
    match observed {
        None => Told::Nothing,
        Some(observed) => observed.address.map_or(Told::Withdrawn, Told::Address),
    }
}

fn address_in(
    prefix: Option<&ObservedPrefix>,
    interface_id: InterfaceId,
) -> Result<Told<Ipv6Addr>, PrefixMisfit> {
    Ok(match prefix {
        None => Told::Nothing,
        Some(ObservedPrefix { prefix: None, .. }) => Told::Withdrawn,
        Some(ObservedPrefix {
            prefix: Some(prefix),
            ..
        }) => Told::Address(interface_id.address_in(*prefix)?),
    })
}

fn family<A: Copy + Into<IpAddr>>(
    wanted: bool,
    allow_private: bool,
    told: Told<A>,
) -> RrsetChange<A> {
    match told {
        _ if !wanted => RrsetChange::Remove,
        Told::Nothing => RrsetChange::Keep,
        Told::Address(address) if is_publishable(address.into(), allow_private) => {
            RrsetChange::Set(address)
        }
        Told::Address(_) | Told::Withdrawn => RrsetChange::Remove,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::RrsetChange::{Keep, Remove, Set};
    use super::*;
    use crate::index::host::Host;
    use crate::index::zone::Zone;

    #[test]
    fn dns_says_what_was_reported_as_far_as_the_host_publishes_it() {
        fn check(
            spec: serde_json::Value,
            (ipv4, ipv6): (Option<&str>, Option<&str>),
            expected: (u32, RrsetChange<Ipv4Addr>, RrsetChange<Ipv6Addr>),
        ) {
            let mut host = json!({
                "metadata": {"name": "home", "namespace": "family", "uid": "h", "resourceVersion": "1",
                             "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
            });
            for (key, value) in spec.as_object().unwrap() {
                host["spec"][key] = value.clone();
            }
            let zone = json!({
                "metadata": {"name": "dyn", "namespace": "family", "uid": "z", "resourceVersion": "1",
                             "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"domain": "dyn.example.org", "ttl": 90, "rfc2136": {
                    "servers": ["127.0.0.1"],
                    "tsig": {"keyName": "k", "secretRef": {"name": "s"}}}},
            });
            let host = Host::from_object(&serde_json::from_value(host).unwrap()).unwrap();
            let zone = Zone::from_object(&serde_json::from_value(zone).unwrap()).unwrap();
            let admitted = Admitted {
                host: host.spec.as_ref().unwrap(),
                zone: zone.spec.as_ref().unwrap(),
            };
            /// A report of this address; of an empty one, that it was withdrawn.
            fn observation<A: std::str::FromStr>(address: &str) -> Option<Observation<A>> {
                Some(Observation {
                    address: address.parse().ok(),
                    changed_at: Timestamp::UNIX_EPOCH,
                    protocol: "dyndns2".to_owned(),
                    client: None,
                })
            }
            let observed = Observed {
                ipv4: ipv4.and_then(observation),
                ipv6: ipv6.and_then(observation),
                ..Observed::default()
            };
            let (ttl, want_ipv4, want_ipv6) = expected;
            let expected = Desired {
                ttl,
                ipv4: want_ipv4,
                ipv6: want_ipv6,
                aliases: Box::default(),
                misfit: None,
            };
            let reported = Reported {
                observed: &observed,
                prefix: None,
            };
            assert_eq!(
                desired(admitted, reported),
                expected,
                "{spec} {ipv4:?} {ipv6:?}"
            );
        }
        let a = Ipv4Addr::new(198, 51, 100, 7);
        let aaaa: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let both = (Some("198.51.100.7"), Some("2001:db8::7"));
        let private = (Some("192.168.1.2"), Some("fd00::2"));
        check(json!({}), (None, None), (90, Keep, Keep));
        check(json!({}), both, (90, Set(a), Set(aaaa)));
        check(json!({}), (both.0, Some("")), (90, Set(a), Remove));
        check(json!({"ttl": 30}), (both.0, None), (30, Set(a), Keep));
        check(json!({"families": ["IPv6"]}), both, (90, Remove, Set(aaaa)));
        check(
            json!({"families": ["IPv4"]}),
            (None, None),
            (90, Keep, Remove),
        );
        check(json!({}), private, (90, Remove, Remove));
        let allowed = (
            90,
            Set(Ipv4Addr::new(192, 168, 1, 2)),
            Set("fd00::2".parse().unwrap()),
        );
        check(json!({"address": {"allowPrivate": true}}), private, allowed);
    }

    #[test]
    fn a_host_without_records_leaves_what_nobody_knows_of() {
        fn check(
            change: RrsetChange<Ipv4Addr>,
            known: Option<Ipv4Addr>,
            expected: RrsetChange<Ipv4Addr>,
        ) {
            let want = Desired {
                ttl: 60,
                ipv4: change,
                ipv6: Keep,
                aliases: Box::default(),
                misfit: None,
            };
            let known = Known {
                ipv4: known,
                ..Known::default()
            };
            let without = want.without_records(&known);
            assert_eq!((without.ipv4, without.ipv6), (expected, Keep), "{change:?}");
        }
        let a = Ipv4Addr::new(198, 51, 100, 7);
        check(Keep, None, Keep);
        check(Keep, Some(a), Remove);
        check(Set(a), None, Remove);
        check(Set(a), Some(a), Remove);
        check(Remove, None, Remove);
        check(Remove, Some(a), Remove);
    }
}
