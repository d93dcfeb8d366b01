//! What is written to the API server, and what is said when that does not go well.

use super::api_server::Next;
use super::*;

const HOME: &str = "/nic/update?hostname=home.dyn.example.org&myip=";

/// The host `home` with this IPv4 address stored.
async fn fixture_with(address: &str) -> Fixture {
    let fixture = Fixture::new().await;
    let observation = json!({
        "address": address, "changedAt": "2026-01-01T00:00:00Z", "protocol": "dyndns2",
    });
    fixture.add_host(
        "home",
        json!({"status": {"observed": {"ipv4": observation}}}),
    );
    fixture
}

impl Fixture {
    async fn report(&self, address: &str) -> String {
        let (status, body) = self.get(&format!("{HOME}{address}")).await;
        format!("{status} {body}")
    }

    fn count_patches(&self) -> usize {
        self.api_server.take_patches().len()
    }
}

#[tokio::test]
async fn a_change_is_one_write_and_no_change_is_none() {
    let fixture = Fixture::new().await;
    fixture.add_host("home", json!({}));
    assert_eq!(
        fixture.report("198.51.100.7").await,
        "200 good 198.51.100.7"
    );
    let patches = fixture.api_server.take_patches();
    assert_eq!(patches.len(), 1);
    assert!(
        patches[0]
            .0
            .ends_with("/home/status?&fieldManager=dynhost-endpoint"),
        "{patches:?}"
    );
    assert_eq!(
        fixture.report("198.51.100.7").await,
        "200 nochg 198.51.100.7"
    );
    assert_eq!(fixture.report("2001:db8::7").await, "200 good 2001:db8::7");
    assert_eq!(
        fixture.report("198.51.100.8").await,
        "200 good 198.51.100.8"
    );
    assert_eq!(fixture.count_patches(), 2);
    assert_eq!(fixture.stored("home", "ipv4")["address"], "198.51.100.8");
    assert_eq!(fixture.stored("home", "ipv6")["address"], "2001:db8::7");
    assert_eq!(fixture.stored("home", "ipv4")["protocol"], "dyndns2");
}

#[tokio::test]
async fn a_stale_index_is_corrected_by_the_api_server() {
    let fixture = fixture_with("198.51.100.1").await;
    // Another replica stored the address, and the watch has not told.
    fixture.api_server.script(&[Next::Overtake("198.51.100.7")]);
    assert_eq!(
        fixture.report("198.51.100.7").await,
        "200 nochg 198.51.100.7"
    );
    assert_eq!(fixture.count_patches(), 1);
    // Another replica stored another address: ours came later.
    fixture.api_server.script(&[Next::Overtake("198.51.100.8")]);
    assert_eq!(
        fixture.report("198.51.100.9").await,
        "200 good 198.51.100.9"
    );
    assert_eq!(fixture.count_patches(), 2);
    assert_eq!(fixture.stored("home", "ipv4")["address"], "198.51.100.9");
}

#[tokio::test]
async fn three_refusals_make_it_unavailable() {
    let fixture = fixture_with("198.51.100.1").await;
    fixture
        .api_server
        .script(&[Next::Say(422), Next::Say(409), Next::Say(422)]);
    assert_eq!(fixture.report("198.51.100.7").await, "503 911");
    assert_eq!(fixture.count_patches(), 3);
    // Nothing was stored, so nothing is in doubt.
    assert_eq!(
        fixture.report("198.51.100.1").await,
        "200 nochg 198.51.100.1"
    );
    assert_eq!(fixture.count_patches(), 0);
}

#[tokio::test]
async fn a_value_in_another_spelling_is_replaced_by_the_last_attempt() {
    let fixture = fixture_with("198.51.100.1").await;
    let mut host = fixture.api_server.stored("home");
    host["status"]["observed"]["ipv4"]["changedAt"] = "2026-01-01T00:00:00.000+00:00".into();
    fixture.api_server.store("home", host);
    assert_eq!(
        fixture.report("198.51.100.7").await,
        "200 good 198.51.100.7"
    );
    assert_eq!(fixture.count_patches(), 3);
}

#[tokio::test]
async fn after_an_unknown_outcome_the_same_value_is_written_again() {
    let fixture = fixture_with("198.51.100.1").await;
    fixture.api_server.script(&[Next::StoreAndSay(504)]);
    assert_eq!(fixture.report("198.51.100.7").await, "503 911");
    let lost = fixture.stored("home", "ipv4");
    assert_eq!(lost["address"], "198.51.100.7");
    fixture.count_patches();
    assert_eq!(
        fixture.report("198.51.100.7").await,
        "200 good 198.51.100.7"
    );
    // The index did not know the lost write: refused, read, and written all the same.
    assert_eq!(fixture.count_patches(), 2);
    let again = fixture.stored("home", "ipv4");
    assert_eq!(again["address"], "198.51.100.7");
    assert_ne!(again["changedAt"], lost["changedAt"]);
    assert_eq!(
        fixture.report("198.51.100.7").await,
        "200 nochg 198.51.100.7"
    );
    assert_eq!(fixture.count_patches(), 0);
}

