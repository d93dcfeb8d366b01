//! An HTTP request as text, taken apart without HTTP's rules: the parsers are to hold for more than
//! what hyper lets through.

use dynhost::update::protocol::Input;

/// Lines of a head, an empty line, and the body. Line ends may lack the CR.
pub(crate) struct Request<'a> {
    target: &'a str,
    /// Names and values, in the order of the request.
    headers: Vec<(&'a [u8], &'a [u8])>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// `None` where there is no target, or none that is text.
    pub(crate) fn split(octets: &'a [u8]) -> Option<Self> {
        let mut rest = octets;
        let mut line = || {
            let end = rest.iter().position(|octet| *octet == b'\n');
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after.get(1..).unwrap_or_default();
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        let mut words = line().split(|octet| *octet == b' ');
        let target = str::from_utf8(words.nth(1)?).ok()?;
        let mut headers = Vec::new();
        loop {
            let line = line();
            let Some(colon) = line.iter().position(|octet| *octet == b':') else {
                break;
            };
            headers.push((&line[..colon], line[colon + 1..].trim_ascii()));
        }
        let body = rest;
        Some(Self {
            target,
            headers,
            body,
        })
    }

    /// Every value of this header.
    pub(crate) fn lines(&self, name: &str) -> Vec<&'a [u8]> {
        let is_named = |header: &[u8]| header.eq_ignore_ascii_case(name.as_bytes());
        let named = self.headers.iter().filter(|(header, _)| is_named(header));
        named.map(|(_, value)| *value).collect()
    }

    fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.lines(name).first().copied()
    }

    fn is_of_type(&self, content_type: &[u8]) -> bool {
        self.header("content-type")
            .is_some_and(|value| value.starts_with(content_type))
    }

    /// Whether the body says that it is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.is_of_type(b"application/json")
    }

    /// The parts that dialects read.
    pub(crate) fn input(&self) -> Input<'a> {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let is_form = self.is_of_type(b"application/x-www-form-urlencoded");
        Input {
            target: self.target,
            path,
            query: query.as_bytes(),
            form: if is_form { self.body } else { b"" },
            body: self.body,
            authorization: self.header("authorization"),
            user_agent: self.header("user-agent"),
            ..Input::default()
        }
    }
}
