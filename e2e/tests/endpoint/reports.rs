//! What clients report beside an address: none any more, a prefix, nothing new, other hosts.

use dynhost_crds::key::TOKEN;
use dynhost_e2e::{Stack, Zone, ZoneOptions};
use futures::future::join_all;
use serde_json::{Value, json};

use super::caller::{Caller, Request};
use super::replica;
use super::stored::{Home, supply};

const BOTH: &str = "198.51.100.7,2001:db8::7";

/// A globally reachable address (of AS112, RFC 7535).
const SOURCE: &str = "192.31.196.7";

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

/// A way to withdraw all addresses.
struct Withdrawal {
    label: &'static str,
    /// For a host's name and a token.
    request: fn(&str, &str) -> Request,
    answer: &'static str,
    /// The answer to the same request again.
    again: &'static str,
    /// Where the host does not allow it.
    refusal: &'static str,
}

const WITHDRAWALS: [Withdrawal; 4] = [
    Withdrawal {
        label: "duckdns",
        request: |name, token| {
            let query = format!("domains={name}&token={token}&clear=true");
            Request::get(format!("/update?{query}"))
        },
        answer: "OK",
        again: "OK",
        refusal: "KO",
    },
    Withdrawal {
        label: "duckdns-verbose",
        request: |name, token| {
            let query = format!("domains={name}&token={token}&verbose=true&clear=true");
            Request::get(format!("/update?{query}"))
        },
        answer: "OK\n\n\nUPDATED",
        again: "OK\n\n\nNOCHANGE",
        refusal: "KO",
    },
    Withdrawal {
        label: "offline",
        request: |name, token| {
            // What is declared beside it is what the client always sends.
            let target = format!("/nic/update?hostname={name}&myip=192.0.2.9&offline=YES");
            Request::get(target).basic("router", token)
        },
        answer: "good",
        again: "nochg",
        refusal: "!donator",
    },
    Withdrawal {
        label: "delete",
        request: |name, token| {
            Request::get(format!("/nic/delete?hostname={name}")).basic("router", token)
        },
        answer: "good",
        again: "nochg",
        refusal: "!donator",
    },
];

#[tokio::test]
async fn clients_withdraw_addresses_where_the_host_allows_it() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let caller = Caller::new(endpoint);
    let allowed = || json!({"auth": {"allowClear": true}});
    let check = async |withdrawal: &Withdrawal| {
        let label = withdrawal.label;
        let home = Home::new((stack, endpoint), &zone, label, allowed()).await;
        let (name, token) = (&home.name, &home.token);
        let request = (withdrawal.request)(name, token);
        caller.update(name, token, BOTH).await;
        home.await_dns(&["198.51.100.7"], &["2001:db8::7"]).await;
        for expected in [withdrawal.answer, withdrawal.again] {
            assert_eq!(caller.send(&request).await, ok(expected), "{label}");
            assert_eq!(home.stored().await, "- - - -", "{label}");
        }
        home.await_dns(&[], &[]).await;
        let answer = caller.update(name, token, BOTH).await;
        assert_eq!(answer, ok(&format!("good {BOTH}")), "{label}");
        home.await_dns(&["198.51.100.7"], &["2001:db8::7"]).await;

        let label = format!("kept-{label}");
        let home = Home::new((stack, endpoint), &zone, &label, json!({})).await;
        let (name, token) = (&home.name, &home.token);
        caller.update(name, token, BOTH).await;
        let before = home.observed().await;
        let refused = (403, withdrawal.refusal.to_owned());
        let request = (withdrawal.request)(name, token);
        assert_eq!(caller.send(&request).await, refused, "{label}");
        assert_eq!(home.observed().await, before, "{label}");
        home.await_dns(&["198.51.100.7"], &["2001:db8::7"]).await;
    };
    join_all(WITHDRAWALS.iter().map(check)).await;

    // The family that is named, and no other.
    let home = Home::new((stack, endpoint), &zone, "one-family", allowed()).await;
    let (name, token) = (&home.name, &home.token);
    caller.update(name, token, BOTH).await;
    let target = format!("/nic/delete?hostname={name}&myip=198.51.100.7");
    let answer = caller.send(&Request::get(target).basic("", token)).await;
    assert_eq!(answer, ok("good"));
    assert_eq!(home.stored().await, "- 2001:db8::7 - -");
    home.await_dns(&[], &["2001:db8::7"]).await;
}

