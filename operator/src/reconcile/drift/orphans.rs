//! Markers of ours that no host claims.

use std::collections::HashMap;

use tokio::task::yield_now;

use super::CHUNK;
use crate::index::host::Host;
use crate::index::object::ObjectKey;
use crate::reconcile::Controller;
use crate::record::drift::Orphan;
use crate::record::marker::HostDigest;

impl Controller {
    /// Counts the markers of ours whose host does not exist or does not claim the name.
    ///
    /// They are left where they are. The host may be about to be created again, and its records
    /// have to resolve until then; another cluster may write under the same owner id; its deletion
    /// may have been meant to leave them. None of this can be told from here.
    pub(super) async fn tell_orphans(
        &self,
        zone: &ObjectKey,
        orphans: Vec<Orphan>,
        further: usize,
    ) {
        let mut unclaimed: HashMap<HostDigest, Vec<Orphan>> = HashMap::new();
        for orphan in orphans {
            unclaimed.entry(orphan.host).or_default().push(orphan);
        }
        if !unclaimed.is_empty() {
            let hosts = self.index.view().ids_of_zone(zone);
            for chunk in hosts.chunks(CHUNK) {
                let hosts: Vec<_> = {
                    let view = self.index.view();
                    let hosts = chunk.iter().map(|id| view.host_of_zone(*id, zone));
                    hosts.flatten().collect()
                };
                for host in &hosts {
                    let key = &host.meta.key;
                    let digest = HostDigest::of(&key.namespace, &key.name);
                    if let Some(of_host) = unclaimed.get_mut(&digest) {
                        of_host.retain(|orphan| !self.may_have(host, orphan));
                    }
                }
                yield_now().await;
            }
        }
        let unclaimed: Vec<_> = unclaimed.into_values().flatten().collect();
        let count = unclaimed.len() + further;
        let (is_news, of_all) = self.drift.set_orphans(zone, count);
        self.metrics.set_orphaned_markers(of_all);
        if is_news && count > 0 {
            let names = unclaimed.iter().take(5).map(|orphan| orphan.name.as_str());
            let names: Vec<_> = names.collect();
            tracing::warn!(%zone, count, ?names, "markers of ours whose host does not exist");
        }
    }

    fn may_have(&self, host: &Host, orphan: &Orphan) -> bool {
        let Ok(spec) = &host.spec else {
            return true;
        };
        let published = self.progress.published(host);
        let published = published
            .iter()
            .flat_map(|state| state.known.aliases.iter());
        let mut aliases = spec.aliases.iter().chain(published);
        orphan.name == spec.hostname || aliases.any(|alias| alias.name == orphan.name)
    }
}
