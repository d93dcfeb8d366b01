//! An API server that is stopped, frozen, or whose replies are lost.

use std::time::Duration;

use dynhost_crds::host::DynamicHost;
use dynhost_e2e::{Mode, Stack, StackOptions, ZoneOptions, await_condition, stack::LIMIT};
use hickory_net::proto::rr::RecordType;

use super::{ok, stored_ipv4, update};

fn unavailable() -> (u16, String) {
    (503, "911".to_owned())
}

/// The first answer that is not 503.
async fn once_reached(report: impl AsyncFn() -> (u16, String)) -> (u16, String) {
    let answer = await_condition("the API server is reached again", LIMIT, async || {
        let answer = report().await;
        Ok((answer != unavailable()).then_some(answer))
    });
    answer.await.unwrap()
}

#[tokio::test]
async fn a_report_whose_reply_is_lost_is_written_again() {
    let stack = Stack::start(StackOptions {
        api_proxy: true,
        ..StackOptions::default()
    })
    .await
    .unwrap();
    let proxy = stack.api_proxy.as_ref().unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let host = zone.host("home");
    let token = stack.create_host(&host).await.unwrap();
    let hosts = stack.hosts(&zone.namespace).await.unwrap();
    let report = async |address: &str| {
        let query = format!("hostname={}&myip={address}", host.spec.hostname);
        update(&stack, &token, &query).await
    };
    assert_eq!(report("198.51.100.1").await, ok("good 198.51.100.1"));
    assert_eq!(report("198.51.100.1").await, ok("nochg 198.51.100.1"));

    proxy.set_mode(Mode::SwallowReplies);
    assert_eq!(report("198.51.100.2").await, unavailable());
    let lost = hosts.get("home").await.unwrap();
    assert_eq!(stored_ipv4(&lost).as_deref(), Some("198.51.100.2"));

    proxy.set_mode(Mode::Pass);
    // Stored all right, but nobody could know: the host is in doubt until a write is known.
    let answer = once_reached(async || report("198.51.100.2").await).await;
    assert_eq!(answer, ok("good 198.51.100.2"));
    let again = hosts.get("home").await.unwrap();
    assert_eq!(stored_ipv4(&again).as_deref(), Some("198.51.100.2"));
    let changed_at = |host: &DynamicHost| {
        let observed = host.status.clone().unwrap().observed.unwrap();
        observed.ipv4.unwrap().changed_at
    };
    assert!(changed_at(&again) > changed_at(&lost));
    assert_eq!(report("198.51.100.2").await, ok("nochg 198.51.100.2"));
    stack
        .await_dns(&host.spec.hostname, RecordType::A, &["198.51.100.2"])
        .await
        .unwrap();
}

#[tokio::test]
async fn without_an_api_server_changes_are_unavailable_and_nothing_acknowledged_is_lost() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let host = zone.host("home");
    let token = stack.create_host(&host).await.unwrap();
    let report = async |address: &str| {
        let query = format!("hostname={}&myip={address}", host.spec.hostname);
        update(&stack, &token, &query).await
    };
    assert_eq!(report("198.51.100.1").await, ok("good 198.51.100.1"));
    assert_eq!(report("198.51.100.2").await, ok("good 198.51.100.2"));
    let nas = zone.host("nas");
    let key = stack.create_host(&nas).await.unwrap();
    let repeat = async || {
        let query = format!("hostname={}&myip=198.51.100.7", nas.spec.hostname);
        update(&stack, &key, &query).await
    };
    assert_eq!(repeat().await, ok("good 198.51.100.7"));

    stack.control_plane.stop_api_server().await.unwrap();
    assert_eq!(report("198.51.100.3").await, unavailable());
    // Credentials and names are still known.
    let wrong = update(&stack, "wrong-horse-battery", "myip=198.51.100.3").await;
    assert_eq!(wrong, (401, "badauth".to_owned()));
    // What is known to be stored is confirmed, until that was not heard of for 45 s.
    assert_eq!(repeat().await, ok("nochg 198.51.100.7"));
    let limit = Duration::from_secs(90);
    let ended = await_condition("an equal report is not trusted", limit, async || {
        let answer = repeat().await;
        Ok((answer != ok("nochg 198.51.100.7")).then_some(answer))
    });
    assert_eq!(ended.await.unwrap(), unavailable());

    stack.control_plane.start_api_server().await.unwrap();
    let hosts = stack.hosts(&zone.namespace).await.unwrap();
    let kept = stored_ipv4(&hosts.get("home").await.unwrap());
    assert_eq!(kept.as_deref(), Some("198.51.100.2"));
    let answer = once_reached(async || report("198.51.100.3").await).await;
    assert_eq!(answer, ok("good 198.51.100.3"));
    stack
        .await_dns(&host.spec.hostname, RecordType::A, &["198.51.100.3"])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_frozen_api_server_ends_nochg() {
    let stack = Stack::start(StackOptions::default()).await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let (mut home, mut nas) = (zone.host("home"), zone.host("nas"));
    for host in [&mut home, &mut nas] {
        host.spec.auth.secret_name = Some("router".to_owned());
    }
    let token = stack.create_host(&home).await.unwrap();
    stack.create_host(&nas).await.unwrap();
    let report = async |host: &DynamicHost, address: &str| {
        let query = format!("hostname={}&myip={address}", host.spec.hostname);
        update(&stack, &token, &query).await
    };
    for host in [&home, &nas] {
        assert_eq!(report(host, "198.51.100.1").await, ok("good 198.51.100.1"));
    }

    stack.control_plane.freeze_api_server().await.unwrap();
    assert_eq!(report(&home, "198.51.100.2").await, unavailable());
    // Equal to the index, but in doubt.
    assert_eq!(report(&home, "198.51.100.1").await, unavailable());
    // The other host is not in doubt; its index entry is too old once the watch was silent for 45 s.
    let stale = Duration::from_secs(90);
    let answer = await_condition("an equal report is not trusted", stale, async || {
        let answer = report(&nas, "198.51.100.1").await;
        Ok((answer != ok("nochg 198.51.100.1")).then_some(answer))
    });
    assert_eq!(answer.await.unwrap(), unavailable());

    stack.control_plane.thaw_api_server().await.unwrap();
    for (host, address) in [(&home, "198.51.100.4"), (&nas, "198.51.100.1")] {
        let answer = once_reached(async || report(host, address).await).await;
        assert_eq!(answer, ok(&format!("good {address}")));
    }
    // Nothing that was sent into the freeze undoes it.
    let name = &home.spec.hostname;
    stack
        .await_dns(name, RecordType::A, &["198.51.100.4"])
        .await
        .unwrap();
    let hosts = stack.hosts(&zone.namespace).await.unwrap();
    let stored = stored_ipv4(&hosts.get("home").await.unwrap());
    assert_eq!(stored.as_deref(), Some("198.51.100.4"));
}
