//! Requests to the octet from a place of choice, and answers with what holds of every one.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use dynhost_e2e::{Operator, Response, http};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Longer than the endpoint's own limit of 10 s.
const LIMIT: Duration = Duration::from_secs(15);

/// What a test's clients call themselves.
pub(crate) const USER_AGENT: &str = "e2e/1.0";

/// A request but for what every request of a caller has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    /// Whole lines, each with its line end.
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self {
            method: "GET",
            target: target.into(),
            ..Self::default()
        }
    }

    pub(crate) fn post(target: &str, content_type: &str, body: String) -> Self {
        let headers = format!(
            "Content-Type: {content_type}\r\nContent-Length: {}\r\n",
            body.len()
        );
        Self {
            method: "POST",
            target: target.to_owned(),
            headers,
            body,
        }
    }

    pub(crate) fn form(target: &str, body: String) -> Self {
        Self::post(target, "application/x-www-form-urlencoded", body)
    }

    /// With this line among the headers.
    pub(crate) fn header(mut self, line: &str) -> Self {
        self.headers += &format!("{line}\r\n");
        self
    }

    pub(crate) fn basic(self, user: &str, token: &str) -> Self {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{token}"));
        self.header(&format!("Authorization: Basic {credentials}"))
    }
}

/// One end of the connections to a server, and what a proxy there says of the other.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    server: SocketAddr,
    address: IpAddr,
    source: Option<String>,
}

impl Caller {
    /// From 127.0.0.1, without a word of anybody else.
    pub(crate) fn new(endpoint: &Operator) -> Self {
        Self::of(endpoint.update_address())
    }

    pub(crate) fn of(server: SocketAddr) -> Self {
        Self {
            server,
            address: Ipv4Addr::LOCALHOST.into(),
            source: None,
        }
    }

    /// From this loopback address.
    pub(crate) fn from(mut self, address: &str) -> Self {
        self.address = address.parse().unwrap();
        self
    }

    /// With this `X-Forwarded-For`.
    pub(crate) fn source(mut self, source: &str) -> Self {
        self.source = Some(source.to_owned());
        self
    }

    /// Status and body of the answer.
    pub(crate) async fn send(&self, request: &Request) -> (u16, String) {
        let answer = self.exchange(request).await;
        check_headers(&answer);
        (answer.status, answer.text())
    }

    /// Status and body of the answer to a dyndns2 request.
    pub(crate) async fn update(&self, hostname: &str, token: &str, address: &str) -> (u16, String) {
        let target = format!("/nic/update?hostname={hostname}&myip={address}");
        self.send(&Request::get(target).basic("router", token))
            .await
    }

    /// The answer but for the time of day.
    pub(crate) async fn exchange(&self, request: &Request) -> Response {
        let octets = self.octets(request, "HTTP/1.1", "Connection: close\r\n");
        let answer = timeout(LIMIT, async {
            let mut stream = self.connect().await;
            stream.write_all(octets.as_bytes()).await.unwrap();
            http::read_response(&mut stream).await
        });
        let mut answer = answer.await.unwrap().unwrap();
        let is_new = |name: &str| matches!(name, "date" | "x-request-id");
        answer.headers.retain(|(name, _)| !is_new(name));
        answer
    }

    /// All octets that the server sends until it ends the connection.
    pub(crate) async fn read_all(&self, request: &Request, version: &str, headers: &str) -> String {
        let octets = self.octets(request, version, headers);
        let mut stream = self.connect().await;
        stream.write_all(octets.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(LIMIT, stream.read_to_end(&mut answer)).await;
        read.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let socket = match self.address {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.unwrap();
        socket.bind((self.address, 0).into()).unwrap();
        socket.connect(self.server).await.unwrap()
    }

    fn octets(&self, request: &Request, version: &str, headers: &str) -> String {
        let Request {
            method,
            target,
            headers: own,
            body,
        } = request;
        let source = self.source.as_ref();
        let source = source.map_or_else(String::new, |s| format!("X-Forwarded-For: {s}\r\n"));
        format!(
            "{method} {target} {version}\r\nHost: updates.example.org\r\n\
             User-Agent: {USER_AGENT}\r\n{source}{headers}{own}\r\n{body}"
        )
    }
}

/// What holds of the headers of every answer.
fn check_headers(answer: &Response) {
    let length = answer.body.len().to_string();
    let mut expected = vec![
        ("cache-control", "no-store"),
        ("connection", "close"),
        ("content-length", &*length),
        ("content-type", "text/plain; charset=utf-8"),
    ];
    match answer.status {
        401 => expected.push(("www-authenticate", "Basic realm=\"dynhost\"")),
        429 | 503 => expected.push(("retry-after", "60")),
        _ => {}
    }
    let found = answer.headers.iter();
    let mut found: Vec<_> = found.map(|(n, v)| (n.as_str(), v.as_str())).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{answer:?}");
}
