//! The dialect of dynv6: `/api/update?hostname=…&token=…&ipv4=…&ipv6=…&ipv6prefix=…`.
//!
//! OpenWrt waits for `updated` or `unchanged` in the answer.

use super::grammar::{self, InPath, NameForm};
use super::{CheckIn, Input, Reply, worst};
use crate::update::outcome::Outcome;

/// Reads a request; what cannot be understood is in the result.
pub fn parse(input: &Input<'_>) -> CheckIn {
    grammar::parse(input, Ok(InPath::default()), NameForm::Full)
}

/// One sentence for all names.
pub fn render(outcomes: &[Outcome]) -> Reply {
    let deciding = worst(outcomes);
    let is_news = outcomes.iter().any(|o| matches!(o, Outcome::Good(_)));
    let body = match deciding {
        Outcome::Good(_) | Outcome::NoChange(_) if is_news => "addresses updated",
        Outcome::Good(_) | Outcome::NoChange(_) => "addresses unchanged",
        Outcome::NoCredentials | Outcome::BadAuth | Outcome::Replayed => {
            "invalid authentication token"
        }
        Outcome::NoHost => "zone not found",
        Outcome::NotFqdn | Outcome::TooManyNames => "invalid hostname",
        Outcome::BadAddress => "invalid address",
        Outcome::NotText | Outcome::NotSupported => "invalid parameter",
        Outcome::Suspended | Outcome::MayNotClear => "not allowed",
        Outcome::NoUsableAddress | Outcome::Unavailable | Outcome::TooOften => "try again later",
    };
    Reply {
        status: deciding.status(),
        body: body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::outcome::Echo;

    #[test]
    fn one_sentence_tells_of_all_names() {
        fn check(outcomes: &[Outcome], status: u16, body: &str) {
            let expected = Reply {
                status,
                body: body.to_owned(),
            };
            assert_eq!(render(outcomes), expected, "{outcomes:?}");
        }
        let good = || Outcome::Good(Echo::of(Some("198.51.100.7"), None));
        let same = || Outcome::NoChange(Echo::of(Some("198.51.100.7"), None));
        check(&[good()], 200, "addresses updated");
        check(&[same()], 200, "addresses unchanged");
        check(&[same(), good()], 200, "addresses updated");
        check(&[good(), Outcome::NoHost], 404, "zone not found");
        check(
            &[Outcome::NoCredentials],
            401,
            "invalid authentication token",
        );
        check(&[Outcome::BadAuth], 401, "invalid authentication token");
        check(&[Outcome::Unavailable], 503, "try again later");
    }
}
