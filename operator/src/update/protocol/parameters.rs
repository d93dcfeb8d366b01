//! The parameters of a query and of a form body.

use std::borrow::Cow;

use super::ParseError;
use crate::name::Fqdn;

/// The most parameters of one request: twenty hosts with addresses of their own need less. Whoever
/// reads them looks at each several times, before the caller is known.
const MAX: usize = 128;

/// Decoded parameters in request order, the query's before the body's.
pub struct Parameters<'a>(Vec<Parameter<'a>>);

/// One parameter. It may be an update key, so it cannot be printed.
struct Parameter<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    /// From the query, not from the body.
    in_url: bool,
}

impl<'a> Parameters<'a> {
    /// Decodes query and form body (WHATWG URL, `application/x-www-form-urlencoded`).
    ///
    /// A second question mark separates like `&` where a parameter follows: some routers append
    /// `?myip=…` to a path that already has a query. A percent sign without two hex digits stands for itself, as in the
    /// unsubstituted placeholder `%IP%`.
    pub fn parse(query: &'a [u8], form: &'a [u8]) -> Result<Self, ParseError> {
        let in_query = query.split(|octet| *octet == b'&').flat_map(QueryParts::of);
        let in_form = form.split(|octet| *octet == b'&');
        let pairs = in_query.map(|pair| (pair, true));
        let pairs = pairs.chain(in_form.map(|pair| (pair, false)));
        let mut parameters = Vec::new();
        for (pair, in_url) in pairs.filter(|(pair, _)| !pair.is_empty()) {
            if parameters.len() == MAX {
                return Err(ParseError::TooManyParameters);
            }
            let equals = pair.iter().position(|octet| *octet == b'=');
            let (name, value) = match equals {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            parameters.push(Parameter {
                name: decode(name, Plus::Space)?,
                value: decode(value, Plus::Space)?,
                in_url,
            });
        }
        Ok(Self(parameters))
    }

    /// The values of every parameter of this name, commas taken apart, without surrounding spaces.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
    }

    /// The whole values of every parameter of this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_name = self.0.iter().filter(move |p| p.name == name);
        of_name.map(|parameter| &*parameter.value)
    }

    /// The first value of this name that is not empty, and whether it stands in the URL.
    pub fn first(&self, name: &str) -> Option<(&str, bool)> {
        let mut of_name = self.0.iter().filter(|p| p.name == name);
        of_name
            .find(|parameter| !parameter.value.is_empty())
            .map(|parameter| (&*parameter.value, parameter.in_url))
    }

    /// Whether a parameter of this name says yes.
    pub fn is_set(&self, name: &str) -> bool {
        let yes = ["true", "yes", "on", "1"];
        self.values(name)
            .any(|value| yes.iter().any(|yes| value.eq_ignore_ascii_case(yes)))
    }

    /// One parameter, of a path.
    pub fn one(name: &'static str, value: &'a str) -> Self {
        Self(vec![Parameter {
            name: Cow::Borrowed(name),
            value: Cow::Borrowed(value),
            in_url: true,
        }])
    }

    /// Those that carry this host's name behind a colon, without it.
    pub fn of_host(&self, host: &Fqdn) -> Parameters<'_> {
        let of_host = self.0.iter().filter_map(|parameter| {
            let (name, suffix) = parameter.name.split_once(':')?;
            (Fqdn::parse(suffix).as_ref() == Ok(host)).then(|| Parameter {
                name: Cow::Borrowed(name),
                value: Cow::Borrowed(&parameter.value),
                in_url: parameter.in_url,
            })
        });
        Parameters(of_host.collect())
    }

    /// The names of those that have no value.
    pub fn bare(&self) -> impl Iterator<Item = &str> {
        let bare = self.0.iter().filter(|parameter| parameter.value.is_empty());
        bare.map(|parameter| &*parameter.name)
    }

    /// The names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|parameter| &*parameter.name)
    }
}

/// The parts of a query's piece that further question marks separate.
struct QueryParts<'a>(Option<&'a [u8]>);

impl<'a> QueryParts<'a> {
    fn of(piece: &'a [u8]) -> Self {
        let marks = piece.iter().take_while(|octet| **octet == b'?').count();
        Self(Some(&piece[marks..]))
    }
}

impl<'a> Iterator for QueryParts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let piece = self.0.take()?;
        let Some(mark) = piece.iter().position(|octet| *octet == b'?') else {
            return Some(piece);
        };
        let rest = &piece[mark + 1..];
        let name = rest
            .iter()
            .take_while(|octet| octet.is_ascii_alphanumeric())
            .count();
        // A password may have a question mark in it.
        if name == 0 || rest.get(name) != Some(&b'=') {
            return Some(piece);
        }
        self.0 = Some(rest);
        Some(&piece[..mark])
    }
}

