//! Which hosts a request is for, and whether its update key may update them.

use std::sync::Arc;

use super::outcome::Outcome;
use super::protocol::Report;
use crate::admission::Refusal;
use crate::index::host::Host;
use crate::name::{Fqdn, NameError};

/// What one line of the answer is about: a host to update, or what is said instead.
pub type Target = Result<Arc<Host>, Outcome>;

/// Why a request as a whole is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token authenticates nothing, whatever name was asked.
    #[error("the token authenticates nothing")]
    BadAuth,
    /// No name is given, and the token holds several.
    #[error("no name is given")]
    NoName,
}

impl From<Denied> for Outcome {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::BadAuth => Self::BadAuth,
            Denied::NoName => Self::NotFqdn,
        }
    }
}

/// The hosts that a token authenticates, at least one.
#[derive(Clone, Debug)]
pub struct Authenticated(Vec<Arc<Host>>);

impl Authenticated {
    /// From all hosts whose Secret holds the token.
    pub fn new(mut hosts: Vec<Arc<Host>>) -> Result<Self, Denied> {
        if hosts.is_empty() {
            return Err(Denied::BadAuth);
        }
        hosts.sort_by(|a, b| a.meta.seniority().cmp(&b.meta.seniority()));
        Ok(Self(hosts))
    }

    /// One target for each name of the report; without a name the one that `user` names, else the
    /// token's only one.
    ///
    /// Names of others are answered alike whether they exist or not. `judge` says whether the
    /// host's zone admits it.
    pub fn targets(
        &self,
        report: &Report,
        user: &str,
        judge: impl Fn(&Host) -> Result<(), Refusal>,
    ) -> Result<Vec<Target>, Denied> {
        if report.names.is_empty() {
            let name = self.default_name(user).ok_or(Denied::NoName)?;
            return Ok(vec![self.target(name, &judge)]);
        }
        let target = |name: &Result<Fqdn, NameError>| match name {
            Ok(name) if !name.is_single_label() => self.target(name, &judge),
            _ => Err(Outcome::NotFqdn),
        };
        Ok(report.names.iter().map(target).collect())
    }

    fn default_name(&self, user: &str) -> Option<&Fqdn> {
        let mut names = self.0.iter().filter_map(|host| name_of(host));
        if let Ok(user) = Fqdn::parse(user)
            && let Some(named) = names.clone().find(|name| **name == user)
        {
            return Some(named);
        }
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    }

    /// Several hosts may have one name, in several zones or while they are in conflict: the oldest
    /// that is admitted counts.
    fn target(&self, name: &Fqdn, judge: impl Fn(&Host) -> Result<(), Refusal>) -> Target {
        let mut refused = Outcome::NoHost;
        for host in &self.0 {
            if name_of(host) != Some(name) || host.meta.deleting {
                continue;
            }
            match judge(host) {
                Ok(()) => return Ok(host.clone()),
                // The zone may be on its way: the client shall come again.
                Err(Refusal::ZoneNotFound | Refusal::NotYetJudged) => {
                    refused = Outcome::Unavailable;
                }
                Err(
                    Refusal::Invalid(_)
                    | Refusal::NotAllowedByZone
                    | Refusal::OutsideZone
                    | Refusal::NameConflict(_),
                ) => {}
            }
        }
        Err(refused)
    }
}

