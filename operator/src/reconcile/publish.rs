//! Brings a host's records to what is desired, or finds out why not.
//!
//! The message goes out on the basis of what we last wrote. Where that does not hold, or the
//! outcome stays unknown, it is found out in this order: what DNS says, what the API server says
//! of the host, and only then what to do ([`recover`]).

use std::sync::Arc;

use dynhost_crds::host::DynamicHost;
use jiff::Timestamp;
use kube::api::Api;

use super::Controller;
use super::problem::Problem;
use super::zone::ZoneAccess;
use crate::admission::Admitted;
use crate::deadline::{CALL, within};
use crate::index::host::{Host, PublishedState};
use crate::index::stored::Stored;
use crate::index::zone::Zone;
use crate::provider::ApplyError;
use crate::record::change::{Basis, Found, HostChange, Known};
use crate::record::desired::{Desired, desired};
use crate::record::marker::{HostDigest, Marker, Nonce};
use crate::record::plan::{Attempted, Ours, Plan, Recovery, after, basis_of, plan, recover};

/// Attempts of one reconcile; more mean that somebody writes the same records all the time.
const ATTEMPTS: usize = 8;

impl Controller {
    /// What is in DNS when all is published; `None`: nothing has ever been reported.
    ///
    /// What is in doubt is written even where it seems to be there: the address may have changed
    /// back while the outcome of a message was unknown, or after a crash between DNS and status.
    pub(super) async fn publish(
        &self,
        host: Arc<Host>,
        zone: &Zone,
        access: &ZoneAccess,
        before: Option<PublishedState>,
    ) -> Result<Option<PublishedState>, Problem> {
        let ours = ours(&host, zone).ok_or(Problem::ZoneGone)?;
        let mut host = host;
        let mut want = wanted(&host, zone).ok_or(Problem::ZoneGone)?;
        // Another owner id since: the marker has to say so before the old id is forgotten.
        let marker = before.as_ref().and_then(|state| state.marker.as_ref());
        let is_marked_anew = marker.is_some_and(|marker| marker.owner != ours.owner);
        let mut in_doubt = is_marked_anew || self.progress.is_in_doubt(&host);
        let mut state = before;
        let mut refused: Vec<Basis> = Vec::new();
        let mut retry: Option<(Basis, Known)> = None;
        for _ in 0..ATTEMPTS {
            let known = state
                .as_ref()
                .map(PublishedState::known)
                .unwrap_or_default();
            let marker = state.as_ref().and_then(|s| s.marker.as_ref());
            let step = match retry.take() {
                Some((basis, known)) => Some(Plan::on(basis, after(&want, known))),
                None if in_doubt => Some(Plan::on(basis_of(marker), after(&want, known))),
                None => plan(&want, known, marker),
            };
            let Some(step) = step else {
                return Ok(state);
            };
            let sent = match step.keeps_marker {
                true => Some(Marker::new(ours.owner.clone(), ours.host, nonce()?)),
                false => None,
            };
            let change = change(&host, &want, &step, sent.clone()).ok_or(Problem::ZoneGone)?;
            let applied = access.lane.apply(change).await;
            self.metrics.count_dns_change(result_label(&applied));
            match applied {
                Ok(_) => {
                    self.tell_address(&host, state.as_ref(), &step.after);
                    return Ok(published(&host, step.after, sent));
                }
                Err(ApplyError::PreconditionFailed(_)) => refused.push(step.basis.clone()),
                Err(ApplyError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let name = &host.spec.as_ref().map_err(|_| Problem::ZoneGone)?.hostname;
            let found = access.provider.read(name).await?;
            host = self.get_from_api_server(&host).await?;
            want = wanted(&host, zone).ok_or(Problem::ZoneGone)?;
            let attempted = Attempted {
                sent: sent.as_ref(),
                refused: &refused,
                published: state.as_ref().map(PublishedState::known),
                adopt: self.may_adopt(&host),
            };
            match recover(&found, &ours, &attempted) {
                Recovery::Applied => {
                    state = published(&host, step.after, sent);
                    in_doubt = false;
                    refused.clear();
                }
                Recovery::Retry(basis) => {
                    let known = known_on(&basis, &found, known);
                    retry = Some((basis, known));
                }
                Recovery::Foreign(what) => return Err(Problem::Foreign(what)),
            }
        }
        Err(Problem::Unavailable {
            detail: "somebody else keeps changing the records".to_owned(),
            retry_after: None,
        })
    }

    /// The host as the API server has it: the index may be behind.
    async fn get_from_api_server(&self, host: &Host) -> Result<Arc<Host>, Problem> {
        let key = &host.meta.key;
        let api: Api<Stored<DynamicHost>> = Api::namespaced(self.client.clone(), &key.namespace);
        let object = within(CALL, api.get_opt(&key.name)).await;
        let object = object.map_err(|error| Problem::Unavailable {
            detail: format!("the API server did not tell the host's addresses: {error}"),
            retry_after: None,
        })?;
        let fresh = object.as_ref().and_then(Host::new);
        let fresh = fresh.filter(|fresh| fresh.meta.uid == host.meta.uid && !fresh.meta.deleting);
        let fresh = fresh.ok_or(Problem::HostGone)?;
        self.index.apply_host_reply(fresh.clone());
        Ok(Arc::new(fresh))
    }

    /// Whether the zone's administrator lets us take this name over, as of now.
    fn may_adopt(&self, host: &Host) -> bool {
        let Ok(spec) = &host.spec else {
            return false;
        };
        let zone = self.index.zone(&spec.zone);
        zone.is_some_and(|zone| zone.adopt.as_ref() == Some(&spec.hostname))
    }

    fn tell_address(&self, host: &Host, before: Option<&PublishedState>, now: &Known) {
        let Some(before) = before else {
            return;
        };
        let changed = |old: Option<String>, new: Option<String>| match (old, new) {
            (Some(old), Some(new)) if old != new => Some(format!("{old} -> {new}")),
            _ => None,
        };
        let text = |a: Option<&dyn ToString>| a.map(ToString::to_string);
        let ipv4 = changed(
            text(before.ipv4.as_ref().map(|a| a as _)),
            text(now.ipv4.as_ref().map(|a| a as _)),
        );
        let ipv6 = changed(
            text(before.ipv6.as_ref().map(|a| a as _)),
            text(now.ipv6.as_ref().map(|a| a as _)),
        );
        let note: Vec<_> = ipv4.into_iter().chain(ipv6).collect();
        if !note.is_empty() {
            self.events.address_changed(host, note.join(", "));
        }
    }
}

/// Whose marker stands for the host; `None` where the zone's spec cannot be used.
pub(super) fn ours(host: &Host, zone: &Zone) -> Option<Ours> {
    let key = &host.meta.key;
    Some(Ours {
        owner: zone.spec.as_ref().ok()?.owner.clone(),
        host: HostDigest::of(&key.namespace, &key.name),
    })
}

/// What DNS should say; `None` where a spec cannot be used.
pub(super) fn wanted(host: &Host, zone: &Zone) -> Option<Desired> {
    let admitted = Admitted {
        host: host.spec.as_ref().ok()?,
        zone: zone.spec.as_ref().ok()?,
    };
    Some(desired(admitted, &host.observed))
}

/// What a basis says of the records that the change leaves alone.
fn known_on(basis: &Basis, found: &Found, published: Known) -> Known {
    match basis {
        // The name is ours, or becomes ours, with what stands there.
        Basis::Marker(_) | Basis::Adopt => Known {
            ttl: published.ttl,
            ipv4: found.ipv4.first().copied(),
            ipv6: found.ipv6.first().copied(),
        },
        Basis::Rrsets { .. } => published,
        Basis::Absent => Known::default(),
    }
}

fn change(host: &Host, want: &Desired, step: &Plan, marker: Option<Marker>) -> Option<HostChange> {
    Some(HostChange {
        name: host.spec.as_ref().ok()?.hostname.clone(),
        ttl: want.ttl,
        ipv4: want.ipv4,
        ipv6: want.ipv6,
        marker,
        basis: step.basis.clone(),
    })
}

/// `at` is never before the reports that are published, whatever the endpoints' clocks say.
fn published(host: &Host, after: Known, marker: Option<Marker>) -> Option<PublishedState> {
    let now = Timestamp::now();
    marker.map(|marker| PublishedState {
        ipv4: after.ipv4,
        ipv6: after.ipv6,
        ttl: after.ttl,
        marker: Some(marker),
        at: host.reported_at().map_or(now, |reported| now.max(reported)),
    })
}

/// A value that no other message has: what fences a late writer.
fn nonce() -> Result<Nonce, Problem> {
    let mut bits = [0; 8];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| Problem::Unavailable {
        detail: "the system has no randomness".to_owned(),
        retry_after: None,
    })?;
    Ok(Nonce::from_bits(u64::from_be_bytes(bits)))
}

/// The label of the metric.
pub(super) fn result_label<T>(applied: &Result<T, ApplyError>) -> &'static str {
    match applied {
        Ok(_) => "applied",
        Err(ApplyError::Unauthorized(_)) => "unauthorized",
        Err(ApplyError::CredentialsMissing(_)) => "credentials_missing",
        Err(ApplyError::PreconditionFailed(_)) => "precondition_failed",
        Err(ApplyError::Rejected(_)) => "rejected",
        Err(ApplyError::Unavailable { .. }) => "unavailable",
        Err(ApplyError::Unknown(_)) => "unknown",
    }
}