/// What a plus sign stands for: a space in queries and forms, itself in paths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    Space,
    Itself,
}

/// Takes percent-encoding apart (RFC 3986 section 2.1).
pub fn decode(encoded: &[u8], plus: Plus) -> Result<Cow<'_, str>, ParseError> {
    let is_special = |octet: &u8| *octet == b'%' || (*octet == b'+' && plus == Plus::Space);
    if !encoded.iter().any(is_special) {
        let text = str::from_utf8(encoded).map_err(|_| ParseError::NotText)?;
        return Ok(Cow::Borrowed(text));
    }
    let mut octets = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [octet, after @ ..] = rest {
        rest = after;
        octets.push(match (octet, after) {
            (b'+', _) if plus == Plus::Space => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => *octet,
        });
    }
    let text = String::from_utf8(octets).map_err(|_| ParseError::NotText)?;
    Ok(Cow::Owned(text))
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_forms_are_decoded_into_one_list() {
        fn check(query: &str, form: &str, expected: &[(&str, &str)]) {
            let parameters = Parameters::parse(query.as_bytes(), form.as_bytes()).unwrap();
            let found: Vec<_> = parameters.0.iter().map(|p| (&*p.name, &*p.value)).collect();
            assert_eq!(found, expected, "{query:?} {form:?}");
        }
        check("", "", &[]);
        check("a=1&b=2", "c=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
        check("?a=1", "", &[("a", "1")]);
        check("??a=1", "", &[("a", "1")]);
        check("a=1?b=2?c=3", "", &[("a", "1"), ("b", "2"), ("c", "3")]);
        check("a=correct?horse", "", &[("a", "correct?horse")]);
        check("a=correct?", "", &[("a", "correct?")]);
        check("", "a=1?b", &[("a", "1?b")]);
        check("a&=x&&b=", "", &[("a", ""), ("", "x"), ("b", "")]);
        check("a=2001%3adb8%3A%3a7", "", &[("a", "2001:db8::7")]);
        check("a=x+y%2B", "", &[("a", "x y+")]);
        check("myip=%IP%", "", &[("myip", "%IP%")]);
        check("a=%4", "", &[("a", "%4")]);
        check("a=%", "", &[("a", "%")]);
        check("%61=b=c", "", &[("a", "b=c")]);
        check("a=%C3%BC", "", &[("a", "ü")]);
    }

    #[test]
    fn octets_that_are_not_utf_8_are_refused() {
        fn check(query: &[u8], form: &[u8]) {
            let parsed = Parameters::parse(query, form);
            assert_eq!(parsed.err(), Some(ParseError::NotText));
        }
        check(b"a=%ff", b"");
        check(b"a=\xff", b"");
        check(b"%80=1", b"");
        check(b"", b"a=%C3");
    }

    #[test]
    fn no_more_parameters_are_read_than_any_client_sends() {
        let check = |count: usize, expected: Option<ParseError>| {
            let query = "a=1&".repeat(count);
            assert_eq!(Parameters::parse(query.as_bytes(), b"").err(), expected);
            assert_eq!(Parameters::parse(b"", query.as_bytes()).err(), expected);
        };
        check(MAX, None);
        check(MAX + 1, Some(ParseError::TooManyParameters));
        check(100 * MAX, Some(ParseError::TooManyParameters));
    }

    #[test]
    fn a_list_is_repeated_parameters_and_commas() {
        let parameters = Parameters::parse(b"h=a,+b&x=c&h=,d", b"h=e").unwrap();
        let list: Vec<_> = parameters.list("h").collect();
        assert_eq!(list, ["a", "b", "", "d", "e"]);
    }

    #[test]
    fn a_parameter_knows_whether_it_stands_in_the_url() {
        let parameters = Parameters::parse(b"a=&a=1&b=2", b"b=3&c=4").unwrap();
        assert_eq!(parameters.first("a"), Some(("1", true)));
        assert_eq!(parameters.first("b"), Some(("2", true)));
        assert_eq!(parameters.first("c"), Some(("4", false)));
        assert_eq!(parameters.first("d"), None);
    }

    #[test]
    fn a_word_for_yes_is_needed() {
        fn check(query: &str, expected: bool) {
            let parameters = Parameters::parse(query.as_bytes(), b"").unwrap();
            assert_eq!(parameters.is_set("offline"), expected, "{query}");
        }
        for yes in ["YES", "true", "on", "1"] {
            check(&format!("offline={yes}"), true);
        }
        for no in ["", "NO", "NOCHG", "false", "0"] {
            check(&format!("offline={no}"), false);
        }
        check("clear=true", false);
    }
}
