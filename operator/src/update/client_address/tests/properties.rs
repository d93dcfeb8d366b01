use proptest::prelude::*;

use super::*;

/// Octets that mean something to the header's grammars more often than chance has it.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\"",
        "\\",
        ",",
        ";",
        "=",
        " ",
        "for=",
        "[",
        "]",
        ":",
        "203.0.113.9",
        "10.42.0.2",
        "2001:db8::9",
        "unknown",
        "_x",
        "x=\"",
        "\\\"",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(pieces.map(|piece| piece.as_bytes().to_vec()).to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_header() -> impl Strategy<Value = ProxyTrust> {
    prop::sample::select(vec!["X-Forwarded-For", "Forwarded", "X-Real-IP"]).prop_map(trust)
}

/// An address that no range of [`TRUSTED`] contains.
fn untrusted() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
        .prop_map(|address| address.to_canonical())
        .prop_filter("trusted", |address| !trust("Forwarded").trusts(*address))
}

fn trusted() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 2]>().prop_map(|[c, d]| IpAddr::from([10, 42, c, d])),
        Just(ip("192.0.2.9")),
        any::<u16>().prop_map(|end| IpAddr::from([0x2001, 0xdb8, 0xcafe, 0, 0, 0, 0, end])),
    ]
}

/// An entry in one of the forms that proxies write.
fn entry(trust: &ProxyTrust, address: IpAddr, form: u8) -> String {
    let node = match (address, form % 3) {
        (IpAddr::V4(_), 1) => format!("{address}:4711"),
        (IpAddr::V4(ipv4), 2) => format!("[{}]:_x", ipv4.to_ipv6_mapped()),
        (IpAddr::V6(_), 1) => format!("[{address}]:4711"),
        (IpAddr::V6(_), 2) => format!("[{address}%25eth0]"),
        _ => address.to_string(),
    };
    match (&trust.header, form % 4) {
        (AddressHeader::Forwarded, 0) => format!("for={node}"),
        (AddressHeader::Forwarded, 1) => format!("For=\"{node}\";proto=https"),
        (AddressHeader::Forwarded, 2) => format!("by=_me; host=\"a\\\",b\";for=\"{node}\""),
        (AddressHeader::Forwarded, _) => format!("for=\"{node}\";host=\"a, for=203.0.113.9\""),
        _ => node,
    }
}

proptest! {
    #[test]
    fn no_header_of_an_untrusted_peer_changes_its_address(
        trust in any_header(),
        peer in untrusted(),
        lines in prop::collection::vec(hostile(), 0..4),
    ) {
        let connection = Connection::Direct { peer };
        let lines = lines.iter().map(Vec::as_slice);
        prop_assert_eq!(trust.origin(connection, lines), Origin::Client(peer));
    }

    #[test]
    fn what_stands_left_of_the_first_untrusted_entry_counts_for_nothing(
        trust in prop::sample::select(vec!["X-Forwarded-For", "Forwarded"]).prop_map(trust),
        peer in trusted(),
        client in untrusted(),
        proxies in prop::collection::vec((trusted(), any::<u8>(), any::<bool>()), 0..6),
        form: u8,
        left in prop::collection::vec(hostile(), 0..4),
        // On the client's last line, or on a line of its own.
        appended: bool,
    ) {
        let mut lines = left;
        match lines.last_mut() {
            Some(line) if appended => line.push(b','),
            _ => lines.push(Vec::new()),
        }
        lines.last_mut().unwrap().extend(entry(&trust, client, form).bytes());
        for (proxy, form, on_new_line) in proxies {
            let entry = entry(&trust, proxy, form);
            if on_new_line {
                lines.push(entry.into_bytes());
            } else {
                lines.last_mut().unwrap().extend(format!(", {entry}").bytes());
            }
        }
        let connection = Connection::Direct { peer };
        let lines = || lines.iter().map(Vec::as_slice);
        prop_assert_eq!(trust.origin(connection, lines()), Origin::Client(client));
        prop_assert_eq!(trust.explain(connection, lines()).origin, Origin::Client(client));
    }

    #[test]
    fn any_header_of_a_trusted_peer_is_walked_to_an_end(
        trust in any_header(),
        peer in trusted(),
        lines in prop::collection::vec(hostile(), 0..4),
    ) {
        let connection = Connection::Direct { peer };
        let lines = || lines.iter().map(Vec::as_slice);
        let origin = trust.origin(connection, lines());
        prop_assert_eq!(origin.source().to_canonical(), origin.source());
        if matches!(origin, Origin::Hidden { .. }) {
            prop_assert!(trust.trusts(origin.source()));
        }
        let explained = trust.explain(connection, lines());
        prop_assert_eq!(explained.origin, origin);
        for line in explained.lines {
            prop_assert!(line.len() < 400 && !line.contains(char::is_control), "{}", line);
        }
    }
}
