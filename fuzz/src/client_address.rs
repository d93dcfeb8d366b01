//! Where a request comes from: headers of proxies, and the PROXY protocol.

use std::net::IpAddr;

use dynhost::endpoint::proxy_protocol::header::{MAX_HEADER, Parsed, parse};
use dynhost::update::client_address::{Connection, Origin, ProxyTrust};

use crate::request::Request;

/// Trusted proxies: loopback, a Pod network, and one of IPv6.
fn trust(header: &str) -> ProxyTrust {
    let trusted = ["127.0.0.0/8", "10.42.0.0/16", "2001:db8:cafe::/48"];
    ProxyTrust {
        trusted: trusted.map(|range| range.parse().unwrap()).to_vec(),
        header: header.parse().unwrap(),
    }
}

/// X-Forwarded-For, Forwarded, and a header of one address.
pub fn forwarded(octets: &[u8]) {
    let Some(request) = Request::split(octets) else {
        return;
    };
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP"] {
        let trust = trust(header);
        let lines = request.lines(header);
        for peer in ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8::9"] {
            let peer: IpAddr = peer.parse().unwrap();
            let stranger = Origin::Client(peer.to_canonical());
            assert_eq!(
                origin(&trust, Connection::Direct { peer }, &lines),
                stranger
            );
        }
        for peer in ["127.0.0.1", "::ffff:10.42.0.7", "2001:db8:cafe::7"] {
            let peer = peer.parse().unwrap();
            let connection = Connection::Direct { peer };
            let found = origin(&trust, connection, &lines);
            check_origin(&trust, found);
            check_left(&trust, header, connection, &lines, found);

            let announced = |source: Option<IpAddr>| Connection::Announced { peer, source };
            let stranger: IpAddr = "203.0.113.9".parse().unwrap();
            let found = origin(&trust, announced(Some(stranger)), &lines);
            assert_eq!(found, Origin::Client(stranger));
            let last_hop = peer.to_canonical();
            let found = origin(&trust, announced(None), &lines);
            assert_eq!(found, Origin::Hidden { last_hop });
        }
    }
}

/// The origin, which the explanation must agree with.
fn origin(trust: &ProxyTrust, connection: Connection, lines: &[&[u8]]) -> Origin {
    let origin = trust.origin(connection, lines.iter().copied());
    let explained = trust.explain(connection, lines.iter().copied());
    assert_eq!(explained.origin, origin);
    for line in explained.lines {
        // An escaped octet takes up to four characters.
        assert!(line.len() < 400, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    origin
}

fn check_origin(trust: &ProxyTrust, origin: Origin) {
    assert_eq!(origin.source(), origin.source().to_canonical());
    match origin {
        Origin::Client(address) => assert_eq!(origin.address(), Some(address)),
        Origin::Hidden { last_hop } => {
            assert!(trust.trusts(last_hop));
            assert_eq!(origin.address(), None);
        }
    }
}

/// What stands left of the client's own entry is the client's word and counts for nothing.
fn check_left(
    trust: &ProxyTrust,
    header: &str,
    connection: Connection,
    lines: &[&[u8]],
    found: Origin,
) {
    let Origin::Client(client) = found else {
        return;
    };
    if trust.trusts(client) || header == "X-Real-IP" {
        return;
    }
    let mut first: Vec<u8> = Vec::new();
    for forged in [
        &b"203.0.113.77, "[..],
        b"for=203.0.113.77;x=\"open, ",
        b"\\\", ",
    ] {
        let mut more = vec![&b"for=203.0.113.77, 203.0.113.77"[..]];
        more.extend(lines);
        assert_eq!(origin(trust, connection, &more), found);
        first.clear();
        first.extend_from_slice(forged);
        first.extend_from_slice(lines[0]);
        let mut more = lines.to_vec();
        more[0] = &first;
        assert_eq!(origin(trust, connection, &more), found);
    }
}

/// A header of the PROXY protocol at the beginning of a connection.
pub fn proxy_protocol(octets: &[u8]) {
    let whole = parse(octets);
    for end in 0..octets.len().min(MAX_HEADER + 1) {
        // More octets never change what is known.
        match parse(&octets[..end]) {
            Parsed::Incomplete => {}
            known => assert_eq!(known, whole, "after {end}"),
        }
    }
    let Parsed::Header { source, length } = whole else {
        // Nobody is waited for any longer than a header can be.
        assert!(whole == Parsed::Invalid || octets.len() < MAX_HEADER);
        return;
    };
    assert!((1..=octets.len().min(MAX_HEADER)).contains(&length));
    let alone = &octets[..length];
    assert_eq!(parse(alone), whole);
    assert_eq!(parse(&[alone, b"PROXY TCP4 "].concat()), whole);
    let Some(source) = source else {
        return;
    };
    // The source in the words of version 1 is the same source.
    let (family, to) = match source {
        std::net::SocketAddr::V4(_) => ("TCP4", "192.0.2.1"),
        std::net::SocketAddr::V6(_) => ("TCP6", "::1"),
    };
    let line = format!(
        "PROXY {family} {} {to} {} 443\r\n",
        source.ip(),
        source.port()
    );
    let length = line.len();
    let expected = Parsed::Header {
        source: Some(source),
        length,
    };
    assert_eq!(parse(line.as_bytes()), expected);
}
