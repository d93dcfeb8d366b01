//! The dialect of freedns.afraid.org, version 2: `/u/TOKEN/?address=…`.

use super::grammar::{self, InPath, NameForm, segment};
use super::{CheckIn, Input, ParseError, Reply, line_each};
use crate::update::outcome::{Echo, Outcome};

/// Reads a request; what cannot be understood is in the result.
pub fn parse(input: &Input<'_>) -> CheckIn {
    grammar::parse(input, in_path(input.path), NameForm::Full)
}

fn in_path(path: &str) -> Result<InPath<'_>, ParseError> {
    let token = path.strip_prefix("/u/").unwrap_or_default();
    let token = token.trim_end_matches('/');
    Ok(InPath {
        token: Some(segment(token)?),
        ..InPath::default()
    })
}

/// One sentence for each outcome in request order; ddclient looks for `Updated <host> to <address>`.
pub fn render(outcomes: &[Outcome]) -> Reply {
    line_each(outcomes, line)
}

fn line(outcome: &Outcome) -> String {
    let word = match outcome {
        Outcome::Good(echo) => return format!("Updated {} to {}", echo.name(), address(echo)),
        Outcome::NoChange(echo) => {
            let (name, address) = (echo.name(), address(echo));
            return format!("No IP change detected for {name} with IP {address}, skipping update");
        }
        Outcome::NoCredentials | Outcome::BadAuth | Outcome::Replayed => {
            "ERROR: Invalid update URL"
        }
        Outcome::NoHost | Outcome::NotFqdn | Outcome::TooManyNames => {
            "ERROR: Unable to locate this record"
        }
        Outcome::BadAddress => "ERROR: Invalid IP address",
        Outcome::NotText | Outcome::NotSupported => "ERROR: Invalid parameter",
        Outcome::Suspended | Outcome::MayNotClear => "ERROR: Not allowed",
        Outcome::NoUsableAddress | Outcome::Unavailable | Outcome::TooOften => {
            "ERROR: Try again later"
        }
    };
    word.to_owned()
}

/// The addresses, or that they are withdrawn.
fn address(echo: &Echo) -> String {
    let spelling = echo.spelling();
    match spelling.is_empty() {
        true => "none".to_owned(),
        false => spelling,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Proof;
    use super::super::credentials::{Credentials, Place};
    use super::*;
    use crate::index::key::TokenDigest;

    #[test]
    fn the_path_holds_the_key() {
        fn check(path: &str, expected: Option<&str>) {
            let check_in = parse(&Input {
                path,
                ..Input::default()
            });
            let expected = expected.map_or(Proof::Missing, |token| {
                let token = TokenDigest::new(token.as_bytes());
                Proof::Token(Credentials {
                    token,
                    place: Place::Url,
                })
            });
            assert_eq!(check_in.proof, expected, "{path}");
        }
        check("/u/AbC123/", Some("AbC123"));
        check("/u/AbC123", Some("AbC123"));
        check("/u/a%2Bb+c/", Some("a+b+c"));
        check("/u/", None);
        check("/u//", None);
    }

    #[test]
    fn each_host_has_a_sentence() {
        fn check(outcomes: &[Outcome], status: u16, body: &str) {
            let expected = Reply {
                status,
                body: body.to_owned(),
            };
            assert_eq!(render(outcomes), expected, "{outcomes:?}");
        }
        let echo = || Echo::of(Some("198.51.100.7"), None);
        check(
            &[Outcome::Good(echo())],
            200,
            "Updated home.dyn.example.org to 198.51.100.7",
        );
        check(
            &[Outcome::NoChange(echo())],
            200,
            "No IP change detected for home.dyn.example.org with IP 198.51.100.7, skipping update",
        );
        let withdrawn = || Echo::of(None, None);
        check(
            &[Outcome::Good(withdrawn())],
            200,
            "Updated home.dyn.example.org to none",
        );
        check(
            &[Outcome::NoChange(withdrawn())],
            200,
            "No IP change detected for home.dyn.example.org with IP none, skipping update",
        );
        check(&[Outcome::BadAuth], 401, "ERROR: Invalid update URL");
        check(&[Outcome::Unavailable], 503, "ERROR: Try again later");
    }
}
