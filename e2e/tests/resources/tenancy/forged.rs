//! A status that somebody with the right to patch it has forged.

use super::*;

/// As status tells of an address.
fn rrset(name: &str, address: &str) -> Value {
    json!({"name": name, "type": "A", "ttl": 60, "values": [address]})
}

#[tokio::test]
async fn a_forged_record_of_what_is_published_changes_nothing_foreign() {
    let victim = "192.0.2.1";
    let records = [
        format!("victim 60 A {victim}"),
        "_dynhost.victim 60 TXT \"v=1 o=other h=AAAAAAAAAAAAAAAAAAAAAA n=AAAAAAAAAAA\"".to_owned(),
        "bare 60 A 192.0.2.2".to_owned(),
    ];
    let f = shared_zone(&records).await;
    let apex = f.zone.apex.clone();
    let foreign = async || f.dump_of(&["victim", "bare"]).await;
    let before = foreign().await;
    assert_eq!(before.len(), 3, "{before:?}");
    let red = f.namespace("red").await;
    let home = f.host_of(&red, "home", &format!("home.{apex}"), &[]);
    let token = f.publish(&home).await;

    for marker in [
        "v=1 o=other h=AAAAAAAAAAAAAAAAAAAAAA n=AAAAAAAAAAA",
        "not a marker",
    ] {
        let rrset = |name: &str, address: &str| rrset(&format!("{name}.{apex}"), address);
        f.merge_status(
            &home,
            json!({"published": {
                "rrsets": [rrset("home", victim), rrset("victim", victim), rrset("bare", victim)],
                "marker": marker,
                "at": "2026-01-01T00:00:00Z",
            }}),
        )
        .await;
        f.merge_host(
            &home,
            json!({"metadata": {"annotations": {"example.org/n": marker}}}),
        )
        .await;
        let address = format!("198.51.100.{}", marker.len());
        f.report(&home, &token, &address).await;
        assert_eq!(foreign().await, before);
    }
    f.delete_host(&home).await;
    assert_eq!(foreign().await, before);
}

#[tokio::test]
async fn a_forged_record_that_says_what_is_there_changes_nothing_foreign() {
    let f = shared_zone(&["bare 60 A 192.0.2.2".to_owned()]).await;
    let apex = f.zone.apex.clone();
    let foreign = async || f.dump_of(&["bare"]).await;
    let before = foreign().await;
    assert_eq!(before.len(), 1, "{before:?}");
    let red = f.namespace("red").await;
    let home = f.host_of(&red, "home", &format!("home.{apex}"), &[]);
    let token = f.publish(&home).await;
    let rrset = |name: &str, address: &str| rrset(&format!("{name}.{apex}"), address);
    f.merge_status(
        &home,
        json!({
            "published": {
                "rrsets": [rrset("home", ADDRESS), rrset("bare", "192.0.2.2")],
                "at": "2026-01-01T00:00:00Z",
            },
            "pendingAliases": [{"name": format!("bare.{apex}")}],
        }),
    )
    .await;
    f.report(&home, &token, "198.51.100.8").await;
    assert_eq!(foreign().await, before);
    f.delete_host(&home).await;
    assert_eq!(foreign().await, before);
}

/// The controller has never written for these hosts, and knows of DNS what status says.
#[tokio::test]
async fn a_record_forged_before_the_first_publication_changes_nothing_foreign() {
    let records = [
        "bare.own 60 A 192.0.2.2".to_owned(),
        "else 60 A 192.0.2.2".to_owned(),
    ];
    let f = shared_zone(&records).await;
    let apex = f.zone.apex.clone();
    let foreign = async || f.dump_of(&["bare.own", "else"]).await;
    let before = foreign().await;
    assert_eq!(before.len(), 2, "{before:?}");
    let red = f.namespace("red").await;
    let (bare, other) = (format!("bare.own.{apex}"), format!("else.{apex}"));
    for (name, forged, alias) in [
        ("own", &bare, Some(&bare)),
        ("own", &bare, None),
        ("other", &other, None),
    ] {
        let aliases: Vec<&str> = alias.into_iter().map(String::as_str).collect();
        let home = f.host_of(&red, name, &format!("{name}.{apex}"), &aliases);
        let token = f.stack.create_host(&home).await.unwrap();
        let rrset = rrset(forged, "192.0.2.2");
        f.merge_status(
            &home,
            json!({
                "published": {"rrsets": [rrset], "at": "2026-01-01T00:00:00Z"},
                "pendingAliases": [{"name": forged}],
            }),
        )
        .await;
        f.report(&home, &token, "198.51.100.8").await;
        assert_eq!(foreign().await, before, "{name} {alias:?}");
        f.delete_host(&home).await;
        assert_eq!(foreign().await, before, "{name} {alias:?}");
    }
}
