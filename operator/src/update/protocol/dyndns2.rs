//! The dialect dyndns2 (Dyn's update API) on `/nic/update` and `/v3/update`.
//!
//! Deviations from the Dyn specification: errors have a status other than 2xx, since some clients
//! look at nothing else; no user agent is required; `wildcard`, `mx`, `backmx`, `offline` and
//! `system` are ignored.

use super::address::Declared;
use super::credentials::Credentials;
use super::parameters::Parameters;
use super::{CheckIn, Input, MAX_NAMES, ParseError, Report, client_name};
use crate::name::{Fqdn, NameError};
use crate::update::outcome::Outcome;

/// The dialect's name in status, metrics and logs.
pub const PROTOCOL: &str = "dyndns2";

/// The names of the host parameter, in order of precedence.
const HOST: [&str; 5] = ["hostname", "host", "domain", "domains", "host_id"];

/// Reads a request; what cannot be understood is in the result.
pub fn parse(input: &Input<'_>) -> CheckIn {
    CheckIn {
        credentials: input.authorization.and_then(Credentials::from_basic),
        report: parse_report(input),
        client: input.user_agent.and_then(client_name),
    }
}

fn parse_report(input: &Input<'_>) -> Result<Report, ParseError> {
    let parameters = Parameters::parse(input.query, input.form)?;
    Ok(Report {
        names: parse_names(&parameters)?,
        declared: Declared::parse(&parameters)?,
    })
}

fn parse_names(parameters: &Parameters) -> Result<Vec<Result<Fqdn, NameError>>, ParseError> {
    for parameter in HOST {
        // `hostname=YES` is what some clients send where the user name is the host.
        let names: Vec<_> = parameters
            .list(parameter)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("yes"))
            .take(MAX_NAMES + 1)
            .collect();
        if names.len() > MAX_NAMES {
            return Err(ParseError::TooManyNames);
        }
        if !names.is_empty() {
            return Ok(names.into_iter().map(Fqdn::parse).collect());
        }
    }
    Ok(Vec::new())
}

/// The HTTP status and the body for these outcomes, one line each in request order.
///
/// Any 503 makes it 503; else 200 where one line succeeded; else the first line's status. The body
/// has no trailing line end: pfSense compares it whole.
pub fn render(outcomes: &[Outcome]) -> (u16, String) {
    let lines: Vec<_> = outcomes.iter().map(render_line).collect();
    (deciding(outcomes).status(), lines.join("\n"))
}

/// The outcome that decides the status of the whole answer.
pub fn deciding(outcomes: &[Outcome]) -> &Outcome {
    let first_of = |status| outcomes.iter().find(|o| o.status() == status);
    first_of(503)
        .or_else(|| first_of(200))
        .or_else(|| outcomes.first())
        .unwrap_or(&Outcome::NotFqdn)
}

