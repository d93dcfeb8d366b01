//! Where requests come from, behind a real reverse proxy and a real sender of the PROXY protocol.

use std::time::Duration;

use dynhost_e2e::{Stack, ZoneOptions};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::caller::{Caller, Request};
use super::haproxy::{self, Listener, Passing};
use super::replica;
use super::stored::Home;

/// The proxy that connects to the endpoints, which trust it.
const PROXY: &str = "127.0.0.9";

/// A proxy before that one, which [`CHAIN`] trusts too.
const OUTER: &str = "127.0.0.10";

const CHAIN: &str = "127.0.0.9/32,127.0.0.10/32";

/// Where the client is. It is no proxy, though its address is like theirs.
const CLIENT: &str = "127.0.0.77";

/// What a client that cheats claims.
const FORGED: &str = "192.31.196.86";

const LIMIT: Duration = Duration::from_secs(15);

/// A request without an address that claims to come from elsewhere in every way there is.
fn forged(hostname: &str, token: &str) -> Request {
    Request::get(format!("/nic/update?hostname={hostname}"))
        .basic("router", token)
        .header(&format!("X-Forwarded-For: {FORGED}"))
        .header(&format!("Forwarded: for={FORGED}"))
        .header(&format!("X-Real-IP: {FORGED}"))
        .header(&format!("CF-Connecting-IP: {FORGED}"))
        .header(&format!("True-Client-IP: {FORGED}"))
        .header(&format!("X-Client-IP: {FORGED}"))
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

#[tokio::test]
async fn what_trusted_proxies_say_counts_and_what_clients_add_does_not() {
    let stack = Stack::shared().await.unwrap();
    let header = async |name| {
        let arguments = ["--trusted-proxies", CHAIN, "--client-address-header", name];
        replica::start(stack, &arguments).await
    };
    let protocol = ["--trusted-proxies", CHAIN, "--proxy-protocol"];
    let (x_forwarded_for, forwarded, x_real_ip, proxy_protocol) = tokio::join!(
        header("X-Forwarded-For"),
        header("Forwarded"),
        header("X-Real-IP"),
        replica::start(stack, &protocol),
    );
    let to_header = x_forwarded_for.update_address();
    let to_protocol = proxy_protocol.update_address();
    const APPEND: Passing = Passing::Http("option forwardfor");
    let inner = Listener::new(PROXY, APPEND, to_header);
    let inner_v2 = Listener::new(PROXY, Passing::Tcp("send-proxy-v2"), to_protocol);
    let listeners = [
        ("X-Forwarded-For", inner),
        ("two proxies", Listener::new(OUTER, APPEND, inner.address)),
        (
            "Forwarded",
            Listener::new(
                PROXY,
                Passing::Http("http-request add-header Forwarded for=%[src]"),
                forwarded.update_address(),
            ),
        ),
        (
            "X-Real-IP",
            Listener::new(
                PROXY,
                Passing::Http("http-request set-header X-Real-IP %[src]"),
                x_real_ip.update_address(),
            ),
        ),
        (
            "PROXY protocol 1",
            Listener::new(PROXY, Passing::Tcp("send-proxy"), to_protocol),
        ),
        ("PROXY protocol 2", inner_v2),
        (
            "a reverse proxy before the PROXY protocol",
            Listener::new(OUTER, APPEND, inner_v2.address),
        ),
    ];
    let _haproxy = haproxy::start(&listeners.map(|(_, listener)| listener)).await;

    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let spec = json!({"address": {"allowPrivate": true}});
    let home = Home::new((stack, &x_forwarded_for), &zone, "home", spec).await;
    for endpoint in [&forwarded, &x_real_ip] {
        replica::await_known(endpoint, &home.host, &home.token).await;
    }
    replica::await_known(&proxy_protocol, &home.host, &home.token).await;
    let (name, token) = (&home.name, &home.token);
    for (n, (entrance, listener)) in (1..).zip(listeners) {
        // Each time from elsewhere, so that it is news.
        let client = format!("127.0.0.{}", 70 + n);
        let caller = Caller::of(listener.address).from(&client);
        let plain = Request::get(format!("/nic/update?hostname={name}"));
        let answer = caller.send(&plain.basic("router", token)).await;
        assert_eq!(answer, ok(&format!("good {client}")), "{entrance}");
        let answer = caller.send(&forged(name, token)).await;
        assert_eq!(answer, ok(&format!("nochg {client}")), "{entrance}");
        assert_eq!(home.stored().await, format!("{client} - - -"), "{entrance}");
    }
    home.await_dns(&["127.0.0.77"], &[]).await;

    // Why, by each of them.
    let explain = async |listener: Listener, expected: &[&str]| {
        let caller = Caller::of(listener.address).from(CLIENT);
        let request = Request {
            target: "/debug/whoami".to_owned(),
            ..forged(name, token)
        };
        let mut lines = expected.to_vec();
        let effect = format!("{name}: a request without an address would publish {CLIENT}.");
        lines.push("Your address is 127.0.0.77, which is not a public one.");
        lines.push(&effect);
        let answer = caller.send(&request).await;
        assert_eq!(answer, ok(&(lines.join("\n") + "\n")));
    };
    let [xff, two, forwarded, real_ip, v1, v2, before_v2] = listeners.map(|(_, l)| l);
    const FROM_PROXY: &str = "The connection comes from 127.0.0.9, a trusted proxy.";
    let names = |header: &str, hop: &str, judged: &str| format!("{header} names {hop}, {judged}.");
    let client = "which is not a trusted proxy, so it is the client";
    let by = |header: &str| names(header, CLIENT, client);
    let protocol = "Its PROXY protocol header";
    let xff_names = by("x-forwarded-for");
    explain(xff, &[FROM_PROXY, &xff_names]).await;
    let outer = names("x-forwarded-for", OUTER, "a trusted proxy");
    explain(two, &[FROM_PROXY, &outer, &xff_names]).await;
    explain(forwarded, &[FROM_PROXY, &by("forwarded")]).await;
    explain(real_ip, &[FROM_PROXY, &by("x-real-ip")]).await;
    explain(v1, &[FROM_PROXY, &by(protocol)]).await;
    explain(v2, &[FROM_PROXY, &by(protocol)]).await;
    let outer = names(protocol, OUTER, "a trusted proxy");
    explain(before_v2, &[FROM_PROXY, &outer, &xff_names]).await;
}

#[tokio::test]
async fn whoever_is_not_trusted_can_claim_nothing() {
    let stack = Stack::shared().await.unwrap();
    let protocol = ["--trusted-proxies", CHAIN, "--proxy-protocol"];
    let protocol = replica::start(stack, &protocol).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let header = replica::behind_proxies(stack).await;
    let spec = json!({"address": {"allowPrivate": true}});
    let home = Home::new((stack, header), &zone, "home", spec).await;
    replica::await_known(&protocol, &home.host, &home.token).await;
    let (name, token) = (&home.name, &home.token);
    for (endpoint, client) in [
        (&stack.operator, "127.0.0.81"),
        (header, "127.0.0.82"),
        (&protocol, "127.0.0.83"),
    ] {
        let caller = Caller::new(endpoint).from(client);
        let answer = caller.send(&forged(name, token)).await;
        assert_eq!(answer, ok(&format!("good {client}")));
        let public = caller
            .send(&Request::get("/ip").header(&format!("X-Forwarded-For: {FORGED}")))
            .await;
        assert_eq!(public, (503, "no public address\n".to_owned()));
    }
    assert_eq!(home.stored().await, "127.0.0.83 - - -");
    let asking = Request {
        target: "/debug/whoami".to_owned(),
        ..forged(name, token)
    };
    let answer = Caller::new(header).from(CLIENT).send(&asking).await;
    let expected = format!(
        "The connection comes from {CLIENT}, which is not a trusted proxy, so it is the client.\n\
         x-forwarded-for is not read, since only a trusted proxy's would count. It is: {FORGED}\n\
         Your address is {CLIENT}, which is not a public one.\n\
         {name}: a request without an address would publish {CLIENT}.\n"
    );
    assert_eq!(answer, ok(&expected));
    let wrong = Request::get("/debug/whoami").basic("router", "TheUpdateKeyOfNobody");
    let answer = Caller::new(header).from(CLIENT).send(&wrong).await;
    assert_eq!(answer, (401, "badauth".to_owned()));

    // A PROXY protocol header of somebody else is no HTTP; and without the option nobody's is read.
    let announced = |source: &str, address: &str| {
        let target = format!("/nic/update?hostname={name}&token={token}");
        format!(
            "PROXY {source} {address} 4711 8080\r\nGET {target} HTTP/1.1\r\nHost: x\r\n\
             Connection: close\r\n\r\n"
        )
    };
    let pair = format!("{FORGED} 127.0.0.1");
    for (endpoint, client) in [
        (&protocol, CLIENT),
        (header, PROXY),
        (&stack.operator, PROXY),
    ] {
        let answer = raw(
            &Caller::new(endpoint).from(client),
            &announced("TCP4", &pair),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    // The trusted one has to send it.
    let caller = Caller::new(&protocol).from(PROXY);
    let plain =
        format!("GET /nic/update?hostname={name}&token={token} HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(raw(&caller, &plain).await, "");
    // It cannot name its client.
    let answer = raw(&caller, "PROXY UNKNOWN\r\nGET /ip HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    assert_eq!(home.stored().await, "127.0.0.83 - - -");
    // It can.
    let answer = raw(&caller, &announced("TCP6", "2001:4:112::86 2001:4:112::1")).await;
    assert!(answer.ends_with("\r\n\r\ngood 2001:4:112::86"), "{answer}");
    let answer = raw(&caller, &announced("TCP4", &pair)).await;
    assert!(
        answer.ends_with(&format!("\r\n\r\ngood {FORGED}")),
        "{answer}"
    );
    home.await_dns(&[FORGED], &["2001:4:112::86"]).await;
}

/// Sends these octets and reads until the server ends the connection.
async fn raw(caller: &Caller, request: &str) -> String {
    let mut stream = caller.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has ended as well.
    let _ended = timeout(LIMIT, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_walk_goes_from_right_to_left_and_ends_where_nobody_is_named() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let home = Home::new((stack, endpoint), &zone, "home", json!({})).await;
    let (name, token) = (&home.name, &home.token);
    let update = Request::get(format!("/nic/update?hostname={name}")).basic("", token);
    let check = async |lines: &[&str], expected: Option<&str>| {
        let caller = Caller::new(endpoint).from(PROXY);
        let with = |request: Request| {
            let header =
                |request: Request, line: &&str| request.header(&format!("X-Forwarded-For: {line}"));
            lines.iter().fold(request, header)
        };
        let answer = caller.send(&with(update.clone())).await;
        let check = caller.send(&with(Request::get("/ip"))).await;
        let page = caller.exchange(&with(Request::get("/checkip"))).await;
        match expected {
            Some(address) => {
                assert_eq!(answer, ok(&format!("good {address}")), "{lines:?}");
                assert_eq!(check, ok(&format!("{address}\n")), "{lines:?}");
                let says = format!("<body>Current IP Address: {address}</body></html>");
                assert!(page.text().ends_with(&says), "{lines:?} {page:?}");
            }
            None => {
                assert_eq!(answer, (503, "911".to_owned()), "{lines:?}");
                assert_eq!(check, (503, "no public address\n".to_owned()), "{lines:?}");
                assert_eq!(page.status, 503, "{lines:?}");
            }
        }
    };
    check(&["192.31.196.81"], Some("192.31.196.81")).await;
    check(&["192.31.196.1, 192.31.196.82"], Some("192.31.196.82")).await;
    check(&["192.31.196.1", "192.31.196.83"], Some("192.31.196.83")).await;
    check(
        &["192.31.196.84, 127.0.0.1", "127.0.0.9"],
        Some("192.31.196.84"),
    )
    .await;
    check(&["::ffff:192.31.196.85"], Some("192.31.196.85")).await;
    check(&["192.31.196.87:4711"], Some("192.31.196.87")).await;
    check(&["2001:4:112::88"], Some("2001:4:112::88")).await;
    check(&["[2001:4:112::89]:4711"], Some("2001:4:112::89")).await;
    let stored = home.stored().await;
    check(&[], None).await;
    check(&["127.0.0.1, 127.0.0.9"], None).await;
    check(&["192.31.196.1, unknown"], None).await;
    check(&["192.31.196.1, "], None).await;
    check(&["192.31.196.1, <script>"], None).await;
    check(&["192.31.196.1, 10.42.0.1"], None).await;
    check(&["192.31.196.1", "fe80::1%eth0"], None).await;
    assert_eq!(home.stored().await, stored);
}
