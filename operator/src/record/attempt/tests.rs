mod properties;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::record::marker::{HostDigest, Nonce};

const HOST: &str = "home.dyn.example.org";
const WWW: &str = "www.home.dyn.example.org";
const WILD: &str = "*.home.dyn.example.org";

/// What stands at one name of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    ipv4: Vec<Ipv4Addr>,
    ipv6: Vec<Ipv6Addr>,
    cname: Option<String>,
    /// A type that dynhost never writes.
    mx: bool,
    marker_texts: Vec<String>,
}

/// A server that judges prerequisites as RFC 2136 section 3.2 says, or takes none.
#[derive(Debug, Clone, Default)]
struct Server {
    nodes: BTreeMap<RecordName, Node>,
    messages: usize,
}

impl Server {
    fn node(&self, name: &RecordName) -> Node {
        self.nodes.get(name).cloned().unwrap_or_default()
    }

    fn holds(&self, planned: &PlannedName) -> bool {
        let node = self.node(&planned.name);
        let is_unmarked = node.marker_texts.is_empty();
        let adds_address = match &planned.records {
            Records::Addresses { ipv4, ipv6 } => {
                matches!(ipv4, RrsetChange::Set(_)) || matches!(ipv6, RrsetChange::Set(_))
            }
            _ => false,
        };
        let cname_is = |there: bool| match &planned.records {
            Records::Addresses { .. } => !adds_address || node.cname.is_none(),
            Records::Cname { stands, .. } if there => *stands == node.cname.is_some(),
            Records::Cname { .. } | Records::NoCname => true,
        };
        let is_in_use = !node.ipv4.is_empty() || !node.ipv6.is_empty() || node.mx;
        let is_alone =
            !matches!(planned.records, Records::Cname { stands: false, .. }) || !is_in_use;
        match &planned.basis {
            Basis::Unchecked => true,
            Basis::Adopt { marker_texts } => node.marker_texts == *marker_texts,
            Basis::Marker(marker) => {
                node.marker_texts == [marker.to_string()] && cname_is(true) && is_alone
            }
            Basis::Absent => match planned.records {
                Records::Addresses { .. } => {
                    let is_empty = node.ipv4.is_empty() && node.ipv6.is_empty();
                    is_unmarked && is_empty && node.cname.is_none()
                }
                Records::Cname { .. } => is_unmarked && !is_in_use && node.cname.is_none(),
                Records::NoCname => is_unmarked && node.cname.is_none(),
            },
            Basis::Rrsets { ipv4, ipv6, cname } => {
                let target = cname.as_ref().map(ToString::to_string);
                let same = match planned.records {
                    Records::Addresses { .. } => {
                        node.ipv4.iter().eq(ipv4.iter()) && node.ipv6.iter().eq(ipv6.iter())
                    }
                    _ => node.cname == target,
                };
                is_unmarked && same && cname_is(false)
            }
        }
    }

    /// Applies all of a message, or refuses it.
    fn apply(&mut self, step: &Step, marker: &Marker) -> bool {
        self.messages += 1;
        if !step.names.iter().all(|planned| self.holds(planned)) {
            return false;
        }
        for planned in &step.names {
            let node = self.nodes.entry(planned.name.clone()).or_default();
            if matches!(planned.basis, Basis::Adopt { .. }) {
                node.cname = None;
            }
            match &planned.records {
                Records::Addresses { ipv4, ipv6 } => {
                    change(&mut node.ipv4, *ipv4);
                    change(&mut node.ipv6, *ipv6);
                }
                Records::Cname { target, .. } => {
                    let is_alone = node.ipv4.is_empty() && node.ipv6.is_empty() && !node.mx;
                    assert!(is_alone, "a server would ignore this CNAME in silence");
                    node.cname = Some(target.to_string());
                }
                Records::NoCname => node.cname = None,
            }
            if planned.keeps_marker {
                node.marker_texts = vec![marker.to_string()];
            } else if !matches!(planned.basis, Basis::Unchecked) {
                node.marker_texts = Vec::new();
            }
            if *node == Node::default() {
                self.nodes.remove(&planned.name);
            }
        }
        true
    }

    fn read(&self, name: &RecordName) -> Found {
        let node = self.node(name);
        Found {
            marker_texts: node.marker_texts,
            ipv4: node.ipv4,
            ipv6: node.ipv6,
            cname: node.cname,
        }
    }
}

