//! The dialect of DuckDNS: `/update?domains=…&token=…` and `/update/DOMAIN/TOKEN[/IP]`.
//!
//! Deviations from DuckDNS: `KO` comes with a status other than 2xx; names may be fully qualified;
//! `txt` is refused, since this is no place for TXT records.

use super::grammar::{self, InPath, NameForm, segment};
use super::parameters::Parameters;
use super::{CheckIn, Input, ParseError, Reply, worst};
use crate::update::outcome::Outcome;

/// Reads a request; what cannot be understood is in the result.
pub fn parse(input: &Input<'_>) -> CheckIn {
    let mut check_in = grammar::parse(input, in_path(input.path), NameForm::Leading);
    let asks_for_txt = |p: &Parameters<'_>| p.first("txt").is_some();
    if parameters(input).is_some_and(|parameters| asks_for_txt(&parameters)) {
        check_in.report = Err(ParseError::NotSupported);
    }
    check_in
}

fn in_path(path: &str) -> Result<InPath<'_>, ParseError> {
    let path = path.strip_prefix("/update/").unwrap_or_default();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    Ok(InPath {
        name: segments.next().map(segment).transpose()?,
        token: segments.next().map(segment).transpose()?,
        address: segments.next().map(segment).transpose()?,
    })
}

fn parameters<'a>(input: &Input<'a>) -> Option<Parameters<'a>> {
    Parameters::parse(input.query, input.form).ok()
}

/// Whether the client wants to be told what was stored.
pub fn is_verbose(input: &Input<'_>) -> bool {
    parameters(input).is_some_and(|parameters| parameters.is_set("verbose"))
}

/// `OK` where every name succeeded, else `KO`; verbose with the addresses, each on a line of its own,
/// and whether anything was news.
pub fn render(verbose: bool, outcomes: &[Outcome]) -> Reply {
    let deciding = worst(outcomes);
    let (Outcome::Good(echo) | Outcome::NoChange(echo)) = deciding else {
        return Reply {
            status: deciding.status(),
            body: "KO".to_owned(),
        };
    };
    let body = if verbose {
        let is_news = outcomes.iter().any(|o| matches!(o, Outcome::Good(_)));
        let news = if is_news { "UPDATED" } else { "NOCHANGE" };
        let ipv4 = echo.ipv4.as_deref().unwrap_or_default();
        let ipv6 = echo.ipv6.as_deref().unwrap_or_default();
        format!("OK\n{ipv4}\n{ipv6}\n{news}")
    } else {
        "OK".to_owned()
    };
    Reply { status: 200, body }
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, Names, Proof, Report};
    use super::*;
    use crate::name::Fqdn;
    use crate::update::outcome::Echo;

    #[test]
    fn parameters_and_path_name_domain_token_and_address() {
        /// `expected`: the name, whether there is a token, IPv4 and IPv6.
        fn check(target: &str, expected: (&str, bool, Option<&str>, Option<&str>)) {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let input = Input {
                path,
                query: query.as_bytes(),
                ..Input::default()
            };
            let check_in = parse(&input);
            let report: Report = check_in.report.unwrap();
            let (name, token, ipv4, ipv6) = expected;
            let asked = vec![Asked::Leading(Fqdn::parse(name).unwrap())];
            assert_eq!(report.names, Names::Listed(asked), "{target}");
            assert_eq!(matches!(check_in.proof, Proof::Token(_)), token, "{target}");
            let spelled4 = report.declared.ipv4.map(|a| a.spelling);
            let spelled6 = report.declared.ipv6.map(|a| a.spelling);
            assert_eq!(spelled4.as_deref(), ipv4, "{target}");
            assert_eq!(spelled6.as_deref(), ipv6, "{target}");
        }
        const V4: Option<&str> = Some("198.51.100.7");
        const V6: Option<&str> = Some("2001:db8::7");
        check(
            "/update?domains=home&token=t&ip=",
            ("home", true, None, None),
        );
        check(
            "/update?domains=home&token=t&ip=198.51.100.7",
            ("home", true, V4, None),
        );
        check(
            "/update?domains=home&token=t&ip=2001:db8::7",
            ("home", true, None, V6),
        );
        check(
            "/update?domains=home&token=t&ip=198.51.100.7&ipv6=2001:db8::7",
            ("home", true, V4, V6),
        );
        check("/update?domains=home", ("home", false, None, None));
        check("/update/home/t", ("home", true, None, None));
        check("/update/home/t/", ("home", true, None, None));
        check("/update/home/t/198.51.100.7", ("home", true, V4, None));
        check(
            "/update/home.dyn.example.org/t/2001%3Adb8::7",
            ("home.dyn.example.org", true, None, V6),
        );
        check("/update/home", ("home", false, None, None));
    }

    #[test]
    fn a_txt_record_is_not_to_be_had() {
        let input = Input {
            query: b"domains=home&token=t&txt=x",
            ..Input::default()
        };
        assert_eq!(parse(&input).report, Err(ParseError::NotSupported));
        let input = Input {
            query: b"domains=home&token=t&txt=",
            ..Input::default()
        };
        assert!(parse(&input).report.is_ok());
    }

    #[test]
    fn one_word_tells_of_all_names() {
        fn check(verbose: bool, outcomes: &[Outcome], status: u16, body: &str) {
            let expected = Reply {
                status,
                body: body.to_owned(),
            };
            assert_eq!(render(verbose, outcomes), expected, "{outcomes:?}");
        }
        let good = || Outcome::Good(Echo::of(Some("198.51.100.7"), None));
        let same = || Outcome::NoChange(Echo::of(Some("198.51.100.7"), Some("2001:db8::7")));
        check(false, &[good()], 200, "OK");
        check(false, &[same()], 200, "OK");
        check(true, &[good()], 200, "OK\n198.51.100.7\n\nUPDATED");
        check(
            true,
            &[same()],
            200,
            "OK\n198.51.100.7\n2001:db8::7\nNOCHANGE",
        );
        check(
            true,
            &[same(), good()],
            200,
            "OK\n198.51.100.7\n2001:db8::7\nUPDATED",
        );
        check(true, &[Outcome::BadAuth], 401, "KO");
        check(false, &[Outcome::NoHost], 404, "KO");
        check(false, &[good(), Outcome::NoHost], 404, "KO");
        check(
            false,
            &[good(), Outcome::NoHost, Outcome::Unavailable],
            503,
            "KO",
        );
    }
}
