//! A client's check-in, from its proof to one outcome for each host.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::Endpoint;
use super::observe::{ObserveError, Observed, Reported};
use crate::index::Index;
use crate::index::host::Host;
use crate::name::Fqdn;
use crate::request_id::RequestId;
use crate::update::auth::{Authenticated, Denied, Target};
use crate::update::decide::SignedTime;
use crate::update::outcome::Outcome;
use crate::update::patch::Provenance;
use crate::update::protocol::{Asked, CheckIn, Dialect, Names, ParseError, Proof, Report};
use crate::update::source_address::{AddressError, Chosen, choose};

/// Where a check-in comes from, and until when it must be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) dialect: Dialect,
    /// The client's address, where it is known.
    pub(super) address: Option<IpAddr>,
    pub(super) deadline: Instant,
    pub(super) request: RequestId,
}

impl Endpoint {
    /// Does what a client asks: one outcome where the request is refused as a whole, else one for
    /// each name.
    pub(super) async fn check_in(&self, check_in: CheckIn, caller: Caller) -> Vec<Outcome> {
        if check_in.proof == Proof::Missing {
            return vec![Outcome::NoCredentials];
        }
        // A cold index knows neither tokens nor hosts.
        if !self.freshness.is_synced() {
            return vec![Outcome::Unavailable];
        }
        let signed = signed_time(&check_in.proof);
        let (report, targets) = match self.authorize(check_in.proof, check_in.report, caller) {
            Ok(authorized) => authorized,
            Err(outcome) => return vec![outcome],
        };
        let mut provenance = Provenance {
            protocol: caller.dialect.name(),
            client: check_in.client,
        };
        // A host that is named twice is updated once and answered twice.
        let mut hosts: Vec<&Arc<Host>> = Vec::new();
        for host in targets.iter().flatten() {
            if !hosts.iter().any(|known| known.meta.key == host.meta.key) {
                hosts.push(host);
            }
        }
        let judge = |host: &&Arc<Host>| self.judge(host, &report, signed, &provenance, caller);
        let judged: Vec<_> = hosts.iter().map(judge).collect();
        // Mostly nothing is news, and nothing has to be waited for.
        let outcomes: Vec<_> = if judged.iter().all(Result::is_ok) {
            judged.into_iter().flatten().collect()
        } else {
            let may_be_stored = |client: &String| !self.shows_secret(client, &targets);
            provenance.client = provenance.client.filter(may_be_stored);
            let stored = hosts
                .iter()
                .zip(judged)
                .map(async |(host, judged)| match judged {
                    Ok(outcome) => outcome,
                    Err(news) => self.store(host, news, signed, &provenance, caller).await,
                });
            join_all(stored).await
        };
        // What was stored has its time with it.
        let confirmed = hosts.iter().zip(&outcomes);
        for (host, _) in confirmed.filter(|(_, outcome)| matches!(outcome, Outcome::NoChange(_))) {
            self.heartbeats.seen(host, Timestamp::now());
        }
        let outcome_of = |target: &Target| match target {
            Ok(host) => hosts
                .iter()
                .position(|known| known.meta.key == host.meta.key)
                .and_then(|at| outcomes.get(at).cloned())
                .unwrap_or(Outcome::Unavailable),
            Err(outcome) => outcome.clone(),
        };
        targets.iter().map(outcome_of).collect()
    }

    /// Whether a client's name has the secret of the script of 2012 in it, which no request carries.
    fn shows_secret(&self, client: &str, targets: &[Target]) -> bool {
        let view = self.index.view();
        targets.iter().flatten().any(|host| {
            let spec = host.spec.as_ref().ok();
            let key = spec.and_then(|spec| view.key(&spec.secret));
            let secret = key.and_then(|key| key.sha1_secret);
            secret.is_some_and(|secret| secret.is_in(client))
        })
    }

    fn authorize(
        &self,
        proof: Proof,
        report: Result<Report, ParseError>,
        caller: Caller,
    ) -> Result<(Report, Vec<Target>), Outcome> {
        let authenticated = authenticate(&self.index, &proof, caller.address);
        if authenticated
            .as_ref()
            .is_err_and(|denied| *denied != Denied::NoName)
        {
            let names = named(&proof, report.as_ref().ok());
            self.events.authentication_failed(names, caller.address);
        }
        let authenticated = authenticated?;
        let report = report?;
        let view = self.index.view();
        let judge = |host: &Host| view.admission(host).map(|_| ());
        let targets = authenticated.targets(&report.names, judge)?;
        // An sftdyn key names no hosts: whoever holds it would have all of them updated at once.
        if targets.len() > self.options.limits.max_hosts {
            return Err(Outcome::TooManyNames);
        }
        Ok((report, targets))
    }

