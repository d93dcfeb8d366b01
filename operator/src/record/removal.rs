//! Which records of a host are removed with it.

use dynhost_crds::host::AliasType;
use dynhost_crds::zone::OwnershipMode;

use super::attempt::published_at;
use super::change::{Basis, Found, Known, NameChange, Records, RrsetChange};
use super::desired::Desired;
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
/// Without our marker only records that are exactly as published are taken for ours.
pub fn removal(
    name: &RecordName,
    hostname: &Fqdn,
    found: &Found,
    ours: &Ours,
    published: Option<&Known>,
    want: &Desired,
) -> Option<NameChange> {
    let nothing = Known::default();
    let at_name = published_at(published.unwrap_or(&nothing), hostname, name);
    let basis = match our_marker(found, ours) {
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
