//! The dialect dyndns2 (Dyn's update API), which No-IP, HE, deSEC and nsupdate.info speak with names of
//! their own for the parameters.
//!
//! Deviations from the Dyn specification: errors have a status other than 2xx, since some clients
//! look at nothing else; no user agent is required; `wildcard`, `mx`, `backmx` and `system` are
//! ignored.

use super::grammar::{self, InPath, NameForm};
use super::{CheckIn, Input, Reply, line_each};
use crate::update::outcome::Outcome;

/// Reads a request; what cannot be understood is in the result.
pub fn parse(input: &Input<'_>) -> CheckIn {
    grammar::parse(input, Ok(InPath::default()), NameForm::Full)
}

/// One line for each outcome in request order.
///
/// Any 503 makes the status 503; else it is 200 where one line succeeded; else the first line's.
pub fn render(outcomes: &[Outcome]) -> Reply {
    line_each(outcomes, line)
}

fn line(outcome: &Outcome) -> String {
    let word = match outcome {
        Outcome::Good(echo) => return format!("good {}", echo.spelling()).trim_end().to_owned(),
        Outcome::NoChange(echo) => {
            return format!("nochg {}", echo.spelling()).trim_end().to_owned();
        }
        Outcome::NoCredentials | Outcome::BadAuth | Outcome::Replayed => "badauth",
        Outcome::NoHost => "nohost",
        Outcome::NotFqdn => "notfqdn",
        Outcome::TooManyNames => "numhost",
        Outcome::BadAddress => "911 badip",
        Outcome::NotText | Outcome::NotSupported => "911 badparam",
        Outcome::Suspended => "abuse",
        Outcome::MayNotClear => "!donator",
        Outcome::NoUsableAddress | Outcome::Unavailable | Outcome::TooOften => "911",
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::outcome::Echo;

    #[test]
    fn one_line_a_host_and_one_status_for_all() {
        fn check(outcomes: &[Outcome], status: u16, body: &str) {
            let expected = Reply {
                status,
                body: body.to_owned(),
            };
            assert_eq!(render(outcomes), expected);
        }
        let good = || Outcome::Good(Echo::of(Some("198.51.100.7"), Some("2001:DB8::7")));
        let same = || Outcome::NoChange(Echo::of(Some("198.51.100.7"), None));
        check(&[good()], 200, "good 198.51.100.7,2001:DB8::7");
        check(&[same()], 200, "nochg 198.51.100.7");
        check(&[Outcome::Good(Echo::of(None, None))], 200, "good");
        check(&[Outcome::NoCredentials], 401, "badauth");
        check(&[Outcome::BadAuth], 401, "badauth");
        check(&[Outcome::Replayed], 401, "badauth");
        check(&[Outcome::NoHost], 404, "nohost");
        check(&[Outcome::NotFqdn], 400, "notfqdn");
        check(&[Outcome::TooManyNames], 400, "numhost");
        check(&[Outcome::BadAddress], 400, "911 badip");
        check(&[Outcome::NotText], 400, "911 badparam");
        check(&[Outcome::Suspended], 403, "abuse");
        check(&[Outcome::MayNotClear], 403, "!donator");
        check(&[Outcome::Unavailable], 503, "911");
        check(&[Outcome::TooOften], 503, "911");
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
}
