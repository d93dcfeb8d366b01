//! What to do with a name whose basis was refused, or when the outcome of a message is unknown.

use std::net::{Ipv4Addr, Ipv6Addr};

use dynhost_crds::zone::OwnershipMode;

use super::change::{Basis, Found, Records, RrsetChange};
use super::marker::{HostDigest, Marker, OwnerId};
use crate::name::Fqdn;

/// Whose records a host's are, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    pub owner: OwnerId,
    pub host: HostDigest,
    pub mode: OwnershipMode,
}

/// The RRsets of ours at one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AtName {
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub cname: Option<Fqdn>,
}

/// How to go on with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Our message was applied after all.
    Applied,
    /// Try again on this basis.
    Retry(Basis),
    /// Somebody else's records are there.
    Foreign(String),
}

/// What is known when a name has to be tried again.
#[derive(Debug)]
pub struct Attempted<'a> {
    /// The marker of the message whose outcome is to be found out; `None`: it wrote none.
    pub sent: Option<&'a Marker>,
    /// What that message was to bring to the name.
    pub records: &'a Records,
    /// The bases that the server has refused for this name alone since the change was begun.
    pub refused: &'a [Basis],
    /// What we last published at the name; empty: nothing.
    pub published: &'a AtName,
    /// The zone's administrator lets dynhost take this name over.
    pub adopt: bool,
}

impl AtName {
    /// Whether nothing of ours is there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The basis that holds where there is no marker and the RRsets are these.
    pub fn basis(&self) -> Basis {
        Basis::Rrsets {
            ipv4: self.ipv4,
            ipv6: self.ipv6,
            cname: self.cname.clone(),
        }
    }

    /// Whether exactly these RRsets were found, and there is at least one.
    pub fn is_found(&self, found: &Found) -> bool {
        !self.is_empty()
            && found.ipv4.iter().eq(self.ipv4.iter())
            && found.ipv6.iter().eq(self.ipv6.iter())
            && is_target(found.cname.as_deref(), self.cname.as_ref())
    }
}

fn is_target(found: Option<&str>, expected: Option<&Fqdn>) -> bool {
    let found = found.map(|target| Fqdn::parse(target).ok());
    found == expected.map(|target| Some(target.clone()))
}

/// Decides from what DNS was found to hold.
///
/// A query proves the presence of our own marker and of nothing else: below a wildcard it answers
/// with the wildcard's data. So where our marker is not found, the bases that hold only where
/// nothing foreign stands are tried in turn, and the server's prerequisites are the proof. Without
/// prerequisites (mode `None`) a query's word has to do.
pub fn recover(found: &Found, ours: &Ours, attempted: &Attempted<'_>) -> Recovery {
    if ours.mode == OwnershipMode::None {
        return recover_unchecked(found, ours, attempted);
    }
    if let Some(marker) = our_marker(found, ours) {
        return recover_marked(found, marker, attempted);
    }
    // Without a marker our own message is known by what it brought.
    if ours.mode == OwnershipMode::Values && is_brought(found, attempted.records) {
        return Recovery::Applied;
    }
    let candidates = match attempted.adopt {
        // A text below a wildcard may be the wildcard's: then there is none.
        true => {
            let as_found = Basis::Adopt {
                marker_texts: found.marker_texts.clone(),
            };
            let unmarked = Basis::Adopt {
                marker_texts: Vec::new(),
            };
            [Some(as_found), Some(unmarked)]
        }
        false => {
            let is_there = attempted.published.is_found(found);
            let restore = is_there.then(|| attempted.published.basis());
            [restore, Some(Basis::Absent)]
        }
    };
    candidates
        .into_iter()
        .flatten()
        .find(|basis| !attempted.refused.contains(basis))
        .map_or_else(|| Recovery::Foreign(describe(found)), Recovery::Retry)
}

fn recover_marked(found: &Found, marker: Marker, attempted: &Attempted<'_>) -> Recovery {
    if attempted.sent == Some(&marker) {
        return Recovery::Applied;
    }
    let basis = Basis::Marker(marker);
    let is_alias = matches!(attempted.records, Records::Cname { .. } | Records::NoCname);
    if attempted.adopt && found.cname.is_some() && !is_alias {
        let marker_texts = found.marker_texts.clone();
        return Recovery::Retry(Basis::Adopt { marker_texts });
    }
    // The marker was right and still refused: the other prerequisite of the message failed.
    if attempted.refused.contains(&basis) {
        match attempted.records {
            Records::Cname { stands: false, .. } if found.cname.is_none() => {
                return Recovery::Foreign(format!("beside a CNAME of ours; {}", describe(found)));
            }
            Records::Addresses { .. } if found.cname.is_some() => {
                let target = found.cname.as_deref().unwrap_or_default();
                return Recovery::Foreign(format!("a CNAME to {target} is at the name"));
            }
            _ => {}
        }
    }
    Recovery::Retry(basis)
}

