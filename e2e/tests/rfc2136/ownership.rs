//! What is written, and what is never touched.

use anyhow::Result;
use dynhost::provider::{Applied, ApplyError, Provider};
use dynhost::record::change::{Basis, Found};
use dynhost::record::marker::marker_name;
use hickory_net::proto::rr::RecordType;

use super::zone::{HOST, Keep, Remove, Set, Zone, change, first_write, host, marker};

fn is_refused(outcome: &Result<Applied, ApplyError>) -> bool {
    matches!(outcome, Err(ApplyError::PreconditionFailed(_)))
}

#[tokio::test]
async fn a_host_is_written_replaced_and_removed_without_a_trace() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let both = change(
        Set("198.51.100.7"),
        Set("2001:db8::7"),
        Some(marker(1)),
        Basis::Absent,
    );
    zone.apply(both).await?;
    assert_eq!(
        zone.records().await?,
        [
            "@ 60 A 198.51.100.7",
            "@ 60 AAAA 2001:db8::7",
            "_dynhost.@ 60 TXT #1"
        ]
    );

    let mut replacement = change(
        Set("198.51.100.8"),
        Keep,
        Some(marker(2)),
        Basis::Marker(marker(1)),
    );
    replacement.ttl = 30;
    zone.apply(replacement).await?;
    assert_eq!(
        zone.records().await?,
        [
            "@ 30 A 198.51.100.8",
            "@ 60 AAAA 2001:db8::7",
            "_dynhost.@ 30 TXT #2"
        ]
    );

    let one_family = change(Remove, Keep, Some(marker(3)), Basis::Marker(marker(2)));
    zone.apply(one_family).await?;
    assert_eq!(
        zone.records().await?,
        ["@ 60 AAAA 2001:db8::7", "_dynhost.@ 60 TXT #3"]
    );

    let all = change(Remove, Remove, None, Basis::Marker(marker(3)));
    zone.apply(all).await?;
    assert_eq!(zone.records().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_late_writer_is_refused_by_the_marker() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    zone.apply(first_write("198.51.100.7")).await?;
    let newer = change(
        Set("198.51.100.8"),
        Keep,
        Some(marker(2)),
        Basis::Marker(marker(1)),
    );
    zone.apply(newer).await?;
    for late in [
        change(
            Set("198.51.100.9"),
            Keep,
            Some(marker(3)),
            Basis::Marker(marker(1)),
        ),
        change(Remove, Remove, None, Basis::Marker(marker(1))),
        first_write("198.51.100.9"),
    ] {
        assert!(is_refused(&zone.apply(late).await));
    }
    assert_eq!(
        zone.records().await?,
        ["@ 60 A 198.51.100.8", "_dynhost.@ 60 TXT #2"]
    );
    Ok(())
}

#[tokio::test]
async fn a_first_write_never_overwrites_what_is_there() -> Result<()> {
    async fn check(record: &str) -> Result<()> {
        let zone = Zone::start(&[record]).await?;
        let before = zone.records().await?;
        assert_eq!(before.len(), 1, "{record}");
        let outcome = zone.apply(first_write("198.51.100.7")).await;
        assert!(is_refused(&outcome), "{record}: {outcome:?}");
        assert_eq!(zone.records().await?, before, "{record}");
        Ok(())
    }
    check("home 300 A 192.0.2.1").await?;
    check("home 300 AAAA 2001:db8::1").await?;
    check("home 300 CNAME target.example.net.").await?;
    check("_dynhost.home 300 TXT \"v=1 o=other h=x n=1\"").await?;
    check("_dynhost.home 300 CNAME target.example.net.").await?;
    Ok(())
}

#[tokio::test]
async fn a_cname_that_came_later_is_never_overwritten() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    zone.apply(first_write("198.51.100.7")).await?;
    let script = format!("update delete {HOST} A\nupdate add {HOST} 300 CNAME target.example.net.");
    zone.bind
        .nsupdate(super::zone::APEX, &zone.key, &script)
        .await?;
    let before = zone.records().await?;
    assert_eq!(
        before,
        ["@ 300 CNAME target.example.net.", "_dynhost.@ 60 TXT #1"]
    );

    let replacement = change(
        Set("198.51.100.8"),
        Keep,
        Some(marker(2)),
        Basis::Marker(marker(1)),
    );
    assert!(is_refused(&zone.apply(replacement).await));
    assert_eq!(zone.records().await?, before);
    Ok(())
}