fn change<A: Copy>(rrset: &mut Vec<A>, change: RrsetChange<A>) {
    match change {
        RrsetChange::Keep => {}
        RrsetChange::Set(address) => *rrset = vec![address],
        RrsetChange::Remove => rrset.clear(),
    }
}

fn name(text: &str) -> RecordName {
    RecordName::parse(text).unwrap()
}

fn alias(text: &str, kind: AliasType) -> Alias {
    Alias {
        name: name(text),
        kind,
    }
}

fn ours(mode: OwnershipMode) -> Ours {
    Ours {
        owner: "home".parse().unwrap(),
        host: HostDigest::of("family", "home"),
        mode,
    }
}

fn marker(owner: &str, nonce: u64) -> Marker {
    let host = HostDigest::of("family", "home");
    Marker::new(owner.parse().unwrap(), host, Nonce::from_bits(nonce))
}

fn desired(ipv4: Option<u8>, aliases: &[Alias]) -> Desired {
    Desired {
        ttl: 60,
        ipv4: ipv4.map_or(RrsetChange::Remove, |last| RrsetChange::Set(address(last))),
        ipv6: RrsetChange::Keep,
        aliases: aliases.into(),
        misfit: None,
    }
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

/// How a message fares on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It is applied where its prerequisites hold, and the answer is lost.
    ReplyLost,
    /// It never arrives.
    Lost,
}

/// Brings a host to `want` as the controller does; messages fare as `fates` say, the later ones are
/// answered. Returns whether it came to an end.
fn run(
    attempt: &mut Attempt,
    server: &mut Server,
    want: &Desired,
    nonces: &mut u64,
    fates: &[Fate],
    adopt: bool,
) -> bool {
    let mut fates = fates.iter().copied();
    let mut pass_marker = None;
    for _ in 0..attempt.most_steps(want) {
        let Some(step) = attempt.next(want) else {
            return true;
        };
        assert!(!step.names.is_empty());
        *nonces += 1;
        let marker = pass_marker
            .take()
            .unwrap_or_else(|| marker("home", *nonces));
        let (refused, answered) = match step.needs_look {
            true => (false, false),
            false => match fates.next().unwrap_or(Fate::Answered) {
                Fate::Answered => {
                    let applied = server.apply(&step, &marker);
                    (!applied, applied)
                }
                Fate::ReplyLost => {
                    server.apply(&step, &marker);
                    (false, false)
                }
                Fate::Lost => (false, false),
            },
        };
        if answered {
            attempt.applied(step, &marker);
        } else {
            let found: Vec<_> = step.names.iter().map(|n| server.read(&n.name)).collect();
            attempt.learn(step, &found, refused, &marker, |_| adopt);
        }
        pass_marker = Some(marker).filter(|_| attempt.is_mid_pass());
    }
    false
}

fn fresh(mode: OwnershipMode) -> Attempt {
    Attempt::new(
        Fqdn::parse(HOST).unwrap(),
        ours(mode),
        Known::default(),
        None,
        false,
    )
}

#[test]
fn all_names_of_a_host_are_one_message_under_one_marker() {
    let aliases = [
        alias(WILD, AliasType::Address),
        alias(WWW, AliasType::Cname),
    ];
    let (mut server, mut nonces) = (Server::default(), 0);
    let mut attempt = fresh(OwnershipMode::Marker);
    for (last, messages) in [(7, 1), (8, 2)] {
        let want = desired(Some(last), &aliases);
        assert!(run(
            &mut attempt,
            &mut server,
            &want,
            &mut nonces,
            &[],
            false
        ));
        assert_eq!(server.messages, messages);
        let texts: Vec<_> = server.nodes.values().map(|n| &n.marker_texts).collect();
        assert_eq!((texts.len(), texts[0]), (3, texts[1]));
        assert_eq!(texts[1], texts[2]);
        assert_eq!(server.node(&name(WILD)).ipv4, [address(last)]);
        assert_eq!(server.node(&name(WWW)).cname.as_deref(), Some(HOST));
    }
    assert!(run(
        &mut attempt,
        &mut server,
        &desired(Some(8), &aliases),
        &mut nonces,
        &[],
        false
    ));
    assert_eq!(server.messages, 2, "what DNS says already is not written");
    assert!(run(
        &mut attempt,
        &mut server,
        &desired(None, &aliases),
        &mut nonces,
        &[],
        false
    ));
    assert!(
        server.nodes.is_empty(),
        "aliases go with the last address: {server:?}"
    );
}

