//! What hyper reads from and writes to.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;

/// A client's stream that tells of what comes, and of what is awaited.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) connection: Arc<Connection>,
    pub(super) line: RequestLine,
}

/// Whether the octets that come next are of a request line.
///
/// A FRITZ!Box sends placeholders that it does not know as they are, `<ip6lanprefix>`; hyper refuses
/// a target with these octets, which RFC 3986 does not have. `[ip6lanprefix]` means the same to us,
/// and is as long.
pub(super) struct RequestLine {
    is_open: bool,
}

impl RequestLine {
    /// Of a connection's first request.
    pub(super) fn first() -> Self {
        Self { is_open: true }
    }

    /// Octets have come, the first ones of a request where `begins`.
    fn pass(&mut self, begins: bool, octets: &mut [u8]) {
        self.is_open |= begins;
        if !self.is_open {
            return;
        }
        for octet in octets {
            match octet {
                b'<' => *octet = b'[',
                b'>' => *octet = b']',
                b'\n' => {
                    self.is_open = false;
                    break;
                }
                _ => {}
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            self.connection.starved();
        } else if buffer.filled().len() > before {
            let begins = self.connection.received();
            self.line.pass(begins, &mut buffer.filled_mut()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_routers_pass_in_every_request_line_and_nowhere_else() {
        let mut line = RequestLine::first();
        let mut check = |begins: bool, octets: &str, expected: &str| {
            let mut octets = octets.as_bytes().to_vec();
            line.pass(begins, &mut octets);
            assert_eq!(String::from_utf8(octets).unwrap(), expected);
        };
        check(false, "GET /?a=<i", "GET /?a=[i");
        check(
            false,
            "p> HTTP/1.1\r\nX: <y>\r\n",
            "p] HTTP/1.1\r\nX: <y>\r\n",
        );
        check(false, "\r\nh=<z>", "\r\nh=<z>");
        check(
            true,
            "GET /?a=<ip> HTTP/1.1\r\n",
            "GET /?a=[ip] HTTP/1.1\r\n",
        );
        check(false, "X: <y>", "X: <y>");
    }
}