fn recover_unchecked(found: &Found, ours: &Ours, attempted: &Attempted<'_>) -> Recovery {
    if is_brought(found, attempted.records) && found.marker_texts.is_empty() {
        return Recovery::Applied;
    }
    let is_free = *found == Found::default();
    let is_ours = our_marker(found, ours).is_some() || attempted.published.is_found(found);
    let may_write = is_free || is_ours || attempted.adopt;
    match may_write && !is_ignored(found, attempted.records) {
        true => Recovery::Retry(Basis::Unchecked),
        false => Recovery::Foreign(describe(found)),
    }
}

/// Whether a server would ignore in silence what is to be added, for what stands there already
/// (RFC 2136 section 3.4.2.2).
fn is_ignored(found: &Found, records: &Records) -> bool {
    match records {
        Records::Addresses { ipv4, ipv6 } => {
            let adds = matches!(ipv4, RrsetChange::Set(_)) || matches!(ipv6, RrsetChange::Set(_));
            adds && found.cname.is_some()
        }
        Records::Cname { .. } => !found.ipv4.is_empty() || !found.ipv6.is_empty(),
        Records::NoCname => false,
    }
}

/// Whether the name holds what a message was to bring, and nothing else.
fn is_brought(found: &Found, records: &Records) -> bool {
    fn family<A: PartialEq>(found: &[A], change: RrsetChange<A>) -> bool {
        match change {
            RrsetChange::Keep => true,
            RrsetChange::Set(address) => found == [address],
            RrsetChange::Remove => found.is_empty(),
        }
    }
    match records {
        Records::Addresses { ipv4, ipv6 } => {
            family(&found.ipv4, *ipv4) && family(&found.ipv6, *ipv6) && found.cname.is_none()
        }
        Records::Cname { target, .. } => is_target(found.cname.as_deref(), Some(target)),
        Records::NoCname => found.cname.is_none(),
    }
}