#[tokio::test]
async fn records_of_other_types_beside_ours_are_left_alone() -> Result<()> {
    let beside = ["home 300 MX 10 mail.example.net.", "home 300 TXT \"hello\""];
    let zone = Zone::start(&beside).await?;
    let before = zone.records().await?;
    assert_eq!(before.len(), 2);
    zone.apply(first_write("198.51.100.7")).await?;
    assert_eq!(zone.records().await?.len(), 4);
    let removal = change(Remove, Remove, None, Basis::Marker(marker(1)));
    zone.apply(removal).await?;
    assert_eq!(zone.records().await?, before);
    Ok(())
}

#[tokio::test]
async fn below_a_wildcard_a_host_comes_and_goes_and_the_wildcard_stays() -> Result<()> {
    async fn check(wildcard: &str, record_type: RecordType) -> Result<()> {
        let zone = Zone::start(&[wildcard]).await?;
        let before = zone.records().await?;
        let marker_name = marker_name(&host());
        let answered = zone.bind.query(&marker_name, record_type).await?;
        assert_eq!(answered.rdata.len(), 1, "{wildcard} answers for the marker");

        zone.apply(first_write("198.51.100.7")).await?;
        let answer = zone.bind.query(HOST, RecordType::A).await?;
        assert_eq!(answer.rdata, ["198.51.100.7"], "{wildcard}");

        let removal = change(Remove, Remove, None, Basis::Marker(marker(1)));
        zone.apply(removal).await?;
        assert_eq!(zone.records().await?, before, "{wildcard}");
        for name in [HOST, &marker_name] {
            let answer = zone.bind.query(name, record_type).await?;
            assert_eq!(answer, answered, "{wildcard} answers for {name} again");
        }
        Ok(())
    }
    check("* 300 A 192.0.2.1", RecordType::A).await?;
    check("* 300 TXT \"v=1 o=other\"", RecordType::TXT).await?;
    check("* 300 CNAME target.example.net.", RecordType::CNAME).await?;
    Ok(())
}

#[tokio::test]
async fn what_somebody_put_beside_our_rrset_stays_when_ours_and_the_marker_go() -> Result<()> {
    let zone = Zone::start(&[]).await?;
    let both = change(
        Set("198.51.100.7"),
        Set("2001:db8::7"),
        Some(marker(1)),
        Basis::Absent,
    );
    zone.apply(both).await?;
    let removal = change(Remove, Keep, None, Basis::Marker(marker(1)));
    zone.apply(removal).await?;
    assert_eq!(zone.records().await?, ["@ 60 AAAA 2001:db8::7"]);
    Ok(())
}

#[tokio::test]
async fn a_lost_marker_is_restored_only_where_the_rrsets_are_as_published() -> Result<()> {
    async fn check(records: &[&str], is_restored: bool) -> Result<()> {
        let zone = Zone::start(records).await?;
        let before = zone.records().await?;
        let published = Basis::Rrsets {
            ipv4: Some("198.51.100.7".parse()?),
            ipv6: None,
            cname: None,
        };
        let outcome = zone
            .apply(change(
                Set("198.51.100.8"),
                Keep,
                Some(marker(2)),
                published,
            ))
            .await;
        if is_restored {
            assert_eq!(outcome, Ok(Applied), "{records:?}");
            assert_eq!(
                zone.records().await?,
                ["@ 60 A 198.51.100.8", "_dynhost.@ 60 TXT #2"],
                "{records:?}"
            );
        } else {
            assert!(is_refused(&outcome), "{records:?}: {outcome:?}");
            assert_eq!(zone.records().await?, before, "{records:?}");
        }
        Ok(())
    }
    check(&["home 60 A 198.51.100.7"], true).await?;
    check(&["home 300 A 198.51.100.7"], true).await?;
    check(&["home 60 A 198.51.100.9"], false).await?;
    check(&["home 60 A 198.51.100.7", "home 60 A 198.51.100.9"], false).await?;
    check(
        &["home 60 A 198.51.100.7", "home 60 AAAA 2001:db8::7"],
        false,
    )
    .await?;
    check(&["home 60 A 198.51.100.7", "_dynhost.home 60 TXT x"], false).await?;
    check(
        &["home 60 A 198.51.100.7", "_dynhost.home 60 CNAME x"],
        false,
    )
    .await?;
    check(&["home 60 CNAME target.example.net."], false).await?;
    check(&[], false).await?;
    Ok(())
}

