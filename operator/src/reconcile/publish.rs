//! Brings a host's records to what is desired, or finds out why not.
//!
//! The message goes out on the basis of what we last wrote. Where that does not hold, or the
//! outcome stays unknown, it is found out in this order: what DNS says, what the API server says
//! of the host, and only then what to do ([`Attempt::learn`]).

use std::sync::Arc;
use std::time::Duration;

use dynhost_crds::host::{MAX_PENDING_ALIASES, ObservedPrefix};
use dynhost_crds::zone::OwnershipMode;
use futures::future::try_join_all;
use jiff::Timestamp;

use super::Controller;
use super::problem::Problem;
use super::staleness::{Records, Staleness};
use super::status;
use super::zone::ZoneAccess;
use crate::admission::Admitted;
use crate::index::host::{Host, PublishedState};
use crate::index::object::ObjectKey;
use crate::index::zone::Zone;
use crate::name::RecordName;
use crate::provider::ApplyError;
use crate::record::alias::Alias;
use crate::record::attempt::{Attempt, Step};
use crate::record::change::{Basis, Found, HostChange, NameChange};
use crate::record::desired::{Desired, Reported, desired};
use crate::record::drift::{Drifted, Expected};
use crate::record::marker::{HostDigest, Marker, Nonce};
use crate::record::recovery::{Ours, our_marker};

/// What an attempt to publish came to.
pub(super) struct Publication {
    /// What is in DNS; `None`: nothing of ours.
    pub state: Option<Arc<PublishedState>>,
    /// Announced aliases of which `state` tells all.
    pub settled: Box<[Alias]>,
    pub problem: Option<Problem>,
}

/// A host with the prefix that its IPv6 address is made from, where it is made from one.
#[derive(Clone)]
pub(super) struct Subject {
    pub host: Arc<Host>,
    pub prefix: Option<ObservedPrefix>,
}

impl Subject {
    /// When the newest of the reports was made that its records depend on.
    fn reported_at(&self) -> Option<Timestamp> {
        let prefix = self.prefix.as_ref().map(|prefix| prefix.changed_at);
        self.host.reported_at().max(prefix)
    }
}

impl Controller {
    /// Brings DNS to what is desired, as far as that can be had.
    ///
    /// What is in doubt is written even where it seems to be there: the address may have changed
    /// back while the outcome of a message was unknown, or after a crash between DNS and status.
    /// `drifted`: a pass has found DNS to hold something else than `before`.
    pub(super) async fn publish(
        &self,
        mut subject: Subject,
        zone: &Zone,
        access: &ZoneAccess,
        before: Option<Arc<PublishedState>>,
        records: Records,
        drifted: Option<Drifted>,
    ) -> Publication {
        let mut state = before;
        let drifted =
            drifted.filter(|drifted| is_current(drifted, state.as_deref(), &subject, zone));
        let is_repair = drifted.is_some();
        let written = self.write_names(&mut subject, zone, access, &mut state, records, drifted);
        let problem = written.await.err();
        let is_settled = matches!(problem, None | Some(Problem::Prefix(_)));
        if is_repair && is_settled {
            self.metrics.count_drift_repair();
        }
        Publication {
            state,
            settled: match is_settled {
                true => subject.host.pending.clone(),
                false => Box::default(),
            },
            problem,
        }
    }