fn render_line(outcome: &Outcome) -> String {
    let word = match outcome {
        Outcome::Good(address) => return format!("good {address}"),
        Outcome::NoChange(address) => return format!("nochg {address}"),
        Outcome::BadAuth => "badauth",
        Outcome::NoHost => "nohost",
        Outcome::NotFqdn => "notfqdn",
        Outcome::TooManyNames => "numhost",
        Outcome::BadAddress => "911 badip",
        Outcome::NotText => "911 badparam",
        Outcome::Suspended => "abuse",
        Outcome::NoUsableAddress | Outcome::Unavailable => "911",
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn input<'a>(query: &'a str) -> Input<'a> {
        Input {
            query: query.as_bytes(),
            ..Input::default()
        }
    }

    #[test]
    fn names_come_in_request_order_in_one_spelling() {
        fn check(query: &str, expected: &[Option<&str>]) {
            let names = parse(&input(query)).report.unwrap().names;
            let found: Vec<_> = names
                .iter()
                .map(|name| name.as_ref().ok().map(Fqdn::as_str))
                .collect();
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
    }

    #[test]
    fn twenty_names_pass_and_more_are_refused() {
        fn check(count: usize, expected: Result<usize, ParseError>) {
            let names: Vec<_> = (0..count).map(|n| format!("h{n}.example.org")).collect();
            let query = format!("hostname={}", names.join(","));
            let report = parse(&input(&query)).report;
            assert_eq!(report.map(|r| r.names.len()), expected);
        }
        check(20, Ok(20));
        check(21, Err(ParseError::TooManyNames));
        check(2000, Err(ParseError::TooManyNames));
    }

    #[test]
    fn a_form_counts_like_a_query() {
        let form = Input {
            form: b"hostname=a.example.org&myip=198.51.100.7&password=x",
            ..Input::default()
        };
        let query = input("hostname=a.example.org&myip=198.51.100.7&password=x");
        assert_eq!(parse(&form), parse(&query));
        assert!(parse(&form).report.is_ok());
    }

    #[test]
    fn one_line_a_host_and_one_status_for_all() {
        fn check(outcomes: &[Outcome], status: u16, body: &str) {
            assert_eq!(render(outcomes), (status, body.to_owned()));
        }
        let good = || Outcome::Good("198.51.100.7,2001:DB8::7".into());
        let same = || Outcome::NoChange("198.51.100.7".into());
        check(&[good()], 200, "good 198.51.100.7,2001:DB8::7");
        check(&[same()], 200, "nochg 198.51.100.7");
        check(&[Outcome::BadAuth], 401, "badauth");
        check(&[Outcome::NoHost], 404, "nohost");
        check(&[Outcome::NotFqdn], 400, "notfqdn");
        check(&[Outcome::TooManyNames], 400, "numhost");
        check(&[Outcome::BadAddress], 400, "911 badip");
        check(&[Outcome::NotText], 400, "911 badparam");
        check(&[Outcome::Suspended], 403, "abuse");
        check(&[Outcome::Unavailable], 503, "911");
        check(&[Outcome::NoUsableAddress], 503, "911");
        check(
            &[same(), Outcome::NoHost, good()],
            200,
            "nochg 198.51.100.7\nnohost\ngood 198.51.100.7,2001:DB8::7",
        );
        check(
            &[Outcome::NoHost, same()],
            200,
            "nohost\nnochg 198.51.100.7",
        );
        check(&[Outcome::NoHost, Outcome::Suspended], 404, "nohost\nabuse");
        check(&[Outcome::Suspended, Outcome::NoHost], 403, "abuse\nnohost");
        check(
            &[same(), Outcome::Unavailable, Outcome::NoHost],
            503,
            "nochg 198.51.100.7\n911\nnohost",
        );
        check(
            &[same(), Outcome::BadAddress],
            200,
            "nochg 198.51.100.7\n911 badip",
        );
    }

    proptest! {
        #[test]
        fn no_octets_stop_the_parser(
            query in prop::collection::vec(any::<u8>(), 0..300),
            form in prop::collection::vec(any::<u8>(), 0..300),
            authorization in prop::collection::vec(any::<u8>(), 0..100),
            user_agent in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let check_in = parse(&Input {
                query: &query,
                form: &form,
                authorization: Some(&authorization),
                user_agent: Some(&user_agent),
            });
            if let Ok(report) = check_in.report {
                prop_assert!(report.names.len() <= MAX_NAMES);
            }
        }

        #[test]
        fn parameter_values_are_understood_or_refused(
            name in "hostname|host|myip|ip|myipv6|[a-z]{0,4}",
            value in ".{0,40}",
        ) {
            let query = format!("{name}={value}");
            if let Ok(report) = parse(&input(&query)).report {
                for name in report.names.iter().flatten() {
                    prop_assert_eq!(&Fqdn::parse(name.as_str()), &Ok(name.clone()));
                }
                let spelling = report.declared.spelling();
                prop_assert!(spelling.bytes().all(|b| b.is_ascii_hexdigit() || b".:,".contains(&b)));
            }
        }
    }
}
