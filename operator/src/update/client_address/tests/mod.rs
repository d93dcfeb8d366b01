mod properties;

use super::*;

const TRUSTED: [&str; 3] = ["10.42.0.0/16", "192.0.2.9", "2001:db8:cafe::/48"];

fn trust(header: &str) -> ProxyTrust {
    ProxyTrust {
        trusted: TRUSTED.map(|range| range.parse().unwrap()).into(),
        header: header.parse().unwrap(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn direct(peer: &str) -> Connection {
    Connection::Direct { peer: ip(peer) }
}

/// The origin's address, or the last hop with a question mark.
fn told(origin: Origin) -> String {
    match origin {
        Origin::Client(address) => address.to_string(),
        Origin::Hidden { last_hop } => format!("{last_hop}?"),
    }
}

fn check_origin(trust: &ProxyTrust, connection: Connection, lines: &[&str], expected: &str) {
    let octets = || lines.iter().map(|line| line.as_bytes());
    let origin = trust.origin(connection, octets());
    assert_eq!(told(origin), expected, "{connection:?} {lines:?}");
    let explained = trust.explain(connection, octets()).origin;
    assert_eq!(explained, origin, "{connection:?} {lines:?}");
}

#[test]
fn the_first_hop_from_the_right_that_is_not_trusted_is_the_client() {
    fn check(peer: &str, lines: &[&str], expected: &str) {
        check_origin(&trust("X-Forwarded-For"), direct(peer), lines, expected);
    }
    check("10.42.0.1", &["198.51.100.7"], "198.51.100.7");
    check("::ffff:10.42.0.1", &["198.51.100.7"], "198.51.100.7");
    check("2001:db8:cafe::1", &["2001:db8::7"], "2001:db8::7");
    check("10.42.0.1", &["[2001:db8::7]:1234"], "2001:db8::7");
    check("10.42.0.1", &["::ffff:198.51.100.7"], "198.51.100.7");
    check(
        "10.42.0.1",
        &["198.51.100.7:80 ,  10.42.0.2"],
        "198.51.100.7",
    );
    // What the client says of itself is left of what the proxy says of it.
    check("10.42.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7");
    check("10.42.0.1", &["10.42.0.2, 198.51.100.7"], "198.51.100.7");
    check("10.42.0.1", &["unknown,,\", 198.51.100.7"], "198.51.100.7");
    // Several lines are one list.
    check(
        "10.42.0.1",
        &["203.0.113.9", "198.51.100.7", "10.42.0.3,192.0.2.9"],
        "198.51.100.7",
    );
    check(
        "10.42.0.1",
        &["203.0.113.9,198.51.100.7", "::ffff:10.42.0.3"],
        "198.51.100.7",
    );
    check("10.42.0.1", &["", "198.51.100.7"], "198.51.100.7");
    // Where all are trusted, the last one is the client.
    check("10.42.0.1", &[], "10.42.0.1");
    check("10.42.0.1", &["10.42.0.2"], "10.42.0.2");
    check("10.42.0.1", &["10.42.0.3, 10.42.0.2"], "10.42.0.3");
}

#[test]
fn a_public_proxy_that_names_nobody_is_no_client() {
    fn check(peer: &str, lines: &[&str], expected: &str) {
        let trusted = vec!["9.9.9.0/24".parse().unwrap()];
        let header = AddressHeader::XForwardedFor;
        let trust = ProxyTrust { trusted, header };
        check_origin(&trust, direct(peer), lines, expected);
    }
    check("9.9.9.9", &[], "9.9.9.9?");
    check("9.9.9.9", &["8.8.8.8"], "8.8.8.8");
    check("9.9.9.9", &["9.9.9.8"], "9.9.9.8");
    check("8.8.8.8", &[], "8.8.8.8");
}

#[test]
fn without_a_trusted_peer_no_header_counts() {
    let nobody = ProxyTrust::default();
    check_origin(&nobody, direct("10.42.0.1"), &["203.0.113.9"], "10.42.0.1");
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP"] {
        let trust = trust(header);
        for line in ["203.0.113.9", "for=203.0.113.9", "unknown", "", "\""] {
            for lines in [&[line][..], &[line, line][..]] {
                check_origin(&trust, direct("198.51.100.7"), lines, "198.51.100.7");
                check_origin(&trust, direct("::ffff:198.51.100.7"), lines, "198.51.100.7");
                check_origin(&trust, direct("2001:db8::7"), lines, "2001:db8::7");
            }
        }
    }
}

#[test]
fn an_entry_that_names_no_address_hides_the_client() {
    fn check(lines: &[&str], expected: &str) {
        let trust = trust("X-Forwarded-For");
        check_origin(&trust, direct("10.42.0.1"), lines, expected);
    }
    for entry in ["unknown", "_hidden", "", " ", "proxy", "unix:", "\"", "a b"] {
        check(&[entry], "10.42.0.1?");
        check(&["198.51.100.7", entry], "10.42.0.1?");
        check(&[&format!("198.51.100.7,{entry}")], "10.42.0.1?");
        check(&[&format!("198.51.100.7,{entry},10.42.0.3")], "10.42.0.3?");
    }
}

#[test]
fn a_chain_of_proxies_without_end_hides_the_client() {
    fn check(proxies: usize, expected: &str) {
        let line = format!("198.51.100.7{}", ",10.42.0.2".repeat(proxies));
        let trust = trust("X-Forwarded-For");
        check_origin(&trust, direct("10.42.0.1"), &[&line], expected);
    }
    check(MAX_ENTRIES - 1, "198.51.100.7");
    check(MAX_ENTRIES, "10.42.0.2?");
    check(10_000, "10.42.0.2?");
}

#[test]
fn forwarded_is_walked_element_by_element() {
    fn check(lines: &[&str], expected: &str) {
        check_origin(&trust("Forwarded"), direct("10.42.0.1"), lines, expected);
    }
    check(&["for=198.51.100.7"], "198.51.100.7");
    check(
        &[r#"for=203.0.113.9, For="[2001:db8::7]:1234";proto=https"#],
        "2001:db8::7",
    );
    check(
        &["for=203.0.113.9", "for=198.51.100.7,for=10.42.0.3"],
        "198.51.100.7",
    );
    // RFC 7239, sections 4 and 7.1, with the proxy at the end trusted and not trusted.
    check(
        &[r#"for=192.0.2.43, for="[2001:db8:cafe::17]""#],
        "192.0.2.43",
    );
    check(
        &[r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#],
        "10.42.0.1?",
    );
    check(&["for=_hidden, for=_SEVKISEK"], "10.42.0.1?");
    check(
        &[r#"for=192.0.2.43, for="[2001:db8:beef::17]""#],
        "2001:db8:beef::17",
    );
    // An open quotation mark of the client does not swallow what the proxy appended.
    check(&[r#"for="203.0.113.9, for=198.51.100.7"#], "198.51.100.7");
    check(
        &[r#"for=203.0.113.9;x=", for="198.51.100.7:80";host="a,b""#],
        "198.51.100.7",
    );
    check(&[r#"for="203.0.113.9"#, "for=198.51.100.7"], "198.51.100.7");
    check(&["proto=https"], "10.42.0.1?");
    check(&["for=198.51.100.7,"], "10.42.0.1?");
    check(&[r#"for=198.51.100.7, for="10.42.0.3"#], "10.42.0.1?");
    check(&["198.51.100.7"], "10.42.0.1?");
}

#[test]
fn a_named_header_has_one_address_in_one_line() {
    fn check(lines: &[&str], expected: &str) {
        check_origin(&trust("X-Real-IP"), direct("10.42.0.1"), lines, expected);
    }
    check(&["198.51.100.7"], "198.51.100.7");
    check(&[" [2001:db8::7]:1234 "], "2001:db8::7");
    check(&["10.42.0.3"], "10.42.0.3");
    check(&[], "10.42.0.1");
    check(&[""], "10.42.0.1?");
    check(&["unknown"], "10.42.0.1?");
    check(&["203.0.113.9, 198.51.100.7"], "10.42.0.1?");
    check(&["198.51.100.7", "198.51.100.7"], "10.42.0.1?");
    check(&["203.0.113.9", "198.51.100.7"], "10.42.0.1?");
}

#[test]
fn a_trusted_peers_proxy_protocol_comes_before_the_header() {
    fn check(peer: &str, source: Option<&str>, lines: &[&str], expected: &str) {
        let connection = Connection::Announced {
            peer: ip(peer),
            source: source.map(ip),
        };
        check_origin(&trust("X-Forwarded-For"), connection, lines, expected);
    }
    let spoofed = &["203.0.113.9"];
    check("10.42.0.1", Some("198.51.100.7"), spoofed, "198.51.100.7");
    check(
        "10.42.0.1",
        Some("::ffff:198.51.100.7"),
        spoofed,
        "198.51.100.7",
    );
    check(
        "10.42.0.1",
        Some("192.0.2.9"),
        &["203.0.113.9, 198.51.100.7"],
        "198.51.100.7",
    );
    check("10.42.0.1", Some("192.0.2.9"), &["unknown"], "192.0.2.9?");
    check("10.42.0.1", None, spoofed, "10.42.0.1?");
    check("10.42.0.1", None, &[], "10.42.0.1?");
    check("198.51.100.7", Some("203.0.113.9"), spoofed, "198.51.100.7");
    check("198.51.100.7", None, spoofed, "198.51.100.7");
}

#[test]
fn a_walk_is_told_step_by_step() {
    fn check(connection: Connection, lines: &[&str], expected: &[&str]) {
        let octets = lines.iter().map(|line| line.as_bytes());
        let explained = trust("X-Forwarded-For").explain(connection, octets);
        assert_eq!(explained.lines, expected);
    }
    const PROXY: &str = "The connection comes from 10.42.0.1, a trusted proxy.";
    check(
        direct("10.42.0.1"),
        &["203.0.113.9, 198.51.100.7", "10.42.0.2"],
        &[
            PROXY,
            "x-forwarded-for names 10.42.0.2, a trusted proxy.",
            "x-forwarded-for names 198.51.100.7, which is not a trusted proxy, so it is the client.",
        ],
    );
    check(
        direct("10.42.0.1"),
        &[],
        &[
            PROXY,
            "The request has no x-forwarded-for, so 10.42.0.1 is taken for the client.",
        ],
    );
    check(
        direct("10.42.0.1"),
        &["10.42.0.2"],
        &[
            PROXY,
            "x-forwarded-for names 10.42.0.2, a trusted proxy.",
            "x-forwarded-for names nobody before it, so 10.42.0.2 is taken for the client.",
        ],
    );
    check(
        direct("10.42.0.1"),
        &["198.51.100.7, \u{fc}nix:"],
        &[
            PROXY,
            "The next entry of x-forwarded-for, from the right, is not an address: \
             the client is not known. It is: \\xc3\\xbcnix:",
        ],
    );
    check(
        direct("198.51.100.9"),
        &["198.51.100.7"],
        &[
            "The connection comes from 198.51.100.9, which is not a trusted proxy, so it is the client.",
            "x-forwarded-for is not read, since only a trusted proxy's would count. \
             It is: 198.51.100.7",
        ],
    );
    check(
        direct("198.51.100.9"),
        &[],
        &[
            "The connection comes from 198.51.100.9, which is not a trusted proxy, so it is the client.",
        ],
    );
    let announced = |source: Option<&str>| Connection::Announced {
        peer: ip("10.42.0.1"),
        source: source.map(ip),
    };
    check(
        announced(Some("198.51.100.7")),
        &["203.0.113.9"],
        &[
            PROXY,
            "Its PROXY protocol header names 198.51.100.7, which is not a trusted proxy, \
             so it is the client.",
        ],
    );
    check(
        announced(None),
        &["203.0.113.9"],
        &[
            PROXY,
            "Its PROXY protocol header names nobody: the client is not known.",
        ],
    );
    let long = format!("198.51.100.7,{}", "x".repeat(100));
    check(
        direct("10.42.0.1"),
        &[&long],
        &[
            PROXY,
            &format!(
                "The next entry of x-forwarded-for, from the right, is not an address: \
                 the client is not known. It is: …{}",
                "x".repeat(MAX_SHOWN)
            ),
        ],
    );
}
