//! HTTP/1.x to the octet: what a home router sends, and exactly what it gets.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// An answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Such as `HTTP/1.1 200 OK`.
    pub status_line: String,
    /// The status, such as 200.
    pub status: u16,
    /// In the order sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body by its `Content-Length`, else all until the connection ends.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(header, _)| header == name);
        header.map(|(_, value)| value.as_str())
    }

    /// The body; octets that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Opens a connection, sends `request` as it is, and reads one answer.
///
/// # Errors
/// Where the connection fails, `limit` passes, or the answer is not HTTP.
pub async fn exchange(server: SocketAddr, request: &[u8], limit: Duration) -> Result<Response> {
    timeout(limit, async {
        let mut stream = TcpStream::connect(server)
            .await
            .with_context(|| format!("connecting to {server}"))?;
        // A server that refuses early may close before it has read everything; its answer counts.
        let sent = stream.write_all(request).await;
        match read_response(&mut stream).await {
            Ok(response) => Ok(response),
            Err(error) => sent.map_err(Into::into).and(Err(error)),
        }
    })
    .await
    .with_context(|| format!("no answer from {server} within {limit:?}"))?
}

/// GET `target` (path and query), with Basic credentials where given.
///
/// # Errors
/// As [`exchange`].
pub async fn get(
    server: SocketAddr,
    target: &str,
    credentials: Option<(&str, &str)>,
) -> Result<Response> {
    let authorization = credentials.map_or_else(String::new, |(user, password)| {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        format!("Authorization: Basic {credentials}\r\n")
    });
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {server}\r\n{authorization}Connection: close\r\n\r\n"
    );
    // Longer than the endpoint's own limit of 10 s, so that its answer is seen.
    exchange(server, request.as_bytes(), Duration::from_secs(15)).await
}

/// Reads one answer from a connection that a request was sent over.
///
/// # Errors
/// Where the connection fails or ends too early, or the answer is not HTTP.
pub async fn read_response(stream: &mut TcpStream) -> Result<Response> {
    const HEAD_END: &[u8] = b"\r\n\r\n";
    let mut octets = Vec::new();
    loop {
        if let Some(end) = octets
            .windows(HEAD_END.len())
            .position(|window| window == HEAD_END)
        {
            let mut response = parse_head(std::str::from_utf8(&octets[..end])?)?;
            let body = &octets[end + HEAD_END.len()..];
            let length = match response.header("content-length") {
                Some(length) => Some(length.parse::<usize>()?),
                None => None,
            };
            if length.is_some_and(|length| body.len() >= length) {
                response.body = body.to_vec();
                return Ok(response);
            }
            if read_more(stream, &mut octets).await? == 0 {
                if length.is_some() {
                    bail!("the connection ended within the body");
                }
                response.body = octets[end + HEAD_END.len()..].to_vec();
                return Ok(response);
            }
        } else if read_more(stream, &mut octets).await? == 0 {
            bail!("the connection ended without an answer");
        }
    }
}

async fn read_more(stream: &mut TcpStream, octets: &mut Vec<u8>) -> Result<usize> {
    match stream.read_buf(octets).await {
        // The server closed while octets of ours were unread; what it sent has been read.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
        other => Ok(other?),
    }
}

fn parse_head(head: &str) -> Result<Response> {
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .with_context(|| format!("not an HTTP status line: {status_line:?}"))?
        .parse()?;
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Result<_>>()?;
    Ok(Response {
        status_line: status_line.to_owned(),
        status,
        headers,
        body: Vec::new(),
    })
}
