//! HTTP/1.x messages as octets, for both ends of a connection.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Longer than the endpoint's own limit of 10 s.
const LIMIT: Duration = Duration::from_secs(15);

const HEAD_END: &[u8] = b"\r\n\r\n";

/// A request or an answer.
#[derive(Debug)]
pub(crate) struct Message {
    /// Up to the empty line, without it.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The first line.
    pub(crate) fn start_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// The value of the first header of this (lower-case) name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").skip(1).find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// An answer's status.
    pub(crate) fn status(&self) -> Result<u16> {
        let mut words = self.start_line().split(' ');
        match (words.next(), words.next()) {
            (Some("HTTP/1.1" | "HTTP/1.0"), Some(status)) => Ok(status.parse()?),
            _ => bail!("not a status line: {:?}", self.start_line()),
        }
    }

    /// As it goes over the wire.
    pub(crate) fn octets(&self) -> Vec<u8> {
        [self.head.as_bytes(), HEAD_END, &self.body].concat()
    }
}

/// One end of a connection, with what was read and not yet used.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(octets).await?)
    }

    /// The next message, its body by `Content-Length`; `None` at the end of the connection.
    /// `is_bodyless`: it is the answer to HEAD.
    pub(crate) async fn receive(&mut self, is_bodyless: bool) -> Result<Option<Message>> {
        let receive = async {
            let head_end = loop {
                let found = self
                    .unread
                    .windows(HEAD_END.len())
                    .position(|w| w == HEAD_END);
                if let Some(end) = found {
                    break end;
                }
                if self.read_more().await? == 0 {
                    match self.unread.is_empty() {
                        true => return Ok(None),
                        false => bail!("the connection ended within a head"),
                    }
                }
            };
            let head = String::from_utf8(self.unread.drain(..head_end).collect())?;
            self.unread.drain(..HEAD_END.len());
            let mut message = Message {
                head,
                body: Vec::new(),
            };
            let length: usize = match message.header("content-length") {
                Some(length) if !is_bodyless => length.parse()?,
                _ => 0,
            };
            while self.unread.len() < length {
                if self.read_more().await? == 0 {
                    bail!("the connection ended within a body");
                }
            }
            message.body = self.unread.drain(..length).collect();
            Ok(Some(message))
        };
        let message = timeout(LIMIT, receive).await;
        message.with_context(|| format!("nothing came within {LIMIT:?}"))?
    }

    /// Whether the other end closes the connection without sending anything more.
    pub(crate) async fn ends(&mut self) -> bool {
        let more = timeout(LIMIT, self.read_more()).await;
        self.unread.is_empty() && matches!(more, Ok(Ok(0)))
    }

    async fn read_more(&mut self) -> Result<usize> {
        Ok(self.stream.read_buf(&mut self.unread).await?)
    }
}
