//! `--legacy-status-200`.

use dynhost_e2e::{Stack, ZoneOptions};
use serde_json::json;

use super::caller::{Caller, Request};
use super::replica;
use super::stored::Home;

const WRONG: &str = "TheUpdateKeyOfNobodyAtAll0123456";

#[tokio::test]
async fn refusals_of_dyndns2_come_with_status_200_where_that_is_wanted() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::start(stack, &["--legacy-status-200"]).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let home = Home::new((stack, &endpoint), &zone, "home", json!({})).await;
    let suspended = json!({"suspend": true});
    let suspended = Home::new((stack, &endpoint), &zone, "suspended", suspended).await;
    let caller = Caller::new(&endpoint);
    let (name, key) = (&home.name, &home.token);
    let check = async |target: String, key: &str, status: u16, body: &str| {
        let answer = caller.send(&Request::get(&target).basic("", key)).await;
        assert_eq!(answer, (status, body.to_owned()), "{target}");
    };
    let nowhere = format!("nowhere.{}", zone.apex);
    let update = |query: &str| format!("/nic/update?{query}");
    check(
        update(&format!("hostname={nowhere}&myip=198.51.100.7")),
        key,
        200,
        "nohost",
    )
    .await;
    check(update("hostname=h_me.example.org"), key, 200, "notfqdn").await;
    check(
        update(&format!("hostname={name}&myip=10.0.0.7")),
        key,
        200,
        "911 badip",
    )
    .await;
    check(
        update(&format!("hostname={name}&offline=YES")),
        key,
        200,
        "!donator",
    )
    .await;
    check(update("myip=198.51.100.7"), &suspended.token, 200, "abuse").await;
    // Some clients need the challenge, and others come again after a 503 only.
    check(update(&format!("hostname={name}")), WRONG, 401, "badauth").await;
    check(update(&format!("hostname={name}")), key, 503, "911").await;
    // No other dialect has clients that want it.
    check(format!("/update?domains={nowhere}"), key, 404, "KO").await;
    check(
        format!("/api/update?hostname={nowhere}"),
        key,
        404,
        "zone not found",
    )
    .await;
    check(format!("/{WRONG}"), key, 403, "BADKEY").await;
}
