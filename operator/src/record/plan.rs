//! Which change takes DNS from what was last published to what is desired, on which basis, and
//! what to do when the basis turns out not to hold.

use super::change::{Basis, Found, Known, RrsetChange};
use super::desired::Desired;
use super::marker::{HostDigest, Marker, OwnerId};

/// A change is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub basis: Basis,
    /// What DNS will say when the change is applied.
    pub after: Known,
    /// Whether a marker stays beside the records: it goes with the last of them.
    pub keeps_marker: bool,
}

/// Plans the change from `known`, written under `marker`, to `desired`; `None`: DNS says it already.
pub fn plan(desired: &Desired, known: Known, marker: Option<&Marker>) -> Option<Plan> {
    let after = after(desired, known);
    let same_ttl = after.ttl == known.ttl || (after.ipv4.is_none() && after.ipv6.is_none());
    if (after.ipv4, after.ipv6) == (known.ipv4, known.ipv6) && same_ttl {
        return None;
    }
    Some(Plan::on(basis_of(marker), after))
}

/// What must hold in DNS for a change of what was written under `marker`.
pub fn basis_of(marker: Option<&Marker>) -> Basis {
    marker.cloned().map_or(Basis::Absent, Basis::Marker)
}

impl Plan {
    /// A change on this basis after which DNS says `after`.
    pub fn on(basis: Basis, after: Known) -> Self {
        Self {
            basis,
            after,
            keeps_marker: after.ipv4.is_some() || after.ipv6.is_some(),
        }
    }
}

/// What DNS will say once `desired` is applied to `known`.
pub fn after(desired: &Desired, known: Known) -> Known {
    fn family<A>(change: RrsetChange<A>, known: Option<A>) -> Option<A> {
        match change {
            RrsetChange::Keep => known,
            RrsetChange::Set(address) => Some(address),
            RrsetChange::Remove => None,
        }
    }
    Known {
        ttl: desired.ttl,
        ipv4: family(desired.ipv4, known.ipv4),
        ipv6: family(desired.ipv6, known.ipv6),
    }
}

/// Whose records a host's are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    pub owner: OwnerId,
    pub host: HostDigest,
}

/// How to go on after a basis was refused or an outcome stayed unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Our message was applied after all.
    Applied,
    /// Try again on this basis.
    Retry(Basis),
    /// Somebody else's records are there.
    Foreign(String),
}

/// What is known when a change has to be tried again.
#[derive(Debug)]
pub struct Attempted<'a> {
    /// The marker of the message whose outcome is to be found out; `None`: it removed the marker.
    pub sent: Option<&'a Marker>,
    /// The bases that the server has refused since this change was begun.
    pub refused: &'a [Basis],
    /// What we last published, where anything.
    pub published: Option<Known>,
    /// The zone's administrator lets dynhost take this name over.
    pub adopt: bool,
}

/// Decides from what DNS was found to hold.
///
/// A query proves the presence of our own marker and of nothing else: below a wildcard it answers
/// with the wildcard's data. So where our marker is not found, the bases that hold only where
/// nothing foreign stands are tried in turn, and the server's prerequisites are the proof.
pub fn recover(found: &Found, ours: &Ours, attempted: &Attempted<'_>) -> Recovery {
    if let Some(marker) = our_marker(found, ours) {
        if attempted.sent == Some(&marker) {
            return Recovery::Applied;
        }
        let basis = Basis::Marker(marker);
        // The marker was right and still refused: the other prerequisite of the message failed.
        if attempted.refused.contains(&basis) && !attempted.adopt {
            return match &found.cname {
                Some(target) => Recovery::Foreign(format!("a CNAME to {target} is at the name")),
                None => Recovery::Retry(basis),
            };
        }
        if attempted.adopt && found.cname.is_some() {
            return Recovery::Retry(Basis::Adopt);
        }
        return Recovery::Retry(basis);
    }
    if attempted.adopt {
        return Recovery::Retry(Basis::Adopt);
    }
    let restore = attempted.published.filter(|p| is_as_published(found, *p));
    let restore = restore.map(|p| Basis::Rrsets {
        ipv4: p.ipv4,
        ipv6: p.ipv6,
    });
    [restore, Some(Basis::Absent)]
        .into_iter()
        .flatten()
        .find(|basis| !attempted.refused.contains(basis))
        .map_or_else(|| Recovery::Foreign(describe(found)), Recovery::Retry)
}

