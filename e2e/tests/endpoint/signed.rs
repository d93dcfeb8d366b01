//! Signed requests: who may send them, and that none counts twice.

use dynhost_crds::conditions::{ConditionType, Reason};
use dynhost_e2e::{
    Operator, Stack, Zone, ZoneOptions, await_condition,
    stack::{LIMIT, condition},
};
use serde_json::json;

use super::caller::{Caller, Request};
use super::replica;
use super::signing::{Signer, now, rfc_3339};
use super::stored::Home;

/// How far clocks may differ, in seconds.
const SKEW: i64 = 300;

/// Far enough from a bound that a slow test does not cross it.
const MARGIN: i64 = 30;

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

fn refused() -> (u16, String) {
    (401, "badauth".to_owned())
}

/// A host that these may sign for, known to both endpoints.
async fn home<'a>(
    (stack, endpoint): (&'a Stack, &Operator),
    zone: &Zone,
    label: &str,
    signers: &[&Signer],
) -> Home<'a> {
    let keys: Vec<_> = signers.iter().map(|signer| signer.public_key()).collect();
    let spec = json!({"auth": {"publicKeys": keys}});
    Home::new((stack, endpoint), zone, label, spec).await
}

#[tokio::test]
async fn a_message_counts_once_on_all_endpoints_together_and_after_a_restart() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::start(stack, &[]).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let signer = Signer::new();
    let check = async |label: &str, message: &dyn Fn(&str, i64, &str) -> Request| {
        let home = home((stack, &endpoint), &zone, label, &[&signer]).await;
        let both = [Caller::new(&stack.operator), Caller::new(&endpoint)];
        let message = |at, address| message(&home.name, at, address);
        let at = now() - MARGIN;
        for (n, address) in [(0, "198.51.100.7"), (1, "198.51.100.8")] {
            let first = message(at + 2 * n as i64, address);
            let answer = both[n].send(&first).await;
            assert_eq!(answer, ok(&format!("good {address}")), "{label}");
            let stored = home.observed().await;
            let signed_at = stored.signed_at.unwrap().to_string();
            let second = jiff::Timestamp::from_second(at + 2 * n as i64).unwrap();
            assert_eq!(signed_at, second.to_string(), "{label}");
            let of_that_second = message(at + 2 * n as i64, "198.51.100.9");
            let older = message(at + 2 * n as i64 - 1, "198.51.100.9");
            for caller in [&both[n], &both[1 - n], &both[n]] {
                for late in [&first, &of_that_second, &older] {
                    assert_eq!(caller.send(late).await, refused(), "{label} {late:?}");
                }
            }
            assert_eq!(home.observed().await, stored, "{label}");
            home.await_dns(&[address], &[]).await;
        }
        let sent = [
            message(at + 2, "198.51.100.8"),
            message(at + 1, "198.51.100.7"),
        ];
        (home, sent)
    };
    let envelope = |name: &str, at, ipv4: &str| signer.envelope(name, &rfc_3339(at), ipv4, "");
    let signed = |name: &str, at, ipv4: &str| signer.signed(name, at, [ipv4, "", ""]);
    let checked = tokio::join!(check("signed", &signed), check("envelope", &envelope));

    // What the former process knew is in the API server.
    endpoint.kill().await.unwrap();
    endpoint.start_again().await.unwrap();
    let caller = Caller::new(&endpoint);
    for (home, sent) in [checked.0, checked.1] {
        let stored = home.observed().await;
        for message in sent {
            assert_eq!(caller.send(&message).await, refused());
        }
        assert_eq!(home.observed().await, stored);
        let update = signer.signed(&home.name, now(), ["198.51.100.10", "", ""]);
        assert_eq!(caller.send(&update).await, ok("good 198.51.100.10"));
    }
}

#[tokio::test]
async fn a_message_of_another_time_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let signer = Signer::new();
    let caller = Caller::new(endpoint);
    let early = home((stack, endpoint), &zone, "early", &[&signer]).await;
    let name = &early.name;
    for age in [SKEW + MARGIN, 3600, 86_400, -SKEW - MARGIN, -86_400] {
        let at = now() - age;
        let messages = [
            signer.signed(name, at, ["198.51.100.7", "", ""]),
            signer.envelope(name, &rfc_3339(at), "198.51.100.7", ""),
        ];
        for message in messages {
            assert_eq!(caller.send(&message).await, refused(), "{age}");
        }
    }
    assert_eq!(early.stored().await, "- - - -");
    // Both ends of the time that is allowed. After the latter nothing is newer for a while.
    let check = async |age: i64, address: &str, expected: (u16, String)| {
        let message = signer.signed(name, now() - age, [address, "", ""]);
        assert_eq!(caller.send(&message).await, expected, "{age}");
    };
    check(SKEW - MARGIN, "198.51.100.7", ok("good 198.51.100.7")).await;
    check(MARGIN - SKEW, "198.51.100.8", ok("good 198.51.100.8")).await;
    check(0, "198.51.100.9", refused()).await;
    early.await_dns(&["198.51.100.8"], &[]).await;
    // The update key is another matter.
    let answer = caller.update(name, &early.token, "198.51.100.9").await;
    assert_eq!(answer, ok("good 198.51.100.9"));
}

