//! What DNS should say of a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dynhost_crds::host::{Observation, Observed};

use super::change::RrsetChange;
use crate::admission::Admitted;
use crate::update::scope::is_publishable;

/// What is to become of a host's RRsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Desired {
    /// Seconds.
    pub ttl: u32,
    pub ipv4: RrsetChange<Ipv4Addr>,
    pub ipv6: RrsetChange<Ipv6Addr>,
}

/// What DNS should say, from the specs and from what clients reported.
///
/// A family that no client has ever reported is left as DNS has it, so that a host re-created with
/// empty status keeps resolving. One that the host does not publish is removed; so is one that a
/// client withdrew, and an address that the policy does not let it publish (any more).
pub fn desired(admitted: Admitted<'_>, observed: &Observed) -> Desired {
    let Admitted { host, zone } = admitted;
    Desired {
        ttl: host.ttl.unwrap_or(zone.ttl),
        ipv4: family(host.ipv4, host.allow_private, observed.ipv4.as_ref()),
        ipv6: family(host.ipv6, host.allow_private, observed.ipv6.as_ref()),
    }
}

fn family<A: Copy + Into<IpAddr>>(
    wanted: bool,
    allow_private: bool,
    observed: Option<&Observation<A>>,
) -> RrsetChange<A> {
    match observed {
        _ if !wanted => RrsetChange::Remove,
        None => RrsetChange::Keep,
        Some(observed) => match observed.address {
            Some(address) if is_publishable(address.into(), allow_private) => {
                RrsetChange::Set(address)
            }
            _ => RrsetChange::Remove,
        },
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
            };
            assert_eq!(
                desired(admitted, &observed),
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
}