    async fn write_names(
        &self,
        subject: &mut Subject,
        zone: &Zone,
        access: &ZoneAccess,
        state: &mut Option<Arc<PublishedState>>,
        mut records: Records,
        drifted: Option<Drifted>,
    ) -> Result<(), Problem> {
        let known = state.as_deref().map(|state| state.known.clone());
        let known = known.unwrap_or_default();
        let wanted = |subject: &Subject, records| {
            let want = wanted(subject, zone).ok_or(Problem::ZoneGone)?;
            Ok::<_, Problem>(match records {
                Records::Removed => want.without_records(&known),
                Records::AsReported | Records::AsTheyAre => want,
            })
        };
        let mut want = wanted(subject, records)?;
        let mut attempt = self
            .begin(subject, zone, state.as_deref())
            .ok_or(Problem::ZoneGone)?;
        let is_sure = !self
            .progress
            .is_in_doubt(&subject.host, subject.prefix.as_ref());
        let is_repair = drifted.is_some();
        if let Some(drifted) = drifted {
            if drifted.has_another_marker() {
                // Somebody of ours has written it, who may know more.
                *subject = Box::pin(self.get_from_api_server(subject, state.as_deref())).await?;
                want = wanted(subject, records)?;
            }
            let unsent = new_marker(&subject.host, zone)?;
            let may_adopt = |name: &RecordName| self.may_adopt(&subject.host, name);
            attempt.start_from(&want, |name| drifted.at(name), &unsent, may_adopt);
        }
        // An old list may show a host that is gone by now, whose records nobody would remove. A pass
        // for drift comes long after it.
        if !is_repair
            && !self.progress.knows(&subject.host.meta)
            && attempt.next(&want).is_some_and(|step| step.creates())
        {
            *subject = Box::pin(self.get_from_api_server(subject, state.as_deref())).await?;
            want = wanted(subject, records)?;
        }
        let mut pass_marker = None;
        let mut has_sent = false;
        for _ in 0..attempt.most_steps(&want) {
            let Some(step) = attempt.next(&want) else {
                return outcome(&attempt, &want);
            };
            self.announce(subject, &step, has_sent).await?;
            let passes = attempt.passes();
            let marker = match pass_marker.take() {
                Some(marker) => marker,
                None => new_marker(&subject.host, zone)?,
            };
            let applied = match step.needs_look {
                true => Err(ApplyError::Unknown(String::new())),
                false => {
                    has_sent = true;
                    let _under_way = self.dns_changes.begin();
                    let applied = access.lane.apply(change(&want, &step, &marker)).await;
                    self.metrics.count_dns_change(result_label(&applied));
                    applied
                }
            };
            match applied {
                Ok(_) => attempt.applied(step, &marker),
                Err(ApplyError::PreconditionFailed(_) | ApplyError::Unknown(_)) => {
                    let refused = matches!(applied, Err(ApplyError::PreconditionFailed(_)));
                    let found = read(access, &step).await?;
                    if refused && is_sure && is_marker_lost(&step, &found, attempt.ours()) {
                        self.drift.ask_for(&zone.meta.key);
                    }
                    let known = self.get_from_api_server(subject, state.as_deref());
                    *subject = Box::pin(known).await?;
                    // The index may not have told yet that its client called.
                    if self.staleness(&subject.host, None) != Staleness::Stale {
                        records = Records::AsReported;
                    }
                    want = wanted(subject, records)?;
                    attempt.learn(step, &found, refused, &marker, |name| {
                        self.may_adopt(&subject.host, name)
                    });
                }
                Err(error) => return Err(error.into()),
            }
            pass_marker = Some(marker).filter(|_| attempt.is_mid_pass());
            if attempt.passes() > passes {
                let before = state.take();
                *state = published(subject, &attempt);
                self.tell_address(&subject.host, before.as_deref(), state.as_deref());
                self.tell_published(subject, zone, before.as_deref(), state.as_deref());
            }
        }
        Err(Problem::Unsettled(
            "somebody else keeps changing the records".to_owned(),
        ))
    }

