//! Which hosts a request is for, and whether it may update them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use dynhost_crds::host::AddressFrom;

use super::outcome::Outcome;
use super::proof::{Sha1Proof, Sha1Secret, SignedMessage};
use super::protocol::credentials::Place;
use super::protocol::{Asked, Names};
use crate::admission::Refusal;
use crate::index::host::{Host, HostSpec};
use crate::name::Fqdn;

/// What one line of the answer is about: a host to update, or what is said instead.
pub type Target = Result<Arc<Host>, Outcome>;

/// The most signatures, or digests, verified for hosts that no zone admits; a signature takes about
/// 50 us.
const MAX_VERIFICATIONS: usize = 16;

/// Why a request as a whole is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing may be updated with these credentials, from there, or so; whatever name was asked.
    #[error("the credentials authenticate nothing")]
    BadAuth,
    /// A signed request that was made too long ago, or is from the future.
    #[error("the request is not of this time")]
    Untimely,
    /// No name is given, and the token holds several.
    #[error("no name is given")]
    NoName,
}

impl From<Denied> for Outcome {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::BadAuth => Self::BadAuth,
            Denied::Untimely => Self::Replayed,
            Denied::NoName => Self::NotFqdn,
        }
    }
}

/// The hosts that a request may update, at least one.
#[derive(Clone, Debug)]
pub struct Authenticated(Vec<Arc<Host>>);

impl Authenticated {
    /// From all hosts whose Secret holds the token; `caller` is `None` where it is not known.
    pub fn by_token(
        hosts: Vec<Arc<Host>>,
        place: Place,
        caller: Option<IpAddr>,
    ) -> Result<Self, Denied> {
        let may_stand = |spec: &HostSpec| spec.token_in_url || place != Place::Url;
        Self::new(hosts, caller, may_stand)
    }

    /// From all hosts of the message's name, those that their zones admit and the others; `now` in
    /// seconds since 1970 (UTC).
    ///
    /// Whoever may create hosts can give any number of them this name and keys of his own: they are
    /// looked at last, and not all of them.
    ///
    /// A host that publishes the address of connections only takes none: nobody signed that
    /// address, and who sends a copy of the message would have his own published.
    pub fn by_signature(
        admitted: Vec<Arc<Host>>,
        others: Vec<Arc<Host>>,
        message: &SignedMessage,
        caller: Option<IpAddr>,
        now: i64,
    ) -> Result<Self, Denied> {
        if !message.is_timely(now) {
            return Err(Denied::Untimely);
        }
        let is_signed = |spec: &HostSpec, mut verifications: &mut dyn Iterator<Item = usize>| {
            let mut keys = spec.public_keys.iter().zip(&mut verifications);
            spec.address_from != AddressFrom::Connection
                && keys.any(|(key, _)| message.is_signed_by(key))
        };
        Self::new(admitted, caller, |spec| is_signed(spec, &mut (0..))).or_else(|_| {
            let mut verifications = 0..MAX_VERIFICATIONS;
            Self::new(others, caller, |spec| is_signed(spec, &mut verifications))
        })
    }

    /// From all hosts of the request's name, likewise, with `secret_of` each's secret.
    pub fn by_sha1(
        admitted: Vec<Arc<Host>>,
        others: Vec<Arc<Host>>,
        proof: &Sha1Proof,
        caller: Option<IpAddr>,
        now: i64,
        secret_of: impl Fn(&HostSpec) -> Option<Sha1Secret>,
    ) -> Result<Self, Denied> {
        if !proof.is_timely(now) {
            return Err(Denied::Untimely);
        }
        let is_made = |spec: &HostSpec, verifications: &mut dyn Iterator<Item = usize>| {
            spec.sha1_user.as_deref() == Some(&*proof.user)
                && verifications.next().is_some()
                && secret_of(spec).is_some_and(|secret| proof.is_made_with(&secret))
        };
        Self::new(admitted, caller, |spec| is_made(spec, &mut (0..))).or_else(|_| {
            let mut verifications = 0..MAX_VERIFICATIONS;
            Self::new(others, caller, |spec| is_made(spec, &mut verifications))
        })
    }

    /// Keeps the hosts that take such a request from this caller; the oldest comes first.
    fn new(
        mut hosts: Vec<Arc<Host>>,
        caller: Option<IpAddr>,
        mut takes: impl FnMut(&HostSpec) -> bool,
    ) -> Result<Self, Denied> {
        hosts.sort_by(|a, b| a.meta.seniority().cmp(&b.meta.seniority()));
        hosts.retain(|host| match &host.spec {
            Ok(spec) => spec.may_call(caller) && takes(spec),
            Err(_) => false,
        });
        if hosts.is_empty() {
            return Err(Denied::BadAuth);
        }
        Ok(Self(hosts))
    }

