//! The parameters of a query and of a form body.

use super::ParseError;

/// Decoded parameters in request order, the query's before the body's.
#[derive(Debug)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Decodes query and form body (WHATWG URL, `application/x-www-form-urlencoded`).
    ///
    /// A second question mark separates like `&`: some routers append `?myip=…` to a path that
    /// already has a query. A percent sign without two hex digits stands for itself, as in the
    /// unsubstituted placeholder `%IP%`.
    pub fn parse(query: &[u8], form: &[u8]) -> Result<Self, ParseError> {
        let query = query.split(|octet| matches!(octet, b'&' | b'?'));
        let form = form.split(|octet| *octet == b'&');
        query
            .chain(form)
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let equals = pair.iter().position(|octet| *octet == b'=');
                let (name, value) = match equals {
                    Some(at) => (&pair[..at], &pair[at + 1..]),
                    None => (pair, &[][..]),
                };
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The values of every parameter of this name, commas taken apart, without surrounding spaces.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim)
    }
}

fn decode(encoded: &[u8]) -> Result<String, ParseError> {
    let mut octets = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [octet, after @ ..] = rest {
        rest = after;
        octets.push(match (octet, after) {
            (b'+', _) => b' ',
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
    String::from_utf8(octets).map_err(|_| ParseError::NotText)
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
            let found: Vec<_> = parameters.0.iter().map(|(n, v)| (&**n, &**v)).collect();
            assert_eq!(found, expected, "{query:?} {form:?}");
        }
        check("", "", &[]);
        check("a=1&b=2", "c=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
        check("?a=1", "", &[("a", "1")]);
        check("a=1?b=2", "", &[("a", "1"), ("b", "2")]);
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
            assert_eq!(
                Parameters::parse(query, form).unwrap_err(),
                ParseError::NotText
            );
        }
        check(b"a=%ff", b"");
        check(b"a=\xff", b"");
        check(b"%80=1", b"");
        check(b"", b"a=%C3");
    }

    #[test]
    fn a_list_is_repeated_parameters_and_commas() {
        let parameters = Parameters::parse(b"h=a,+b&x=c&h=,d", b"h=e").unwrap();
        let list: Vec<_> = parameters.list("h").collect();
        assert_eq!(list, ["a", "b", "", "d", "e"]);
    }
}