#[tokio::test]
async fn adoption_replaces_addresses_aliases_and_markers() -> Result<()> {
    async fn check(records: &[&str], left: &[&str]) -> Result<()> {
        let zone = Zone::start(records).await?;
        // As the operator does: what was seen there first, and else that there is none.
        let seen = zone.provider.read(&host()).await?.marker_texts;
        let mut outcome = Err(ApplyError::Unknown(String::new()));
        for marker_texts in [seen, Vec::new()] {
            if outcome.is_err() {
                let basis = Basis::Adopt { marker_texts };
                outcome = zone
                    .apply(change(Set("198.51.100.7"), Keep, Some(marker(1)), basis))
                    .await;
            }
        }
        outcome?;
        let mut expected = vec!["@ 60 A 198.51.100.7", "_dynhost.@ 60 TXT #1"];
        expected.extend(left);
        expected.sort_unstable();
        assert_eq!(zone.records().await?, expected, "{records:?}");
        Ok(())
    }
    check(&[], &[]).await?;
    check(&["home A 192.0.2.1", "home A 192.0.2.2"], &[]).await?;
    check(&["home 300 AAAA 2001:db8::1"], &["@ 300 AAAA 2001:db8::1"]).await?;
    check(&["home CNAME target.example.net."], &[]).await?;
    check(&["_dynhost.home TXT other", "_dynhost.home TXT more"], &[]).await?;
    check(&["_dynhost.home CNAME target.example.net."], &[]).await?;
    Ok(())
}

#[tokio::test]
async fn reading_back_tells_what_stands_at_the_host_and_its_marker() -> Result<()> {
    async fn check(records: &[&str], expected: Found) -> Result<()> {
        let zone = Zone::start(records).await?;
        assert_eq!(
            zone.provider.read(&host()).await,
            Ok(expected),
            "{records:?}"
        );
        Ok(())
    }
    let text = marker(1).to_string();
    let target = "target.example.net.".to_owned();
    check(&[], Found::default()).await?;
    check(&["a.home A 192.0.2.1"], Found::default()).await?;
    check(
        &[
            "home A 192.0.2.1",
            "home AAAA 2001:db8::1",
            "home TXT beside",
            &format!("_dynhost.home TXT \"{text}\""),
        ],
        Found {
            marker_texts: vec![text],
            ipv4: vec!["192.0.2.1".parse()?],
            ipv6: vec!["2001:db8::1".parse()?],
            cname: None,
        },
    )
    .await?;
    check(
        &["home CNAME ns1", "_dynhost.home CNAME target.example.net."],
        Found {
            marker_texts: vec![format!("CNAME {target}")],
            cname: Some("ns1.dyn.example.org.".to_owned()),
            ..Found::default()
        },
    )
    .await?;
    // A wildcard's data, which is why reading back proves no absence and no presence but ours.
    check(
        &["* CNAME target.example.net."],
        Found {
            marker_texts: vec![format!("CNAME {target}")],
            cname: Some(target),
            ..Found::default()
        },
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn one_bad_change_costs_its_neighbours_nothing() -> Result<()> {
    let zone = Zone::start(&["b 300 A 192.0.2.1"]).await?;
    let changes = [
        "a.dyn.example.org",
        "b.dyn.example.org",
        "c.example.org",
        "d.dyn.example.org",
    ]
    .map(|name| {
        let mut change = first_write("198.51.100.7");
        change.names[0].name = dynhost::name::RecordName::parse(name).unwrap();
        change
    });
    let outcomes = zone.provider.apply(&changes).await;
    assert_eq!(outcomes[0], Ok(Applied));
    assert!(is_refused(&outcomes[1]), "{outcomes:?}");
    assert!(
        matches!(&outcomes[2], Err(ApplyError::Rejected(why)) if why.starts_with("NOTZONE")),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[3], Ok(Applied));
    Ok(())
}