    /// The hosts, the oldest first.
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.0
    }

    /// One target for each name that is asked.
    ///
    /// Names of others are answered alike whether they exist or not. `judge` says whether the
    /// host's zone admits it.
    pub fn targets(
        &self,
        names: &Names,
        judge: impl Fn(&Host) -> Result<(), Refusal>,
    ) -> Result<Vec<Target>, Denied> {
        match names {
            Names::Listed(listed) => {
                Ok(listed.iter().map(|name| self.asked(name, &judge)).collect())
            }
            Names::Unnamed(users) => {
                let name = self.default_name(users).ok_or(Denied::NoName)?;
                Ok(vec![self.target(name, &judge)])
            }
            Names::All => Ok(self.all(&judge)),
        }
    }

    /// Every host that is admitted, also several of one name (split horizon), and a refusal for each
    /// name that has none.
    fn all(&self, judge: impl Fn(&Host) -> Result<(), Refusal>) -> Vec<Target> {
        let is_admitted = |host: &&Arc<Host>| !host.meta.deleting && judge(host).is_ok();
        let (admitted, others): (Vec<_>, Vec<_>) = self.0.iter().partition(is_admitted);
        let mut told: HashSet<_> = admitted.iter().filter_map(|host| name_of(host)).collect();
        let refused = others.into_iter().filter_map(|host| name_of(host));
        let refused: Vec<_> = refused.filter(|name| told.insert(name)).collect();
        let refused = refused.into_iter().map(|name| self.target(name, &judge));
        admitted
            .into_iter()
            .cloned()
            .map(Ok)
            .chain(refused)
            .collect()
    }

    fn asked(&self, asked: &Asked, judge: impl Fn(&Host) -> Result<(), Refusal>) -> Target {
        match asked {
            Asked::Bad(_) => Err(Outcome::NotFqdn),
            Asked::Full(name) if name.is_single_label() => Err(Outcome::NotFqdn),
            Asked::Full(name) => self.target(name, judge),
            Asked::Leading(labels) => {
                let names = || self.0.iter().filter_map(|host| name_of(host));
                if let Some(name) = names().find(|name| *name == labels) {
                    return self.target(name, judge);
                }
                match only(names().filter(|name| name.begins_with(labels))) {
                    Ok(Some(name)) => self.target(name, judge),
                    Ok(None) => Err(Outcome::NoHost),
                    Err(Several) => Err(Outcome::NotFqdn),
                }
            }
        }
    }

    fn default_name(&self, users: &[Fqdn]) -> Option<&Fqdn> {
        let names = || self.0.iter().filter_map(|host| name_of(host));
        let named = users
            .iter()
            .find_map(|user| names().find(|name| *name == user));
        named.or_else(|| only(names()).ok().flatten())
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
                    | Refusal::NameNotAllowed
                    | Refusal::OutsideZone
                    | Refusal::QuotaExceeded(_)
                    | Refusal::NameConflict(_)
                    | Refusal::Alias(..),
                ) => {}
            }
        }
        Err(refused)
    }
}

/// There are several different names.
struct Several;

/// The only name there is.
fn only<'a>(mut names: impl Iterator<Item = &'a Fqdn>) -> Result<Option<&'a Fqdn>, Several> {
    let Some(first) = names.next() else {
        return Ok(None);
    };
    if names.all(|name| name == first) {
        Ok(Some(first))
    } else {
        Err(Several)
    }
}

