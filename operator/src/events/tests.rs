use std::convert::Infallible;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::sending::Word;
use super::*;
use crate::index::Index;
use crate::leader::moment::Moment;

fn host(name: &str) -> Host {
    let object = json!({
        "metadata": {"name": name, "namespace": "family", "uid": name, "resourceVersion": "1",
                     "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"hostname": format!("{name}.dyn.example.org"), "zoneRef": {"name": "dyn"}},
    });
    Host::from_object(&serde_json::from_value(object).unwrap()).unwrap()
}

fn published(reason: Reason) -> CompactCondition {
    CompactCondition {
        type_: ConditionType::Published,
        status: reason.status(),
        reason,
        message: None,
        generation: 1,
        since: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// The reasons of all that waits, in the order in which it would be sent.
async fn waiting(events: Events, mut queue: EventQueue) -> Vec<String> {
    drop(events);
    let mut reasons = Vec::new();
    while let Some(Word::Send(item)) = queue.next().await {
        reasons.push(item.event.reason);
    }
    reasons
}

#[tokio::test]
async fn a_burst_of_others_drops_no_warning_and_keeps_none_waiting() {
    let (events, queue) = Events::new(Arc::default());
    let secret = ObjectKey::new("family", "key");
    for number in 0..200 {
        let host = host(&number.to_string());
        events.key_generated(&host, &secret);
        events.host_conditions_changed(&host, &[published(Reason::ForeignRecord)]);
    }
    let reasons = waiting(events, queue).await;
    let warnings = reasons
        .iter()
        .take_while(|reason| *reason == "ForeignRecord");
    assert_eq!(warnings.count(), 200, "{reasons:?}");
    // More than the budget of a moment only where this took long.
    let others = reasons.len() - 200;
    assert!((4..100).contains(&others), "{others}");
}

#[tokio::test]
async fn what_happens_again_and_again_is_told_once_for_each_host() {
    let (events, queue) = Events::new(Arc::default());
    for _ in 0..3 {
        for name in ["home", "office"] {
            events.client_address_not_public(&host(name), None);
        }
        events.address_changed(&host("home"), "192.0.2.1 -> 192.0.2.2".to_owned());
    }
    let reasons = waiting(events, queue).await;
    let public = "ClientAddressNotPublic";
    assert_eq!(reasons, [public, public, "AddressChanged"]);
}

#[tokio::test]
async fn a_writer_whose_time_is_over_tells_nothing_and_the_endpoint_goes_on() {
    let (posted, mut posts) = mpsc::unbounded_channel();
    let server = service_fn(move |request: Request<Body>| {
        let posted = posted.clone();
        async move {
            let body = request.into_body().collect_bytes().await.unwrap();
            let event: Value = serde_json::from_slice(&body).unwrap();
            posted.send(event["reason"].clone()).unwrap();
            Ok::<_, Infallible>(Response::new(Body::from(body.to_vec())))
        }
    });
    let (events, queue) = Events::new(Arc::default());
    let over = events.behind(Arc::new(Fence::until(Moment::from_nanos(1))));
    over.host_conditions_changed(&host("home"), &[published(Reason::ForeignRecord)]);
    events.client_address_not_public(&host("home"), None);
    let client = kube::Client::new(server, "default");
    tokio::select! {
        () = send(client, Arc::new(Index::default()), events, queue) => {}
        reason = posts.recv() => assert_eq!(reason, Some(json!("ClientAddressNotPublic"))),
    }
}
