use RrsetChange::{Keep, Remove, Set};

use super::*;
use crate::provider::rfc2136::tsig::Algorithm;
use crate::record::marker::{HostDigest, Nonce};

const APEX: &str = "dyn.example.org";
const HOST: &str = "home.dyn.example.org";

fn marker(bits: u64) -> Marker {
    let host = HostDigest::of("family", "home");
    Marker::new("home".parse().unwrap(), host, Nonce::from_bits(bits))
}

/// A record as `<name> <ttl> <class> <type> <data>`, with the names and markers of this file shortened.
fn shorten(record: &Record) -> String {
    let data = match &record.data {
        RData::Update0(_) => String::new(),
        RData::TXT(text) => {
            let text = String::from_utf8(text.txt_data.concat()).unwrap();
            text.rsplit_once("n=000000000000000").unwrap().1.to_owned()
        }
        data => data.to_string(),
    };
    let name = record.name.to_ascii().replace("home.dyn.example.org.", "@");
    let (ttl, class, rr_type) = (record.ttl, record.dns_class, record.record_type());
    format!("{name} {ttl} {class} {rr_type} {data}")
        .trim_end()
        .to_owned()
}

fn check(
    (ipv4, ipv6, marker, basis): (RrsetChange<&str>, RrsetChange<&str>, Option<Marker>, Basis),
    prerequisites: &[&str],
    updates: &[&str],
) {
    fn parse<A: std::str::FromStr<Err: std::fmt::Debug>>(
        change: RrsetChange<&str>,
    ) -> RrsetChange<A> {
        match change {
            Keep => Keep,
            Set(text) => Set(text.parse().unwrap()),
            Remove => Remove,
        }
    }
    let records = Records::Addresses {
        ipv4: parse(ipv4),
        ipv6: parse(ipv6),
    };
    check_records((records, marker, basis), prerequisites, updates);
}

fn check_records(
    (records, marker, basis): (Records, Option<Marker>, Basis),
    prerequisites: &[&str],
    updates: &[&str],
) {
    let change = HostChange {
        ttl: 60,
        names: vec![NameChange {
            name: RecordName::parse(HOST).unwrap(),
            records,
            marker,
            basis,
        }],
    };
    let apex = Fqdn::parse(APEX).unwrap();
    let message = update(7, &apex, std::slice::from_ref(&change)).unwrap();
    assert_eq!(message.id, 7);
    assert_eq!(message.op_code, OpCode::Update);
    assert!(!message.recursion_desired);
    assert_eq!(message.queries[0].to_string(), "dyn.example.org. IN SOA");
    let shortened: Vec<_> = message.answers.iter().map(shorten).collect();
    assert_eq!(shortened, prerequisites, "prerequisites of {change:?}");
    let shortened: Vec<_> = message.authorities.iter().map(shorten).collect();
    assert_eq!(shortened, updates, "updates of {change:?}");
}

#[test]
fn a_first_write_requires_that_nothing_of_ours_or_others_is_there() {
    check(
        (
            Set("198.51.100.7"),
            Set("2001:db8::7"),
            Some(marker(1)),
            Basis::Absent,
        ),
        &[
            "_dynhost.@ 0 NONE TXT",
            "@ 0 NONE A",
            "@ 0 NONE AAAA",
            "@ 0 NONE CNAME",
            "_dynhost.@ 0 NONE CNAME",
        ],
        &[
            "@ 0 ANY A",
            "@ 60 IN A 198.51.100.7",
            "@ 0 ANY AAAA",
            "@ 60 IN AAAA 2001:db8::7",
            "_dynhost.@ 0 ANY TXT",
            "_dynhost.@ 60 IN TXT 1",
        ],
    );
}

