//! How often a host may change and a source may fail; and that a valid key is never answered 429.

use std::time::Instant;

use dynhost_e2e::{Stack, ZoneOptions, await_condition, stack::LIMIT};
use futures::future::join_all;
use serde_json::json;

use super::caller::{Caller, Request};
use super::replica;
use super::signing::{Signer, now};
use super::stored::Home;

const WRONG: &str = "TheUpdateKeyOfNobodyAtAll0123456";

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

fn said(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

#[tokio::test]
async fn a_host_that_changes_too_often_is_told_to_come_again() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let site = (stack, endpoint);
    let home = Home::new(site, &zone, "home", json!({})).await;
    let other = Home::new(site, &zone, "other", json!({})).await;
    let caller = Caller::new(endpoint).source("192.31.196.67");
    let limited = async || {
        let series = "dynhost_limited_requests_total{limit=\"host\"}";
        endpoint.count(series).await.unwrap()
    };
    let before = limited().await;
    let started = Instant::now();
    let report = async |n: usize| {
        let address = format!("198.51.100.{n}");
        let answer = caller.update(&home.name, &home.token, &address).await;
        (answer, address)
    };
    let answers = join_all((1..=200).map(report)).await;
    let allowed = 100 + 20 * (started.elapsed().as_secs() as usize + 1);
    let (taken, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|(answer, _)| answer.0 == 200);
    for (answer, address) in &taken {
        assert_eq!(*answer, ok(&format!("good {address}")));
    }
    for (answer, _) in &refused {
        assert_eq!(*answer, said(503, "911"));
    }
    assert!(taken.len() <= allowed, "{} of {allowed}", taken.len());
    // Others may have found no time on a busy machine.
    let limited = limited().await - before;
    assert!((1..=100).contains(&limited), "{limited}");
    // What is stored is no change, and another host is another matter.
    let stored = home
        .observed()
        .await
        .ipv4
        .unwrap()
        .address
        .unwrap()
        .to_string();
    let answer = caller.update(&home.name, &home.token, &stored).await;
    assert_eq!(answer, ok(&format!("nochg {stored}")));
    let answer = caller
        .update(&other.name, &other.token, "198.51.100.7")
        .await;
    assert_eq!(answer, ok("good 198.51.100.7"));
    await_condition("the host may change again", LIMIT, async || {
        let answer = caller
            .update(&home.name, &home.token, "198.51.100.250")
            .await;
        Ok((answer == ok("good 198.51.100.250")).then_some(()))
    })
    .await
    .unwrap();
    home.await_dns(&["198.51.100.250"], &[]).await;
}

#[tokio::test]
async fn a_source_that_fails_too_often_is_slowed_and_valid_keys_from_there_never_are() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let home = Home::new((stack, endpoint), &zone, "home", json!({})).await;
    let caller = Caller::new(endpoint).source("192.31.196.77");
    let neighbour = Caller::new(endpoint).source("192.31.196.78");
    let name = &home.name;
    let slowed = said(429, "too many failing requests\n");
    let guess = async || caller.update(name, WRONG, "198.51.100.9").await;
    let honest = async |n: usize| {
        let address = format!("198.51.100.{}", n % 2 + 1);
        caller.update(name, &home.token, &address).await
    };
    let (guesses, honest) = tokio::join!(
        join_all((0..300).map(|_| guess())),
        join_all((0..50).map(honest)),
    );
    let refused = guesses
        .iter()
        .filter(|answer| **answer == said(401, "badauth"));
    let refused = refused.count();
    assert!((200..300).contains(&refused), "{refused}");
    let late = guesses.iter().filter(|answer| **answer == slowed).count();
    assert_eq!(refused + late, 300);
    for answer in honest {
        assert_eq!(answer.0, 200, "{answer:?}");
    }
    // Whatever fails is slowed, in HTTP's words; what asks for a challenge is not.
    let until_slowed = async |what: &str, request: Request| {
        await_condition(what, LIMIT, async || {
            let (answer, _) =
                tokio::join!(caller.send(&request), join_all((0..20).map(|_| guess())));
            Ok((answer == slowed).then_some(()))
        })
        .await
        .unwrap();
    };
    until_slowed("an sftdyn key", Request::get(format!("/{WRONG}"))).await;
    until_slowed("an address check", Request::get("/ip")).await;
    let strange = Signer::new().signed(name, now(), ["198.51.100.9", "", ""]);
    until_slowed("a signed request", strange).await;
    let without_key = Request::get(format!("/nic/update?hostname={name}"));
    for _ in 0..50 {
        assert_eq!(caller.send(&without_key).await, said(401, "badauth"));
    }
    // Neither the neighbour nor the host is touched.
    assert_eq!(
        neighbour.update(name, WRONG, "198.51.100.9").await,
        said(401, "badauth")
    );
    assert_eq!(
        neighbour.update(name, &home.token, "198.51.100.3").await,
        ok("good 198.51.100.3")
    );
}
