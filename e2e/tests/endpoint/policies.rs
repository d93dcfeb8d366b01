//! What a host's owner says of keys, callers and addresses.

use dynhost_crds::key::TOKEN;
use dynhost_e2e::{Stack, ZoneOptions, await_condition, stack::LIMIT};
use serde_json::json;

use super::caller::{Caller, Request};
use super::replica;
use super::signing::{Signer, now, rfc_3339};
use super::stored::{Home, supply};

const WRONG: &str = "TheUpdateKeyOfNobodyAtAll0123456";

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

fn said(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

/// Every way to present a key in a URL, with what is declared.
fn in_url(name: &str, key: &str) -> Vec<Request> {
    let parameters = ["password", "pass", "pwd", "token", "key", "pw"];
    let queries = parameters.map(|p| format!("/nic/update?hostname={name}&{p}={key}"));
    let others = [
        format!("/update?domains={name}&token={key}"),
        format!("/update/{name}/{key}"),
        format!("/api/update?hostname={name}&token={key}"),
        format!("/u/{key}/?hostname={name}"),
        format!("/{key}"),
    ];
    let targets = queries.into_iter().chain(others);
    targets.map(Request::get).collect()
}

#[tokio::test]
async fn a_key_in_the_url_is_as_good_as_a_wrong_one_where_the_host_denies_it() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let deny = json!({"auth": {"tokenInURL": "Deny"}});
    let home = Home::new((stack, endpoint), &zone, "home", deny).await;
    let (name, key) = (&home.name, &home.token);
    let caller = Caller::new(endpoint).source("192.31.196.37");
    for (right, wrong) in in_url(name, key).iter().zip(in_url(name, WRONG)) {
        let refusal = caller.exchange(&wrong).await;
        assert!(matches!(refusal.status, 401 | 403), "{wrong:?} {refusal:?}");
        assert_eq!(caller.exchange(right).await, refusal, "{right:?}");
    }
    assert_eq!(home.stored().await, "- - - -");

    let target = |n| format!("/nic/update?hostname={name}&myip=198.51.100.{n}");
    let form = |p, n| {
        Request::form(
            "/nic/update",
            format!("hostname={name}&myip=198.51.100.{n}&{p}={key}"),
        )
    };
    let bearer = format!("Authorization: Bearer {key}");
    let token = format!("Authorization: Token {key}");
    for (n, request) in [
        (1, Request::get(target(1)).basic("router", key)),
        (2, Request::get(target(2)).header(&bearer)),
        (3, Request::get(target(3)).header(&token)),
        (4, form("password", 4)),
        (5, form("token", 5)),
        // The header counts before the URL.
        (
            6,
            Request::get(target(6) + "&token=" + WRONG).basic("", key),
        ),
    ] {
        let good = ok(&format!("good 198.51.100.{n}"));
        assert_eq!(caller.send(&request).await, good, "{request:?}");
    }

    home.merge_spec(json!({"auth": {"tokenInURL": "Allow"}}))
        .await;
    await_condition("the endpoint knows that it is allowed", LIMIT, async || {
        let answer = caller.send(&Request::get(format!("/{key}"))).await;
        Ok((answer == ok("OK")).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn of_two_hosts_of_a_key_one_may_deny_it_in_the_url() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let key = "ASharedSecretOfTwoHosts";
    supply(stack, &zone, "shared", &[(TOKEN, key)]).await;
    let site = (stack, endpoint);
    let allow = json!({"auth": {"secretName": "shared"}});
    let deny = json!({"auth": {"secretName": "shared", "tokenInURL": "Deny"}});
    let open = Home::new(site, &zone, "open", allow).await;
    let closed = Home::new(site, &zone, "closed", deny).await;
    let caller = Caller::new(endpoint).source("192.31.196.38");
    let answer = caller.send(&Request::get(format!("/{key}"))).await;
    assert_eq!(answer, ok("OK"));
    assert_eq!(open.stored().await, "192.31.196.38 - - -");
    let query = format!("hostname={},{}&myip=198.51.100.7", closed.name, open.name);
    let in_query = Request::get(format!("/nic/update?{query}&token={key}"));
    assert_eq!(
        caller.send(&in_query).await,
        ok("nohost\ngood 198.51.100.7")
    );
    assert_eq!(closed.stored().await, "- - - -");
    let in_header = Request::get(format!("/nic/update?{query}")).basic("", key);
    assert_eq!(
        caller.send(&in_header).await,
        ok("good 198.51.100.7\nnochg 198.51.100.7")
    );
}

#[tokio::test]
async fn whoever_calls_from_elsewhere_is_answered_as_with_a_wrong_key() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let signer = Signer::new();
    // The first is where `Home::new` asks from.
    let sources = [replica::ASKING, "192.31.196.40/29", "2001:4:112:8::/64"];
    let auth = json!({"publicKeys": [signer.public_key()]});
    let spec = json!({"auth": auth, "address": {"allowedSources": sources}});
    let home = Home::new((stack, endpoint), &zone, "home", spec).await;
    let (name, key) = (&home.name, &home.token);
    let form = |key: &str| Request::form("/nic/update", format!("hostname={name}&password={key}"));
    let header = |key: &str| Request::get(format!("/nic/update?hostname={name}")).basic("", key);
    for source in [
        Some("192.31.196.39"),
        Some("192.31.196.48"),
        Some("::ffff:192.31.196.48"),
        Some("2001:4:112:9::7"),
        Some("192.31.196.41, 192.31.196.39"),
        // A proxy that does not tell for whom, and one that nobody trusts.
        Some("unknown"),
        Some("192.31.196.41, unknown"),
        None,
    ] {
        let caller = Caller::new(endpoint);
        let caller = match source {
            Some(source) => caller.source(source),
            None => caller.from("127.0.0.66"),
        };
        let wrong = in_url(name, WRONG)
            .into_iter()
            .chain([form(WRONG), header(WRONG)]);
        let right = in_url(name, key)
            .into_iter()
            .chain([form(key), header(key)]);
        for (right, wrong) in right.zip(wrong) {
            let refusal = caller.exchange(&wrong).await;
            assert!(matches!(refusal.status, 401 | 403), "{wrong:?} {refusal:?}");
            assert_eq!(
                caller.exchange(&right).await,
                refusal,
                "{source:?} {right:?}"
            );
        }
        let message = signer.signed(name, now(), ["198.51.100.7", "", ""]);
        assert_eq!(
            caller.send(&message).await,
            said(401, "badauth"),
            "{source:?}"
        );
    }
    assert_eq!(home.stored().await, "- - - -");
    let untrusted = Caller::new(endpoint)
        .from("127.0.0.66")
        .source("192.31.196.41");
    assert_eq!(untrusted.send(&header(key)).await, said(401, "badauth"));

    for (source, address) in [
        ("192.31.196.40", "192.31.196.40"),
        ("::ffff:192.31.196.47", "192.31.196.47"),
        ("192.31.196.39, 192.31.196.46", "192.31.196.46"),
        ("2001:4:112:8::7", "2001:4:112:8::7"),
    ] {
        let answer = Caller::new(endpoint)
            .source(source)
            .send(&header(key))
            .await;
        assert_eq!(answer, ok(&format!("good {address}")), "{source}");
    }
    let message = signer.signed(name, now(), ["198.51.100.7", "", ""]);
    let answer = Caller::new(endpoint)
        .source("192.31.196.41")
        .send(&message)
        .await;
    assert_eq!(answer, ok("good 198.51.100.7"));
}

#[tokio::test]
async fn a_host_says_which_addresses_are_taken_and_from_where() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    const HERE: &str = "192.31.196.57";
    /// A request's query, the answer, and what is stored then.
    type Row = (&'static str, u16, &'static str, &'static str);
    let check = async |address: serde_json::Value, label: &str, source: &str, rows: &[Row]| {
        let home = Home::new((stack, endpoint), &zone, label, json!({"address": address})).await;
        let caller = Caller::new(endpoint).source(source);
        for (query, status, body, stored) in rows {
            let request = Request::get(format!("/nic/update?{query}")).basic("", &home.token);
            let answer = caller.send(&request).await;
            assert_eq!(answer, said(*status, body), "{label}: {query}");
            assert_eq!(
                home.stored().await,
                format!("{stored} -"),
                "{label}: {query}"
            );
        }
    };
    tokio::join!(
        check(
            json!({"from": "Any"}),
            "any",
            HERE,
            &[
                (
                    "myip=198.51.100.7",
                    200,
                    "good 198.51.100.7",
                    "198.51.100.7 - -"
                ),
                ("", 200, "good 192.31.196.57", "192.31.196.57 - -"),
                (
                    "myipv6=2001:db8::7",
                    200,
                    "good 2001:db8::7",
                    "192.31.196.57 2001:db8::7 -"
                ),
            ]
        ),
        check(
            json!({"from": "Request"}),
            "request",
            HERE,
            &[
                ("", 400, "911 badip", "- - -"),
                ("myip=%3Cipaddr%3E", 400, "911 badip", "- - -"),
                (
                    "myip=198.51.100.7",
                    200,
                    "good 198.51.100.7",
                    "198.51.100.7 - -"
                ),
            ]
        ),
        check(
            json!({"from": "Connection"}),
            "connection",
            HERE,
            &[
                (
                    "myip=198.51.100.7,2001:db8::7",
                    200,
                    "good 192.31.196.57",
                    "192.31.196.57 - -"
                ),
                (
                    "myip=198.51.100.7",
                    200,
                    "nochg 192.31.196.57",
                    "192.31.196.57 - -"
                ),
                // No connection tells the network behind it.
                (
                    "ip6lanprefix=2001:db8:1:2::/64",
                    200,
                    "good 192.31.196.57",
                    "192.31.196.57 - 2001:db8:1:2::/64"
                ),
            ]
        ),
        check(
            json!({"from": "Connection"}),
            "hidden",
            "unknown",
            &[("myip=198.51.100.7", 503, "911", "- - -"),]
        ),
        check(
            json!({}),
            "public",
            "10.0.0.7",
            &[
                ("", 503, "911", "- - -"),
                ("myip=10.0.0.7", 400, "911 badip", "- - -"),
                ("myip=fd00::7", 400, "911 badip", "- - -"),
                (
                    "myip=100.64.0.7,2001:db8::7",
                    200,
                    "good 2001:db8::7",
                    "- 2001:db8::7 -"
                ),
            ]
        ),
        // What a connection may not come from may still be declared.
        check(
            json!({}),
            "documented",
            "198.51.100.7",
            &[
                ("", 503, "911", "- - -"),
                (
                    "myip=198.51.100.7",
                    200,
                    "good 198.51.100.7",
                    "198.51.100.7 - -"
                ),
            ]
        ),
        check(
            json!({"allowPrivate": true}),
            "private",
            "10.0.0.7",
            &[
                ("", 200, "good 10.0.0.7", "10.0.0.7 - -"),
                (
                    "myip=192.168.0.7,fd00::7",
                    200,
                    "good 192.168.0.7,fd00::7",
                    "192.168.0.7 fd00::7 -"
                ),
                ("myip=224.0.0.1", 400, "911 badip", "192.168.0.7 fd00::7 -"),
                (
                    "myip=255.255.255.255",
                    400,
                    "911 badip",
                    "192.168.0.7 fd00::7 -"
                ),
            ]
        ),
    );
}

#[tokio::test]
async fn nobody_signs_the_address_of_a_connection() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let signer = Signer::new();
    let auth = json!({"publicKeys": [signer.public_key()]});
    let spec = json!({"auth": auth, "address": {"from": "Connection"}});
    let home = Home::new((stack, endpoint), &zone, "home", spec).await;
    let caller = Caller::new(endpoint).source("192.31.196.58");
    // A copy that is sent from elsewhere would publish that address.
    let copies = [
        signer.signed(&home.name, now(), ["198.51.100.7", "", ""]),
        signer.envelope(&home.name, &rfc_3339(now()), "198.51.100.7", ""),
    ];
    for copy in copies {
        assert_eq!(caller.send(&copy).await, said(401, "badauth"));
    }
    assert_eq!(home.stored().await, "- - - -");
}