/// Two hosts of one update key, which a user supplied.
async fn pair<'a>(stack: &'a Stack, zone: &Zone, label: &str, token: &str) -> [Home<'a>; 2] {
    let endpoint = replica::behind_proxies(stack).await;
    let secret = format!("{label}-key");
    supply(stack, zone, &secret, &[(TOKEN, token)]).await;
    let spec: Value = json!({"auth": {"secretName": secret}});
    let labels = [format!("{label}-1"), format!("{label}-2")];
    let host = |n: usize| Home::new((stack, endpoint), zone, &labels[n], spec.clone());
    let (one, other) = tokio::join!(host(0), host(1));
    [one, other]
}

#[tokio::test]
async fn an_sftdyn_key_updates_every_host_that_holds_it() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let check = async |label: &str, key: &str| {
        let hosts = pair(stack, &zone, label, key).await;
        let from = |source| Caller::new(endpoint).source(source);
        let is_answered = async |caller: &Caller, target: &str, status: u16, body: &str| {
            let answer = caller.send(&Request::get(target)).await;
            assert_eq!(answer, (status, body.to_owned()), "{target}");
        };
        let are_stored = async |ipv4: &str, ipv6: &str| {
            for host in &hosts {
                assert_eq!(host.stored().await, format!("{ipv4} {ipv6} - -"), "{key}");
            }
        };
        let ipv4 = from("192.31.196.7");
        let target = format!("/{key}");
        is_answered(&ipv4, &target, 200, "OK").await;
        are_stored("192.31.196.7", "-").await;
        is_answered(&ipv4, &target, 200, "UPTODATE").await;
        is_answered(&ipv4, &format!("//{key}"), 200, "UPTODATE").await;
        is_answered(&from("192.31.196.8"), &target, 200, "OK").await;
        is_answered(&from("2001:4:112::7"), &target, 200, "OK").await;
        are_stored("192.31.196.8", "2001:4:112::7").await;
        // The key to the octet: nothing more, nothing less, nothing decoded.
        for wrong in [
            format!("/{key}0"),
            format!("/{}", &key[1..]),
            format!("/%{:x}{}", key.as_bytes()[0], &key[1..]),
        ] {
            is_answered(&ipv4, &wrong, 403, "BADKEY").await;
        }
        // Nobody says who calls.
        is_answered(&Caller::new(endpoint), &target, 500, "FAIL").await;
        are_stored("192.31.196.8", "2001:4:112::7").await;
        for host in &hosts {
            host.await_dns(&["192.31.196.8"], &["2001:4:112::7"]).await;
        }
    };
    tokio::join!(
        check("plain", "4bea92410b3146d0cfe"),
        check("slash", "their/secret/4bea9241/"),
        check("query", "their?host=shed.example.org,key=4bea9241&x=%2F"),
        check("only-query", "?key=4bea92410b3146d0cfe"),
    );
    let own = Caller::new(endpoint).source(SOURCE);
    assert_eq!(own.send(&Request::get("/")).await, ok(SOURCE));
}

#[tokio::test]
async fn a_prefix_is_stored_beside_the_address() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let home = Home::new((stack, endpoint), &zone, "home", json!({})).await;
    let name = &home.name;
    // What is not declared is not taken from the connection either.
    let caller = Caller::new(endpoint).source(SOURCE);
    let check = async |query: &str, answer: &str, stored: &str| {
        let request = Request::get(format!("/nic/update?hostname={name}&{query}"));
        let found = caller.send(&request.basic("router", &home.token)).await;
        assert_eq!(found, ok(answer), "{query}");
        assert_eq!(home.stored().await, format!("{stored} -"), "{query}");
    };
    const NET: &str = "2001:db8:1:2::/64";
    check(
        &format!("ip6lanprefix={NET}"),
        &format!("good {NET}"),
        &format!("- - {NET}"),
    )
    .await;
    check(
        &format!("ip6lanprefix={NET}"),
        &format!("nochg {NET}"),
        &format!("- - {NET}"),
    )
    .await;
    let observed = home.observed().await.ipv6_prefix.unwrap();
    assert_eq!(observed.protocol, "dyndns2");
    // FRITZ!Box.
    check(
        &format!("myip=198.51.100.7&myipv6=2001:db8::7&ip6lanprefix={NET}"),
        "good 198.51.100.7,2001:db8::7",
        &format!("198.51.100.7 2001:db8::7 {NET}"),
    )
    .await;
    assert_eq!(home.observed().await.ipv6_prefix.unwrap(), observed);
    home.await_dns(&["198.51.100.7"], &["2001:db8::7"]).await;
    // deSEC's and nsupdate.info's ways, and one that is empty.
    let other = "198.51.100.7 2001:db8::7 2001:db8:1:3::/64";
    check("myipv6=2001:db8:1:3::/64", "good 2001:db8:1:3::/64", other).await;
    check(
        "ip6lanprefix=&myip=198.51.100.7",
        "nochg 198.51.100.7",
        other,
    )
    .await;
    check(
        "myip=198.51.100.8,2001:db8:1:4::/64",
        "good 198.51.100.8",
        "198.51.100.8 2001:db8::7 2001:db8:1:4::/64",
    )
    .await;
    // A prefix that an address is in.
    check(
        "myipv6=2001:db8:1:5::7/64",
        "good 2001:db8:1:5::7/64",
        "198.51.100.8 2001:db8:1:5::7 2001:db8:1:5::/64",
    )
    .await;
    home.await_dns(&["198.51.100.8"], &["2001:db8:1:5::7"])
        .await;
}

