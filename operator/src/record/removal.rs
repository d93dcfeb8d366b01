//! Which records of a host are removed with it.

use dynhost_crds::host::AliasType;
use dynhost_crds::zone::OwnershipMode;

use super::attempt::published_at;
use super::change::{Basis, Found, Known, NameChange, Records, RrsetChange};
use super::desired::Desired;
use super::marker::Marker;
use super::recovery::{Ours, our_marker};
use crate::name::{Fqdn, RecordName};

/// The names at which records of the host may be: what was published, and what may have been since.
pub fn names(hostname: &Fqdn, published: Option<&Known>, want: &Desired) -> Vec<RecordName> {
    let mut names = vec![hostname.clone().into()];
    let published = published.iter().flat_map(|known| known.aliases.iter());
    for alias in published.chain(&want.aliases) {
        if !names.contains(&alias.name) {
            names.push(alias.name.clone());
        }
    }
    names
}

/// The change that removes a host's records from one name; `None`: nothing of ours is there.
///
/// Without our marker only records that are exactly as published are taken for ours. `marker` is the
/// one that was published beside them.
pub fn removal(
    name: &RecordName,
    hostname: &Fqdn,
    found: &Found,
    ours: &Ours,
    (published, marker): (Option<&Known>, Option<&Marker>),
    want: &Desired,
) -> Option<NameChange> {
    let nothing = Known::default();
    let at_name = published_at(published.unwrap_or(&nothing), hostname, name);
    let marker = our_marker(found, ours).or_else(|| former_marker(found, ours, marker));
    let basis = match marker {
        _ if ours.mode == OwnershipMode::None && at_name.is_found(found) => Basis::Unchecked,
        Some(marker) => Basis::Marker(marker),
        None if at_name.is_found(found) => at_name.basis(),
        None => return None,
    };
    let records = match *name == *hostname {
        true => host_records(published, want),
        false => alias_records(name, found, published, want),
    };
    Some(NameChange {
        name: name.clone(),
        records,
        marker: None,
        basis,
    })
}

/// The marker that we have published, of another owner id than now. Who forges `status` may have
/// read it in DNS: so it counts for this very host only.
fn former_marker(found: &Found, ours: &Ours, published: Option<&Marker>) -> Option<Marker> {
    let published = published.filter(|marker| marker.host == ours.host)?;
    (found.marker_texts == [published.to_string()]).then(|| published.clone())
}

/// A host that never said what it published may own all that stands under its marker: it died
/// before it could, or was re-created over the records of its former life. A family that is no
/// longer wanted may have been written by a message whose outcome nobody knows.
fn host_records(published: Option<&Known>, want: &Desired) -> Records {
    let all = published.is_none();
    let ipv4 = all || published.is_some_and(|p| p.ipv4.is_some()) || want.ipv4 != RrsetChange::Keep;
    let ipv6 = all || published.is_some_and(|p| p.ipv6.is_some()) || want.ipv6 != RrsetChange::Keep;
    Records::Addresses {
        ipv4: remove_if(ipv4),
        ipv6: remove_if(ipv6),
    }
}

fn alias_records(
    name: &RecordName,
    found: &Found,
    published: Option<&Known>,
    want: &Desired,
) -> Records {
    let published = published.iter().flat_map(|known| known.aliases.iter());
    let mut all = published.chain(&want.aliases);
    let may_be_cname = all.any(|alias| alias.name == *name && alias.kind == AliasType::Cname);
    match may_be_cname && found.cname.is_some() {
        true => Records::NoCname,
        false => Records::Addresses {
            ipv4: RrsetChange::Remove,
            ipv6: RrsetChange::Remove,
        },
    }
}

