//! What becomes of a name, and of what others put there.

use anyhow::Result;
use dynhost::name::Fqdn;
use dynhost::record::change::{Basis, Records};

use super::lives::{Life, check, done, life, refused};
use super::zone::{Keep, Remove, Set, addresses, marker};

fn ours(nonce: u8) -> Basis {
    Basis::Marker(marker(nonce))
}

/// A change of the A RRset alone.
fn ipv4(address: &str) -> Records {
    addresses(Set(address), Keep)
}

fn nothing() -> Records {
    addresses(Remove, Remove)
}

fn cname(target: &str, stands: bool) -> Records {
    let target = Fqdn::parse(target).unwrap();
    Records::Cname { target, stands }
}

/// There is no marker, and this A RRset alone.
fn published(address: &str) -> Basis {
    Basis::Rrsets {
        ipv4: Some(address.parse().unwrap()),
        ipv6: None,
        cname: None,
    }
}

fn published_cname(target: &str) -> Basis {
    Basis::Rrsets {
        ipv4: None,
        ipv6: None,
        cname: Some(Fqdn::parse(target).unwrap()),
    }
}

fn adopt(marker_texts: &[&str]) -> Basis {
    let marker_texts = marker_texts.iter().map(|text| (*text).to_owned()).collect();
    Basis::Adopt { marker_texts }
}

fn first_write() -> (Records, Option<u8>, Basis) {
    (ipv4("198.51.100.7"), Some(1), Basis::Absent)
}

#[tokio::test]
async fn a_name_is_written_replaced_and_removed_without_a_trace() -> Result<()> {
    let both = addresses(Set("198.51.100.7"), Set("2001:db8::7"));
    check(&[
        life(
            "a whole life",
            &[],
            [
                done(
                    (both.clone(), Some(1), Basis::Absent),
                    &[
                        "@ 60 A 198.51.100.7",
                        "@ 60 AAAA 2001:db8::7",
                        "_dynhost.@ 60 TXT #1",
                    ],
                ),
                done(
                    (ipv4("198.51.100.8"), Some(2), ours(1)),
                    &[
                        "@ 30 A 198.51.100.8",
                        "@ 60 AAAA 2001:db8::7",
                        "_dynhost.@ 30 TXT #2",
                    ],
                )
                .with_ttl(30),
                done(
                    (addresses(Remove, Keep), Some(3), ours(2)),
                    &["@ 60 AAAA 2001:db8::7", "_dynhost.@ 60 TXT #3"],
                ),
                done((nothing(), None, ours(3)), &[]),
            ],
        ),
        life(
            "the same content again",
            &[],
            [
                done(
                    first_write(),
                    &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #1"],
                ),
                done(
                    (ipv4("198.51.100.7"), Some(2), ours(1)),
                    &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #2"],
                ),
                done(
                    (ipv4("198.51.100.7"), Some(2), ours(2)),
                    &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #2"],
                ),
            ],
        ),
        life(
            "only the TTL changes",
            &["@ 300 A 198.51.100.7", "_dynhost.@ 300 TXT #1"],
            [done(
                (ipv4("198.51.100.7"), Some(2), ours(1)),
                &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #2"],
            )],
        ),
        life(
            "removing what is not there",
            &["_dynhost.@ 60 TXT #1"],
            [done((nothing(), None, ours(1)), &[])],
        ),
    ])
    .await
}

#[tokio::test]
async fn a_late_or_repeated_message_changes_nothing() -> Result<()> {
    const NEWER: &[&str] = &["@ 60 A 198.51.100.8", "_dynhost.@ 60 TXT #2"];
    check(&[
        life(
            "a first write comes twice",
            &[],
            [
                done(
                    first_write(),
                    &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #1"],
                ),
                refused(
                    first_write(),
                    &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #1"],
                ),
            ],
        ),
        life(
            "messages on a basis that is gone",
            &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #1"],
            [
                done((ipv4("198.51.100.8"), Some(2), ours(1)), NEWER),
                refused((ipv4("198.51.100.8"), Some(2), ours(1)), NEWER),
                refused((ipv4("198.51.100.9"), Some(3), ours(1)), NEWER),
                refused((nothing(), None, ours(1)), NEWER),
                refused(
                    (ipv4("198.51.100.9"), Some(3), published("198.51.100.8")),
                    NEWER,
                ),
                refused((ipv4("198.51.100.9"), Some(3), adopt(&[])), NEWER),
                refused(first_write(), NEWER),
            ],
        ),
        life(
            "a removal comes twice",
            &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #1"],
            [
                done((nothing(), None, ours(1)), &[]),
                refused((nothing(), None, ours(1)), &[]),
            ],
        ),
    ])
    .await
}