#[test]
fn a_replacement_requires_the_former_marker_and_no_cname() {
    check(
        (
            Set("198.51.100.8"),
            Keep,
            Some(marker(2)),
            Basis::Marker(marker(1)),
        ),
        &["_dynhost.@ 0 IN TXT 1", "@ 0 NONE CNAME"],
        &[
            "@ 0 ANY A",
            "@ 60 IN A 198.51.100.8",
            "_dynhost.@ 0 ANY TXT",
            "_dynhost.@ 60 IN TXT 2",
        ],
    );
    check(
        (
            Keep,
            Set("2001:db8::8"),
            Some(marker(2)),
            Basis::Marker(marker(1)),
        ),
        &["_dynhost.@ 0 IN TXT 1", "@ 0 NONE CNAME"],
        &[
            "@ 0 ANY AAAA",
            "@ 60 IN AAAA 2001:db8::8",
            "_dynhost.@ 0 ANY TXT",
            "_dynhost.@ 60 IN TXT 2",
        ],
    );
}

#[test]
fn removing_one_family_keeps_the_marker() {
    check(
        (Keep, Remove, Some(marker(2)), Basis::Marker(marker(1))),
        &["_dynhost.@ 0 IN TXT 1"],
        &[
            "@ 0 ANY AAAA",
            "_dynhost.@ 0 ANY TXT",
            "_dynhost.@ 60 IN TXT 2",
        ],
    );
}

#[test]
fn the_marker_is_removed_with_our_last_rrset_and_leaves_what_was_put_beside() {
    check(
        (Remove, Remove, None, Basis::Marker(marker(1))),
        &["_dynhost.@ 0 IN TXT 1"],
        &["@ 0 ANY A", "@ 0 ANY AAAA", "_dynhost.@ 0 ANY TXT"],
    );
    check(
        (Remove, Keep, None, Basis::Marker(marker(1))),
        &["_dynhost.@ 0 IN TXT 1"],
        &["@ 0 ANY A", "_dynhost.@ 0 ANY TXT"],
    );
}

#[test]
fn a_lost_marker_is_restored_where_the_rrsets_are_as_published() {
    let ipv4 = Some("198.51.100.7".parse().unwrap());
    check(
        (
            Set("198.51.100.8"),
            Keep,
            Some(marker(2)),
            Basis::Rrsets {
                ipv4,
                ipv6: None,
                cname: None,
            },
        ),
        &[
            "_dynhost.@ 0 NONE TXT",
            "@ 0 IN A 198.51.100.7",
            "@ 0 NONE AAAA",
            "@ 0 NONE CNAME",
            "_dynhost.@ 0 NONE CNAME",
        ],
        &[
            "@ 0 ANY A",
            "@ 60 IN A 198.51.100.8",
            "_dynhost.@ 0 ANY TXT",
            "_dynhost.@ 60 IN TXT 2",
        ],
    );
    let ipv6 = Some("2001:db8::7".parse().unwrap());
    check(
        (
            Remove,
            Remove,
            None,
            Basis::Rrsets {
                ipv4,
                ipv6,
                cname: None,
            },
        ),
        &[
            "_dynhost.@ 0 NONE TXT",
            "@ 0 IN A 198.51.100.7",
            "@ 0 IN AAAA 2001:db8::7",
        ],
        &["@ 0 ANY A", "@ 0 ANY AAAA"],
    );
}

#[test]
fn a_cname_stands_alone() {
    let cname = |stands| Records::Cname {
        target: Fqdn::parse("router.dyn.example.org").unwrap(),
        stands,
    };
    let writes = [
        "@ 0 ANY CNAME",
        "@ 60 IN CNAME router.dyn.example.org.",
        "_dynhost.@ 0 ANY TXT",
        "_dynhost.@ 60 IN TXT 2",
    ];
    check_records(
        (cname(false), Some(marker(2)), Basis::Absent),
        &[
            "_dynhost.@ 0 NONE TXT",
            "@ 0 NONE ANY",
            "_dynhost.@ 0 NONE CNAME",
        ],
        &writes,
    );
    // Whose a CNAME is, is not known without our marker.
    check_records(
        (cname(true), Some(marker(2)), Basis::Absent),
        &[
            "_dynhost.@ 0 NONE TXT",
            "@ 0 NONE ANY",
            "_dynhost.@ 0 NONE CNAME",
        ],
        &writes,
    );
    let ours = Basis::Marker(marker(1));
    check_records(
        (cname(true), Some(marker(2)), ours.clone()),
        &["_dynhost.@ 0 IN TXT 1", "@ 0 ANY CNAME"],
        &writes,
    );
    check_records(
        (cname(false), Some(marker(2)), ours.clone()),
        &["_dynhost.@ 0 IN TXT 1", "@ 0 NONE ANY"],
        &writes,
    );
    check_records(
        (Records::NoCname, None, ours),
        &["_dynhost.@ 0 IN TXT 1"],
        &["@ 0 ANY CNAME", "_dynhost.@ 0 ANY TXT"],
    );
    // Where none of ours is known to be, none is removed.
    check_records(
        (Records::NoCname, None, Basis::Absent),
        &["_dynhost.@ 0 NONE TXT", "@ 0 NONE CNAME"],
        &["@ 0 ANY CNAME"],
    );
    let as_published = Basis::Rrsets {
        ipv4: None,
        ipv6: None,
        cname: Some(Fqdn::parse("router.dyn.example.org").unwrap()),
    };
    check_records(
        (Records::NoCname, None, as_published),
        &[
            "_dynhost.@ 0 NONE TXT",
            "@ 0 IN CNAME router.dyn.example.org.",
        ],
        &["@ 0 ANY CNAME"],
    );
}