    fn begin(
        &self,
        subject: &Subject,
        zone: &Zone,
        state: Option<&PublishedState>,
    ) -> Option<Attempt> {
        let Subject { host, prefix } = subject;
        let ours = ours(host, zone)?;
        // Another owner id or mode since: DNS has to say so before the old one is forgotten.
        let marker = state.and_then(|state| state.marker.as_ref());
        let is_as_marked = match (marker, state) {
            (Some(marker), _) => marker.owner == ours.owner && ours.mode == OwnershipMode::Marker,
            (None, Some(_)) => ours.mode != OwnershipMode::Marker,
            (None, None) => true,
        };
        let in_doubt = !is_as_marked || self.progress.is_in_doubt(host, prefix.as_ref());
        let hostname = host.spec.as_ref().ok()?.hostname.clone();
        let known = state.map(|state| state.known.clone()).unwrap_or_default();
        let attempt = Attempt::new(hostname, ours, known, marker.cloned(), in_doubt);
        Some(attempt.with_announced(&host.pending))
    }

    /// The host, and the one that reports its prefix, as the API server has them: the index may be
    /// behind. `state` is what was in DNS as of the last write that this attempt knows of.
    async fn get_from_api_server(
        &self,
        subject: &Subject,
        state: Option<&PublishedState>,
    ) -> Result<Subject, Problem> {
        let host = &subject.host;
        let fresh = self.get_host(&host.meta.key).await?;
        let fresh = fresh.filter(|fresh| fresh.meta.uid == host.meta.uid && !fresh.meta.deleting);
        let fresh = fresh.ok_or(Problem::HostGone)?;
        self.index.apply_host_reply(fresh.clone());
        let told = self.progress.published(&fresh);
        if told.as_ref().map(|told| told.at) > state.map(|state| state.at) {
            return Err(Problem::Overtaken);
        }
        let may_go_on = {
            let view = self.index.view();
            let admitted = view.admission(&fresh);
            admitted.is_ok_and(|admitted| !admitted.host.suspend)
        };
        if !may_go_on {
            return Err(Problem::Unsettled(
                "the host was changed meanwhile".to_owned(),
            ));
        }
        let router = fresh
            .spec
            .as_ref()
            .ok()
            .and_then(|s| s.from_prefix.as_ref());
        if let Some(router) = router.filter(|from| from.host != fresh.meta.key)
            && let Some(router) = self.get_host(&router.host).await?
        {
            self.index.apply_host_reply(router);
        }
        let prefix = self.index.view().prefix_of(&fresh);
        let host = Arc::new(fresh);
        Ok(Subject { host, prefix })
    }