#[tokio::test]
async fn what_others_put_at_a_name_is_never_changed() -> Result<()> {
    let refuses_first_write = |before| {
        life(
            "a first write where something is",
            before,
            [refused(first_write(), before)],
        )
    };
    const CNAME_LATER: &[&str] = &["@ 300 CNAME target.example.net.", "_dynhost.@ 60 TXT #1"];
    const TWO_MARKERS: &[&str] = &[
        "@ 60 A 198.51.100.7",
        "_dynhost.@ 60 TXT #1",
        "_dynhost.@ 60 TXT other",
    ];
    const BESIDE: &[&str] = &["@ 300 MX 10 mail.example.net.", "@ 300 TXT hello"];
    check(&[
        refuses_first_write(&["@ 300 A 192.0.2.1"]),
        refuses_first_write(&["@ 300 A 198.51.100.7"]),
        refuses_first_write(&["@ 300 AAAA 2001:db8::1"]),
        refuses_first_write(&["@ 300 CNAME target.example.net."]),
        refuses_first_write(&["_dynhost.@ 300 TXT other"]),
        refuses_first_write(&["_dynhost.@ 300 CNAME target.example.net."]),
        life(
            "a CNAME came later",
            CNAME_LATER,
            [refused(
                (ipv4("198.51.100.8"), Some(2), ours(1)),
                CNAME_LATER,
            )],
        ),
        life(
            "another marker beside ours",
            TWO_MARKERS,
            [
                refused((ipv4("198.51.100.8"), Some(2), ours(1)), TWO_MARKERS),
                refused((nothing(), None, ours(1)), TWO_MARKERS),
            ],
        ),
        life(
            "other types beside ours",
            BESIDE,
            [
                done(
                    first_write(),
                    &[
                        "@ 300 MX 10 mail.example.net.",
                        "@ 300 TXT hello",
                        "@ 60 A 198.51.100.7",
                        "_dynhost.@ 60 TXT #1",
                    ],
                ),
                done((nothing(), None, ours(1)), BESIDE),
            ],
        ),
        life(
            "an address of the family that we never wrote",
            &[
                "@ 300 AAAA 2001:db8::1",
                "@ 60 A 198.51.100.7",
                "_dynhost.@ 60 TXT #1",
            ],
            [done(
                (addresses(Remove, Keep), None, ours(1)),
                &["@ 300 AAAA 2001:db8::1"],
            )],
        ),
        life(
            "names above and below",
            &[
                "~ 300 A 192.0.2.1",
                "a.@ 300 A 192.0.2.1",
                "_x._dynhost.@ 300 TXT x",
            ],
            [
                done(
                    first_write(),
                    &[
                        "@ 60 A 198.51.100.7",
                        "_dynhost.@ 60 TXT #1",
                        "_x._dynhost.@ 300 TXT x",
                        "a.@ 300 A 192.0.2.1",
                        "~ 300 A 192.0.2.1",
                    ],
                ),
                done(
                    (nothing(), None, ours(1)),
                    &[
                        "_x._dynhost.@ 300 TXT x",
                        "a.@ 300 A 192.0.2.1",
                        "~ 300 A 192.0.2.1",
                    ],
                ),
            ],
        ),
    ])
    .await
}