    /// What becomes of a report for this host without anything being written, or what is to be
    /// written.
    fn judge(
        &self,
        host: &Host,
        report: &Report,
        signed: Option<SignedTime>,
        provenance: &Provenance,
        caller: Caller,
    ) -> Result<Outcome, Chosen> {
        let Ok(spec) = &host.spec else {
            return Ok(Outcome::NoHost);
        };
        // Suspended hosts are told so whatever they declare.
        if spec.suspend {
            return Ok(Outcome::Suspended);
        }
        let own = report.own.iter().find(|(name, _)| *name == spec.hostname);
        let declared = own.map_or(&report.declared, |(_, declared)| declared);
        let chosen = choose(spec, &host.observed, declared, report.clear, caller.address);
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                // Many clients say nothing of refusals: the owner shall find it here.
                if error == AddressError::Connection {
                    tracing::warn!(
                        host = %host.meta.key,
                        hostname = %spec.hostname,
                        source = caller.address.map(tracing::field::display),
                        protocol = provenance.protocol,
                        request = %caller.request,
                        "no address is declared, and that of the connection cannot be published"
                    );
                    self.events.client_address_not_public(host, caller.address);
                }
                return Ok(error.into());
            }
        };
        let reported = Reported {
            addresses: chosen.addresses,
            signed,
            provenance,
        };
        match self.observer.without_write(host, reported) {
            Some(Observed::NoChange) => Ok(Outcome::NoChange(chosen.echo)),
            Some(Observed::Suspended) => Ok(Outcome::Suspended),
            Some(Observed::Replayed) => Ok(Outcome::Replayed),
            _ => Err(chosen),
        }
    }

    async fn store(
        &self,
        host: &Host,
        chosen: Chosen,
        signed: Option<SignedTime>,
        provenance: &Provenance,
        caller: Caller,
    ) -> Outcome {
        let start = Instant::now();
        let hostname = chosen.echo.name.as_ref().map(tracing::field::display);
        let reported = Reported {
            addresses: chosen.addresses,
            signed,
            provenance,
        };
        let traces = &self.index.traces;
        // The watch may tell of it before the reply comes.
        traces.begin(&host.meta.uid, caller.request);
        let observing = self.observer.observe(host, reported);
        let observed = timeout_at(caller.deadline, observing).await;
        if !matches!(observed, Ok(Ok(Observed::Stored(_)))) {
            traces.abandon(&host.meta.uid, caller.request);
        }
        match observed.unwrap_or(Err(ObserveError::TooLate)) {
            Ok(Observed::NoChange) => Outcome::NoChange(chosen.echo),
            Ok(Observed::Suspended) => Outcome::Suspended,
            Ok(Observed::Replayed) => Outcome::Replayed,
            Ok(Observed::TooOften) => Outcome::TooOften,
            Ok(Observed::Stored(news)) => {
                let told = news.addresses;
                tracing::info!(
                    host = %host.meta.key,
                    hostname,
                    source = caller.address.map(tracing::field::display),
                    protocol = provenance.protocol,
                    ipv4 = told.ipv4.shown().map(tracing::field::display),
                    ipv6 = told.ipv6.shown().map(tracing::field::display),
                    prefix = told.prefix.shown().map(tracing::field::display),
                    result = "good",
                    request = %caller.request,
                    duration_ms = start.elapsed().as_secs_f64() * 1000.0,
                    "change stored"
                );
                // The time of a signed request alone is no change of the host.
                match told.families() == Default::default() {
                    true => Outcome::NoChange(chosen.echo),
                    false => Outcome::Good(chosen.echo),
                }
            }
            Err(error) => {
                let told = reported.addresses;
                tracing::warn!(
                    host = %host.meta.key,
                    hostname,
                    source = caller.address.map(tracing::field::display),
                    protocol = provenance.protocol,
                    ipv4 = told.ipv4.shown().map(tracing::field::display),
                    ipv6 = told.ipv6.shown().map(tracing::field::display),
                    prefix = told.prefix.shown().map(tracing::field::display),
                    result = "unavailable",
                    request = %caller.request,
                    %error,
                    cause = error.source().map(tracing::field::display),
                    duration_ms = start.elapsed().as_secs_f64() * 1000.0,
                    "change not known to be stored"
                );
                Outcome::Unavailable
            }
        }
    }
}

/// The hosts that this proof lets its bearer update.
pub(super) fn authenticate(
    index: &Index,
    proof: &Proof,
    caller: Option<IpAddr>,
) -> Result<Authenticated, Denied> {
    let now = || Timestamp::now().as_second();
    match proof {
        Proof::Missing => Err(Denied::BadAuth),
        Proof::Token(credentials) => {
            let hosts = index.view().hosts_of_token(&credentials.token);
            Authenticated::by_token(hosts, credentials.place, caller)
        }
        // Verifying takes long, and nobody shall wait for the index meanwhile.
        Proof::Signature(message) => {
            let (admitted, others) = hosts_of_name(index, &message.name);
            Authenticated::by_signature(admitted, others, message, caller, now())
        }
        Proof::Sha1(proof) => {
            let (admitted, others) = hosts_of_name(index, &proof.name);
            Authenticated::by_sha1(admitted, others, proof, caller, now(), |spec| {
                index.key(&spec.secret)?.sha1_secret.clone()
            })
        }
    }
}

/// The names that a request says it is for, or from.
fn named(proof: &Proof, report: Option<&Report>) -> Vec<Fqdn> {
    match (proof, report.map(|report| &report.names)) {
        (Proof::Signature(message), _) => vec![message.name.clone()],
        (Proof::Sha1(proof), _) => vec![proof.name.clone()],
        (_, Some(Names::Unnamed(users))) => users.clone(),
        (_, Some(Names::Listed(asked))) => {
            let full = asked.iter().filter_map(|asked| match asked {
                Asked::Full(name) => Some(name.clone()),
                Asked::Leading(_) | Asked::Bad(_) => None,
            });
            full.collect()
        }
        (_, Some(Names::All) | None) => Vec::new(),
    }
}

/// The hosts of this name, those that their zones admit and the others.
fn hosts_of_name(index: &Index, name: &Fqdn) -> (Vec<Arc<Host>>, Vec<Arc<Host>>) {
    let view = index.view();
    let hosts = view.hosts_of_name(name).into_iter();
    hosts.partition(|host| view.admission(host).is_ok())
}

fn signed_time(proof: &Proof) -> Option<SignedTime> {
    match proof {
        Proof::Missing | Proof::Token(_) => None,
        Proof::Signature(message) => Some(SignedTime {
            at: message.at,
            always_stored: false,
        }),
        Proof::Sha1(proof) => Some(SignedTime {
            at: proof.at,
            always_stored: true,
        }),
    }
}
