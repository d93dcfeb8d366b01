//! When clients were seen that only confirm what is stored.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::api_server::Next;
use super::*;
use crate::metrics::{Format, Snapshot};

const LONG_AGO: &str = "2026-01-01T00:00:00Z";
const LAST_SEEN: &str = "/status/observed/lastSeen";

/// A host that has `198.51.100.7`, and whose client was last seen long ago.
fn silent_host(fixture: &Fixture, name: &str, spec: &Value) {
    let observation = json!({
        "address": "198.51.100.7", "changedAt": LONG_AGO, "protocol": "dyndns2",
    });
    let observed = json!({"ipv4": observation, "lastSeen": LONG_AGO});
    fixture.add_host(
        name,
        json!({"spec": spec, "status": {"observed": observed}}),
    );
}

impl Fixture {
    /// Reports for a host what it has, and returns the answer.
    async fn confirm(&self, name: &str) -> String {
        let target = format!("/nic/update?hostname={name}.dyn.example.org&myip=198.51.100.7");
        let (status, body) = self.get(&target).await;
        format!("{status} {body}")
    }

    /// The paths that each patch of a host writes, of all patches until one of another host: by then
    /// whatever the host's requests set off has been sent.
    async fn patches_of(&self, name: &str) -> Vec<Vec<String>> {
        static FENCES: AtomicUsize = AtomicUsize::new(0);
        let fence = format!("fence{}", FENCES.fetch_add(1, Ordering::Relaxed));
        silent_host(self, &fence, &json!({}));
        assert_eq!(self.confirm(&fence).await, NOCHG);
        let is_of =
            |patch: &(String, Value), name: &str| patch.0.contains(&format!("/{name}/status"));
        let mut patches = Vec::new();
        while !patches.iter().any(|patch| is_of(patch, &fence)) {
            self.api_server.patched().await;
            patches.extend(self.api_server.take_patches());
        }
        let patches = patches.iter().filter(|patch| is_of(patch, name));
        patches.map(|(_, patch)| written(patch)).collect()
    }

    /// Waits until the API server has another time than before.
    async fn await_seen(&self, name: &str) -> Value {
        let seen = |host: &Value| host.pointer(LAST_SEEN).cloned();
        let is_another = |host: &Value| seen(host) != Some(LONG_AGO.into());
        self.api_server.until(name, is_another).await;
        self.stored(name, "lastSeen")
    }
}

const NOCHG: &str = "200 nochg 198.51.100.7";