#[tokio::test]
async fn a_wildcard_is_neither_taken_for_the_name_nor_changed() -> Result<()> {
    fn below(wildcard: &'static [&'static str], with_host: &'static [&'static str]) -> Life {
        life(
            "below a wildcard",
            wildcard,
            [
                done(first_write(), with_host),
                refused(first_write(), with_host),
                done((nothing(), None, ours(1)), wildcard),
                refused((nothing(), None, ours(1)), wildcard),
                refused(
                    (ipv4("198.51.100.8"), Some(2), published("192.0.2.1")),
                    wildcard,
                ),
            ],
        )
    }
    check(&[
        below(
            &["*.~ 300 A 192.0.2.1"],
            &[
                "*.~ 300 A 192.0.2.1",
                "@ 60 A 198.51.100.7",
                "_dynhost.@ 60 TXT #1",
            ],
        ),
        below(
            &["*.~ 300 TXT other"],
            &[
                "*.~ 300 TXT other",
                "@ 60 A 198.51.100.7",
                "_dynhost.@ 60 TXT #1",
            ],
        ),
        below(
            &["*.~ 300 CNAME target.example.net."],
            &[
                "*.~ 300 CNAME target.example.net.",
                "@ 60 A 198.51.100.7",
                "_dynhost.@ 60 TXT #1",
            ],
        ),
        life(
            "a wildcard that says what our marker would",
            &["*.~ 300 TXT #1"],
            [
                refused(
                    (ipv4("198.51.100.8"), Some(2), ours(1)),
                    &["*.~ 300 TXT #1"],
                ),
                done(
                    first_write(),
                    &[
                        "*.~ 300 TXT #1",
                        "@ 60 A 198.51.100.7",
                        "_dynhost.@ 60 TXT #1",
                    ],
                ),
            ],
        ),
    ])
    .await
}

#[tokio::test]
async fn without_a_marker_only_what_was_published_is_replaced() -> Result<()> {
    let moves = || (ipv4("198.51.100.8"), Some(2), published("198.51.100.7"));
    let restored = |before| {
        life(
            "a lost marker",
            before,
            [done(
                moves(),
                &["@ 60 A 198.51.100.8", "_dynhost.@ 60 TXT #2"],
            )],
        )
    };
    let left = |before| life("not as published", before, [refused(moves(), before)]);
    check(&[
        restored(&["@ 60 A 198.51.100.7"]),
        restored(&["@ 300 A 198.51.100.7"]),
        left(&["@ 60 A 198.51.100.9"]),
        left(&["@ 60 A 198.51.100.7", "@ 60 A 198.51.100.9"]),
        left(&["@ 60 A 198.51.100.7", "@ 60 AAAA 2001:db8::7"]),
        left(&["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT x"]),
        left(&[
            "@ 60 A 198.51.100.7",
            "_dynhost.@ 60 CNAME target.example.net.",
        ]),
        left(&["@ 60 CNAME target.example.net."]),
        left(&[]),
        life(
            "a zone without markers",
            &["@ 60 A 198.51.100.7", "@ 60 MX 10 mail.example.net."],
            [
                done(
                    (ipv4("198.51.100.8"), None, published("198.51.100.7")),
                    &["@ 60 A 198.51.100.8", "@ 60 MX 10 mail.example.net."],
                ),
                done(
                    (nothing(), None, published("198.51.100.8")),
                    &["@ 60 MX 10 mail.example.net."],
                ),
            ],
        ),
        life(
            "a server that is asked for no proof",
            &["@ 300 A 192.0.2.1", "@ 60 MX 10 mail.example.net."],
            [
                done(
                    (ipv4("198.51.100.8"), None, Basis::Unchecked),
                    &["@ 60 A 198.51.100.8", "@ 60 MX 10 mail.example.net."],
                ),
                done(
                    (nothing(), None, Basis::Unchecked),
                    &["@ 60 MX 10 mail.example.net."],
                ),
            ],
        ),
    ])
    .await
}

