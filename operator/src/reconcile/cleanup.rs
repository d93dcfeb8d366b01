//! Removes the records of a host: those under our marker, and nothing else.

use std::mem;
use std::sync::Arc;

use dynhost_crds::host::DeletionPolicy;
use futures::future::try_join_all;

use super::Controller;
use super::problem::Problem;
use super::publish::{Subject, ours, result_label, wanted};
use super::zone::ZoneAccess;
use crate::index::host::{Host, HostSpec, PublishedState};
use crate::index::zone::Zone;
use crate::name::RecordName;
use crate::provider::ApplyError;
use crate::record::change::HostChange;
use crate::record::desired::Desired;
use crate::record::removal::{names, removal};

/// Attempts of one reconcile; more mean that somebody writes the same records all the time.
const ATTEMPTS: usize = 4;

impl Controller {
    /// Removes the records of a deleted host.
    pub(super) async fn clean_up(&self, host: &Host, zone: Option<&Zone>) -> Result<(), Problem> {
        let spec = host.spec.as_ref().map_err(|_| Problem::ZoneGone)?;
        if !self.takes_records_along(host, spec) {
            return Ok(());
        }
        self.remove_records(host, spec, zone.ok_or(Problem::ZoneGone)?)
            .await
    }

    /// Whether the end of the host is that of its records.
    pub(super) fn takes_records_along(&self, host: &Host, spec: &HostSpec) -> bool {
        // Whoever may create hosts may put our finalizer on one that no zone has ever admitted. It
        // has no records, and must not have a zone's credentials used for it.
        let is_the_zones = || host.is_known() || self.index.view().admission(host).is_ok();
        spec.deletion_policy == DeletionPolicy::Delete && is_the_zones()
    }

    /// Removes what we published and what we may have published without having said so yet.
    pub(super) async fn remove_records(
        &self,
        host: &Host,
        spec: &HostSpec,
        zone: &Zone,
    ) -> Result<(), Problem> {
        // An old list may show a host that another one of its name, with the same marker, has
        // followed, or one that is not to lose its records any more.
        let fresh = Box::pin(self.get_host(&host.meta.key)).await?;
        let is_this = |fresh: &Host| {
            fresh.meta.uid == host.meta.uid && fresh.meta.deleting == host.meta.deleting
        };
        let fresh = fresh.filter(is_this).ok_or(Problem::HostGone)?;
        let access = self.zones.access(zone).ok_or(Problem::ZoneGone)?;
        // It may know of more.
        let host = Arc::new(fresh);
        let prefix = self.index.view().prefix_of(&host);
        let subject = Subject { host, prefix };
        let mut want = wanted(&subject, zone).ok_or(Problem::ZoneGone)?;
        let pending = &subject.host.pending;
        want.aliases = want.aliases.iter().chain(pending).cloned().collect();
        let mut published = self.progress.published(&subject.host);
        if let Some(published) = &mut published {
            let published = Arc::make_mut(published);
            let known = mem::take(&mut published.known);
            published.known = known.with(pending);
        }
        let known = published.as_deref().map(|published| &published.known);
        let names = names(&spec.hostname, known, &want);
        // All names in one message; where that is refused, each for itself.
        match self
            .remove_names(&subject, zone, &access, published.as_deref(), &want, &names)
            .await
        {
            Err(Problem::Unsettled(_)) if names.len() > 1 => {
                for name in &names {
                    let name = std::slice::from_ref(name);
                    self.remove_names(&subject, zone, &access, published.as_deref(), &want, name)
                        .await?;
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn remove_names(
        &self,
        subject: &Subject,
        zone: &Zone,
        access: &ZoneAccess,
        published: Option<&PublishedState>,
        want: &Desired,
        names: &[RecordName],
    ) -> Result<(), Problem> {
        let ours = ours(&subject.host, zone).ok_or(Problem::ZoneGone)?;
        let marker = published.and_then(|published| published.marker.as_ref());
        let published = (published.map(|published| &published.known), marker);
        let hostname = &subject
            .host
            .spec
            .as_ref()
            .map_err(|_| Problem::ZoneGone)?
            .hostname;
        let mut detail = String::new();
        for _ in 0..ATTEMPTS {
            let found = try_join_all(names.iter().map(|name| access.provider.read(name)))
                .await
                .map_err(Problem::from)
                .inspect_err(|problem| access.failed(problem))?;
            let changes = names
                .iter()
                .zip(&found)
                .filter_map(|(name, found)| removal(name, hostname, found, &ours, published, want));
            let change = HostChange {
                ttl: want.ttl,
                names: changes.collect(),
            };
            if change.names.is_empty() {
                return Ok(());
            }
            let is_unmarked = change.names.iter().all(|name| name.basis.is_unmarked());
            let is_single = change.names.len() == 1;
            let applied = access.lane.apply(change).await;
            self.metrics.count_dns_change(result_label(&applied));
            match applied {
                Ok(_) => return Ok(()),
                // The server has proved that they are not as we published them, or are marked by
                // somebody else: nothing of ours is there.
                Err(ApplyError::PreconditionFailed(_)) if is_unmarked && is_single => return Ok(()),
                Err(ApplyError::PreconditionFailed(why) | ApplyError::Unknown(why)) => detail = why,
                Err(error) => {
                    let problem = Problem::from(error);
                    access.failed(&problem);
                    return Err(problem);
                }
            }
        }
        Err(Problem::Unsettled(detail))
    }
}
