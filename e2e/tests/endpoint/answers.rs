//! Good requests and bad ones, and what each is answered.

use std::time::Duration;

use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{Stack, ZoneOptions, http};
use hickory_net::proto::rr::RecordType;
use kube::ResourceExt as _;

use super::{ok, said, stored_ipv4, update};

const LIMIT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn one_request_updates_several_hosts_and_both_families() {
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let mut home = zone.host("home");
    let mut nas = zone.host("nas");
    for host in [&mut home, &mut nas] {
        host.spec.auth.secret_name = Some("router".to_owned());
    }
    let token = stack.create_host(&home).await.unwrap();
    stack.create_host(&nas).await.unwrap();
    let (home, nas) = (&home.spec.hostname, &nas.spec.hostname);

    let both = "198.51.100.7,2001:DB8::7";
    let query = format!("hostname={home},{nas}&myip={both}");
    let answer = update(stack, &token, &query).await;
    assert_eq!(answer, ok(&format!("good {both}\ngood {both}")));
    for name in [home, nas] {
        stack
            .await_dns(name, RecordType::A, &["198.51.100.7"])
            .await
            .unwrap();
        stack
            .await_dns(name, RecordType::AAAA, &["2001:db8::7"])
            .await
            .unwrap();
    }

    // One family alone leaves the other.
    let query = format!("hostname={nas},{home}&myip=198.51.100.8");
    let answer = update(stack, &token, &query).await;
    assert_eq!(answer, ok("good 198.51.100.8\ngood 198.51.100.8"));
    stack
        .await_dns(nas, RecordType::A, &["198.51.100.8"])
        .await
        .unwrap();
    stack
        .await_dns(nas, RecordType::AAAA, &["2001:db8::7"])
        .await
        .unwrap();

    // The token holds two hosts: a request must name one.
    assert_eq!(
        update(stack, &token, "myip=198.51.100.8").await,
        (400, "notfqdn".to_owned())
    );
    let address = stack.operator.update_address();
    let credentials = Some((nas.as_str(), token.as_str()));
    let answer = http::get(address, "/v3/update?myip=198.51.100.8", credentials).await;
    assert_eq!(said(&answer.unwrap()), ok("nochg 198.51.100.8"));
}

