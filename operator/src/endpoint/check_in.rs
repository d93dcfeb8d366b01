//! A client's check-in, from its credentials to one outcome for each host.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Endpoint;
use super::observe::{ObserveError, Observed};
use crate::index::host::Host;
use crate::update::auth::{Authenticated, Target};
use crate::update::outcome::Outcome;
use crate::update::patch::Provenance;
use crate::update::protocol::address::Declared;
use crate::update::protocol::credentials::Credentials;
use crate::update::protocol::{CheckIn, ParseError, Report};
use crate::update::source_address::{AddressError, choose};

/// Where a check-in comes from, and until when it must be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) protocol: &'static str,
    pub(super) address: IpAddr,
    pub(super) deadline: Instant,
}

impl Endpoint {
    /// Does what a client asks: one outcome where the request is refused as a whole, else one for
    /// each name.
    pub(super) async fn check_in(&self, check_in: CheckIn, caller: Caller) -> Vec<Outcome> {
        let Some(credentials) = check_in.credentials else {
            return vec![Outcome::BadAuth];
        };
        // A cold index knows neither tokens nor hosts.
        if !self.freshness.is_synced() {
            return vec![Outcome::Unavailable];
        }
        let (declared, targets) = match self.authorize(&credentials, check_in.report) {
            Ok(authorized) => authorized,
            Err(outcome) => return vec![outcome],
        };
        let provenance = Provenance {
            protocol: caller.protocol,
            client: check_in.client,
        };
        // A host that is named twice is updated once and answered twice.
        let mut hosts: Vec<&Arc<Host>> = Vec::new();
        for host in targets.iter().flatten() {
            if !hosts.iter().any(|known| known.meta.key == host.meta.key) {
                hosts.push(host);
            }
        }
        let updates = hosts
            .iter()
            .map(|host| self.update_host(host, &declared, &provenance, caller));
        let outcomes = join_all(updates).await;
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

    fn authorize(
        &self,
        credentials: &Credentials,
        report: Result<Report, ParseError>,
    ) -> Result<(Declared, Vec<Target>), Outcome> {
        let view = self.index.view();
        let authenticated = Authenticated::new(view.hosts_of_token(&credentials.token))?;
        let report = report?;
        let judge = |host: &Host| view.admission(host).map(|_| ());
        let targets = authenticated.targets(&report, &credentials.user, judge)?;
        Ok((report.declared, targets))
    }

    async fn update_host(
        &self,
        host: &Host,
        declared: &Declared,
        provenance: &Provenance,
        caller: Caller,
    ) -> Outcome {
        let Ok(spec) = &host.spec else {
            return Outcome::NoHost;
        };
        // Suspended hosts are told so whatever they declare.
        if spec.suspend {
            return Outcome::Suspended;
        }
        let chosen = match choose(spec, declared, caller.address) {
            Ok(chosen) => chosen,
            Err(AddressError::Declared) => return Outcome::BadAddress,
            Err(AddressError::Connection) => return Outcome::NoUsableAddress,
        };
        let start = Instant::now();
        let observing = self.observer.observe(host, chosen.addresses, provenance);
        let observed = timeout_at(caller.deadline, observing).await;
        match observed.unwrap_or(Err(ObserveError::TooLate)) {
            Ok(Observed::NoChange) => Outcome::NoChange(chosen.echo),
            Ok(Observed::Suspended) => Outcome::Suspended,
            Ok(Observed::Stored(news)) => {
                tracing::info!(
                    host = %host.meta.key,
                    hostname = %spec.hostname,
                    source = %caller.address,
                    protocol = caller.protocol,
                    ipv4 = news.ipv4.map(tracing::field::display),
                    ipv6 = news.ipv6.map(tracing::field::display),
                    result = "good",
                    duration_ms = start.elapsed().as_millis(),
                    "change stored"
                );
                Outcome::Good(chosen.echo)
            }
            Err(error) => {
                tracing::warn!(
                    host = %host.meta.key,
                    hostname = %spec.hostname,
                    source = %caller.address,
                    protocol = caller.protocol,
                    %error,
                    cause = error.source().map(tracing::field::display),
                    duration_ms = start.elapsed().as_millis(),
                    "change not known to be stored"
                );
                Outcome::Unavailable
            }
        }
    }
}
