//! What becomes of a name that is an alias, and of what is beside it.

use anyhow::Result;
use dynhost::name::Fqdn;
use dynhost::record::change::{Basis, Records};

use super::lives::{check, cname, done, ipv4, life, ours, refused};

fn published_cname(target: &str) -> Basis {
    Basis::Rrsets {
        ipv4: None,
        ipv6: None,
        cname: Some(Fqdn::parse(target).unwrap()),
    }
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
