//! What becomes of a name under its marker, and of what others put there.

use anyhow::Result;
use dynhost::record::change::Basis;

use super::lives::{
    Life, adopt, check, done, first_write, ipv4, life, nothing, ours, published, refused,
};
use super::zone::{Keep, Remove, Set, addresses};

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
