//! What becomes of a name that has no marker, or another's.

use anyhow::Result;
use dynhost::record::change::Basis;

use super::every_server::{Each, on_every_server};
use super::lives::{adopt, check, cname, done, ipv4, life, nothing, published, refused};
use super::zone::{Outcome, Zone, apply, replacement};

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

/// PowerDNS keeps the text as it was given, and compares it so.
#[tokio::test]
async fn text_that_powerdns_was_given_without_quotes_is_never_what_was_read() -> Result<()> {
    on_every_server(async |software| {
        let zone = Zone::start(software, &["_dynhost.home 300 TXT other"]).await?;
        let mut change = replacement("home", "198.51.100.8");
        change.names[0].basis = adopt(&["other"]);
        let outcome = apply(&zone.provider, change).await;
        let expected = Each {
            powerdns: Outcome::PreconditionFailed,
            ..Each::all(Outcome::Done)
        };
        assert_eq!(Outcome::of(&outcome), expected.of(software), "{outcome:?}");
        Ok(())
    })
    .await
}