#[tokio::test]
async fn a_late_copy_of_a_doubtful_write_is_refused() {
    let fixture = fixture_with("198.51.100.1").await;
    fixture.api_server.script(&[Next::Say(504)]);
    assert_eq!(fixture.report("198.51.100.7").await, "503 911");
    let (_, late) = fixture.api_server.take_patches().remove(0);
    // The client has its old address again; that the index knows it is not enough.
    assert_eq!(
        fixture.report("198.51.100.1").await,
        "200 good 198.51.100.1"
    );
    assert_eq!(fixture.api_server.apply("home", &late), 422);
    assert_eq!(fixture.stored("home", "ipv4")["address"], "198.51.100.1");
    assert_eq!(
        fixture.report("198.51.100.1").await,
        "200 nochg 198.51.100.1"
    );
}

#[tokio::test]
async fn a_doubt_is_about_its_own_family() {
    let fixture = fixture_with("198.51.100.1").await;
    fixture.api_server.script(&[Next::Say(500)]);
    assert_eq!(fixture.report("2001:db8::7").await, "503 911");
    assert_eq!(
        fixture.report("198.51.100.1").await,
        "200 nochg 198.51.100.1"
    );
    assert_eq!(
        fixture.report("198.51.100.2").await,
        "200 good 198.51.100.2"
    );
    fixture.count_patches();
    let both = "198.51.100.2,2001:db8::7";
    assert_eq!(fixture.report(both).await, format!("200 good {both}"));
    assert_eq!(fixture.report(both).await, format!("200 nochg {both}"));
    assert_eq!(fixture.count_patches(), 1);
}

#[tokio::test]
async fn a_refusal_that_stores_nothing_leaves_no_doubt() {
    let fixture = fixture_with("198.51.100.1").await;
    for code in [400, 403, 429] {
        fixture.api_server.script(&[Next::Say(code)]);
        assert_eq!(fixture.report("198.51.100.7").await, "503 911");
        assert_eq!(
            fixture.report("198.51.100.1").await,
            "200 nochg 198.51.100.1"
        );
        assert_eq!(fixture.count_patches(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_host_that_is_gone_or_replaced_is_unavailable_until_the_watch_tells() {
    let fixture = fixture_with("198.51.100.1").await;
    let mut host = fixture.api_server.stored("home");
    fixture.api_server.delete("home");
    assert_eq!(fixture.report("198.51.100.7").await, "503 911");
    host["metadata"]["uid"] = "another".into();
    fixture.api_server.store("home", host.clone());
    assert_eq!(fixture.report("198.51.100.7").await, "503 911");
    assert_eq!(fixture.api_server.stored("home"), host);
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_a_doubt() {
    let fixture = fixture_with("198.51.100.1").await;
    fixture.api_server.script(&[Next::StoreAndHang]);
    // The time limit of one call is real here: 5 s.
    assert_eq!(fixture.report("198.51.100.7").await, "503 911");
    assert_eq!(
        fixture.report("198.51.100.1").await,
        "200 good 198.51.100.1"
    );
    assert_eq!(fixture.stored("home", "ipv4")["address"], "198.51.100.1");
}

#[tokio::test]
async fn one_patch_of_a_host_is_in_flight_at_a_time() {
    let fixture = fixture_with("198.51.100.1").await;
    fixture.api_server.script(&[Next::StoreAndHang]);
    let first = fixture.report("198.51.100.7");
    let second = async {
        fixture.api_server.patched().await;
        // Equal to what the index says, but a write is under way.
        let answer = fixture.report("198.51.100.1").await;
        (answer, fixture.count_patches())
    };
    let (first, (second, patches)) = tokio::join!(first, second);
    assert_eq!(first, "503 911");
    assert_eq!(second, "200 good 198.51.100.1");
    // The lost one, one that was refused by its test, and the one that counts.
    assert_eq!(patches, 3);
}

#[tokio::test]
async fn a_report_that_waits_for_another_is_answered_in_time() {
    let fixture = fixture_with("198.51.100.1").await;
    let never = [Next::StoreAndHang, Next::StoreAndHang];
    fixture.api_server.script(&never);
    let first = fixture.report("198.51.100.7");
    let second = async {
        fixture.api_server.patched().await;
        fixture.report("198.51.100.8").await
    };
    // The second has 5 s less for its patch, which is under way when its time is over.
    let answers = tokio::join!(first, second);
    assert_eq!(answers, ("503 911".to_owned(), "503 911".to_owned()));
    assert_eq!(fixture.count_patches(), 2);
    assert_eq!(
        fixture.report("198.51.100.1").await,
        "200 good 198.51.100.1"
    );
}

#[tokio::test]
async fn concurrent_equal_reports_are_one_write() {
    let fixture = fixture_with("198.51.100.1").await;
    let reports = (0..8).map(|_| fixture.report("198.51.100.7"));
    let mut answers = futures::future::join_all(reports).await;
    answers.sort();
    assert_eq!(answers[0], "200 good 198.51.100.7");
    assert!(
        answers[1..].iter().all(|a| a == "200 nochg 198.51.100.7"),
        "{answers:?}"
    );
    assert_eq!(fixture.count_patches(), 1);
}