fn name_of(host: &Host) -> Option<&Fqdn> {
    host.spec.as_ref().ok().map(|spec| &spec.hostname)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::object::ObjectKey;
    use crate::update::fixture;
    use crate::update::protocol::Input;
    use crate::update::protocol::dyndns2;

    /// A host `family/<label><n>` of this name, the younger the higher `n`.
    fn host(label: &str, n: u8) -> Arc<Host> {
        Arc::new(fixture::object(json!({
            "metadata": {
                "name": format!("{label}{n}"),
                "creationTimestamp": format!("2026-01-01T00:00:0{n}Z"),
            },
            "spec": {"hostname": format!("{label}.dyn.example.org")},
        })))
    }

    fn report(query: &str) -> Report {
        let query = query.as_bytes();
        let input = Input {
            query,
            ..Input::default()
        };
        dyndns2::parse(&input).report.unwrap()
    }

    #[test]
    fn a_token_of_no_host_is_refused() {
        assert_eq!(
            Authenticated::new(Vec::new()).map(|_| ()),
            Err(Denied::BadAuth)
        );
    }

    #[test]
    fn each_name_is_a_host_of_the_token_or_refused() {
        /// `expected`: names of hosts, or the labels of what is said instead.
        fn check(hosts: &[(&str, u8)], user: &str, query: &str, expected: Result<&[&str], Denied>) {
            let hosts = hosts.iter().map(|(label, n)| host(label, *n)).collect();
            let targets = Authenticated::new(hosts)
                .unwrap()
                .targets(&report(query), user, |_| Ok(()));
            let found = targets.map(|targets| {
                let line = |target: &Target| match target {
                    Ok(host) => host.meta.key.name.to_string(),
                    Err(outcome) => outcome.label().to_owned(),
                };
                targets.iter().map(line).collect::<Vec<_>>()
            });
            let expected = expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect());
            assert_eq!(found, expected, "{user} {query}");
        }
        let one: &[(&str, u8)] = &[("home", 1)];
        let two: &[(&str, u8)] = &[("home", 1), ("nas", 2)];
        let home: &str = "hostname=home.dyn.example.org";
        check(one, "", home, Ok(&["home1"]));
        check(
            one,
            "someone",
            "hostname=HOME.dyn.example.org.",
            Ok(&["home1"]),
        );
        check(one, "", "hostname=nas.dyn.example.org", Ok(&["nohost"]));
        check(one, "", "hostname=example.org", Ok(&["nohost"]));
        check(one, "", "hostname=home", Ok(&["notfqdn"]));
        check(one, "", "hostname=h_me.dyn.example.org", Ok(&["notfqdn"]));
        check(
            two,
            "",
            "hostname=nas.dyn.example.org,x.example.org,-.x,home.dyn.example.org",
            Ok(&["nas2", "nohost", "notfqdn", "home1"]),
        );
        // Without a name.
        check(one, "", "myip=", Ok(&["home1"]));
        check(one, "alice", "hostname=YES", Ok(&["home1"]));
        check(one, "nas.dyn.example.org", "", Ok(&["home1"]));
        check(two, "nas.dyn.example.org", "", Ok(&["nas2"]));
        check(two, "NAS.dyn.example.org.", "", Ok(&["nas2"]));
        check(two, "nas", "", Err(Denied::NoName));
        check(two, "", "", Err(Denied::NoName));
        // The user is no restriction where names are given.
        check(two, "nas.dyn.example.org", home, Ok(&["home1"]));
        // Two claims on one name are one name.
        check(&[("home", 2), ("home", 1)], "", "", Ok(&["home1"]));
    }

    #[test]
    fn a_host_counts_only_where_its_zone_admits_it() {
        fn check(judgements: &[Result<(), Refusal>], expected: Result<&str, Outcome>) {
            let hosts = (0..judgements.len())
                .map(|n| host("home", n as u8))
                .collect();
            let judge = |host: &Host| {
                let n: usize = host
                    .meta
                    .key
                    .name
                    .trim_start_matches("home")
                    .parse()
                    .unwrap();
                judgements[n].clone()
            };
            let targets = Authenticated::new(hosts)
                .unwrap()
                .targets(&report("hostname=home.dyn.example.org"), "", judge)
                .unwrap();
            let found = targets[0].as_ref().map(|host| &*host.meta.key.name);
            assert_eq!(found, expected.as_ref().map(|name| *name), "{judgements:?}");
        }
        let conflict = || Err(Refusal::NameConflict(ObjectKey::new("family", "home0")));
        check(&[Ok(())], Ok("home0"));
        check(&[Ok(()), conflict()], Ok("home0"));
        check(&[Err(Refusal::NotAllowedByZone), Ok(())], Ok("home1"));
        check(&[Err(Refusal::ZoneNotFound), Ok(())], Ok("home1"));
        check(&[conflict()], Err(Outcome::NoHost));
        check(&[Err(Refusal::NotAllowedByZone)], Err(Outcome::NoHost));
        check(&[Err(Refusal::OutsideZone)], Err(Outcome::NoHost));
        check(&[Err(Refusal::Invalid("x".into()))], Err(Outcome::NoHost));
        check(&[Err(Refusal::ZoneNotFound)], Err(Outcome::Unavailable));
        check(&[Err(Refusal::NotYetJudged)], Err(Outcome::Unavailable));
        check(
            &[conflict(), Err(Refusal::NotYetJudged)],
            Err(Outcome::Unavailable),
        );
    }

    #[test]
    fn a_host_that_is_being_deleted_is_gone() {
        let deleting = Arc::new(fixture::object(json!({
            "metadata": {"deletionTimestamp": "2026-01-02T00:00:00Z"},
        })));
        let authenticated = Authenticated::new(vec![deleting]).unwrap();
        let targets = authenticated.targets(&report(""), "", |_| Ok(())).unwrap();
        assert_eq!(targets, [Err(Outcome::NoHost)]);
    }
}
