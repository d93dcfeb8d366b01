//! The script of 2012: `GET /ip.php?user=…&id=<host>&timeST=YYYY-MM-DD HH:MM:SS&hash=…`.
//!
//! The hash is SHA-1, in hexadecimal, of host, time and a shared secret, each followed by one line
//! feed. It covers neither the user nor the address, which is always the connection's; the time has
//! no zone and is taken as UTC. Answered like dyndns2.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::parameters::Parameters;
use super::{Asked, CheckIn, Input, Names, ParseError, Proof, Report, client_name};
use crate::name::Fqdn;
use crate::update::proof::Sha1Proof;

const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// Reads a request; what cannot be understood is in the result.
pub fn parse(input: &Input<'_>) -> CheckIn {
    let parameters = Parameters::parse(input.query, b"");
    let proof = parameters.and_then(|parameters| read(&parameters).ok_or(ParseError::NotText));
    let report = proof.as_ref().map_err(|error| *error).map(|proof| Report {
        names: Names::Listed(vec![Asked::Full(proof.name.clone())]),
        ..Report::default()
    });
    CheckIn {
        report,
        proof: proof.map_or(Proof::Missing, Proof::Sha1),
        client: client_name(input.user_agent, None),
    }
}

/// `None`: a parameter is missing, given twice, or malformed.
fn read(parameters: &Parameters<'_>) -> Option<Sha1Proof> {
    let only = |name| {
        let mut values = parameters.values(name);
        values.next().filter(|_| values.next().is_none())
    };
    let (id, time) = (only("id")?, only("timeST")?);
    Some(Sha1Proof {
        name: Fqdn::parse(id).ok()?,
        user: only("user")?.to_owned(),
        text: format!("{id}\n{time}\n").into_bytes(),
        digest: digest(only("hash")?)?,
        at: seconds(time)?,
    })
}

/// The time's one spelling, in seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    let time = DateTime::strptime(TIME, text).ok()?;
    if time.strftime(TIME).to_string() != text {
        return None;
    }
    let time = time.to_zoned(TimeZone::UTC).ok()?;
    Some(time.timestamp().as_second())
}

