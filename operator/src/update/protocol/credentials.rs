//! Who a client says it is.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::parameters::Parameters;
use crate::index::key::TokenDigest;

/// Some routers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The names of the parameter that holds an update key, in order of precedence.
const TOKEN: [&str; 6] = ["password", "pass", "pwd", "token", "key", "pw"];

/// Where in a request an update key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the header `Authorization`.
    Header,
    /// In a form.
    Body,
    /// In the path or the query, which proxies write to their logs.
    Url,
}

/// An update key that a client presents; only its digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub token: TokenDigest,
    pub place: Place,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The credentials of one request as they stand there.
pub struct Presented<'a> {
    /// The user name of Basic; empty where there is none.
    pub user: Cow<'a, str>,
    /// The update key and its place. `None`: there is none, or an empty one.
    pub token: Option<(Cow<'a, [u8]>, Place)>,
}

impl<'a> Presented<'a> {
    /// From the header `Authorization`, else the path, else a parameter.
    pub fn find(
        authorization: Option<&'a [u8]>,
        in_path: Option<&'a str>,
        parameters: Option<&'a Parameters<'_>>,
    ) -> Self {
        let (user, in_header) = match authorization.and_then(from_header) {
            Some((user, token)) => (user, Some(token)),
            None => (Cow::Borrowed(""), None),
        };
        let in_header = in_header.map(|token| (token, Place::Header));
        let in_path = in_path.map(|token| (Cow::Borrowed(token.as_bytes()), Place::Url));
        let in_parameter = || {
            let parameters = parameters?;
            let (token, in_url) = TOKEN.iter().find_map(|name| parameters.first(name))?;
            let place = if in_url { Place::Url } else { Place::Body };
            Some((Cow::Borrowed(token.as_bytes()), place))
        };
        let is_given = |(token, _): &(Cow<'_, [u8]>, Place)| !token.is_empty();
        Self {
            user,
            token: in_header
                .filter(is_given)
                .or(in_path.filter(is_given))
                .or_else(in_parameter),
        }
    }

    /// Without the key itself.
    pub fn credentials(&self) -> Option<Credentials> {
        let (token, place) = self.token.as_ref()?;
        Some(Credentials {
            token: TokenDigest::new(token),
            place: *place,
        })
    }
}

/// User name and key from the schemes Basic (RFC 7617 section 2), Bearer (RFC 6750 section 2.1) and
/// Token (deSEC's). `None` for every other scheme and for what cannot be decoded.
fn from_header(authorization: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, [u8]>)> {
    let space = authorization.iter().position(|octet| *octet == b' ')?;
    let (scheme, rest) = authorization.split_at(space);
    let rest = rest.trim_ascii();
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    if is(b"bearer") || is(b"token") {
        return Some((Cow::Borrowed(""), Cow::Borrowed(rest)));
    }
    if !is(b"basic") {
        return None;
    }
    let mut decoded = BASE64.decode(rest).ok()?;
    // A user name has no colon, a password may have (RFC 7617 section 2).
    let colon = decoded.iter().position(|octet| *octet == b':')?;
    let token = decoded.split_off(colon + 1);
    decoded.truncate(colon);
    let user = String::from_utf8_lossy(&decoded).into_owned();
    Some((Cow::Owned(user), Cow::Owned(token)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header of the scheme Basic.
    pub(crate) fn basic(user: &str, token: &str) -> String {
        format!("Basic {}", BASE64.encode(format!("{user}:{token}")))
    }

    #[test]
    fn a_header_holds_a_user_and_a_key_or_nothing() {
        fn check(header: &str, expected: Option<(&str, &str)>) {
            let found = from_header(header.as_bytes());
            let found = found.map(|(user, token)| {
                (
                    user.into_owned(),
                    String::from_utf8(token.into_owned()).unwrap(),
                )
            });
            let expected = expected.map(|(user, token)| (user.to_owned(), token.to_owned()));
            assert_eq!(found, expected, "{header:?}");
        }
        check("Basic aG9tZTpzM2NyZXQ=", Some(("home", "s3cret")));
        check("basic aG9tZTpzM2NyZXQ=", Some(("home", "s3cret")));
        check("Basic  aG9tZTpzM2NyZXQ", Some(("home", "s3cret")));
        check("Basic OnMzY3JldA==", Some(("", "s3cret")));
        check("Basic aG9tZTo=", Some(("home", "")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Bearer s3cret", Some(("", "s3cret")));
        check("bearer  s3cret ", Some(("", "s3cret")));
        check("Token s3cret", Some(("", "s3cret")));
        check("Token ", Some(("", "")));
        check("Basic", None);
        check("Basic ", None);
        check("Basic aG9tZQ==", None);
        check("Basic a:b", None);
        check("Digest username=\"home\"", None);
        check("s3cret", None);
        check("", None);
    }

    #[test]
    fn the_first_place_that_holds_a_key_counts() {
        /// `expected`: user, key and place.
        fn check(
            (header, path): (Option<&str>, Option<&str>),
            (query, form): (&str, &str),
            expected: (&str, Option<(&str, Place)>),
        ) {
            let parameters = Parameters::parse(query.as_bytes(), form.as_bytes()).unwrap();
            let found = Presented::find(header.map(str::as_bytes), path, Some(&parameters));
            let token = found
                .token
                .map(|(token, place)| (String::from_utf8(token.into_owned()).unwrap(), place));
            let (user, key) = expected;
            let key = key.map(|(key, place)| (key.to_owned(), place));
            assert_eq!(
                (&*found.user, token),
                (user, key),
                "{header:?} {query} {form}"
            );
        }
        const BASIC: Option<&str> = Some("Basic aG9tZTpzM2NyZXQ=");
        const EMPTY: Option<&str> = Some("Basic aG9tZTo=");
        check((None, None), ("", ""), ("", None));
        check(
            (BASIC, Some("p")),
            ("token=q", ""),
            ("home", Some(("s3cret", Place::Header))),
        );
        check((EMPTY, None), ("", ""), ("home", None));
        check(
            (EMPTY, Some("p")),
            ("token=q", ""),
            ("home", Some(("p", Place::Url))),
        );
        check(
            (EMPTY, None),
            ("token=q", ""),
            ("home", Some(("q", Place::Url))),
        );
        check(
            (Some("Digest x"), None),
            ("token=q", ""),
            ("", Some(("q", Place::Url))),
        );
        check(
            (None, None),
            ("token=", "token=f"),
            ("", Some(("f", Place::Body))),
        );
        check(
            (None, None),
            ("pw=w&password=a,b", ""),
            ("", Some(("a,b", Place::Url))),
        );
        for name in TOKEN {
            let pair = format!("{name}=x+y");
            check((None, None), (&pair, ""), ("", Some(("x y", Place::Url))));
            check((None, None), ("", &pair), ("", Some(("x y", Place::Body))));
        }
    }

    #[test]
    fn credentials_print_nothing() {
        let presented = Presented::find(Some(b"Basic aG9tZTpzM2NyZXQ="), None, None);
        let credentials = presented.credentials();
        assert_eq!(format!("{credentials:?}"), "Some(Credentials)");
    }
}