/// The one marker of this owner and host, whatever its nonce.
pub fn our_marker(found: &Found, ours: &Ours) -> Option<Marker> {
    let [text] = found.marker_texts.as_slice() else {
        return None;
    };
    let marker = Marker::parse(text).ok()?;
    marker.is_of(&ours.owner, &ours.host).then_some(marker)
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
    use super::*;
    use crate::record::marker::Nonce;

    const A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);

    fn marker(owner: &str, nonce: u64) -> Marker {
        let host = HostDigest::of("family", "home");
        Marker::new(owner.parse().unwrap(), host, Nonce::from_bits(nonce))
    }

    fn found(marker: Option<&Marker>, ipv4: &[Ipv4Addr]) -> Found {
        Found {
            marker_texts: marker.iter().map(ToString::to_string).collect(),
            ipv4: ipv4.to_vec(),
            ..Found::default()
        }
    }

    struct Case {
        mode: OwnershipMode,
        found: Found,
        refused: Vec<Basis>,
        published: Option<Ipv4Addr>,
        adopt: bool,
    }

    fn case(found: Found) -> Case {
        Case {
            mode: OwnershipMode::Marker,
            found,
            refused: vec![],
            published: None,
            adopt: false,
        }
    }

    /// A message that was to bring the address `A` under the marker with nonce 9.
    fn check(name: &str, case: Case, expected: &Recovery) {
        let ours = Ours {
            owner: "home".parse().unwrap(),
            host: HostDigest::of("family", "home"),
            mode: case.mode,
        };
        let sent = marker("home", 9);
        let published = AtName {
            ipv4: case.published,
            ..AtName::default()
        };
        let attempted = Attempted {
            sent: Some(&sent).filter(|_| case.mode == OwnershipMode::Marker),
            records: &Records::Addresses {
                ipv4: RrsetChange::Set(A),
                ipv6: RrsetChange::Keep,
            },
            refused: &case.refused,
            published: &published,
            adopt: case.adopt,
        };
        let recovery = recover(&case.found, &ours, &attempted);
        match (&recovery, expected) {
            (Recovery::Foreign(_), Recovery::Foreign(_)) => {}
            _ => assert_eq!(&recovery, expected, "{name}"),
        }
    }

    fn ours(nonce: u64) -> Basis {
        Basis::Marker(marker("home", nonce))
    }

    fn foreign() -> Recovery {
        Recovery::Foreign(String::new())
    }

    fn cname() -> Found {
        Found {
            cname: Some("elsewhere.example".to_owned()),
            ..Found::default()
        }
    }

    fn as_published() -> Basis {
        let published = AtName {
            ipv4: Some(A),
            ..AtName::default()
        };
        published.basis()
    }

    #[test]
    fn what_is_under_our_marker_is_ours() {
        let applied = case(found(Some(&marker("home", 9)), &[A]));
        check("our own message arrived", applied, &Recovery::Applied);
        let former = case(found(Some(&marker("home", 5)), &[A]));
        check("an earlier life's", former, &Recovery::Retry(ours(5)));
        let beside = Case {
            refused: vec![ours(5)],
            ..case(Found {
                cname: cname().cname,
                ..found(Some(&marker("home", 5)), &[])
            })
        };
        check("a CNAME was put beside it", beside, &foreign());
    }

    #[test]
    fn what_is_not_marked_is_proved_by_the_server_or_left_alone() {
        let empty = case(Found::default());
        check("nothing there", empty, &Recovery::Retry(Basis::Absent));
        let wildcard = case(found(None, &[B]));
        check(
            "perhaps a wildcard's",
            wildcard,
            &Recovery::Retry(Basis::Absent),
        );
        let mut two = found(Some(&marker("home", 5)), &[A]);
        two.marker_texts.push(marker("other", 5).to_string());
        for (name, there) in [
            ("a foreign address", found(None, &[B])),
            ("a foreign CNAME", cname()),
            (
                "another owner's marker",
                found(Some(&marker("other", 5)), &[A]),
            ),
            ("two markers", two),
        ] {
            let refused = |refused, adopt| Case {
                refused,
                adopt,
                ..case(there.clone())
            };
            check(name, refused(vec![Basis::Absent], false), &foreign());
            let as_found = Basis::Adopt {
                marker_texts: there.marker_texts.clone(),
            };
            let unmarked = Basis::Adopt {
                marker_texts: vec![],
            };
            let consented = refused(vec![Basis::Absent], true);
            check(name, consented, &Recovery::Retry(as_found.clone()));
            if !there.marker_texts.is_empty() {
                let wildcard = refused(vec![as_found.clone()], true);
                check(name, wildcard, &Recovery::Retry(unmarked.clone()));
            }
            check(name, refused(vec![as_found, unmarked], true), &foreign());
        }
    }

    #[test]
    fn a_lost_marker_is_restored_where_the_records_are_as_published() {
        let lost = |refused| Case {
            refused,
            published: Some(A),
            ..case(found(None, &[A]))
        };
        let restore = as_published();
        check(
            "the marker was deleted",
            lost(vec![ours(5)]),
            &Recovery::Retry(restore.clone()),
        );
        let wildcard = lost(vec![ours(5), restore.clone()]);
        check(
            "only a wildcard says so",
            wildcard,
            &Recovery::Retry(Basis::Absent),
        );
        check(
            "neither holds",
            lost(vec![ours(5), restore, Basis::Absent]),
            &foreign(),
        );
        let wiped = Case {
            refused: vec![ours(5)],
            published: Some(A),
            ..case(Found::default())
        };
        check("the zone was wiped", wiped, &Recovery::Retry(Basis::Absent));
    }

    #[test]
    fn without_markers_the_records_themselves_are_the_proof() {
        let values = |found, published, refused| Case {
            mode: OwnershipMode::Values,
            published,
            refused,
            ..case(found)
        };
        let there = values(found(None, &[A]), None, vec![Basis::Absent]);
        check("what was to be there is", there, &Recovery::Applied);
        let former = values(found(None, &[B]), Some(B), vec![]);
        let basis = AtName {
            ipv4: Some(B),
            ..AtName::default()
        };
        check("as published", former, &Recovery::Retry(basis.basis()));
        let other = values(found(None, &[B]), None, vec![Basis::Absent]);
        check("something else", other, &foreign());
        let marked = values(found(Some(&marker("home", 5)), &[B]), Some(B), vec![]);
        check("marked by us before", marked, &Recovery::Retry(ours(5)));
    }

    #[test]
    fn without_prerequisites_a_query_has_to_do() {
        let none = |found, published, adopt| Case {
            mode: OwnershipMode::None,
            published,
            adopt,
            ..case(found)
        };
        let unchecked = Recovery::Retry(Basis::Unchecked);
        check(
            "nothing there",
            none(Found::default(), None, false),
            &unchecked,
        );
        check(
            "as published",
            none(found(None, &[B]), Some(B), false),
            &unchecked,
        );
        check(
            "right already",
            none(found(None, &[A]), None, false),
            &Recovery::Applied,
        );
        check(
            "something else",
            none(found(None, &[B]), None, false),
            &foreign(),
        );
        check("consented", none(found(None, &[B]), None, true), &unchecked);
        check("a CNAME", none(cname(), None, false), &foreign());
        check("consented, a CNAME", none(cname(), None, true), &foreign());
        let marked = Found {
            cname: cname().cname,
            ..found(Some(&marker("home", 5)), &[])
        };
        check(
            "a CNAME put beside it",
            none(marked, None, false),
            &foreign(),
        );
    }
}