#[test]
fn an_alias_that_somebody_else_has_costs_no_other_name() {
    fn check(mode: OwnershipMode, foreign: Node, kind: AliasType) {
        let mut server = Server::default();
        server.nodes.insert(name(WWW), foreign.clone());
        let mut attempt = fresh(mode);
        let aliases = [alias(WWW, kind), alias(WILD, AliasType::Address)];
        let want = desired(Some(7), &aliases);
        assert!(run(&mut attempt, &mut server, &want, &mut 0, &[], false));
        assert_eq!(server.node(&name(WWW)), foreign, "{mode:?} {kind:?}");
        assert_eq!(server.node(&name(HOST)).ipv4, [address(7)]);
        assert_eq!(server.node(&name(WILD)).ipv4, [address(7)]);
        let [(given_up, _)] = attempt.foreign() else {
            panic!("{mode:?} {kind:?}: {:?}", attempt.foreign());
        };
        assert_eq!(*given_up, name(WWW));
        let before = server.messages;
        let want = desired(Some(8), &aliases);
        assert!(run(&mut attempt, &mut server, &want, &mut 10, &[], false));
        assert_eq!(server.node(&name(WILD)).ipv4, [address(8)]);
        assert!(
            server.messages - before <= 2,
            "{}",
            server.messages - before
        );
    }
    let foreign_address = Node {
        ipv4: vec![address(99)],
        ..Node::default()
    };
    let foreign_cname = Node {
        cname: Some("elsewhere.example".to_owned()),
        ..Node::default()
    };
    let foreign_mx = Node {
        mx: true,
        ..Node::default()
    };
    for mode in [OwnershipMode::Marker, OwnershipMode::Values] {
        check(mode, foreign_address.clone(), AliasType::Address);
        check(mode, foreign_address.clone(), AliasType::Cname);
        check(mode, foreign_mx.clone(), AliasType::Cname);
        check(mode, foreign_cname.clone(), AliasType::Address);
        check(mode, foreign_cname.clone(), AliasType::Cname);
    }
    check(OwnershipMode::None, foreign_address, AliasType::Address);
}

#[test]
fn an_alias_that_was_never_ours_and_is_not_wanted_any_more_is_nobodys_business() {
    fn check(mode: OwnershipMode, kind: AliasType) {
        let mut server = Server::default();
        let foreign = Node {
            cname: Some("elsewhere.example".to_owned()),
            ..Node::default()
        };
        server.nodes.insert(name(WWW), foreign.clone());
        let mut attempt = fresh(mode);
        let want = desired(Some(7), &[]);
        assert!(run(&mut attempt, &mut server, &want, &mut 0, &[], false));
        // It was announced, and never written.
        let (known, marker) = attempt.state();
        let known = known.clone().with(&[alias(WWW, kind)]);
        let hostname = Fqdn::parse(HOST).unwrap();
        let mut attempt = Attempt::new(hostname, ours(mode), known, marker.cloned(), true);
        let want = desired(Some(8), &[]);
        assert!(run(&mut attempt, &mut server, &want, &mut 10, &[], false));
        assert_eq!(attempt.foreign(), [], "{mode:?} {kind:?}");
        assert!(attempt.state().0.aliases.is_empty());
        assert_eq!(
            server.node(&name(HOST)).ipv4,
            [address(8)],
            "{mode:?} {kind:?}"
        );
        assert_eq!(server.node(&name(WWW)), foreign);
    }
    for mode in [
        OwnershipMode::Marker,
        OwnershipMode::Values,
        OwnershipMode::None,
    ] {
        check(mode, AliasType::Address);
        check(mode, AliasType::Cname);
    }
}