#[tokio::test]
async fn what_is_preserved_or_not_substituted_is_left_alone() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let home = Home::new((stack, endpoint), &zone, "home", json!({})).await;
    let name = &home.name;
    let caller = Caller::new(endpoint).source(SOURCE);
    let check = async |query: &str, answer: &str, stored: &str| {
        let request = Request::get(format!("/nic/update?hostname={name}&{query}"));
        let found = caller.send(&request.basic("router", &home.token)).await;
        assert_eq!(found, ok(answer), "{query}");
        assert_eq!(home.stored().await, format!("{stored} - -"), "{query}");
    };
    check(
        "myip=198.51.100.7&myipv6=2001:db8::7",
        &format!("good {BOTH}"),
        "198.51.100.7 2001:db8::7",
    )
    .await;
    check(
        "myip=198.51.100.8&myipv6=preserve",
        "good 198.51.100.8",
        "198.51.100.8 2001:db8::7",
    )
    .await;
    check(
        "myipv4=preserve&myipv6=2001:db8::8",
        "good 2001:db8::8",
        "198.51.100.8 2001:db8::8",
    )
    .await;
    // Nothing is news, and the connection's address is none either.
    let kept = "nochg 198.51.100.8,2001:db8::8";
    check("myip=preserve", kept, "198.51.100.8 2001:db8::8").await;
    check(
        "myipv4=preserve&myipv6=preserve",
        kept,
        "198.51.100.8 2001:db8::8",
    )
    .await;
    check(
        "myip=%3Cipaddr%3E&myipv6=2001:db8::9",
        "good 2001:db8::9",
        "198.51.100.8 2001:db8::9",
    )
    .await;
    // Without any address the connection's counts.
    check(
        "myip=__MYIP__",
        &format!("good {SOURCE}"),
        "192.31.196.7 2001:db8::9",
    )
    .await;
}

#[tokio::test]
async fn one_request_reports_other_addresses_for_single_hosts() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let token = "TheirUpdateKeyOfBoth";
    let [one, other] = pair(stack, &zone, "desec", token).await;
    let caller = Caller::new(endpoint).source(SOURCE);
    let (first, second) = (&one.name, &other.name);
    let check = async |query: &str, answer: &str, stored: [&str; 2]| {
        let request = Request::get(format!("/nic/update?{query}"));
        let found = caller.send(&request.basic("", token)).await;
        assert_eq!(found, ok(answer), "{query}");
        assert_eq!(one.stored().await, format!("{} - -", stored[0]), "{query}");
        assert_eq!(
            other.stored().await,
            format!("{} - -", stored[1]),
            "{query}"
        );
    };
    check(
        &format!("hostname={first}&myipv4=198.51.100.7&myipv4:{second}=198.51.100.8"),
        "good 198.51.100.7\ngood 198.51.100.8",
        ["198.51.100.7 -", "198.51.100.8 -"],
    )
    .await;
    check(
        &format!("myipv6:{second}=2001:db8::8&myipv6:{first}=2001:db8::7"),
        "good 2001:db8::8\ngood 2001:db8::7",
        ["198.51.100.7 2001:db8::7", "198.51.100.8 2001:db8::8"],
    )
    .await;
    one.await_dns(&["198.51.100.7"], &["2001:db8::7"]).await;
    other.await_dns(&["198.51.100.8"], &["2001:db8::8"]).await;
}