fn name_of(host: &Host) -> Option<&Fqdn> {
    host.spec.as_ref().ok().map(|spec| &spec.hostname)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::index::object::ObjectKey;
    use crate::update::fixture;
    use crate::update::protocol::credentials::tests::basic;
    use crate::update::protocol::{Dialect, Input};

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

    fn names(dialect: Dialect, user: &str, query: &str) -> Names {
        let basic = basic(user, "TheUpdateKey");
        let input = Input {
            query: query.as_bytes(),
            authorization: Some(basic.as_bytes()),
            ..Input::default()
        };
        dialect.parse(&input).report.unwrap().names
    }

    fn by_token(hosts: Vec<Arc<Host>>) -> Result<Authenticated, Denied> {
        Authenticated::by_token(hosts, Place::Header, None)
    }

    #[test]
    fn a_token_of_no_host_is_refused() {
        assert_eq!(by_token(Vec::new()).map(|_| ()), Err(Denied::BadAuth));
    }

    #[test]
    fn a_host_says_where_its_key_may_stand_and_who_may_call() {
        fn check(spec: serde_json::Value, place: Place, caller: Option<&str>, expected: bool) {
            let host = Arc::new(fixture::host(spec.clone()));
            let caller = caller.map(|caller| caller.parse().unwrap());
            let found = Authenticated::by_token(vec![host], place, caller);
            assert_eq!(found.is_ok(), expected, "{spec} {place:?} {caller:?}");
        }
        let deny = || json!({"auth": {"tokenInURL": "Deny"}});
        for place in [Place::Header, Place::Body, Place::Url] {
            check(json!({}), place, None, true);
            check(deny(), place, None, place != Place::Url);
        }
        let sources = || json!({"address": {"allowedSources": ["198.51.100.0/24", "2001:db8::7"]}});
        check(sources(), Place::Header, Some("198.51.100.7"), true);
        check(sources(), Place::Header, Some("::ffff:198.51.100.7"), true);
        check(sources(), Place::Header, Some("2001:db8::7"), true);
        check(sources(), Place::Header, Some("203.0.113.7"), false);
        check(sources(), Place::Header, None, false);
    }

    #[test]
    fn a_signature_counts_where_the_signed_address_does() {
        fn check(address: serde_json::Value, expected: bool) {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
            let key = STANDARD.encode(pair.public_key());
            let host = fixture::host(json!({"auth": {"publicKeys": [key]}, "address": address}));
            let message = SignedMessage {
                name: Fqdn::parse("home.dyn.example.org").unwrap(),
                text: b"text".to_vec(),
                signature: pair.sign(b"text").as_ref().try_into().unwrap(),
                at: 0,
            };
            let found =
                Authenticated::by_signature(vec![], vec![Arc::new(host)], &message, None, 0);
            assert_eq!(found.is_ok(), expected, "{address}");
        }
        check(json!({}), true);
        check(json!({"from": "Any"}), true);
        check(json!({"from": "Request"}), true);
        check(json!({"from": "Connection"}), false);
    }

    #[test]
    fn hosts_of_one_key_that_do_not_take_the_request_are_as_if_they_had_another() {
        let deny = json!({"spec": {
            "hostname": "nas.dyn.example.org", "auth": {"tokenInURL": "Deny"},
        }});
        let hosts = vec![host("home", 1), Arc::new(fixture::object(deny))];
        let authenticated = Authenticated::by_token(hosts, Place::Url, None).unwrap();
        let names = names(
            Dialect::Dyndns2,
            "",
            "hostname=nas.dyn.example.org,home.dyn.example.org",
        );
        let targets = authenticated.targets(&names, |_| Ok(())).unwrap();
        assert_eq!(targets[0], Err(Outcome::NoHost));
        assert!(targets[1].is_ok());
    }

    #[test]
    fn each_name_is_a_host_of_the_token_or_refused() {
        /// `expected`: names of hosts, or the labels of what is said instead.
        fn check(hosts: &[(&str, u8)], user: &str, query: &str, expected: Result<&[&str], Denied>) {
            let hosts = hosts.iter().map(|(label, n)| host(label, *n)).collect();
            let names = names(Dialect::Dyndns2, user, query);
            let targets = by_token(hosts).unwrap().targets(&names, |_| Ok(()));
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
            let names = names(Dialect::Dyndns2, "", "hostname=home.dyn.example.org");
            let targets = by_token(hosts).unwrap().targets(&names, judge).unwrap();
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
        let authenticated = by_token(vec![deleting]).unwrap();
        let names = names(Dialect::Dyndns2, "", "");
        let targets = authenticated.targets(&names, |_| Ok(())).unwrap();
        assert_eq!(targets, [Err(Outcome::NoHost)]);
    }

    #[test]
    fn duckdns_names_a_host_by_its_first_labels() {
        /// `expected`: the name of a host, or the label of what is said instead.
        fn check(domain: &str, expected: &str) {
            let hosts = vec![host("home", 1), host("nas", 2), host("nas.home", 3)];
            let names = names(Dialect::DuckDns, "", &format!("domains={domain}&token=t"));
            let targets = by_token(hosts)
                .unwrap()
                .targets(&names, |_| Ok(()))
                .unwrap();
            let found = match &targets[0] {
                Ok(host) => host.meta.key.name.to_string(),
                Err(outcome) => outcome.label().to_owned(),
            };
            assert_eq!(found, expected, "{domain}");
        }
        check("home", "home1");
        check("HOME", "home1");
        check("home.dyn", "home1");
        check("home.dyn.example.org", "home1");
        check("nas.home", "nas.home3");
        check("nas", "notfqdn");
        check("nas.dyn", "nas2");
        check("hom", "nohost");
        check("dyn.example.org", "nohost");
        check("x..y", "notfqdn");
    }

    #[test]
    fn an_sftdyn_key_updates_every_host_that_holds_it() {
        let hosts = vec![host("nas", 2), host("home", 1), host("home", 3)];
        let targets = by_token(hosts).unwrap();
        let targets = targets.targets(&Names::All, |_| Ok(())).unwrap();
        let found: Vec<_> = targets
            .iter()
            .flatten()
            .map(|h| &*h.meta.key.name)
            .collect();
        assert_eq!(found, ["home1", "nas2", "home3"]);
    }

    #[test]
    fn an_sftdyn_key_is_refused_once_for_each_name_without_an_admitted_host() {
        let hosts = vec![
            host("home", 1),
            host("home", 2),
            host("nas", 3),
            host("nas", 4),
        ];
        let judge = |host: &Host| match &*host.meta.key.name {
            "home2" => Ok(()),
            _ => Err(Refusal::NotAllowedByZone),
        };
        let targets = by_token(hosts)
            .unwrap()
            .targets(&Names::All, judge)
            .unwrap();
        let found = |target: &Target| match target {
            Ok(host) => host.meta.key.name.to_string(),
            Err(outcome) => outcome.label().to_owned(),
        };
        let found: Vec<_> = targets.iter().map(found).collect();
        assert_eq!(found, ["home2", "nohost"]);
    }

    #[test]
    fn hosts_that_no_zone_admits_keep_nobody_from_proving_who_he_is() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let host = |seeds: std::ops::Range<u8>| {
            let key = |seed| {
                let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
                STANDARD.encode(pair.public_key())
            };
            let keys: Vec<_> = seeds.map(key).collect();
            Arc::new(fixture::host(json!({"auth": {"publicKeys": keys}})))
        };
        let message = SignedMessage {
            name: Fqdn::parse("home.dyn.example.org").unwrap(),
            text: b"text".to_vec(),
            signature: pair.sign(b"text").as_ref().try_into().unwrap(),
            at: 0,
        };
        let check = |admitted: Vec<_>, others: Vec<_>, expected: bool| {
            let found = Authenticated::by_signature(admitted, others, &message, None, 0);
            assert_eq!(found.is_ok(), expected);
        };
        let squatters = || vec![host(10..18), host(20..28)];
        check(vec![host(7..8)], squatters(), true);
        check(vec![host(7..8), host(10..18), host(20..28)], vec![], true);
        check(vec![], vec![host(7..8)], true);
        // Nobody pays for verifying without end.
        let last = [squatters(), vec![host(7..8)]].concat();
        check(vec![], last, false);
    }

    #[test]
    fn hosts_that_no_zone_admits_keep_nobody_from_running_the_script_of_2012() {
        let host = |user: &str, secret: &str| {
            let auth = json!({"sha1Script": {"user": user}, "secretName": secret});
            Arc::new(fixture::host(json!({"auth": auth})))
        };
        let text = b"text".to_vec();
        let digest = aws_lc_rs::digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, b"textgood\n");
        let proof = Sha1Proof {
            name: Fqdn::parse("home.dyn.example.org").unwrap(),
            user: "alice".to_owned(),
            text,
            digest: digest.as_ref().try_into().unwrap(),
            at: 0,
        };
        let check = |admitted: Vec<_>, others: Vec<_>, expected: (bool, usize)| {
            let looked = Cell::new(0);
            let secret_of = |spec: &HostSpec| {
                looked.set(looked.get() + 1);
                Sha1Secret::new(spec.secret.name.as_bytes())
            };
            let found = Authenticated::by_sha1(admitted, others, &proof, None, 0, secret_of);
            assert_eq!((found.is_ok(), looked.get()), expected);
        };
        let squatters = |n: usize| vec![host("alice", "bad"); n];
        let good = || vec![host("alice", "good")];
        check(good(), squatters(16), (true, 1));
        check([good(), squatters(20)].concat(), vec![], (true, 21));
        check(vec![], good(), (true, 1));
        // Another user's hosts cost nothing.
        let others = [vec![host("bob", "bad"); 40], good()].concat();
        check(vec![], others, (true, 1));
        check(vec![], [squatters(16), good()].concat(), (false, 16));
    }
}