fn written(patch: &Value) -> Vec<String> {
    let operations = patch.as_array().unwrap().iter();
    let adds = operations.filter(|operation| operation["op"] == "add");
    adds.map(|add| add["path"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_confirmation_is_noted_once_in_its_time() {
    let fixture = Fixture::new().await;
    silent_host(&fixture, "home", &json!({}));
    for _ in 0..4 {
        assert_eq!(fixture.confirm("home").await, NOCHG);
    }
    let patches = fixture.patches_of("home").await;
    assert_eq!(patches, [[LAST_SEEN]]);
    for _ in 0..4 {
        assert_eq!(fixture.confirm("home").await, NOCHG);
    }
    assert_eq!(fixture.patches_of("home").await, Vec::<Vec<String>>::new());
    let seen = fixture.await_seen("home").await;
    let seen: Timestamp = seen.as_str().unwrap().parse().unwrap();
    assert_eq!(seen.subsec_nanosecond(), 0);
    assert_eq!(fixture.stored("home", "ipv4")["changedAt"], LONG_AGO);
}

#[tokio::test]
async fn a_report_notes_its_time_in_the_same_write() {
    let fixture = Fixture::new().await;
    silent_host(&fixture, "home", &json!({}));
    let target = "/nic/update?hostname=home.dyn.example.org&myip=198.51.100.8";
    assert_eq!(fixture.get(target).await.0, 200);
    let patches = fixture.patches_of("home").await;
    assert_eq!(patches, [["/status/observed/ipv4", LAST_SEEN]]);
    fixture.await_seen("home").await;
}

#[tokio::test]
async fn who_is_refused_was_not_seen() {
    let fixture = Fixture::new().await;
    silent_host(&fixture, "suspended", &json!({"suspend": true}));
    silent_host(&fixture, "home", &json!({}));
    silent_host(
        &fixture,
        "elsewhere",
        &json!({"auth": {"secretName": "another"}}),
    );
    assert_eq!(fixture.confirm("suspended").await, "403 abuse");
    assert_eq!(fixture.confirm("elsewhere").await, "404 nohost");
    for (target, expected) in [
        ("hostname=home.dyn.example.org&myip=192.168.1.2", 400),
        ("hostname=home.dyn.example.org&myip=nonsense", 400),
        (
            "hostname=home.dyn.example.org&myip=198.51.100.7&clear=true",
            403,
        ),
    ] {
        let (status, _) = fixture.get(&format!("/nic/update?{target}")).await;
        assert_eq!(status, expected, "{target}");
    }
    let wrong_key = b"GET /nic/update?hostname=home.dyn.example.org&myip=198.51.100.7 HTTP/1.0\r\n\
        Authorization: Basic eDp3cm9uZy13cm9uZy13cm9uZw==\r\n\r\n";
    assert!(fixture.exchange(wrong_key).await.contains(" 401 "));
    for name in ["suspended", "elsewhere", "home"] {
        assert_eq!(fixture.patches_of(name).await, Vec::<Vec<String>>::new());
    }
}

#[tokio::test]
async fn no_answer_waits_for_a_write_that_hangs_and_no_report_is_refused_by_it() {
    let fixture = Fixture::new().await;
    silent_host(&fixture, "home", &json!({}));
    fixture.api_server.script(&[Next::StoreWhenTold]);
    assert_eq!(fixture.confirm("home").await, NOCHG);
    fixture.api_server.patched().await;
    // The write is under way.
    assert_eq!(fixture.confirm("home").await, NOCHG);
    let target = "/nic/update?hostname=home.dyn.example.org&myip=198.51.100.8";
    let (status, answer) = fixture.get(target).await;
    assert_eq!((status, &*answer), (200, "good 198.51.100.8"));
    let seen = fixture.await_seen("home").await;
    fixture.api_server.go_on();
    let patches = fixture.patches_of("home").await;
    // The late one is refused by its test, and what it finds then is newer.
    assert_eq!(
        patches,
        [vec![LAST_SEEN], vec!["/status/observed/ipv4", LAST_SEEN]]
    );
    assert_eq!(fixture.stored("home", "lastSeen"), seen);
    assert_eq!(fixture.stored("home", "ipv4")["address"], "198.51.100.8");
}

#[tokio::test]
async fn a_write_that_fails_is_repeated_and_leaves_no_doubt() {
    let fixture = Fixture::new().await;
    for (name, next) in [
        ("stored", Next::StoreAndSay(504)),
        ("refused", Next::Say(403)),
        ("unknown", Next::Say(500)),
    ] {
        silent_host(&fixture, name, &json!({}));
        fixture.api_server.script(&[next]);
        assert_eq!(fixture.confirm(name).await, NOCHG);
        fixture.api_server.patched().await;
        // Not good, which is what is said in doubt.
        assert_eq!(fixture.confirm(name).await, NOCHG);
        fixture.await_seen(name).await;
        // The repetition of what was stored is refused by its test, and found to be no news.
        assert_eq!(fixture.confirm(name).await, NOCHG);
    }
    let page = fixture
        .metrics
        .render(&Snapshot::default(), Format::Plain)
        .unwrap();
    let failed = "\ndynhost_failed_heartbeats_total 3\n";
    assert!(page.contains(failed), "{page}");
}

#[tokio::test]
async fn what_another_replica_noted_stays() {
    let fixture = Fixture::new().await;
    silent_host(&fixture, "home", &json!({}));
    // The watch has not told yet.
    let mut home = fixture.api_server.stored("home");
    let now = json!(Timestamp::from_second(Timestamp::now().as_second()).unwrap());
    home["status"]["observed"]["lastSeen"] = now.clone();
    fixture.api_server.store("home", home);
    assert_eq!(fixture.confirm("home").await, NOCHG);
    assert_eq!(fixture.patches_of("home").await, [[LAST_SEEN]]);
    assert_eq!(fixture.stored("home", "lastSeen"), now);
}

#[tokio::test]
async fn a_time_in_another_spelling_is_replaced_by_the_last_attempt() {
    let fixture = Fixture::new().await;
    silent_host(&fixture, "home", &json!({}));
    let mut home = fixture.api_server.stored("home");
    let spelling = json!("2026-01-01T00:00:00.000+00:00");
    home["status"]["observed"]["lastSeen"] = spelling.clone();
    fixture.api_server.store("home", home);
    assert_eq!(fixture.confirm("home").await, NOCHG);
    let seen = |host: &Value| host.pointer(LAST_SEEN).cloned();
    let is_another = |host: &Value| seen(host).as_ref() != Some(&spelling);
    fixture.api_server.until("home", is_another).await;
}
