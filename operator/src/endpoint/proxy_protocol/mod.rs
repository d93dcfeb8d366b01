//! The PROXY protocol, versions 1 and 2: what a load balancer that does not speak HTTP writes before
//! a connection's first octet, to say whose connection it is.
//!
//! Only a trusted proxy's connection may be read for it, and must begin with it then: where both
//! are taken from the same peer, its clients can write the header themselves.

// Public for the fuzz targets alone.
pub mod header;

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use header::{MAX_HEADER, Parsed, parse};

/// Why a connection has no header. It is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyHeaderError {
    /// As load balancers do that only look whether the port is open.
    #[error("the connection ended before its PROXY protocol header")]
    Closed,
    /// The peer is trusted and does not speak the protocol: it or `--proxy-protocol` is set wrong.
    #[error("the connection does not begin with a PROXY protocol header")]
    Invalid,
    #[error("the PROXY protocol header cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header that a connection begins with, and not an octet more. Whose connection it is,
/// where the proxy can say so; where it cannot, the TCP peer is *not* the client.
///
/// It waits for as long as the peer sends nothing: the caller has the time limit. After an error or
/// where it is dropped, the connection is of no further use.
pub(super) async fn read_header(
    stream: &mut TcpStream,
) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let mut header = vec![0; MAX_HEADER];
    let mut read = 0;
    loop {
        // Never empty: a header that has this length is complete.
        let arrived = stream.peek(&mut header[read..]).await?;
        if arrived == 0 {
            return Err(ProxyHeaderError::Closed);
        }
        let parsed = parse(&header[..read + arrived]);
        let end = match parsed {
            Parsed::Incomplete => read + arrived,
            Parsed::Header { length, .. } => length,
            Parsed::Invalid => return Err(ProxyHeaderError::Invalid),
        };
        stream.read_exact(&mut header[read..end]).await?;
        read = end;
        if let Parsed::Header { source, .. } = parsed {
            return Ok(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const REQUEST: &[u8] = b"GET /ip HTTP/1.1\r\nHost: x\r\n\r\n";

    const LINE: &[u8] = b"PROXY TCP4 198.51.100.7 192.0.2.1 56324 443\r\n";

    /// Version 2, of a source `198.51.100.7:56324`, with so many octets of TLVs.
    fn v2(tlvs: u16) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        header.extend((12 + tlvs).to_be_bytes());
        header.extend(b"\xc6\x33\x64\x07\xc0\x00\x02\x01\xdc\x04\x01\xbb");
        header.extend(vec![0; tlvs.into()]);
        header
    }

    /// What a server reads of a client that sends these pieces and then ends: the header, and what
    /// is left after it.
    async fn served(pieces: &[&[u8]]) -> (Result<Option<SocketAddr>, ProxyHeaderError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in pieces {
                // The server may have closed the connection by then.
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
        };
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let source = read_header(&mut stream).await;
            let mut left = Vec::new();
            if source.is_ok() {
                stream.read_to_end(&mut left).await.unwrap();
            }
            (source, left)
        };
        tokio::join!(client, server).1
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_last_octet_and_no_further() {
        async fn check(header: &[u8], expected: Option<&str>) {
            let expected = expected.map(|source| source.parse().unwrap());
            let octets = [header, REQUEST].concat();
            let in_one = [octets.as_slice()];
            let one_by_one: Vec<&[u8]> = octets.chunks(1).collect();
            let by_seven: Vec<&[u8]> = octets.chunks(7).collect();
            for pieces in [&in_one[..], &one_by_one, &by_seven, &[header]] {
                let (source, left) = served(pieces).await;
                assert_eq!(source.unwrap(), expected, "{}", header.escape_ascii());
                let following = &pieces.concat()[header.len()..];
                assert_eq!(left.as_slice(), following, "{}", header.escape_ascii());
            }
        }
        const SOURCE: Option<&str> = Some("198.51.100.7:56324");
        check(LINE, SOURCE).await;
        check(b"PROXY UNKNOWN\r\n", None).await;
        check(&v2(0), SOURCE).await;
        check(&v2(30), SOURCE).await;
        check(&v2(1012), SOURCE).await;
        check(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", None).await;
    }

    #[tokio::test]
    async fn a_connection_without_a_whole_header_is_an_error() {
        async fn check(pieces: &[&[u8]], is_expected: fn(&ProxyHeaderError) -> bool) {
            let error = served(pieces).await.0.unwrap_err();
            assert!(is_expected(&error), "{pieces:?}: {error}");
        }
        let is_closed = |error: &_| matches!(error, ProxyHeaderError::Closed);
        let is_invalid = |error: &_| matches!(error, ProxyHeaderError::Invalid);
        check(&[], is_closed).await;
        check(&[b"PRO"], is_closed).await;
        check(&[b"PROXY TCP4 ", b"198.51.100.7"], is_closed).await;
        check(&[&v2(0)[..27]], is_closed).await;
        check(&[&v2(0)[..16]], is_closed).await;
        check(&[REQUEST], is_invalid).await;
        check(&[b"PROXY TCP4 ", b"x\r\n"], is_invalid).await;
        check(
            &[&[b"PROXY UNKNOWN ", &[b' '; 93][..]].concat()],
            is_invalid,
        )
        .await;
    }
}