/// The one marker of this owner and host, whatever its nonce.
pub fn our_marker(found: &Found, ours: &Ours) -> Option<Marker> {
    let [text] = found.marker_texts.as_slice() else {
        return None;
    };
    let marker = Marker::parse(text).ok()?;
    marker.is_of(&ours.owner, &ours.host).then_some(marker)
}

/// Whether the address RRsets are exactly what we last published, and something was.
pub fn is_as_published(found: &Found, published: Known) -> bool {
    let something = published.ipv4.is_some() || published.ipv6.is_some();
    something
        && found.cname.is_none()
        && found.ipv4.iter().eq(published.ipv4.iter())
        && found.ipv6.iter().eq(published.ipv6.iter())
}

fn describe(found: &Found) -> String {
    let addresses = found.ipv4.iter().map(ToString::to_string);
    let addresses = addresses.chain(found.ipv6.iter().map(ToString::to_string));
    let cname = found
        .cname
        .iter()
        .map(|target| format!("a CNAME to {target}"));
    let markers = found.marker_texts.iter();
    let markers = markers.map(|text| match Marker::parse(text) {
        Ok(marker) => format!("the marker of owner {}", marker.owner),
        Err(_) => "a TXT record at the marker's name".to_owned(),
    });
    let all: Vec<_> = cname.chain(markers).chain(addresses).take(4).collect();
    match all.is_empty() {
        true => "records that a query does not show are at the name".to_owned(),
        false => format!("found there: {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::record::marker::Nonce;

    const A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);
    const AAAA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

    fn marker(owner: &str, nonce: u64) -> Marker {
        Marker::new(
            owner.parse().unwrap(),
            HostDigest::of("family", "home"),
            Nonce::from_bits(nonce),
        )
    }

    fn known(ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Known {
        Known {
            ttl: 60,
            ipv4,
            ipv6,
        }
    }

    #[test]
    fn a_change_is_planned_only_where_dns_would_say_something_else() {
        use RrsetChange::{Keep, Remove, Set};
        fn check(
            desired: (u32, RrsetChange<Ipv4Addr>, RrsetChange<Ipv6Addr>),
            before: Known,
            expected: Option<(Known, bool)>,
        ) {
            let (ttl, ipv4, ipv6) = desired;
            let desired = Desired { ttl, ipv4, ipv6 };
            let marker = (before != Known::default()).then(|| marker("home", 1));
            let plan = plan(&desired, before, marker.as_ref());
            let basis = marker.map_or(Basis::Absent, Basis::Marker);
            let expected = expected.map(|(after, keeps_marker)| Plan {
                basis,
                after,
                keeps_marker,
            });
            assert_eq!(plan, expected, "{desired:?} from {before:?}");
        }
        let nothing = Known::default();
        let both = known(Some(A), Some(AAAA));
        check((60, Keep, Keep), nothing, None);
        check((60, Keep, Remove), nothing, None);
        check(
            (60, Set(A), Keep),
            nothing,
            Some((known(Some(A), None), true)),
        );
        check((60, Set(A), Set(AAAA)), both, None);
        check((60, Keep, Keep), both, None);
        check(
            (60, Set(B), Keep),
            both,
            Some((known(Some(B), Some(AAAA)), true)),
        );
        check(
            (60, Remove, Keep),
            both,
            Some((known(None, Some(AAAA)), true)),
        );
        check((60, Remove, Remove), both, Some((known(None, None), false)));
        let longer = Known { ttl: 90, ..both };
        check((90, Set(A), Set(AAAA)), both, Some((longer, true)));
    }

    #[test]
    fn recovery_takes_what_is_ours_and_leaves_what_is_not() {
        struct Case {
            found: Found,
            sent: Option<Marker>,
            refused: Vec<Basis>,
            published: Option<Known>,
            adopt: bool,
        }
        fn check(name: &str, case: Case, expected: &Recovery) {
            let ours = Ours {
                owner: "home".parse().unwrap(),
                host: HostDigest::of("family", "home"),
            };
            let attempted = Attempted {
                sent: case.sent.as_ref(),
                refused: &case.refused,
                published: case.published,
                adopt: case.adopt,
            };
            let recovery = recover(&case.found, &ours, &attempted);
            match (&recovery, expected) {
                (Recovery::Foreign(_), Recovery::Foreign(_)) => {}
                _ => assert_eq!(&recovery, expected, "{name}"),
            }
        }
        let found = |marker: Option<&Marker>, ipv4: &[Ipv4Addr]| Found {
            marker_texts: marker.iter().map(ToString::to_string).collect(),
            ipv4: ipv4.to_vec(),
            ..Found::default()
        };
        let case = |found: Found| Case {
            found,
            sent: Some(marker("home", 9)),
            refused: vec![],
            published: None,
            adopt: false,
        };
        let ours = |nonce| Basis::Marker(marker("home", nonce));
        let foreign = Recovery::Foreign(String::new());
        let restore = Basis::Rrsets {
            ipv4: Some(A),
            ipv6: None,
        };
        let cname = Found {
            cname: Some("elsewhere.example".to_owned()),
            ..Found::default()
        };

        let applied = case(found(Some(&marker("home", 9)), &[A]));
        check("our own message arrived", applied, &Recovery::Applied);
        check(
            "ours from an earlier life",
            case(found(Some(&marker("home", 5)), &[A])),
            &Recovery::Retry(ours(5)),
        );
        check(
            "ours, and a CNAME was put beside it",
            Case {
                refused: vec![ours(5)],
                found: Found {
                    cname: cname.cname.clone(),
                    ..found(Some(&marker("home", 5)), &[])
                },
                ..case(Found::default())
            },
            &foreign,
        );
        check(
            "nothing there after an unknown outcome",
            case(Found::default()),
            &Recovery::Retry(Basis::Absent),
        );
        check(
            "a wildcard's data after an unknown outcome: the server is asked",
            case(found(None, &[B])),
            &Recovery::Retry(Basis::Absent),
        );
        for (name, there) in [
            ("a foreign address", found(None, &[B])),
            ("a foreign CNAME", cname),
            (
                "another owner's marker",
                found(Some(&marker("other", 5)), &[A]),
            ),
            ("two markers", {
                let mut two = found(Some(&marker("home", 5)), &[A]);
                two.marker_texts.push(marker("other", 5).to_string());
                two
            }),
        ] {
            let refused = vec![Basis::Absent];
            let case = |adopt| Case {
                refused: refused.clone(),
                adopt,
                ..case(there.clone())
            };
            check(name, case(false), &foreign);
            check(name, case(true), &Recovery::Retry(Basis::Adopt));
        }
        let lost = |refused: Vec<Basis>| Case {
            refused,
            published: Some(known(Some(A), None)),
            ..case(found(None, &[A]))
        };
        check(
            "the marker was deleted, the records are as published",
            lost(vec![ours(5)]),
            &Recovery::Retry(restore.clone()),
        );
        check(
            "only a wildcard still says so",
            lost(vec![ours(5), restore.clone()]),
            &Recovery::Retry(Basis::Absent),
        );
        check(
            "neither holds",
            lost(vec![ours(5), restore, Basis::Absent]),
            &foreign,
        );
        check(
            "the zone was wiped",
            Case {
                refused: vec![ours(5)],
                published: Some(known(Some(A), None)),
                ..case(Found::default())
            },
            &Recovery::Retry(Basis::Absent),
        );
    }
}