/// Forty hexadecimal digits in either case.
fn digest(text: &str) -> Option<[u8; 20]> {
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    let mut digest = [0; 20];
    for octet in &mut digest {
        let value = digits.next()?? << 4 | digits.next()??;
        *octet = value.try_into().ok()?;
    }
    digits.next().is_none().then_some(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::update::proof::Sha1Secret;

    fn proof(query: &str) -> Option<Sha1Proof> {
        let query = query.as_bytes();
        let check_in = parse(&Input {
            query,
            ..Input::default()
        });
        match (check_in.proof, check_in.report) {
            (Proof::Sha1(proof), Ok(report)) => {
                let listed = Names::Listed(vec![Asked::Full(proof.name.clone())]);
                assert_eq!(report.names, listed);
                assert!(report.declared.is_empty());
                Some(proof)
            }
            (proof, report) => {
                assert_eq!(proof, Proof::Missing);
                assert_eq!(report, Err(ParseError::NotText));
                None
            }
        }
    }

    #[test]
    fn a_request_is_made_with_the_shared_secret() {
        fn check(query: &str, secret: &str, expected: bool) {
            let secret = Sha1Secret::new(secret.as_bytes()).unwrap();
            let proof = proof(query).unwrap();
            assert_eq!(proof.is_made_with(&secret), expected, "{query}");
            assert_eq!(proof.user, "user1", "{query}");
        }
        // The blog's own example, and its secret.
        let blog = "user=user1&id=host1.h.lohray.com&timeST=2012-06-14%2015:58:27";
        let hash = "2bd2a24f7c89869491bb9695aefda8da3daee00f";
        let good = format!("{blog}&hash={hash}");
        check(&good, "secretkey1", true);
        check(&good, "secretkey2", false);
        let upper = hash.to_ascii_uppercase();
        check(&format!("{blog}&hash={upper}"), "secretkey1", true);
        check(&good.replace("%20", "+"), "secretkey1", true);
        check(&format!("{good}&x=y"), "secretkey1", true);
        // Everything that the hash covers.
        check(&good.replace("host1", "host2"), "secretkey1", false);
        check(&good.replace("host1", "Host1"), "secretkey1", false);
        check(&good.replace("58:27", "58:28"), "secretkey1", false);
        check(&good.replace("00f", "00e"), "secretkey1", false);
    }

    #[test]
    fn the_host_is_hashed_as_it_is_spelled() {
        // printf 'Home.Example.ORG.\n2026-11-21 00:00:00\nsecretkey1\n' | sha1sum
        let query = "user=u&id=Home.Example.ORG.&timeST=2026-11-21+00:00:00\
                     &hash=43394a7b44666f8a259f8668a15358dcb4d36447";
        let proof = proof(query).unwrap();
        assert_eq!(proof.name.as_str(), "home.example.org");
        assert!(proof.is_made_with(&Sha1Secret::new(b"secretkey1").unwrap()));
    }

    #[test]
    fn the_time_is_utc_and_has_one_spelling() {
        fn check(time: &str, expected: Option<i64>) {
            let query = format!("user=u&id=a.b&hash={}&timeST={time}", "0".repeat(40));
            assert_eq!(proof(&query).map(|proof| proof.at), expected, "{time}");
        }
        check("2012-06-14%2015:58:27", Some(1_339_689_507));
        check("1970-01-01 00:00:00", Some(0));
        check("2024-02-29 23:59:59", Some(1_709_251_199));
        check("2023-02-29 23:59:59", None);
        check("2012-06-14 15:58:60", None);
        check("2012-06-14 24:00:00", None);
        check("2012-06-14T15:58:27", None);
        check("2012-06-14 15:58:27Z", None);
        check("2012-06-14 15:58", None);
        check("2012-6-14 15:58:27", None);
        check("2012-06-14  15:58:27", None);
        check(" 2012-06-14 15:58:27", None);
        check("2012-06-14 15:58:27%0a", None);
        check("12-06-14 15:58:27", None);
        check("1339689507", None);
        check("", None);
    }

    #[test]
    fn what_is_missing_twice_or_malformed_proves_nothing() {
        fn check(query: &str, expected: bool) {
            assert_eq!(proof(query).is_some(), expected, "{query}");
        }
        let hash = "0".repeat(40);
        let good = format!("user=u&id=a.b&timeST=2012-06-14+15:58:27&hash={hash}");
        check(&good, true);
        for pair in good.split('&') {
            let (name, _) = pair.split_once('=').unwrap();
            check(&good.replace(pair, ""), false);
            check(&format!("{good}&{pair}"), false);
            check(&good.replace(name, "x"), false);
        }
        check(&good.replace("a.b", ""), false);
        check(&good.replace("a.b", "a.b,c.d"), false);
        check(&good.replace("a.b", "a_b.c"), false);
        check(&good.replace("a.b", "a.b%0a"), false);
        check(&good.replace(&hash, &hash[1..]), false);
        check(&good.replace(&hash, &format!("{hash}0")), false);
        check(&good.replace(&hash, &format!("+{}", &hash[1..])), false);
        check(&good.replace(&hash, &format!("g{}", &hash[1..])), false);
        check(&good.replace(&hash, &format!("%ff{}", &hash[1..])), false);
        check("", false);
    }

    proptest! {
        #[test]
        fn no_octets_stop_the_parser(query in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&Input { query: &query, ..Input::default() });
        }

        #[test]
        fn values_are_understood_or_refused(id in ".{0,20}", time in "[0-9 :-]{0,21}", hash in "[0-9a-fA-F+]{39,41}") {
            proof(&format!("user=u&id={id}&timeST={time}&hash={hash}"));
        }
    }
}
