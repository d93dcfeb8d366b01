//! The dialects that carry an update key.

use dynhost::index::key::TokenDigest;
use dynhost::update::protocol::credentials::{Credentials, Place};
use dynhost::update::protocol::{Asked, Dialect, Names, Proof};

use crate::answers::check;
use crate::request::Request;

/// dyndns2 with all its parameters.
pub fn dyndns2(octets: &[u8]) {
    grammar(Dialect::Dyndns2, octets);
}

/// DuckDNS: parameters and path.
pub fn duckdns(octets: &[u8]) {
    grammar(Dialect::DuckDns, octets);
}

/// dynv6.
pub fn dynv6(octets: &[u8]) {
    grammar(Dialect::Dynv6, octets);
}

/// freedns.afraid.org, version 2.
pub fn afraid(octets: &[u8]) {
    grammar(Dialect::Afraid, octets);
}

fn grammar(dialect: Dialect, octets: &[u8]) {
    let Some(request) = Request::split(octets) else {
        return;
    };
    let check_in = check(dialect, &request.input());
    assert!(matches!(check_in.proof, Proof::Missing | Proof::Token(_)));
    let Ok(report) = check_in.report else {
        return;
    };
    match report.names {
        Names::Listed(names) => {
            for name in &names {
                let is_fitting = match name {
                    // deSEC's names for single addresses are whole ones in every dialect.
                    Asked::Full(_) => {
                        dialect != Dialect::DuckDns || !report.own.is_empty() || is_bare(&request)
                    }
                    Asked::Leading(_) => dialect == Dialect::DuckDns,
                    Asked::Bad(_) => true,
                };
                assert!(is_fitting, "{name:?}");
            }
        }
        Names::Unnamed(users) => {
            assert!(users.len() <= 3);
            assert!(users.iter().all(|name| !name.is_single_label()));
        }
        Names::All => panic!("every host of the key"),
    }
}

/// DD-WRT's bare name is a whole one too.
fn is_bare(request: &Request<'_>) -> bool {
    let input = request.input();
    let pairs = input.query.split(|octet| b"&?".contains(octet));
    let pairs = pairs.chain(input.form.split(|octet| *octet == b'&'));
    let mut pairs = pairs.filter(|pair| !pair.is_empty());
    pairs.any(|pair| !pair.contains(&b'=') || pair.ends_with(b"="))
}

/// sftdyn: the key is the request target.
pub fn sftdyn(octets: &[u8]) {
    let Some(request) = Request::split(octets) else {
        return;
    };
    let input = request.input();
    let check_in = check(Dialect::Sftdyn, &input);
    let key = input.target.trim_start_matches('/');
    let credentials = Credentials {
        token: TokenDigest::new(key.as_bytes()),
        place: Place::Url,
    };
    assert_eq!(check_in.proof, Proof::Token(credentials));
    let report = check_in.report.unwrap();
    assert_eq!(report.names, Names::All);
    assert!(report.declared.is_empty() && report.clear.is_none());
}
