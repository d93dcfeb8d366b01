//! A request from its octets to its answer, as the endpoint does it, for hosts that let everybody in.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use dynhost::index::host::Host;
use dynhost::update::auth::Authenticated;
use dynhost::update::decide::{Decision, Families, Reliance, decide};
use dynhost::update::outcome::{Echo, Outcome};
use dynhost::update::protocol::address::Declared;
use dynhost::update::protocol::credentials::{Credentials, Place, Presented};
use dynhost::update::protocol::parameters::Parameters;
use dynhost::update::protocol::{
    Asked, CheckIn, Dialect, Input, MAX_NAMES, Names, ParseError, Proof, Reply, Report,
};
use dynhost::update::scope::{Scope, is_publishable, scope};
use dynhost::update::source_address::{Chosen, choose};
use serde_json::{Value, json};

use crate::parts::check_declared;

/// Statuses that a dialect answers with. 405, 413, 415 and 429 are not the dialects'.
fn statuses(dialect: Dialect) -> &'static [u16] {
    match dialect {
        Dialect::Sftdyn => &[200, 403, 500],
        _ => &[200, 400, 401, 403, 404, 503],
    }
}

/// Two hosts of one key: one has stored addresses and lets clients withdraw them, the other has not.
static HOSTS: LazyLock<[Arc<Host>; 2]> = LazyLock::new(|| {
    let observed = |address| {
        json!({
            "address": address, "changedAt": "2026-01-01T00:00:00Z", "protocol": "dyndns2",
        })
    };
    let status = json!({"observed": {
        "ipv4": observed("198.51.100.7"), "ipv6": observed("2001:db8::7"),
    }});
    let spec = json!({"auth": {"allowClear": true}});
    [
        host("home", &spec, &status),
        host("nas", &json!({}), &json!({})),
    ]
});

fn host(label: &str, spec: &Value, status: &Value) -> Arc<Host> {
    let mut host = json!({
        "apiVersion": "dynhost.dev/v1alpha1",
        "kind": "DynamicHost",
        "metadata": {
            "name": label, "namespace": "family", "uid": label, "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "hostname": format!("{label}.dyn.example.org"), "zoneRef": {"name": "dyn"},
            "auth": spec["auth"],
        },
        "status": status,
    });
    if spec["auth"].is_null() {
        host["spec"]["auth"] = json!({});
    }
    Arc::new(Host::from_object(&serde_json::from_value(host).unwrap()).unwrap())
}

/// Parses the request, checks what holds for every dialect, has it answered in every situation, and
/// checks the answers.
pub(crate) fn check(dialect: Dialect, input: &Input<'_>) -> CheckIn {
    let check_in = dialect.parse(input);
    assert_eq!(dialect.parse(input), check_in, "parsing is no function");
    let token = presented(dialect, input);
    check_proof(&check_in);
    check_client(&check_in, token.as_deref());
    if let Ok(report) = &check_in.report {
        check_report(report);
    }
    let callers = ["9.9.9.9", "2003::9", "10.42.0.1", "224.0.0.1"];
    let callers = callers.map(|caller| Some(caller.parse().unwrap()));
    for caller in callers.into_iter().chain([None]) {
        for hosts in [&HOSTS[..], &HOSTS[..1]] {
            let outcomes = outcomes(&check_in, hosts, caller);
            assert!(!outcomes.is_empty() && outcomes.len() <= MAX_NAMES);
            check_reply(dialect, input, &outcomes, token.as_deref());
        }
    }
    let refused = [Outcome::BadAuth];
    check_reply(dialect, input, &refused, token.as_deref());
    check_in
}

/// The update key that the request presents.
fn presented(dialect: Dialect, input: &Input<'_>) -> Option<Vec<u8>> {
    if dialect == Dialect::Sftdyn {
        return Some(input.target.trim_start_matches('/').into());
    }
    let in_path = match dialect {
        Dialect::DuckDns => input.path.strip_prefix("/update/").and_then(|path| {
            let mut segments = path.split('/').filter(|segment| !segment.is_empty());
            segments.nth(1)
        }),
        Dialect::Afraid => input.path.strip_prefix("/u/"),
        _ => None,
    };
    let in_path = in_path.map(|path| path.trim_end_matches('/'));
    let in_path = in_path.and_then(|path| dynhost::update::protocol::grammar::segment(path).ok());
    let parameters = Parameters::parse(input.query, input.form).ok();
    let presented = Presented::find(input.authorization, in_path.as_deref(), parameters.as_ref());
    presented.token.map(|(token, _)| token.into_owned())
}

