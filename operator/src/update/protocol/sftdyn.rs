//! The dialect of sftdyn: the secret is the URL, the address is the connection's.

use super::credentials::{Credentials, Place};
use super::{CheckIn, Input, Names, Proof, Reply, Report, client_name, worst};
use crate::index::key::TokenDigest;
use crate::update::outcome::Outcome;

/// Reads a request: the key is the whole request target, undecoded, without its leading slashes, the
/// query included (sftdyn's `server.py`). It updates every host that holds it.
pub fn parse(input: &Input<'_>) -> CheckIn {
    let key = input.target.trim_start_matches('/').as_bytes();
    CheckIn {
        proof: Proof::Token(Credentials {
            token: TokenDigest::new(key),
            place: Place::Url,
        }),
        report: Ok(Report {
            names: Names::All,
            ..Report::default()
        }),
        client: client_name(input.user_agent, Some(key)),
    }
}

/// One word for all hosts: `OK`, `UPTODATE`, `BADKEY` with 403, and `FAIL` with 500 for all that is
/// not the key's fault.
pub fn render(outcomes: &[Outcome]) -> Reply {
    let is_news = outcomes.iter().any(|o| matches!(o, Outcome::Good(_)));
    let (status, word) = match worst(outcomes) {
        Outcome::Good(_) | Outcome::NoChange(_) if is_news => (200, "OK"),
        Outcome::Good(_) | Outcome::NoChange(_) => (200, "UPTODATE"),
        Outcome::NoCredentials | Outcome::BadAuth | Outcome::Replayed => (403, "BADKEY"),
        _ => (500, "FAIL"),
    };
    Reply {
        status,
        body: word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::outcome::Echo;

    #[test]
    fn the_whole_target_is_the_key() {
        fn check(target: &str, key: &str) {
            let path = target.split('?').next().unwrap();
            let check_in = parse(&Input {
                target,
                path,
                ..Input::default()
            });
            let token = TokenDigest::new(key.as_bytes());
            let place = Place::Url;
            assert_eq!(
                check_in.proof,
                Proof::Token(Credentials { token, place }),
                "{target}"
            );
            assert_eq!(check_in.report.unwrap().names, Names::All);
        }
        check("/TheirSecretKey", "TheirSecretKey");
        check("//TheirSecretKey", "TheirSecretKey");
        check("/Their/Secret%20Key/", "Their/Secret%20Key/");
        check("/their?secret=key&x", "their?secret=key&x");
    }

    #[test]
    fn one_word_tells_of_all_hosts() {
        fn check(outcomes: &[Outcome], status: u16, body: &str) {
            let expected = Reply {
                status,
                body: body.to_owned(),
            };
            assert_eq!(render(outcomes), expected, "{outcomes:?}");
        }
        let good = || Outcome::Good(Echo::of(Some("198.51.100.7"), None));
        let same = || Outcome::NoChange(Echo::of(Some("198.51.100.7"), None));
        check(&[good()], 200, "OK");
        check(&[same()], 200, "UPTODATE");
        check(&[same(), good()], 200, "OK");
        check(&[Outcome::BadAuth], 403, "BADKEY");
        check(&[Outcome::NoUsableAddress], 500, "FAIL");
        check(&[good(), Outcome::Unavailable], 500, "FAIL");
        check(&[Outcome::Suspended], 500, "FAIL");
    }
}
