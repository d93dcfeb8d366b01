//! What the log and Events tell of one client's requests.

use std::fs;

use anyhow::ensure;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dynhost_e2e::{
    Response, Stack, StackOptions, ZoneOptions, await_condition, http, stack::LIMIT,
};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::Value;

/// Sends a request whose sender would choose its id.
async fn send(stack: &Stack, target: &str, token: &str) -> Response {
    let credentials = BASE64_STANDARD.encode(format!("router:{token}"));
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nX-Request-Id: chosen-by-the-client\r\n\
         Authorization: Basic {credentials}\r\nConnection: close\r\n\r\n"
    );
    let server = stack.operator.update_address();
    http::exchange(server, request.as_bytes(), LIMIT)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_change_is_told_from_answer_to_dns_and_calls_in_vain_are_told_to_the_owner() {
    let stack = Stack::start(StackOptions {
        operator_arguments: ["--log-format", "json"].map(str::to_owned).to_vec(),
        ..StackOptions::default()
    })
    .await
    .unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let host = zone.host("home");
    let hostname = &host.spec.hostname;
    let token = stack.create_host(&host).await.unwrap();

    let update = format!("/nic/update?hostname={hostname}&myip=198.51.100.7");
    for _ in 0..3 {
        assert_eq!(send(&stack, &update, "not the key").await.status, 401);
    }
    // The connection's own is 127.0.0.1.
    let bare = format!("/nic/update?hostname={hostname}");
    assert_eq!(send(&stack, &bare, &token).await.status, 503);

    let answer = send(&stack, &update, &token).await;
    assert_eq!(answer.status, 200);
    let id = answer.header("x-request-id").unwrap().to_owned();
    assert!(
        id.len() == 16 && id.chars().all(|c| c.is_ascii_hexdigit()),
        "{id}"
    );
    let lines = await_condition("both lines of the change", LIMIT, async || {
        let log = fs::read_to_string(stack.operator.log())?;
        ensure!(
            !log.contains("chosen-by-the-client"),
            "the client's own id is in the log"
        );
        ensure!(!log.contains(&token), "the token is in the log");
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let lines: Vec<Value> = lines.map(|line: Value| line["fields"].clone()).collect();
        let of_change = lines.into_iter().filter(|fields| fields["request"] == *id);
        let of_change: Vec<_> = of_change.collect();
        Ok((of_change.len() == 2).then_some(of_change))
    })
    .await
    .unwrap();
    let line = |message: &str| {
        let mut lines = lines.iter();
        lines.find(|line| line["message"] == message).unwrap()
    };
    let key = format!("{}/home", zone.namespace);
    let stored = line("change stored");
    for (field, value) in [
        ("host", key.as_str()),
        ("hostname", hostname),
        ("source", "127.0.0.1"),
        ("protocol", "dyndns2"),
        ("ipv4", "198.51.100.7"),
        ("result", "good"),
    ] {
        assert_eq!(stored[field], value, "{field} of {stored}");
    }
    assert!(stored["duration_ms"].is_number(), "{stored}");
    let published = line("change published");
    assert_eq!(published["host"], *key, "{published}");
    assert_eq!(published["ipv4"], "198.51.100.7", "{published}");
    assert!(published["duration_ms"].is_number(), "{published}");

    let events: Api<Event> = Api::namespaced(stack.client().await.unwrap(), &zone.namespace);
    for (reason, words) in [
        ("ClientAddressNotPublic", "comes from 127.0.0.1"),
        (
            "AuthFailures",
            "3 requests that name this host had no valid key; the last from 127.0.0.1",
        ),
    ] {
        await_condition(&format!("Event {reason}"), LIMIT, async || {
            let all = events.list(&ListParams::default()).await?.items;
            let found = all
                .into_iter()
                .find(|e| e.reason.as_deref() == Some(reason));
            let Some(event) = found else {
                return Ok(None);
            };
            let note = event.note.unwrap_or_default();
            ensure!(note.contains(words), "{note}");
            ensure!(
                event.type_.as_deref() == Some("Warning"),
                "{:?}",
                event.type_
            );
            let about = event.regarding.and_then(|object| object.name);
            ensure!(about.as_deref() == Some("home"), "{about:?}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    }
}