    /// Tells in status which aliases a message is about to write for the first time: should we die
    /// before we can say that they are there, and the spec be changed meanwhile, nothing else would
    /// tell whose they are. `has_sent`: other messages of the attempt are out already.
    async fn announce(
        &self,
        subject: &mut Subject,
        step: &Step,
        has_sent: bool,
    ) -> Result<(), Problem> {
        let host = &subject.host;
        let published = host.published.as_ref();
        let told = published.map_or(&[][..], |state| &state.known.aliases[..]);
        let new = step.new_aliases(&[told, &host.pending]);
        if new.is_empty() {
            return Ok(());
        }
        let mut pending = host.pending.to_vec();
        pending.extend(new);
        if pending.len() > MAX_PENDING_ALIASES {
            return Err(Problem::Unsettled(
                "too many aliases are about to be written".to_owned(),
            ));
        }
        let announced = status::announce(&self.client, &self.metrics, host, &pending).await;
        let announced = match announced {
            Ok(announced) => announced,
            // The watch is behind.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                let fresh = self.get_host(&host.meta.key).await?;
                let problem = conflict(host, fresh.as_ref(), has_sent);
                fresh
                    .into_iter()
                    .for_each(|fresh| self.index.apply_host_reply(fresh));
                return Err(problem);
            }
            Err(error) => {
                return Err(Problem::Unsettled(format!(
                    "the API server was not told of the aliases: {error}"
                )));
            }
        };
        self.index.apply_host_reply(announced.clone());
        subject.host = Arc::new(announced);
        Ok(())
    }

    pub(super) async fn get_host(&self, key: &ObjectKey) -> Result<Option<Host>, Problem> {
        let _permit = self.may_call().await;
        let host = status::get(&self.client, key).await;
        host.map_err(|error| {
            Problem::Unsettled(format!(
                "the API server did not tell the host's addresses: {error}"
            ))
        })
    }

    /// Whether the zone's administrator lets us take this name over, as of now.
    fn may_adopt(&self, host: &Host, name: &RecordName) -> bool {
        let Ok(spec) = &host.spec else {
            return false;
        };
        let zone = self.index.zone(&spec.zone);
        zone.is_some_and(|zone| zone.adopt.as_ref() == Some(name))
    }

    /// That what was reported since the last write is in DNS, and how long that took. `changedAt`
    /// comes from the clock of the replica that was told, and only that replica knows the request.
    fn tell_published(
        &self,
        subject: &Subject,
        zone: &Zone,
        before: Option<&PublishedState>,
        now: Option<&PublishedState>,
    ) {
        let request = self.index.traces.end(&subject.host.meta.uid);
        let written_at = before.map(|before| before.at);
        let reported = subject.reported_at().filter(|at| Some(*at) > written_at);
        let Some(reported) = reported else {
            return;
        };
        let time = Duration::try_from(Timestamp::now().duration_since(reported));
        let time = time.unwrap_or_default();
        self.metrics.show_published_after(time);
        tracing::info!(
            host = %subject.host.meta.key,
            zone = %zone.meta.key,
            ipv4 = now.and_then(|now| now.known.ipv4).map(tracing::field::display),
            ipv6 = now.and_then(|now| now.known.ipv6).map(tracing::field::display),
            request = request.map(tracing::field::display),
            duration_ms = time.as_secs_f64() * 1000.0,
            "change published"
        );
    }

    fn tell_address(
        &self,
        host: &Host,
        before: Option<&PublishedState>,
        now: Option<&PublishedState>,
    ) {
        fn changed<A: ToString + PartialEq>(old: Option<A>, new: Option<A>) -> Option<String> {
            match (old, new) {
                (Some(old), Some(new)) if old != new => {
                    Some(format!("{} -> {}", old.to_string(), new.to_string()))
                }
                _ => None,
            }
        }
        let (Some(before), Some(now)) = (before, now) else {
            return;
        };
        let ipv4 = changed(before.known.ipv4, now.known.ipv4);
        let ipv6 = changed(before.known.ipv6, now.known.ipv6);
        let note: Vec<_> = ipv4.into_iter().chain(ipv6).collect();
        if !note.is_empty() {
            self.events.address_changed(host, note.join(", "));
        }
    }
}

/// What stands at the names of a message.
async fn read(access: &ZoneAccess, step: &Step) -> Result<Vec<Found>, Problem> {
    let reads = step
        .names
        .iter()
        .map(|name| access.provider.read(&name.name));
    Ok(try_join_all(reads).await?)
}

/// Whether nothing was published since DNS was found to hold something else.
fn is_current(
    drifted: &Drifted,
    state: Option<&PublishedState>,
    subject: &Subject,
    zone: &Zone,
) -> bool {
    let (Some(state), Some(want)) = (state, wanted(subject, zone)) else {
        return false;
    };
    Expected::new(&state.known, state.marker.as_ref(), &want) == drifted.expected
}

/// Whether a marker that was required is not there any more: other records may be gone with it.
fn is_marker_lost(step: &Step, found: &[Found], ours: &Ours) -> bool {
    let mut names = step.names.iter().zip(found);
    names.any(|(planned, found)| {
        matches!(planned.basis, Basis::Marker(_)) && our_marker(found, ours).is_none()
    })
}

/// Why status could not be written: `fresh` is what the API server has by the name of `host`.
/// What became of a message that went out before (`has_sent`) must not be forgotten.
fn conflict(host: &Host, fresh: Option<&Host>, has_sent: bool) -> Problem {
    match fresh.is_some_and(|fresh| fresh.meta.uid == host.meta.uid) {
        false => Problem::HostGone,
        true if has_sent => Problem::Unsettled("the host has been written meanwhile".to_owned()),
        true => Problem::Overtaken,
    }
}

