//! The grammar of unsigned requests, in which routers and scripts of all dialects can be understood.

use std::borrow::Cow;

use super::address::Declared;
use super::credentials::Presented;
use super::parameters::{Parameters, Plus, decode};
use super::{Asked, CheckIn, Clear, Input, Names, ParseError, Proof, Report, client_name};
use crate::name::Fqdn;

/// The names of the host parameter, in order of precedence.
const HOST: [&str; 5] = ["hostname", "host", "domain", "domains", "host_id"];

/// The names of the parameter with the user name.
const USER: [&str; 2] = ["username", "user"];

/// What a path carries instead of parameters.
#[derive(Default)]
pub struct InPath<'a> {
    pub name: Option<Cow<'a, str>>,
    pub token: Option<Cow<'a, str>>,
    pub address: Option<Cow<'a, str>>,
}

/// How hosts are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameForm {
    /// By fully qualified names.
    Full,
    /// The first labels will do.
    Leading,
}

/// One segment of a path, decoded.
pub fn segment(encoded: &str) -> Result<Cow<'_, str>, ParseError> {
    decode(encoded.as_bytes(), Plus::Itself)
}

/// Reads a request whose path carries `in_path`.
pub fn parse(
    input: &Input<'_>,
    in_path: Result<InPath<'_>, ParseError>,
    form: NameForm,
) -> CheckIn {
    let parameters = Parameters::parse(input.query, input.form);
    let path_token = match &in_path {
        Ok(path) => path.token.as_deref(),
        Err(_) => None,
    };
    let presented = Presented::find(input.authorization, path_token, parameters.as_ref().ok());
    let proof = match presented.credentials() {
        Some(credentials) => Proof::Token(credentials),
        None => Proof::Missing,
    };
    let token = presented.token.as_ref().map(|(token, _)| &**token);
    let client = client_name(input.user_agent, token);
    let report = match (&parameters, &in_path) {
        (Ok(parameters), Ok(path)) => report(input, parameters, path, form, &presented.user),
        (Err(error), _) | (_, Err(error)) => Err(*error),
    };
    CheckIn {
        proof,
        report,
        client,
    }
}

fn report(
    input: &Input<'_>,
    parameters: &Parameters<'_>,
    path: &InPath<'_>,
    form: NameForm,
    basic_user: &str,
) -> Result<Report, ParseError> {
    let own = own(parameters, input.max_names)?;
    let mut names = names(parameters, path, form, input.max_names)?;
    if let Some(Names::Listed(listed)) = &mut names {
        for (name, _) in &own {
            if !listed.contains(&Asked::Full(name.clone())) {
                listed.push(Asked::Full(name.clone()));
            }
        }
        if listed.len() > input.max_names {
            return Err(ParseError::TooManyNames);
        }
    }
    let names = match names {
        Some(names) => names,
        None if own.is_empty() => Names::Unnamed(user_names(parameters, basic_user)),
        None => Names::Listed(own.iter().map(|(n, _)| Asked::Full(n.clone())).collect()),
    };
    let declared = match &path.address {
        Some(address) => Declared::parse(&Parameters::one("myip", address))?,
        None => Declared::parse(parameters)?,
    };
    let clear = if parameters.is_set("clear") || parameters.is_set("offline") {
        Some(Clear::All)
    } else if input.path.trim_end_matches('/') == "/nic/delete" {
        let has_addresses = parameters.names().any(Declared::is_parameter);
        Some(if has_addresses {
            Clear::Declared
        } else {
            Clear::All
        })
    } else {
        None
    };
    Ok(Report {
        names,
        declared,
        own,
        clear,
    })
}

/// The names that are listed; `None` where none is.
fn names(
    parameters: &Parameters<'_>,
    path: &InPath<'_>,
    form: NameForm,
    max: usize,
) -> Result<Option<Names>, ParseError> {
    if let Some(name) = &path.name {
        return Ok(Some(Names::Listed(vec![asked(name, form)])));
    }
    for parameter in HOST {
        // `hostname=YES` is what some clients send where the user name is the host.
        let names: Vec<_> = parameters
            .list(parameter)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("yes"))
            .take(max + 1)
            .collect();
        if names.len() > max {
            return Err(ParseError::TooManyNames);
        }
        if !names.is_empty() {
            let names = names.into_iter().map(|name| asked(name, form)).collect();
            return Ok(Some(Names::Listed(names)));
        }
    }
    // DD-WRT puts the bare name behind the question mark of `/nic/update?`.
    let mut bare = parameters.bare().filter(|name| name.contains('.'));
    let bare = bare.find_map(|name| Fqdn::parse(name).ok());
    Ok(bare.map(|name| Names::Listed(vec![Asked::Full(name)])))
}

fn asked(name: &str, form: NameForm) -> Asked {
    match (Fqdn::parse(name), form) {
        (Ok(name), NameForm::Leading) => Asked::Leading(name),
        (Ok(name), NameForm::Full) => Asked::Full(name),
        (Err(error), _) => Asked::Bad(error),
    }
}

