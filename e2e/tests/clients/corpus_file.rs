//! The format of e2e/corpus/, which its README describes.

use serde_json::Value;

/// A file, with its placeholders filled in but for `{{length}}`.
#[derive(Debug, Default)]
pub(crate) struct CorpusFile {
    pub(crate) spec: Option<Value>,
    pub(crate) token: Option<String>,
    pub(crate) exchanges: Vec<Exchange>,
}

/// A request, and what must come of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) name: String,
    pub(crate) on_same_connection: bool,
    /// As it is sent.
    pub(crate) request: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) effects: Vec<Effect>,
}

/// What `status.observed` says afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Of every host what it said before.
    Unchanged,
    /// Of the host of this name: these addresses.
    Observed(String, Vec<String>),
}

impl CorpusFile {
    /// Parses the text of the file `name`. Whatever is not of the format fails the test.
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let mut file = Self::default();
        let mut lines = text.lines().zip(1..).peekable();
        while let Some((line, number)) = lines.next() {
            let fail = |why: &str| -> ! { panic!("{name}:{number}: {why}: {line:?}") };
            if let Some(spec) = line.strip_prefix("@spec ") {
                file.spec = Some(serde_json::from_str(spec).unwrap_or_else(|_| fail("not JSON")));
            } else if let Some(token) = line.strip_prefix("@token ") {
                file.token = Some(token.to_owned());
            } else if let Some((sign @ ("==" | "--"), title)) = line.split_once(' ') {
                let mut of = |sign: char| {
                    let mut values = Vec::new();
                    while let Some((line, _)) = lines.next_if(|(line, _)| line.starts_with(sign)) {
                        let value = &line[sign.len_utf8()..];
                        values.push(value.strip_prefix(' ').unwrap_or(value).to_owned());
                    }
                    values
                };
                let (request, answer, effects) = (of('>'), of('<'), of('='));
                let Some((status, body)) = answer.split_first() else {
                    fail("no answer");
                };
                if effects.is_empty() {
                    fail("no effect");
                }
                file.exchanges.push(Exchange {
                    name: title.to_owned(),
                    on_same_connection: sign == "--",
                    request: octets(&request).unwrap_or_else(|| fail("no end of the head")),
                    status: status.parse().unwrap_or_else(|_| fail("no status")),
                    body: body.join("\n"),
                    effects: effects.iter().map(|effect| Effect::parse(effect)).collect(),
                });
            } else if !line.is_empty() && !line.starts_with('#') {
                fail("not a line of this format");
            }
        }
        assert!(!file.exchanges.is_empty(), "{name} has no exchange");
        file
    }
}

impl Effect {
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ').map(str::to_owned);
        match (words.next().unwrap_or_default(), words.collect::<Vec<_>>()) {
            (word, none) if word == "unchanged" && none.is_empty() => Self::Unchanged,
            (host, nothing) if nothing == ["nothing"] => Self::Observed(host, Vec::new()),
            (host, addresses) => Self::Observed(host, addresses),
        }
    }
}

/// Head and body of a request; `None` where no empty line ends the head.
fn octets(lines: &[String]) -> Option<Vec<u8>> {
    let end = lines.iter().position(String::is_empty)?;
    let body = lines[end + 1..].join("\n");
    let head: String = lines[..=end]
        .iter()
        .map(|line| format!("{line}\r\n"))
        .collect();
    let head = head.replace("{{length}}", &body.len().to_string());
    Some([head, body].concat().into_bytes())
}

#[test]
fn a_corpus_file_is_read_line_by_line() {
    let text = "# A comment.\n@spec {\"ttl\": 30}\n@token k\n\n== one: two\n\
                > POST / HTTP/1.1\n> Content-Length: {{length}}\n>\n> a=b\n\
                < 200\n< OK\n<\n= h.example.org 192.0.2.1 2001:db8::1\n= i.example.org nothing\n\n\
                -- three\n> GET / HTTP/1.0\n>\n< 401\n= unchanged\n";
    let file = CorpusFile::parse("test", text);
    assert_eq!(file.spec, Some(serde_json::json!({"ttl": 30})));
    assert_eq!(file.token.as_deref(), Some("k"));
    let [one, three] = &file.exchanges[..] else {
        panic!("{:?}", file.exchanges);
    };
    assert_eq!(one.name, "one: two");
    let request = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na=b";
    assert_eq!(one.request, request.as_bytes());
    assert_eq!((one.status, one.body.as_str()), (200, "OK\n"));
    let addresses = vec!["192.0.2.1".to_owned(), "2001:db8::1".to_owned()];
    let expected = [
        Effect::Observed("h.example.org".to_owned(), addresses),
        Effect::Observed("i.example.org".to_owned(), Vec::new()),
    ];
    assert_eq!(one.effects, expected);
    assert!(three.on_same_connection && !one.on_same_connection);
    assert_eq!((three.status, three.body.as_str()), (401, ""));
    assert_eq!(three.effects, [Effect::Unchanged]);
}