#[test]
fn an_announced_alias_is_looked_at_before_it_is_removed_where_nothing_else_protects_it() {
    fn check(mode: OwnershipMode, foreign: Node, kind: AliasType) {
        let mut server = Server::default();
        server.nodes.insert(name(WWW), foreign.clone());
        let mut attempt = fresh(mode);
        let want = desired(Some(7), &[]);
        assert!(run(&mut attempt, &mut server, &want, &mut 0, &[], false));
        let (known, marker) = attempt.state();
        let hostname = Fqdn::parse(HOST).unwrap();
        let attempt = Attempt::new(hostname, ours(mode), known.clone(), marker.cloned(), false);
        let mut attempt = attempt.with_announced(&[alias(WWW, kind)]);
        assert!(run(&mut attempt, &mut server, &want, &mut 10, &[], false));
        assert_eq!(server.node(&name(WWW)), foreign, "{mode:?} {kind:?}");
        assert!(attempt.state().0.aliases.is_empty());
    }
    for mode in [
        OwnershipMode::Marker,
        OwnershipMode::Values,
        OwnershipMode::None,
    ] {
        let address = Node {
            ipv4: vec![address(99)],
            ..Node::default()
        };
        check(mode, address, AliasType::Address);
        let cname = Node {
            cname: Some("elsewhere.example".to_owned()),
            ..Node::default()
        };
        check(mode, cname, AliasType::Cname);
    }
}

#[test]
fn what_is_published_and_announced_alike_costs_no_look() {
    let aliases = [alias(WWW, AliasType::Address)];
    let mut server = Server::default();
    let mut attempt = fresh(OwnershipMode::None);
    let want = desired(Some(7), &aliases);
    assert!(run(&mut attempt, &mut server, &want, &mut 0, &[], false));
    let attempt = attempt.with_announced(&aliases);
    assert_eq!(attempt.next(&want), None);
}

#[test]
fn names_that_are_to_go_count_for_how_long_an_attempt_may_take() {
    let alias = |number: usize| alias(&format!("a{number}.{HOST}"), AliasType::Address);
    let aliases: Vec<_> = (0..6).map(alias).collect();
    let foreign = Node {
        ipv4: vec![address(99)],
        ..Node::default()
    };
    let mut server = Server::default();
    let mut attempt = fresh(OwnershipMode::Marker);
    let want = desired(Some(7), &aliases);
    assert!(run(&mut attempt, &mut server, &want, &mut 0, &[], false));
    server.nodes.insert(alias(6).name, foreign.clone());
    let mut attempt = attempt.with_announced(&[alias(6)]);
    let want = desired(Some(7), &[]);
    assert!(run(&mut attempt, &mut server, &want, &mut 10, &[], false));
    assert_eq!(server.node(&alias(6).name), foreign);
    assert_eq!(server.nodes.len(), 2, "{server:?}");
}

#[test]
fn the_administrators_consent_takes_a_name_over() {
    for marker_texts in [
        vec![],
        vec![marker("other", 5).to_string()],
        vec!["x".to_owned()],
    ] {
        let mut server = Server::default();
        let foreign = Node {
            cname: Some("elsewhere.example".to_owned()),
            marker_texts,
            ..Node::default()
        };
        server.nodes.insert(name(HOST), foreign.clone());
        let want = desired(Some(7), &[]);
        let mut attempt = fresh(OwnershipMode::Marker);
        assert!(run(&mut attempt, &mut server, &want, &mut 0, &[], false));
        assert_eq!(server.node(&name(HOST)), foreign);
        let mut attempt = fresh(OwnershipMode::Marker);
        assert!(run(&mut attempt, &mut server, &want, &mut 0, &[], true));
        assert_eq!(server.node(&name(HOST)).ipv4, [address(7)]);
        assert_eq!(server.node(&name(HOST)).cname, None);
    }
}

#[test]
fn a_zone_changes_its_mode_and_keeps_its_records() {
    use OwnershipMode::{Marker, None, Values};
    for (from, to) in [
        (Marker, Values),
        (Values, Marker),
        (None, Marker),
        (Values, None),
    ] {
        let aliases = [
            alias(WILD, AliasType::Address),
            alias(WWW, AliasType::Cname),
        ];
        let want = desired(Some(7), &aliases);
        let mut server = Server::default();
        let mut attempt = fresh(from);
        assert!(run(&mut attempt, &mut server, &want, &mut 0, &[], false));
        let (known, before) = attempt.state();
        let mut attempt = Attempt::new(
            Fqdn::parse(HOST).unwrap(),
            ours(to),
            known.clone(),
            before.cloned(),
            true,
        );
        assert!(run(&mut attempt, &mut server, &want, &mut 10, &[], false));
        assert_eq!(attempt.foreign(), [], "{from:?} -> {to:?}");
        for node in server.nodes.values() {
            assert_eq!(
                !node.marker_texts.is_empty(),
                to == Marker,
                "{from:?} -> {to:?}"
            );
        }
    }
}