fn check_proof(check_in: &CheckIn) {
    match &check_in.proof {
        Proof::Missing => {}
        Proof::Token(credentials) => {
            let shown = format!("{credentials:?} {:?}", check_in.proof);
            assert_eq!(shown, "Credentials Token(Credentials)");
        }
        Proof::Signature(message) => {
            let (name, at) = (&message.name, message.at);
            let expected = format!("SignedMessage {{ name: {name}, at: {at}, .. }}");
            assert_eq!(format!("{message:?}"), expected);
        }
        Proof::Sha1(proof) => {
            let (name, at) = (&proof.name, proof.at);
            let expected = format!("Sha1Proof {{ name: {name}, at: {at}, .. }}");
            assert_eq!(format!("{proof:?}"), expected);
        }
    }
}

/// The client's name is short, printable, and without the key.
fn check_client(check_in: &CheckIn, token: Option<&[u8]>) {
    let Some(client) = &check_in.client else {
        return;
    };
    assert!(!client.is_empty() && client.len() <= 64, "{client:?}");
    assert!(client.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
    // What is not understood is not stored.
    if let (Proof::Token(_), Ok(_), Some(token)) = (&check_in.proof, &check_in.report, token) {
        assert!(
            !contains(client.as_bytes(), token),
            "the client has the key"
        );
    }
}

fn check_report(report: &Report) {
    if let Names::Listed(names) = &report.names {
        assert!(!names.is_empty() && names.len() <= MAX_NAMES);
    }
    assert!(report.own.len() <= MAX_NAMES);
    check_declared(&report.declared);
    for (name, declared) in &report.own {
        check_declared(declared);
        assert!(!declared.is_empty());
        let is_it = |asked: &Asked| *asked == Asked::Full(name.clone());
        match &report.names {
            Names::Listed(names) => assert!(names.iter().any(is_it), "{name} is not asked"),
            names => panic!("{name} is not listed in {names:?}"),
        }
    }
}

/// What becomes of the request where its proof is good, by the rules of the endpoint.
fn outcomes(check_in: &CheckIn, hosts: &[Arc<Host>], caller: Option<IpAddr>) -> Vec<Outcome> {
    let place = match &check_in.proof {
        Proof::Missing => return vec![Outcome::NoCredentials],
        Proof::Token(Credentials { place, .. }) => *place,
        Proof::Signature(_) | Proof::Sha1(_) => Place::Header,
    };
    let authenticated = Authenticated::by_token(hosts.to_vec(), place, caller).unwrap();
    let report = match &check_in.report {
        Ok(report) => report,
        Err(error) => return vec![(*error).into()],
    };
    let targets = match authenticated.targets(&report.names, |_| Ok(())) {
        Ok(targets) => targets,
        Err(denied) => return vec![denied.into()],
    };
    let outcome = |host: &Arc<Host>| updated(host, report, caller);
    let outcomes = targets.iter().map(|target| match target {
        Ok(host) => outcome(host),
        Err(outcome) => outcome.clone(),
    });
    outcomes.collect()
}

fn updated(host: &Host, report: &Report, caller: Option<IpAddr>) -> Outcome {
    let spec = host.spec.as_ref().unwrap();
    let own = report.own.iter().find(|(name, _)| *name == spec.hostname);
    let declared = own.map_or(&report.declared, |(_, declared)| declared);
    let chosen = match choose(spec, &host.observed, declared, report.clear, caller) {
        Ok(chosen) => chosen,
        Err(error) => return error.into(),
    };
    check_chosen(&chosen, declared, caller);
    let reliance = Reliance {
        fresh: true,
        in_doubt: Families::default(),
    };
    match decide(host, chosen.addresses, None, reliance) {
        Decision::Store(_) => Outcome::Good(chosen.echo),
        Decision::NoChange => Outcome::NoChange(chosen.echo),
        decision => panic!("{decision:?}"),
    }
}

/// What is published was declared and may be published, or is the caller's and global.
fn check_chosen(chosen: &Chosen, declared: &Declared, caller: Option<IpAddr>) {
    let addresses = chosen.addresses;
    let ipv4 = declared.ipv4.as_ref().map(|a| IpAddr::from(a.address));
    let ipv6 = declared.ipv6.as_ref().map(|a| IpAddr::from(a.address));
    let published4 = addresses.ipv4.address().map(IpAddr::from);
    let published6 = addresses.ipv6.address().map(IpAddr::from);
    for (published, declared_one) in [(published4, ipv4), (published6, ipv6)] {
        let Some(address) = published else {
            continue;
        };
        let is_declared = declared_one == Some(address) && is_publishable(address, false);
        let is_callers =
            caller == Some(address) && declared.is_empty() && scope(address) == Scope::Global;
        assert!(is_declared || is_callers, "{address} is published");
    }
    if let Some(prefix) = addresses.prefix.address() {
        let declared = declared.prefix.as_ref().map(|prefix| prefix.address);
        assert_eq!(Some(prefix), declared);
        assert!(is_publishable(prefix.network().into(), false));
    }
}

/// An answer says the dialect's words, the hosts' names and addresses, and nothing else.
fn check_reply(dialect: Dialect, input: &Input<'_>, outcomes: &[Outcome], token: Option<&[u8]>) {
    let reply = dialect.render(input, outcomes);
    let Reply { status, body } = &reply;
    assert!(statuses(dialect).contains(status), "{status} {body}");
    let is_success = |o: &Outcome| matches!(o, Outcome::Good(_) | Outcome::NoChange(_));
    if *status == 200 {
        assert!(outcomes.iter().any(is_success), "200 {body}");
    }
    if outcomes.iter().all(is_success) {
        assert_eq!(*status, 200);
    }
    let is_harmless = |octet: u8| octet == b'\n' || (b' '..=b'~').contains(&octet);
    assert!(body.bytes().all(is_harmless), "{body:?}");
    assert_eq!(*body, body.trim_ascii_end(), "{body:?}");
    let is_a_line_each = !matches!(dialect, Dialect::DuckDns | Dialect::Dynv6 | Dialect::Sftdyn);
    if is_a_line_each {
        assert_eq!(body.lines().count(), outcomes.len());
    }
    for outcome in outcomes {
        if let Outcome::Good(echo) | Outcome::NoChange(echo) = outcome {
            check_echo(echo);
        }
    }
    // Of the request, nothing but the wish for a long answer gets into it.
    let verbose = Input {
        query: b"verbose=true",
        ..Input::default()
    };
    let others = [Input::default(), verbose].map(|other| dialect.render(&other, outcomes));
    assert!(others.contains(&reply), "{reply:?}");
    // So says the construction; and so it is. A key that is a word of the dialect may stand there.
    let bare: Vec<_> = outcomes.iter().map(without_addresses).collect();
    if let Some(token) = token.filter(|token| is_like_a_key(token))
        && !contains(dialect.render(&verbose, &bare).body.as_bytes(), token)
    {
        assert!(!contains(body.as_bytes(), token), "the answer has the key");
    }
}

/// The hosts' own names, and addresses in a spelling that is one.
fn check_echo(echo: &Echo) {
    let names = ["home.dyn.example.org", "nas.dyn.example.org"];
    assert!(names.contains(&echo.name()), "{echo:?}");
    let is_one = |text: &str| match text.split_once('/') {
        Some(_) => text.parse::<ipnet::IpNet>().is_ok(),
        None => text.parse::<IpAddr>().is_ok(),
    };
    let spelled = [&echo.ipv4, &echo.ipv6, &echo.prefix];
    for text in spelled.into_iter().flatten() {
        assert!(is_one(text), "{echo:?}");
    }
}

fn without_addresses(outcome: &Outcome) -> Outcome {
    let bare = |echo: &Echo| Echo {
        name: echo.name.clone(),
        ..Echo::default()
    };
    match outcome {
        Outcome::Good(echo) => Outcome::Good(bare(echo)),
        Outcome::NoChange(echo) => Outcome::NoChange(bare(echo)),
        outcome => outcome.clone(),
    }
}

/// Of the form that generated keys have, and no part of an address.
fn is_like_a_key(token: &[u8]) -> bool {
    token.len() >= 12
        && token.iter().all(u8::is_ascii_alphanumeric)
        && !token.iter().all(u8::is_ascii_hexdigit)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// For signed dialects: what cannot be understood proves nothing, and the other way round.
pub(crate) fn check_signed(check_in: &CheckIn) {
    match (&check_in.proof, &check_in.report) {
        (Proof::Missing, report) => assert_eq!(*report, Err(ParseError::NotText)),
        (Proof::Signature(_), Err(error)) => assert_eq!(*error, ParseError::BadAddress),
        (Proof::Signature(_) | Proof::Sha1(_), Ok(report)) => {
            assert!(matches!(&report.names, Names::Listed(names) if names.len() == 1));
            assert!(report.own.is_empty() && report.clear.is_none());
        }
        (proof, report) => panic!("{proof:?} with {report:?}"),
    }
}
