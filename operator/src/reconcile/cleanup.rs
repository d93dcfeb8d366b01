//! Removes the records of a deleted host: those under our marker, and nothing else.

use dynhost_crds::host::DeletionPolicy;

use super::Controller;
use super::problem::Problem;
use super::publish::{ours, result_label, wanted};
use crate::index::host::{Host, PublishedState};
use crate::index::zone::Zone;
use crate::name::Fqdn;
use crate::provider::ApplyError;
use crate::record::change::{Basis, Found, HostChange, Known, RrsetChange};
use crate::record::desired::Desired;
use crate::record::plan::{Ours, is_as_published, our_marker};

/// Attempts of one reconcile; more mean that somebody writes the same records all the time.
const ATTEMPTS: usize = 4;

impl Controller {
    /// Removes what we published and what we may have published without having said so yet.
    pub(super) async fn clean_up(&self, host: &Host, zone: Option<&Zone>) -> Result<(), Problem> {
        let spec = host.spec.as_ref().map_err(|_| Problem::ZoneGone)?;
        if spec.deletion_policy == DeletionPolicy::Retain {
            return Ok(());
        }
        // Whoever may create hosts may put our finalizer on one that no zone has ever admitted. It
        // has no records, and must not have a zone's credentials used for it.
        let admitted = self.index.view().admission(host).is_ok();
        if zone.is_some() && !admitted && !host.is_known() {
            return Ok(());
        }
        let zone = zone.ok_or(Problem::ZoneGone)?;
        let access = self
            .zones
            .access(&self.client, zone)
            .ok_or(Problem::ZoneGone)?;
        let ours = ours(host, zone).ok_or(Problem::ZoneGone)?;
        let want = wanted(host, zone).ok_or(Problem::ZoneGone)?;
        let published = self.progress.published(host);
        let published = published.as_ref().map(PublishedState::known);
        let mut detail = String::new();
        for _ in 0..ATTEMPTS {
            let found = access
                .provider
                .read(&spec.hostname)
                .await
                .map_err(Problem::from)
                .inspect_err(|problem| access.failed(problem))?;
            let Some(change) = removal(&spec.hostname, &found, &ours, published, &want) else {
                return Ok(());
            };
            let is_unmarked = matches!(change.basis, Basis::Rrsets { .. });
            let applied = access.lane.apply(change).await;
            self.metrics.count_dns_change(result_label(&applied));
            match applied {
                Ok(_) => return Ok(()),
                // The server has proved that they are not as we published them, or are marked by
                // somebody else: nothing of ours is there.
                Err(ApplyError::PreconditionFailed(_)) if is_unmarked => return Ok(()),
                Err(ApplyError::PreconditionFailed(why) | ApplyError::Unknown(why)) => detail = why,
                Err(error) => {
                    let problem = Problem::from(error);
                    access.failed(&problem);
                    return Err(problem);
                }
            }
        }
        Err(Problem::Unavailable {
            detail,
            retry_after: None,
        })
    }
}

/// The change that removes a host's records; `None`: nothing of ours is there.
///
/// Without our marker only records that are exactly as published are taken for ours.
fn removal(
    name: &Fqdn,
    found: &Found,
    ours: &Ours,
    published: Option<Known>,
    want: &Desired,
) -> Option<HostChange> {
    let basis = match (our_marker(found, ours), published) {
        (Some(marker), _) => Basis::Marker(marker),
        (None, Some(published)) if is_as_published(found, published) => Basis::Rrsets {
            ipv4: published.ipv4,
            ipv6: published.ipv6,
        },
        (None, _) => return None,
    };
    // A host that never said what it published may own all that stands under its marker: it died
    // before it could, or was re-created over the records of its former life. A family that is no
    // longer wanted may have been written by a message whose outcome nobody knows.
    let all = published.is_none();
    let remove_ipv4 =
        all || published.is_some_and(|p| p.ipv4.is_some()) || want.ipv4 != RrsetChange::Keep;
    let remove_ipv6 =
        all || published.is_some_and(|p| p.ipv6.is_some()) || want.ipv6 != RrsetChange::Keep;
    Some(HostChange {
        name: name.clone(),
        ttl: want.ttl,
        ipv4: remove_if(remove_ipv4),
        ipv6: remove_if(remove_ipv6),
        marker: None,
        basis,
    })
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
    use crate::record::marker::{HostDigest, Marker, Nonce};

    const A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const AAAA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

    use RrsetChange::{Keep, Remove, Set};

    #[test]
    fn only_what_is_under_our_marker_or_as_published_is_removed() {
        fn check(
            marker: Option<&str>,
            published: Option<Known>,
            want: RrsetChange<Ipv4Addr>,
            expected: Option<(RrsetChange<Ipv4Addr>, RrsetChange<Ipv6Addr>)>,
        ) {
            let ours = Ours {
                owner: "home".parse().unwrap(),
                host: HostDigest::of("family", "home"),
            };
            let texts = marker.map(|owner| {
                let owner = owner.parse().unwrap();
                Marker::new(owner, ours.host, Nonce::from_bits(1)).to_string()
            });
            let found = Found {
                marker_texts: texts.into_iter().collect(),
                ipv4: vec![A],
                ipv6: vec![],
                cname: None,
            };
            let want = Desired {
                ttl: 60,
                ipv4: want,
                ipv6: Keep,
            };
            let name = Fqdn::parse("home.dyn.example.org").unwrap();
            let change = removal(&name, &found, &ours, published, &want);
            let families = change.map(|change| (change.ipv4, change.ipv6));
            assert_eq!(families, expected, "{marker:?} {published:?} {want:?}");
        }
        let known = |ipv4, ipv6| {
            Some(Known {
                ttl: 60,
                ipv4,
                ipv6,
            })
        };
        check(
            Some("home"),
            known(Some(A), None),
            Set(A),
            Some((Remove, Keep)),
        );
        check(
            Some("home"),
            known(None, Some(AAAA)),
            Set(A),
            Some((Remove, Remove)),
        );
        check(
            Some("home"),
            known(None, Some(AAAA)),
            Remove,
            Some((Remove, Remove)),
        );
        check(
            Some("home"),
            known(None, Some(AAAA)),
            Keep,
            Some((Keep, Remove)),
        );
        check(Some("home"), None, Set(A), Some((Remove, Remove)));
        check(Some("home"), None, Keep, Some((Remove, Remove)));
        check(Some("other"), None, Set(A), None);
        check(Some("other"), known(Some(A), Some(AAAA)), Set(A), None);
        check(None, known(Some(A), None), Set(A), Some((Remove, Keep)));
        check(None, known(Some(Ipv4Addr::LOCALHOST), None), Set(A), None);
        check(None, None, Set(A), None);
    }
}