#[tokio::test]
async fn adoption_replaces_addresses_aliases_and_the_marker_that_was_read() -> Result<()> {
    let takes = |texts: &[&str]| (ipv4("198.51.100.7"), Some(1), adopt(texts));
    const OURS: &[&str] = &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #1"];
    const OTHERS: &[&str] = &["@ 300 A 192.0.2.1", "_dynhost.@ 300 TXT other"];
    check(&[
        life("nothing", &[], [done(takes(&[]), OURS)]),
        life(
            "several addresses",
            &["@ 300 A 192.0.2.1", "@ 300 A 192.0.2.2"],
            [done(takes(&[]), OURS)],
        ),
        life(
            "the other family",
            &["@ 300 AAAA 2001:db8::1"],
            [done(
                takes(&[]),
                &[
                    "@ 300 AAAA 2001:db8::1",
                    "@ 60 A 198.51.100.7",
                    "_dynhost.@ 60 TXT #1",
                ],
            )],
        ),
        life(
            "a CNAME",
            &["@ 300 CNAME target.example.net."],
            [done(takes(&[]), OURS)],
        ),
        life(
            "an alias at the marker's name",
            &["_dynhost.@ 300 CNAME target.example.net."],
            [done(takes(&[]), OURS)],
        ),
        life(
            "another's marker",
            OTHERS,
            [
                refused(takes(&[]), OTHERS),
                refused(takes(&["another"]), OTHERS),
                done(takes(&["other"]), OURS),
                refused(takes(&["other"]), OURS),
            ],
        ),
        life(
            "several markers",
            &["_dynhost.@ 300 TXT more", "_dynhost.@ 300 TXT other"],
            [done(takes(&["other", "more"]), OURS)],
        ),
        life(
            "a CNAME in place of an address",
            &["@ 300 A 192.0.2.1"],
            [done(
                (cname("router.example.org", false), Some(1), adopt(&[])),
                &["@ 60 CNAME router.example.org.", "_dynhost.@ 60 TXT #1"],
            )],
        ),
    ])
    .await
}

#[tokio::test]
async fn a_cname_stands_alone_and_is_moved_and_removed_by_its_marker() -> Result<()> {
    const STANDS: &[&str] = &["@ 60 CNAME router.example.org.", "_dynhost.@ 60 TXT #1"];
    let first = || (cname("router.example.org", false), Some(1), Basis::Absent);
    let refuses = |before| life("beside other data", before, [refused(first(), before)]);
    check(&[
        life(
            "a whole life",
            &[],
            [
                done(first(), STANDS),
                refused(first(), STANDS),
                refused((ipv4("198.51.100.7"), Some(2), ours(1)), STANDS),
                done(
                    (cname("other.example.org", true), Some(2), ours(1)),
                    &["@ 60 CNAME other.example.org.", "_dynhost.@ 60 TXT #2"],
                ),
                done((Records::NoCname, None, ours(2)), &[]),
            ],
        ),
        life(
            "back to addresses",
            STANDS,
            [
                done(
                    (Records::NoCname, Some(2), ours(1)),
                    &["_dynhost.@ 60 TXT #2"],
                ),
                done(
                    (ipv4("198.51.100.7"), Some(3), ours(2)),
                    &["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #3"],
                ),
            ],
        ),
        life(
            "the marker alone is there",
            &["_dynhost.@ 60 TXT #1"],
            [done(
                (cname("router.example.org", false), Some(1), ours(1)),
                STANDS,
            )],
        ),
        life(
            "below a wildcard",
            &["*.~ 300 A 192.0.2.1"],
            [done(
                first(),
                &[
                    "*.~ 300 A 192.0.2.1",
                    "@ 60 CNAME router.example.org.",
                    "_dynhost.@ 60 TXT #1",
                ],
            )],
        ),
        life(
            "without a marker",
            &["@ 60 CNAME router.example.org."],
            [
                refused(
                    (
                        cname("other.example.org", true),
                        None,
                        published_cname("wrong.example.org"),
                    ),
                    &["@ 60 CNAME router.example.org."],
                ),
                done(
                    (
                        cname("other.example.org", true),
                        None,
                        published_cname("router.example.org"),
                    ),
                    &["@ 60 CNAME other.example.org."],
                ),
                done(
                    (Records::NoCname, None, published_cname("other.example.org")),
                    &[],
                ),
            ],
        ),
        refuses(&["@ 300 A 192.0.2.1"]),
        refuses(&["@ 300 AAAA 2001:db8::1"]),
        refuses(&["@ 300 TXT hello"]),
        refuses(&["@ 300 MX 10 mail.example.net."]),
        refuses(&["@ 300 CNAME router.example.org."]),
    ])
    .await
}
