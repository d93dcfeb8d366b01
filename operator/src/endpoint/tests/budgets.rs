//! Sources that fail too often, and hosts that change too often.

use std::num::NonZeroU32;
use std::time::Instant;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::net::TcpSocket;

use super::*;
use crate::config::Limits;
use crate::metrics::{Format, Snapshot};

const UPDATE: &str = "/nic/update?hostname=home.dyn.example.org";

/// Of the failing requests that a source may send at once, with [`slow`].
const BURST: usize = 10;

async fn slow() -> Fixture {
    let limits = Limits {
        source_rate: NonZeroU32::MIN,
        host_change_rate: NonZeroU32::MIN,
        ..Limits::default()
    };
    let options = EndpointOptions {
        limits,
        ..EndpointOptions::default()
    };
    let fixture = Fixture::with_options(Freshness::just_synced(), options).await;
    fixture.add_host("home", json!({}));
    fixture.add_host("other", json!({}));
    fixture
}

impl Fixture {
    /// Status and body of a request from 127.0.0.`source` with these credentials.
    async fn ask(&self, source: u8, target: &str, token: Option<&str>) -> (u16, String) {
        let authorization = token.map(|token| {
            let basic = BASE64_STANDARD.encode(format!("x:{token}"));
            format!("Authorization: Basic {basic}\r\n")
        });
        let head = format!(
            "GET {target} HTTP/1.0\r\n{}\r\n",
            authorization.unwrap_or_default()
        );
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, source], 0).into()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        if answer.starts_with("HTTP/1.0 429") {
            assert!(answer.contains("\r\nretry-after: 60\r\n"), "{answer}");
        }
        split(&answer)
    }

    /// Asks until the answer is 429, and says how many were answered otherwise, all of them so.
    async fn count_until_limited(
        &self,
        source: u8,
        target: &str,
        token: Option<&str>,
        before: u16,
    ) -> usize {
        for n in 0..1000 {
            let start = Instant::now();
            match self.ask(source, target, token).await.0 {
                429 => {
                    assert!(
                        start.elapsed() >= Duration::from_secs(1),
                        "it was not held back"
                    );
                    return n;
                }
                status => assert_eq!(status, before),
            }
        }
        panic!("{target} is not limited");
    }
}

#[tokio::test]
async fn a_source_with_wrong_keys_is_slowed_and_its_neighbours_are_not() {
    let fixture = slow().await;
    let wrong = Some("wrong-horse-battery");
    let failed = fixture.count_until_limited(2, UPDATE, wrong, 401).await;
    assert!(failed >= BURST, "{failed}");
    // Nobody is locked: not the host, and not the source with the right key.
    for n in 0..3 * BURST {
        let word = if n == 0 { "good" } else { "nochg" };
        let said = (200, format!("{word} 198.51.100.7"));
        let target = format!("{UPDATE}&myip=198.51.100.7");
        assert_eq!(fixture.ask(2, &target, Some(TOKEN)).await, said);
    }
    assert_eq!(fixture.ask(3, UPDATE, wrong).await.0, 401);
    let page = fixture
        .metrics
        .render(&Snapshot::default(), Format::Plain)
        .unwrap();
    assert!(
        page.contains("dynhost_limited_requests_total{limit=\"source\"} 1\n"),
        "{page}"
    );
}

#[tokio::test]
async fn who_sends_credentials_only_when_asked_is_never_slowed() {
    let fixture = slow().await;
    for _ in 0..3 * BURST {
        let said = fixture.ask(2, UPDATE, None).await;
        assert_eq!(said, (401, "badauth".to_owned()));
    }
    let wrong = Some("wrong-horse-battery");
    assert_eq!(fixture.ask(2, UPDATE, wrong).await.0, 401);
}

#[tokio::test]
async fn a_source_has_so_many_requests_of_the_script_verified_and_no_more() {
    let fixture = slow().await;
    let secret: Secret = serde_json::from_value(json!({
        "metadata": metadata("family", "script"),
        "data": {"sha1Secret": BASE64_STANDARD.encode("secretkey1")},
    }))
    .unwrap();
    fixture.index.apply_key(UpdateKey::new(&secret).unwrap());
    let auth = json!({"secretName": "script", "sha1Script": {"user": "alice"}});
    fixture.add_host("script", json!({"spec": {"auth": auth}}));
    let time = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    let text = format!("script.dyn.example.org\n{time}\nsecretkey1\n");
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let hash: String = hash.as_ref().iter().map(|o| format!("{o:02x}")).collect();
    let time = time.replace(' ', "%20");
    let target = format!("/ip.php?user=alice&id=script.dyn.example.org&timeST={time}&hash={hash}");
    // The hash is right, and loopback is not an address to publish.
    let verified = fixture.count_until_limited(2, &target, None, 503).await;
    assert!(verified >= 50 * BURST, "{verified}");
    assert_eq!(fixture.ask(3, &target, None).await.0, 503);
}

#[tokio::test]
async fn address_checks_are_limited_per_source() {
    let fixture = slow().await;
    // Loopback is not an address to tell.
    let checked = fixture.count_until_limited(2, "/ip", None, 503).await;
    assert!(checked >= BURST, "{checked}");
    assert_eq!(fixture.ask(3, "/checkip", None).await.0, 503);
}

#[tokio::test]
async fn a_valid_key_is_told_what_is_wrong_whatever_else_its_source_does() {
    let fixture = slow().await;
    fixture.count_until_limited(7, "/ip", None, 503).await;
    let no_address = (503, "no public address\n".to_owned());
    assert_eq!(fixture.ask(7, "/ip", Some(TOKEN)).await, no_address);
    let in_query = format!("/ip?token={TOKEN}");
    assert_eq!(fixture.ask(7, &in_query, None).await, no_address);
    let (status, _) = fixture.ask(7, "/signed/update", Some(TOKEN)).await;
    assert_eq!(status, 405);
    let (status, _) = fixture.ask(7, "/ip", Some("wrong-horse-battery")).await;
    assert_eq!(status, 429);
}

#[tokio::test]
async fn a_host_that_changes_too_often_is_told_to_wait() {
    let fixture = slow().await;
    let change = async |name: &str, n: usize| {
        let target = format!("/nic/update?hostname={name}.dyn.example.org&myip=198.51.100.{n}");
        fixture.ask(2, &target, Some(TOKEN)).await
    };
    let mut last = 0;
    let refusal = loop {
        let (status, body) = change("home", last + 1).await;
        if status != 200 {
            break (status, body);
        }
        last += 1;
        assert!(last < 200, "changes are not limited");
    };
    assert_eq!(refusal, (503, "911".to_owned()));
    assert!(last >= 5, "{last}");
    assert_eq!(fixture.api_server.take_patches().len(), last);
    // What is no change is none, and other hosts have their own.
    let stored = format!("198.51.100.{last}");
    assert_eq!(fixture.stored("home", "ipv4")["address"], stored);
    assert_eq!(change("home", last).await, (200, format!("nochg {stored}")));
    assert_eq!(
        change("other", 1).await,
        (200, "good 198.51.100.1".to_owned())
    );
}
