//! What a connection begins with, before there are buffers for TLS or HTTP.
//!
//! hyper takes 20 KiB for a connection as soon as one octet has come, and TLS as much. Thousands that
//! send half a head or hello and no more must not take that much.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

/// Where a head or hello is longer, the rest is read by hyper or by TLS.
const MAX: usize = 2048;

/// The content type of a record (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// The head of the first request: what has come when it is whole, or is clearly none, or is longer
/// than [`MAX`] octets, or when the client sends nothing more. It takes as little memory as there
/// are octets.
pub(super) async fn read_first_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    read_while(may_be_partial_head, stream).await
}

/// The first record of TLS, in the same way.
pub(super) async fn read_hello(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    read_while(may_be_partial_hello, stream).await
}

/// Whether TLS begins so, and not HTTP or anything else.
pub(super) fn is_hello(octets: &[u8]) -> bool {
    octets.first() == Some(&HANDSHAKE)
}

async fn read_while(may_go_on: fn(&[u8]) -> bool, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    loop {
        let count = poll_fn(|context| {
            let mut buffer = [0; MAX];
            let mut buffer = ReadBuf::new(&mut buffer[octets.len()..]);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            octets.reserve_exact(buffer.filled().len());
            octets.extend_from_slice(buffer.filled());
            io::Result::Ok(buffer.filled().len()).into()
        });
        if count.await? == 0 || octets.len() == MAX || !may_go_on(&octets) {
            return Ok(octets);
        }
    }
}

/// Whether these octets may be the beginning of a record that is not whole: its type, two octets of
/// version, two of length (RFC 8446 section 5.1).
fn may_be_partial_hello(octets: &[u8]) -> bool {
    match *octets {
        [HANDSHAKE, _, _, high, low, ref fragment @ ..] => {
            fragment.len() < u16::from_be_bytes([high, low]).into()
        }
        _ => octets.is_empty() || is_hello(octets),
    }
}

/// Whether these octets may be the beginning of a head that is not whole.
fn may_be_partial_head(octets: &[u8]) -> bool {
    let begins = octets
        .first()
        .is_none_or(|octet| matches!(octet, b'A'..=b'Z' | b'\r' | b'\n'));
    begins && !has_empty_line(octets)
}

/// Line ends may be without CR (RFC 9112 section 2.2).
fn has_empty_line(octets: &[u8]) -> bool {
    let contains = |end: &[u8]| octets.windows(end.len()).any(|part| part == end);
    contains(b"\n\n") || contains(b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_to_its_end() {
        let check = |octets: &str, expected: bool| {
            assert_eq!(
                may_be_partial_head(octets.as_bytes()),
                expected,
                "{octets:?}"
            );
        };
        check("", true);
        check("G", true);
        check("GET / HTTP/1.1", true);
        check("GET / HTTP/1.1\r\n", true);
        check("GET / HTTP/1.1\r\n\r", true);
        check("GET / HTTP/1.1\r\n\r\n", false);
        check("GET / HTTP/1.1\r\nHost: x\r\n", true);
        check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", false);
        check("POST / HTTP/1.1\r\nHost: x\r\n\r\nhostname=", false);
        check("GET / HTTP/1.1\n\n", false);
        check("GET / HTTP/1.1\nHost: x\n", true);
        check("GET / HTTP/1.1\nHost: x\r\n\n", false);
        // Empty lines before a request are overlooked (RFC 9112 section 2.2), by hyper.
        check("\r\n", true);
        check("\r\nGET / HTTP/1.1\r\n\r\n", false);
        // TLS, and whatever else is no HTTP, is refused at once.
        check("\x16\x03\x01", false);
        check("{", false);
    }

    #[test]
    fn a_hello_is_read_to_its_end() {
        let check = |octets: &[u8], expected: bool| {
            assert_eq!(may_be_partial_hello(octets), expected, "{octets:?}");
        };
        check(b"", true);
        check(b"\x16", true);
        check(b"\x16\x03\x01\x01", true);
        check(b"\x16\x03\x01\x01\x02", true);
        check(&[&b"\x16\x03\x01\x01\x02"[..], &[1; 257]].concat(), true);
        check(&[&b"\x16\x03\x01\x01\x02"[..], &[1; 258]].concat(), false);
        check(&[&b"\x16\x03\x01\0\x02"[..], &[1; 3]].concat(), false);
        check(b"\x16\x03\x01\0\0", false);
        check(b"\x15\x03\x01\0", false);
        check(b"GET", false);
    }
}