/// What keeps DNS from saying all that is desired, now that nothing more can be written.
fn outcome(attempt: &Attempt, want: &Desired) -> Result<(), Problem> {
    match (attempt.foreign(), want.misfit) {
        ([], None) => Ok(()),
        ([], Some(misfit)) => Err(misfit.into()),
        (foreign, _) => {
            let all = foreign.iter().map(|(name, what)| format!("{name}: {what}"));
            Err(Problem::Foreign(all.collect::<Vec<_>>().join("; ")))
        }
    }
}

/// Whose marker stands for the host; `None` where the zone's spec cannot be used.
pub(super) fn ours(host: &Host, zone: &Zone) -> Option<Ours> {
    let key = &host.meta.key;
    let zone = zone.spec.as_ref().ok()?;
    Some(Ours {
        owner: zone.owner.clone(),
        host: HostDigest::of(&key.namespace, &key.name),
        mode: zone.ownership,
    })
}

/// What DNS should say; `None` where a spec cannot be used.
pub(super) fn wanted(subject: &Subject, zone: &Zone) -> Option<Desired> {
    let admitted = Admitted {
        host: subject.host.spec.as_ref().ok()?,
        zone: zone.spec.as_ref().ok()?,
    };
    let reported = Reported {
        observed: &subject.host.observed,
        prefix: subject.prefix.as_ref(),
    };
    Some(desired(admitted, reported))
}

fn new_marker(host: &Host, zone: &Zone) -> Result<Marker, Problem> {
    let ours = ours(host, zone).ok_or(Problem::ZoneGone)?;
    Ok(Marker::new(ours.owner, ours.host, nonce()?))
}

fn change(want: &Desired, step: &Step, marker: &Marker) -> HostChange {
    let names = step.names.iter().map(|planned| NameChange {
        name: planned.name.clone(),
        records: planned.records.clone(),
        marker: Some(marker.clone()).filter(|_| planned.keeps_marker),
        basis: planned.basis.clone(),
    });
    HostChange {
        ttl: want.ttl,
        names: names.collect(),
    }
}

/// `at` is never before the reports that are published, whatever the endpoints' clocks say.
fn published(subject: &Subject, attempt: &Attempt) -> Option<Arc<PublishedState>> {
    let (known, marker) = attempt.state();
    if known.is_empty() {
        return None;
    }
    let reported = subject.reported_at();
    let now = Timestamp::now();
    Some(Arc::new(PublishedState {
        known: known.clone(),
        marker: marker.cloned(),
        at: reported.map_or(now, |reported| now.max(reported)),
    }))
}

/// A value that no other message has: what fences a late writer.
fn nonce() -> Result<Nonce, Problem> {
    let mut bits = [0; 8];
    aws_lc_rs::rand::fill(&mut bits)
        .map_err(|_| Problem::Unsettled("the system has no randomness".to_owned()))?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_host_that_another_one_has_followed_is_gone_and_what_was_sent_is_remembered() {
        let host = |uid: &str| {
            let object = json!({
                "metadata": {"name": "home", "namespace": "family", "uid": uid,
                             "resourceVersion": "1", "generation": 1,
                             "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
            });
            Host::from_object(&serde_json::from_value(object).unwrap()).unwrap()
        };
        let check = |fresh: Option<&str>, has_sent, remembers, gone| {
            let fresh = fresh.map(host);
            let problem = conflict(&host("a"), fresh.as_ref(), has_sent);
            assert_eq!(problem == Problem::HostGone, gone, "{fresh:?}");
            let is_remembered = matches!(problem, Problem::Unsettled(_));
            assert_eq!(is_remembered, remembers, "{fresh:?} {has_sent}");
        };
        check(Some("a"), false, false, false);
        check(Some("a"), true, true, false);
        check(Some("b"), false, false, true);
        check(None, false, false, true);
    }
}