#[tokio::test]
async fn whatever_is_wrong_with_a_signed_request_the_answer_is_the_same() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let (ours, theirs, strange) = (Signer::new(), Signer::new(), Signer::new());
    let site = (stack, endpoint);
    let home = home(site, &zone, "home", &[&ours]).await;
    let other = self::home(site, &zone, "other", &[&theirs]).await;
    let unsigned = self::home(site, &zone, "unsigned", &[]).await;
    let nowhere = format!("nowhere.{}", zone.apex);
    let caller = Caller::new(endpoint);
    let at = now();
    let address = ["198.51.100.7", "", ""];
    let message = ours.signed(&home.name, at, address);
    let tampered = |body: String| Request {
        body,
        ..message.clone()
    };
    let mut refusals = Vec::new();
    for (what, request) in [
        ("a strange key", strange.signed(&home.name, at, address)),
        ("another host's key", theirs.signed(&home.name, at, address)),
        (
            "our key for another host",
            ours.signed(&other.name, at, address),
        ),
        (
            "a host without keys",
            ours.signed(&unsigned.name, at, address),
        ),
        ("no such host", ours.signed(&nowhere, at, address)),
        ("no such zone", ours.signed("home.example.net", at, address)),
        (
            "too old",
            ours.signed(&home.name, at - SKEW - MARGIN, address),
        ),
        (
            "another address",
            tampered(message.body.replace("100.7", "100.8")),
        ),
        (
            "another name",
            tampered(message.body.replace("home.", "hume.")),
        ),
        ("another tag", tampered(message.body.replace("/v1", "/v2"))),
        (
            "something behind it",
            Request::post("/signed/update", "text/plain", message.body.clone() + "\n"),
        ),
        (
            "nothing",
            Request::post("/signed/update", "text/plain", String::new()),
        ),
    ] {
        refusals.push((what, caller.exchange(&request).await));
    }
    let time = rfc_3339(at);
    for (what, request) in [
        (
            "a strange key",
            strange.envelope(&home.name, &time, "198.51.100.7", ""),
        ),
        (
            "another host's key",
            theirs.envelope(&home.name, &time, "198.51.100.7", ""),
        ),
        (
            "no such host",
            ours.envelope(&nowhere, &time, "198.51.100.7", ""),
        ),
        (
            "no envelope",
            Request::post("/update", "application/json", "{}".to_owned()),
        ),
    ] {
        refusals.push((what, caller.exchange(&request).await));
    }
    let accepted = caller.send(&message).await;
    assert_eq!(accepted, ok("good 198.51.100.7"));
    refusals.push(("sent again", caller.exchange(&message).await));
    let expected = caller.exchange(&Request::get("/nic/update")).await;
    assert_eq!((expected.status, expected.text()), refused());
    for (what, refusal) in refusals {
        assert_eq!(refusal, expected, "{what}");
    }
    assert_eq!(home.stored().await, format!("198.51.100.7 - - {at}"));
    for host in [other, unsigned] {
        assert_eq!(host.stored().await, "- - - -");
    }
    // Whoever holds the key is told what is wrong.
    let address = ["198.51.100.007", "", ""];
    let message = ours.signed(&home.name, now() + 2, address);
    assert_eq!(caller.send(&message).await, (400, "911 badip".to_owned()));
}

#[tokio::test]
async fn keys_overlap_and_a_removed_one_is_worth_nothing() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let (former, next) = (Signer::new(), Signer::new());
    let home = home((stack, endpoint), &zone, "home", &[&former]).await;
    let caller = Caller::new(endpoint);
    let send = async |signer: &Signer, at: i64, address: &str| {
        caller
            .send(&signer.signed(&home.name, at, [address, "", ""]))
            .await
    };
    let at = now() - 60;
    assert_eq!(
        send(&former, at, "198.51.100.1").await,
        ok("good 198.51.100.1")
    );
    assert_eq!(send(&next, at + 1, "198.51.100.2").await, refused());
    let both = [former.public_key(), next.public_key()];
    home.merge_spec(json!({"auth": {"publicKeys": both}})).await;
    await_condition("the next key is known", LIMIT, async || {
        let answer = send(&next, at + 2, "198.51.100.2").await;
        Ok((answer == ok("good 198.51.100.2")).then_some(()))
    })
    .await
    .unwrap();
    // One time for both of them.
    assert_eq!(send(&former, at + 2, "198.51.100.3").await, refused());
    assert_eq!(
        send(&former, at + 3, "198.51.100.3").await,
        ok("good 198.51.100.3")
    );

    home.merge_spec(json!({"auth": {"publicKeys": [next.public_key()]}}))
        .await;
    await_condition("the former key is not known any more", LIMIT, async || {
        // A request that changes nothing does not use up its second.
        let answer = send(&former, at + 4, "198.51.100.3").await;
        Ok((answer == refused()).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(send(&former, now(), "198.51.100.4").await, refused());
    assert_eq!(home.stored().await, format!("198.51.100.3 - - {}", at + 3));
    assert_eq!(
        send(&next, at + 4, "198.51.100.4").await,
        ok("good 198.51.100.4")
    );

    // A key that anybody can sign for makes the spec invalid, and says so.
    let zeros = format!("{}=", "A".repeat(43));
    home.merge_spec(json!({"auth": {"publicKeys": [zeros, next.public_key()]}}))
        .await;
    let (namespace, name) = (&zone.namespace, "home");
    let host = stack.await_reason(namespace, name, ConditionType::Accepted, Reason::Invalid);
    let host = host.await.unwrap();
    let said = &condition(&host, ConditionType::Accepted).unwrap().message;
    assert!(
        said.contains("anybody can sign for this public key"),
        "{said}"
    );
    let seconds = std::cell::Cell::new(now());
    await_condition("the endpoint knows of it", LIMIT, async || {
        // One that is taken is newer than the one before.
        seconds.set(seconds.get() + 1);
        let answer = send(&next, seconds.get(), "198.51.100.5").await;
        Ok((answer == refused()).then_some(()))
    })
    .await
    .unwrap();
}