#[test]
fn a_server_that_takes_no_prerequisites_gets_none() {
    check(
        (Set("198.51.100.7"), Remove, None, Basis::Unchecked),
        &[],
        &["@ 0 ANY A", "@ 60 IN A 198.51.100.7", "@ 0 ANY AAAA"],
    );
}

#[test]
fn adoption_replaces_what_was_seen_there() {
    for (marker_texts, prerequisites) in [
        (vec![], vec!["_dynhost.@ 0 NONE TXT"]),
        (vec![marker(3).to_string()], vec!["_dynhost.@ 0 IN TXT 3"]),
    ] {
        let basis = Basis::Adopt { marker_texts };
        check_adoption(basis, &prerequisites);
    }
}

fn check_adoption(basis: Basis, prerequisites: &[&str]) {
    check(
        (Set("198.51.100.7"), Remove, Some(marker(1)), basis),
        prerequisites,
        &[
            "@ 0 ANY CNAME",
            "_dynhost.@ 0 ANY CNAME",
            "@ 0 ANY A",
            "@ 60 IN A 198.51.100.7",
            "@ 0 ANY AAAA",
            "_dynhost.@ 0 ANY TXT",
            "_dynhost.@ 60 IN TXT 1",
        ],
    );
}

#[test]
fn the_queries_ask_for_addresses_cname_and_marker() {
    let queries = queries(u16::MAX, &RecordName::parse(HOST).unwrap()).unwrap();
    let asked = queries.each_ref().map(|m| (m.id, m.queries[0].to_string()));
    assert_eq!(
        asked,
        [
            (u16::MAX, format!("{HOST}. IN A")),
            (0, format!("{HOST}. IN AAAA")),
            (1, format!("{HOST}. IN CNAME")),
            (2, format!("_dynhost.{HOST}. IN TXT")),
        ]
    );
    assert!(queries.iter().all(|m| !m.recursion_desired));
}

#[test]
fn a_message_that_would_be_cut_short_is_refused() {
    let key = TsigKey::new("dyn-key", Algorithm::HmacSha256, b"c2VjcmV0").unwrap();
    let apex = Fqdn::parse(APEX).unwrap();
    let mut message = probe(7, &apex).unwrap();
    assert!(encode(message.clone(), &key, 0).is_ok());
    let name = wire_name(HOST).unwrap();
    for _ in 0..260 {
        let text = TXT::new(vec!["x".repeat(250)]);
        message.add_update(Record::from_rdata(name.clone(), 0, RData::TXT(text)));
    }
    assert!(matches!(
        encode(message, &key, 0),
        Err(EncodeError::TooLarge)
    ));
}

#[test]
fn a_host_whose_marker_has_no_room_is_refused() {
    let label = "a".repeat(60);
    let longest = format!("{}.{label}.{label}.{label}", "a".repeat(61));
    assert_eq!(longest.len(), 244);
    assert!(queries(0, &RecordName::parse(&longest).unwrap()).is_ok());
    let too_long = format!("a{longest}");
    let refused = queries(0, &RecordName::parse(&too_long).unwrap());
    assert!(matches!(refused, Err(EncodeError::Name(_))));
}