#[tokio::test]
async fn bad_requests_are_refused_and_change_nothing() {
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let home = zone.host("home");
    let other = zone.host("other");
    let token = stack.create_host(&home).await.unwrap();
    stack.create_host(&other).await.unwrap();
    let mut outside = zone.host("outside");
    outside.spec.hostname = "outside.example.net".to_owned();
    outside.spec.auth.secret_name = Some("home-update-key".to_owned());
    let hosts = stack.hosts(&zone.namespace).await.unwrap();
    hosts.create(&Default::default(), &outside).await.unwrap();
    let (namespace, name) = (&zone.namespace, &outside.name_any());
    let accepted = ConditionType::Accepted;
    stack
        .await_reason(namespace, name, accepted, Reason::OutsideZone)
        .await
        .unwrap();

    let hostname = &home.spec.hostname;
    let named = format!("hostname={hostname}");
    let good = format!("{named}&myip=198.51.100.7");
    assert_eq!(update(stack, &token, &good).await, ok("good 198.51.100.7"));

    let check = async |query: &str, status: u16, word: &str| {
        let answer = update(stack, &token, query).await;
        assert_eq!(answer, (status, word.to_owned()), "{query}");
    };
    check(
        &format!("hostname=nowhere.{}&myip=198.51.100.9", zone.apex),
        404,
        "nohost",
    )
    .await;
    check(
        &format!("hostname={}&myip=198.51.100.9", other.spec.hostname),
        404,
        "nohost",
    )
    .await;
    check(
        "hostname=outside.example.net&myip=198.51.100.9",
        404,
        "nohost",
    )
    .await;
    check(
        "hostname=h_me.example.org&myip=198.51.100.9",
        400,
        "notfqdn",
    )
    .await;
    check(&format!("{named}&myip=198.51.100.256"), 400, "911 badip").await;
    check(&format!("{named}&myip=198.51.100.0/24"), 400, "911 badip").await;
    check(&format!("{named}&myip=[2001:db8::9]"), 400, "911 badip").await;
    check(&format!("{named}&myip=10.0.0.9"), 400, "911 badip").await;
    // The connection comes from loopback, and nothing is declared.
    check(&named, 503, "911").await;
    check(&format!("{named}&myip=%ff%fe"), 400, "911 badparam").await;
    let names: Vec<_> = (0..21).map(|n| format!("h{n}.{}", zone.apex)).collect();
    check(
        &format!("hostname={}&myip=198.51.100.9", names.join(",")),
        400,
        "numhost",
    )
    .await;

    // Whatever name is asked, a wrong token learns nothing; nor does a right one with another's.
    let address = stack.operator.update_address();
    let unauthorized = (401, "badauth".to_owned());
    for query in [
        good.as_str(),
        "hostname=nowhere.example.org",
        "hostname=%ff",
        "",
    ] {
        assert_eq!(
            update(stack, "wrong-horse-battery", query).await,
            unauthorized,
            "{query}"
        );
        assert_eq!(update(stack, "", query).await, unauthorized, "{query}");
        let target = format!("/nic/update?{query}");
        let anonymous = http::get(address, &target, None).await.unwrap();
        assert_eq!(said(&anonymous), unauthorized, "{query}");
        assert_eq!(
            anonymous.header("www-authenticate"),
            Some("Basic realm=\"dynhost\"")
        );
    }

    let raw = async |request: &[u8]| http::exchange(address, request, LIMIT).await.unwrap();
    let long = format!(
        "GET /nic/update?{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "x".repeat(100_000)
    );
    assert_eq!(raw(long.as_bytes()).await.status, 431);
    let binary = b"GET /nic/update?hostname=\xff\x00\x80 HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(raw(binary).await.status, 400);

    let stored = hosts.get(&home.name_any()).await.unwrap();
    assert_eq!(stored_ipv4(&stored).as_deref(), Some("198.51.100.7"));
    for host in [&other, &outside] {
        let stored = hosts.get(&host.name_any()).await.unwrap();
        assert_eq!(stored_ipv4(&stored), None);
    }
}

#[tokio::test]
async fn a_suspended_host_is_told_so_and_keeps_its_address() {
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let mut host = zone.host("home");
    host.spec.suspend = true;
    let token = stack.create_host(&host).await.unwrap();
    let query = format!("hostname={}&myip=198.51.100.7", host.spec.hostname);
    assert_eq!(
        update(stack, &token, &query).await,
        (403, "abuse".to_owned())
    );
    let hosts = stack.hosts(&zone.namespace).await.unwrap();
    assert_eq!(stored_ipv4(&hosts.get("home").await.unwrap()), None);
}

#[tokio::test]
async fn of_concurrent_reports_the_last_one_stored_is_published() {
    let stack = Stack::shared().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let host = zone.host("home");
    let token = stack.create_host(&host).await.unwrap();
    let hostname = &host.spec.hostname;
    let reports = (1..=12).map(|n| {
        let query = format!("hostname={hostname}&myip=198.51.100.{n}");
        let token = &token;
        async move { update(stack, token, &query).await }
    });
    let answers = futures::future::join_all(reports).await;
    for (answer, n) in answers.iter().zip(1..) {
        assert_eq!(*answer, ok(&format!("good 198.51.100.{n}")));
    }
    let hosts = stack.hosts(&zone.namespace).await.unwrap();
    let stored = stored_ipv4(&hosts.get("home").await.unwrap()).unwrap();
    stack
        .await_dns(hostname, RecordType::A, &[&stored])
        .await
        .unwrap();
}