fn remove_if<A>(remove: bool) -> RrsetChange<A> {
    match remove {
        true => RrsetChange::Remove,
        false => RrsetChange::Keep,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::record::alias::Alias;
    use crate::record::marker::{HostDigest, Marker, Nonce};

    const A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const AAAA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    const HOST: &str = "home.dyn.example.org";

    use RrsetChange::{Keep, Remove, Set};

    fn ours(mode: OwnershipMode) -> Ours {
        Ours {
            owner: "home".parse().unwrap(),
            host: HostDigest::of("family", "home"),
            mode,
        }
    }

    fn want(ipv4: RrsetChange<Ipv4Addr>) -> Desired {
        Desired {
            ttl: 60,
            ipv4,
            ipv6: Keep,
            aliases: Box::default(),
            misfit: None,
        }
    }

    fn known(ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Option<Known> {
        Some(Known {
            ttl: 60,
            ipv4,
            ipv6,
            aliases: Box::default(),
        })
    }

    #[test]
    fn only_what_is_under_our_marker_or_as_published_is_removed() {
        fn check(
            marker: Option<&str>,
            published: Option<Known>,
            ipv4: RrsetChange<Ipv4Addr>,
            expected: Option<(RrsetChange<Ipv4Addr>, RrsetChange<Ipv6Addr>)>,
        ) {
            let ours = ours(OwnershipMode::Marker);
            let texts = marker.map(|owner| {
                let owner = owner.parse().unwrap();
                Marker::new(owner, ours.host, Nonce::from_bits(1)).to_string()
            });
            let found = Found {
                marker_texts: texts.into_iter().collect(),
                ipv4: vec![A],
                ..Found::default()
            };
            let hostname = Fqdn::parse(HOST).unwrap();
            let name = hostname.clone().into();
            let change = removal(
                &name,
                &hostname,
                &found,
                &ours,
                (published.as_ref(), None),
                &want(ipv4),
            );
            let records = change.map(|change| change.records);
            let expected = expected.map(|(ipv4, ipv6)| Records::Addresses { ipv4, ipv6 });
            assert_eq!(records, expected, "{marker:?} {published:?} {ipv4:?}");
        }
        let home = Some("home");
        check(home, known(Some(A), None), Set(A), Some((Remove, Keep)));
        check(
            home,
            known(None, Some(AAAA)),
            Set(A),
            Some((Remove, Remove)),
        );
        check(
            home,
            known(None, Some(AAAA)),
            Remove,
            Some((Remove, Remove)),
        );
        check(home, known(None, Some(AAAA)), Keep, Some((Keep, Remove)));
        check(home, None, Set(A), Some((Remove, Remove)));
        check(home, None, Keep, Some((Remove, Remove)));
        check(Some("other"), None, Set(A), None);
        check(Some("other"), known(Some(A), Some(AAAA)), Set(A), None);
        check(None, known(Some(A), None), Set(A), Some((Remove, Keep)));
        check(None, known(Some(Ipv4Addr::LOCALHOST), None), Set(A), None);
        check(None, None, Set(A), None);
    }

    #[test]
    fn the_very_marker_that_was_published_is_ours_under_a_former_owner_id() {
        fn check(found: &Marker, published: Option<&Marker>, expected: bool) {
            let hostname = Fqdn::parse(HOST).unwrap();
            let there = Found {
                marker_texts: vec![found.to_string()],
                // Not as published: nothing but the marker tells whose it is.
                ipv4: vec![Ipv4Addr::LOCALHOST],
                ..Found::default()
            };
            let known = known(Some(A), None);
            let change = removal(
                &hostname.clone().into(),
                &hostname,
                &there,
                &ours(OwnershipMode::Marker),
                (known.as_ref(), published),
                &want(Set(A)),
            );
            let basis = change.map(|change| change.basis);
            let expected = expected.then(|| Basis::Marker(found.clone()));
            assert_eq!(basis, expected, "{found} {published:?}");
        }
        let marker = |owner: &str, host: &str, nonce| {
            let host = HostDigest::of("family", host);
            Marker::new(owner.parse().unwrap(), host, Nonce::from_bits(nonce))
        };
        let former = marker("former", "home", 1);
        check(&former, Some(&former), true);
        check(&former, None, false);
        check(&former, Some(&marker("former", "home", 2)), false);
        check(&former, Some(&marker("another", "home", 1)), false);
        let stranger = marker("former", "stranger", 1);
        check(&stranger, Some(&stranger), false);
        let current = marker("home", "home", 3);
        check(&current, Some(&former), true);
    }

    #[test]
    fn an_alias_goes_with_its_host() {
        fn check(
            mode: OwnershipMode,
            kind: AliasType,
            found: Found,
            expected: Option<(Records, bool)>,
        ) {
            let name = RecordName::parse("www.home.dyn.example.org").unwrap();
            let known = Known {
                aliases: [Alias {
                    name: name.clone(),
                    kind,
                }]
                .into(),
                ..known(Some(A), None).unwrap()
            };
            let hostname = Fqdn::parse(HOST).unwrap();
            let change = removal(
                &name,
                &hostname,
                &found,
                &ours(mode),
                (Some(&known), None),
                &want(Set(A)),
            );
            let change = change.map(|c| (c.records, c.basis == Basis::Unchecked));
            assert_eq!(change, expected, "{mode:?} {kind:?} {found:?}");
        }
        use OwnershipMode::{None as Unproved, Values};
        let both = Records::Addresses {
            ipv4: Remove,
            ipv6: Remove,
        };
        let address = Found {
            ipv4: vec![A],
            ..Found::default()
        };
        let cname = |target: &str| Found {
            cname: Some(format!("{target}.")),
            ..Found::default()
        };
        check(
            Values,
            AliasType::Address,
            address.clone(),
            Some((both.clone(), false)),
        );
        check(
            Unproved,
            AliasType::Address,
            address.clone(),
            Some((both, true)),
        );
        check(
            Values,
            AliasType::Cname,
            cname(HOST),
            Some((Records::NoCname, false)),
        );
        check(Values, AliasType::Cname, cname("other.example"), None);
        check(Values, AliasType::Cname, address, None);
        check(Values, AliasType::Address, Found::default(), None);
    }

    #[test]
    fn all_names_that_may_have_records_are_looked_at_once() {
        let alias = |name: &str| Alias {
            name: RecordName::parse(name).unwrap(),
            kind: AliasType::Address,
        };
        let published = Known {
            aliases: [alias("a.dyn.example.org"), alias("b.dyn.example.org")].into(),
            ..Known::default()
        };
        let want = Desired {
            aliases: [alias("b.dyn.example.org"), alias("c.dyn.example.org")].into(),
            ..want(Keep)
        };
        let names = names(&Fqdn::parse(HOST).unwrap(), Some(&published), &want);
        let names: Vec<_> = names.iter().map(RecordName::as_str).collect();
        let expected = ["home", "a", "b", "c"].map(|label| format!("{label}.dyn.example.org"));
        assert_eq!(names, expected);
    }
}