/// User names that are names of hosts: Basic's, then the parameter's.
fn user_names(parameters: &Parameters<'_>, basic_user: &str) -> Vec<Fqdn> {
    let in_parameters = USER.iter().filter_map(|name| parameters.first(name));
    let users = std::iter::once(basic_user).chain(in_parameters.map(|(user, _)| user));
    let names = users.filter_map(|user| Fqdn::parse(user).ok());
    names.filter(|name| !name.is_single_label()).collect()
}

/// Addresses for single names, as in deSEC's `myipv4:sub.example.org=198.51.100.7`.
fn own(parameters: &Parameters<'_>, max: usize) -> Result<Vec<(Fqdn, Declared)>, ParseError> {
    let mut own: Vec<(Fqdn, Declared)> = Vec::new();
    for parameter in parameters.names() {
        let name = parameter.split_once(':').map(|(_, name)| Fqdn::parse(name));
        let Some(Ok(name)) = name else {
            continue;
        };
        if own.iter().any(|(known, _)| *known == name) {
            continue;
        }
        if own.len() == max {
            return Err(ParseError::TooManyNames);
        }
        let declared = Declared::parse(&parameters.of_host(&name))?;
        own.push((name, declared));
    }
    own.retain(|(_, declared)| !declared.is_empty());
    Ok(own)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MAX_NAMES;
    use super::super::credentials::Place;
    use super::*;

    fn parsed(query: &str) -> CheckIn {
        let input = Input {
            query: query.as_bytes(),
            ..Input::default()
        };
        parse(&input, Ok(InPath::default()), NameForm::Full)
    }

    #[test]
    fn names_come_in_request_order_in_one_spelling() {
        fn check(query: &str, expected: &[Option<&str>]) {
            let names = parsed(query).report.unwrap().names;
            let found: Vec<_> = match &names {
                Names::Listed(names) => names
                    .iter()
                    .map(|name| match name {
                        Asked::Full(name) => Some(name.as_str()),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            };
            assert_eq!(found, expected, "{query}");
        }
        const A: Option<&str> = Some("a.example.org");
        const B: Option<&str> = Some("b.example.org");
        check("", &[]);
        check("hostname=", &[]);
        check("hostname=YES", &[]);
        check("hostname=a.example.org", &[A]);
        check("hostname=A.Example.ORG.", &[A]);
        check("hostname=b.example.org,a.example.org", &[B, A]);
        check("hostname=b.example.org&hostname=a.example.org", &[B, A]);
        check("hostname=a.example.org,,b.example.org,", &[A, B]);
        check("hostname=a.example.org,a.example.org", &[A, A]);
        check("hostname=a..org,b.example.org,x_y.z", &[None, B, None]);
        check("hostname=*.example.org", &[None]);
        check("hostname=%3Cdomain%3E", &[None]);
        check("hostname=a%0Ab.example.org", &[None]);
        check("hostname=YES&host=a.example.org", &[A]);
        check("host=a.example.org&hostname=b.example.org", &[B]);
        for name in HOST {
            check(&format!("{name}=a.example.org"), &[A]);
        }
        // A bare name, as DD-WRT appends it.
        check("a.example.org", &[A]);
        check("a.example.org&myip=198.51.100.7", &[A]);
        check("?a.example.org", &[A]);
        check("a.example.org=x", &[]);
        check("hostname=b.example.org&a.example.org", &[B]);
        check("x", &[]);
    }

    #[test]
    fn without_a_name_the_user_may_be_one() {
        fn check(user: &str, query: &str, expected: &[&str]) {
            let user = super::super::credentials::tests::basic(user, "key");
            let input = Input {
                query: query.as_bytes(),
                authorization: Some(user.as_bytes()),
                ..Input::default()
            };
            let report = parse(&input, Ok(InPath::default()), NameForm::Full).report;
            let Names::Unnamed(names) = report.unwrap().names else {
                panic!("{query} names a host");
            };
            let names: Vec<_> = names.iter().map(Fqdn::as_str).collect();
            assert_eq!(names, expected, "{query}");
        }
        check("", "", &[]);
        check("alice", "username=bob", &[]);
        check("a.example.org", "", &["a.example.org"]);
        check("", "username=a.example.org", &["a.example.org"]);
        check("alice", "user=a.example.org", &["a.example.org"]);
        check("a.b", "user=c.d&username=e.f", &["a.b", "e.f", "c.d"]);
    }

    #[test]
    fn twenty_names_pass_and_more_are_refused() {
        fn check(count: usize, expected: Result<usize, ParseError>) {
            let names: Vec<_> = (0..count).map(|n| format!("h{n}.example.org")).collect();
            let report = parsed(&format!("hostname={}", names.join(","))).report;
            let found = report.map(|report| match report.names {
                Names::Listed(names) => names.len(),
                _ => 0,
            });
            assert_eq!(found, expected);
            let own: Vec<_> = names.iter().map(|n| format!("myip:{n}=9.9.9.9")).collect();
            let own = parsed(&own.join("&")).report.map(|report| report.own.len());
            // So many parameters alone are too many.
            let expected = match count {
                2000 => Err(ParseError::TooManyParameters),
                _ => expected,
            };
            assert_eq!(own, expected);
        }
        check(20, Ok(20));
        check(21, Err(ParseError::TooManyNames));
        check(2000, Err(ParseError::TooManyNames));
    }

    #[test]
    fn single_names_may_have_addresses_of_their_own() {
        let query = "hostname=a.example.org&myip=198.51.100.7&myipv4:B.example.org=198.51.100.8\
                     &myipv6:b.example.org.=2001:db8::8&myipv4:=1&x:c.example.org=198.51.100.9";
        let report = parsed(query).report.unwrap();
        let (name, declared) = &report.own[0];
        assert_eq!((name.as_str(), report.own.len()), ("b.example.org", 1));
        assert_eq!(
            declared.ipv4.as_ref().map(|a| &*a.spelling),
            Some("198.51.100.8")
        );
        assert_eq!(
            declared.ipv6.as_ref().map(|a| &*a.spelling),
            Some("2001:db8::8")
        );
        let full = |name| Asked::Full(Fqdn::parse(name).unwrap());
        let names = vec![full("a.example.org"), full("b.example.org")];
        assert_eq!(report.names, Names::Listed(names));
        let bad = parsed("myipv4:b.example.org=x").report;
        assert_eq!(bad, Err(ParseError::BadAddress));
    }

    #[test]
    fn withdrawing_takes_a_word_for_yes_or_the_path() {
        fn check(path: &str, query: &str, expected: Option<Clear>) {
            let query = query.as_bytes();
            let input = Input {
                path,
                query,
                ..Input::default()
            };
            let report = parse(&input, Ok(InPath::default()), NameForm::Full).report;
            assert_eq!(report.unwrap().clear, expected, "{path}");
        }
        check("/nic/update", "", None);
        check("/nic/update", "myip=&clear=false&offline=NOCHG", None);
        check("/nic/update", "clear=true", Some(Clear::All));
        check(
            "/nic/update",
            "offline=YES&myip=198.51.100.7",
            Some(Clear::All),
        );
        check("/nic/delete", "", Some(Clear::All));
        check("/nic/delete/", "hostname=a.b", Some(Clear::All));
        check("/nic/delete", "myip=198.51.100.7", Some(Clear::Declared));
        check("/nic/delete", "myip=&myipv6=", Some(Clear::Declared));
        // A key that is called so.
        check("/u/nic/delete", "", None);
    }

    #[test]
    fn a_form_counts_like_a_query() {
        let text = b"hostname=a.example.org&myip=198.51.100.7&password=x";
        let form = Input {
            form: text,
            ..Input::default()
        };
        let query = Input {
            query: text,
            ..Input::default()
        };
        let parse = |input| parse(&input, Ok(InPath::default()), NameForm::Full);
        assert_eq!(parse(form).report, parse(query).report);
        let place = |check_in: CheckIn| match check_in.proof {
            Proof::Token(credentials) => credentials.place,
            _ => panic!("no token"),
        };
        assert_eq!(place(parse(form)), Place::Body);
        assert_eq!(place(parse(query)), Place::Url);
    }

    proptest! {
        #[test]
        fn no_octets_stop_the_parser(
            query in prop::collection::vec(any::<u8>(), 0..300),
            form in prop::collection::vec(any::<u8>(), 0..300),
            authorization in prop::collection::vec(any::<u8>(), 0..100),
            user_agent in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let input = Input {
                query: &query,
                form: &form,
                authorization: Some(&authorization),
                user_agent: Some(&user_agent),
                ..Input::default()
            };
            let check_in = parse(&input, Ok(InPath::default()), NameForm::Full);
            if let Ok(Report { names: Names::Listed(names), .. }) = check_in.report {
                prop_assert!(names.len() <= MAX_NAMES);
            }
        }

        #[test]
        fn parameter_values_are_understood_or_refused(
            name in "hostname|host|myip|ip|myipv6|[a-z]{0,4}",
            value in ".{0,40}",
        ) {
            if let Ok(report) = parsed(&format!("{name}={value}")).report {
                if let Names::Listed(names) = &report.names {
                    for name in names {
                        if let Asked::Full(name) = name {
                            prop_assert_eq!(&Fqdn::parse(name.as_str()), &Ok(name.clone()));
                        }
                    }
                }
                let spelled4 = report.declared.ipv4.map(|a| a.spelling);
                let spelled6 = report.declared.ipv6.map(|a| a.spelling);
                for spelling in spelled4.iter().chain(&spelled6) {
                    let harmless = |b: u8| b.is_ascii_hexdigit() || b".:/".contains(&b);
                    prop_assert!(spelling.bytes().all(harmless));
                }
            }
        }
    }
}
