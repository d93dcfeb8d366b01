//! Every dialect's own words, to the octet, and what is stored of what it says.

use dynhost_crds::host::Observed;
use dynhost_crds::key::{SHA1_SECRET, TOKEN};
use dynhost_e2e::{Operator, Stack, Zone, ZoneOptions, await_condition, random_hex, stack::LIMIT};
use futures::future::join_all;
use serde_json::json;

use super::caller::{Caller, Request, USER_AGENT};
use super::replica;
use super::signing::{SHA1_USER, Signer, now, rfc_3339, sha1_script};
use super::stored::{Home, supply};

/// What clients declare.
const DECLARED: &str = "198.51.100.7";

/// Where those come from that declare nothing: a globally reachable address (of AS112, RFC 7535).
const SOURCE: &str = "192.31.196.7";

/// What a client knows when it sends a request.
struct Call<'a> {
    name: &'a str,
    token: &'a str,
    sha1_secret: &'a str,
    signer: &'a Signer,
    /// Seconds since 1970.
    at: i64,
}

impl Call<'_> {
    fn label(&self) -> &str {
        self.name.split('.').next().unwrap()
    }
}

struct Dialect {
    label: &'static str,
    protocol: &'static str,
    request: fn(&Call<'_>) -> Request,
    /// The address that it reports.
    address: &'static str,
    good: &'static str,
    same: &'static str,
    wrong_key: (u16, &'static str),
    /// `None`: it names no host.
    unknown_name: Option<(u16, &'static str)>,
    suspended: (u16, &'static str),
}

/// As dyndns2 answers, with the declared address.
const DYNDNS2: Dialect = Dialect {
    label: "dyndns2",
    protocol: "dyndns2",
    request: |call| {
        let target = format!("/nic/update?hostname={}&myip={DECLARED}", call.name);
        Request::get(target).basic("router", call.token)
    },
    address: DECLARED,
    good: "good 198.51.100.7",
    same: "nochg 198.51.100.7",
    wrong_key: (401, "badauth"),
    unknown_name: Some((404, "nohost")),
    suspended: (403, "abuse"),
};

const DUCKDNS: Dialect = Dialect {
    label: "duckdns",
    protocol: "duckdns",
    request: |call| {
        let (label, token) = (call.label(), call.token);
        Request::get(format!(
            "/update?domains={label}&token={token}&ip={DECLARED}"
        ))
    },
    good: "OK",
    same: "OK",
    wrong_key: (401, "KO"),
    unknown_name: Some((404, "KO")),
    suspended: (403, "KO"),
    ..DYNDNS2
};

const DIALECTS: [Dialect; 12] = [
    DYNDNS2,
    Dialect {
        label: "he",
        request: |call| {
            let form = format!(
                "hostname={}&password={}&myip={DECLARED}",
                call.name, call.token
            );
            Request::form("/nic/update", form)
        },
        ..DYNDNS2
    },
    Dialect {
        label: "desec",
        request: |call| {
            let target = format!("/update?host_id={}&myipv4={DECLARED}", call.name);
            Request::get(target).header(&format!("Authorization: Token {}", call.token))
        },
        ..DYNDNS2
    },
    DUCKDNS,
    Dialect {
        label: "duckdns-path",
        request: |call| {
            Request::get(format!(
                "/update/{}/{}/{DECLARED}",
                call.label(),
                call.token
            ))
        },
        ..DUCKDNS
    },
    Dialect {
        label: "duckdns-verbose",
        request: |call| {
            let (name, token) = (call.name, call.token);
            let query = format!("domains={name}&token={token}&ip={DECLARED}&verbose=true");
            Request::get(format!("/update?{query}"))
        },
        good: "OK\n198.51.100.7\n\nUPDATED",
        same: "OK\n198.51.100.7\n\nNOCHANGE",
        ..DUCKDNS
    },
    Dialect {
        label: "dynv6",
        protocol: "dynv6",
        request: |call| {
            let (name, token) = (call.name, call.token);
            Request::get(format!(
                "/api/update?hostname={name}&token={token}&ipv4={DECLARED}"
            ))
        },
        good: "addresses updated",
        same: "addresses unchanged",
        wrong_key: (401, "invalid authentication token"),
        unknown_name: Some((404, "zone not found")),
        suspended: (403, "not allowed"),
        ..DYNDNS2
    },
    Dialect {
        label: "afraid",
        protocol: "afraid",
        request: |call| Request::get(format!("/u/{}/?address={DECLARED}", call.token)),
        good: "Updated {name} to 198.51.100.7",
        same: "No IP change detected for {name} with IP 198.51.100.7, skipping update",
        wrong_key: (401, "ERROR: Invalid update URL"),
        unknown_name: None,
        suspended: (403, "ERROR: Not allowed"),
        ..DYNDNS2
    },
    Dialect {
        label: "sftdyn",
        protocol: "sftdyn",
        request: |call| Request::get(format!("/{}", call.token)),
        address: SOURCE,
        good: "OK",
        same: "UPTODATE",
        wrong_key: (403, "BADKEY"),
        unknown_name: None,
        suspended: (500, "FAIL"),
    },
    Dialect {
        label: "sha1-script",
        protocol: "sha1-script",
        request: |call| sha1_script(SHA1_USER, call.name, call.at, call.sha1_secret),
        address: SOURCE,
        good: "good 192.31.196.7",
        same: "nochg 192.31.196.7",
        unknown_name: Some((401, "badauth")),
        ..DYNDNS2
    },
    Dialect {
        label: "envelope",
        protocol: "envelope",
        request: |call| {
            let time = rfc_3339(call.at);
            call.signer.envelope(call.name, &time, DECLARED, "")
        },
        unknown_name: Some((401, "badauth")),
        ..DYNDNS2
    },
    Dialect {
        label: "signed",
        protocol: "signed",
        request: |call| call.signer.signed(call.name, call.at, [DECLARED, "", ""]),
        unknown_name: Some((401, "badauth")),
        ..DYNDNS2
    },
];

#[tokio::test]
async fn every_dialect_is_answered_in_its_own_words() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let checks = DIALECTS
        .iter()
        .map(|dialect| check(stack, endpoint, &zone, dialect));
    join_all(checks).await;
}

async fn check(stack: &Stack, endpoint: &Operator, zone: &Zone, dialect: &Dialect) {
    let label = dialect.label;
    let (signer, sha1_secret) = (Signer::new(), random_hex(16).unwrap());
    let data = [
        (TOKEN, &*random_hex(16).unwrap()),
        (SHA1_SECRET, &*sha1_secret),
    ];
    supply(stack, zone, &format!("{label}-update-key"), &data).await;
    let auth = json!({"publicKeys": [signer.public_key()], "sha1Script": {"user": SHA1_USER}});
    let home = Home::new((stack, endpoint), zone, label, json!({"auth": auth})).await;
    let right = |at| Call {
        name: &home.name,
        token: &home.token,
        sha1_secret: &sha1_secret,
        signer: &signer,
        at,
    };
    let caller = Caller::new(endpoint).source(SOURCE);
    let send = async |what: &str, call: Call<'_>, status: u16, body: &str| {
        let answer = caller.send(&(dialect.request)(&call)).await;
        let body = body.replace("{name}", &home.name);
        assert_eq!(answer, (status, body), "{label}: {what}");
    };

    let at = now() - 8;
    send("an address", right(at), 200, dialect.good).await;
    let first = home.observed().await;
    let ipv4 = first.ipv4.clone().unwrap();
    let found = (
        ipv4.address.unwrap().to_string(),
        &*ipv4.protocol,
        ipv4.client.as_deref(),
    );
    let expected = (
        dialect.address.to_owned(),
        dialect.protocol,
        Some(USER_AGENT),
    );
    assert_eq!(found, expected, "{label}");
    let ipv4_alone = Observed {
        ipv4: first.ipv4.clone(),
        ..Observed::default()
    };
    assert_eq!(
        Observed {
            signed_at: None,
            ..first
        },
        ipv4_alone,
        "{label}"
    );
    home.await_dns(&[dialect.address], &[]).await;

    send("the same again", right(at + 1), 200, dialect.same).await;
    let second = home.observed().await;
    assert_eq!(second.ipv4, ipv4_alone.ipv4, "{label}");

    let (status, body) = dialect.wrong_key;
    let (other, secret) = (Signer::new(), random_hex(16).unwrap());
    let wrong = Call {
        token: &secret,
        sha1_secret: &secret,
        signer: &other,
        ..right(at + 2)
    };
    send("a wrong key", wrong, status, body).await;
    if let Some((status, body)) = dialect.unknown_name {
        let name = &format!("nowhere.{}", zone.apex);
        send(
            "an unknown name",
            Call {
                name,
                ..right(at + 2)
            },
            status,
            body,
        )
        .await;
    }
    home.merge_spec(json!({"suspend": true})).await;
    let abuse = (403, "abuse".to_owned());
    await_condition(
        "the endpoint knows that it is suspended",
        LIMIT,
        async || {
            let answer = caller.update(&home.name, &home.token, "224.0.0.1").await;
            Ok((answer == abuse).then_some(()))
        },
    )
    .await
    .unwrap();
    let (status, body) = dialect.suspended;
    send("suspended", right(at + 2), status, body).await;
    assert_eq!(home.observed().await, second, "{label}");
}

#[tokio::test]
async fn an_answer_is_http_that_the_oldest_clients_read() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let home = Home::new((stack, endpoint), &zone, "home", json!({})).await;
    let caller = Caller::new(endpoint);
    let (name, token) = (&home.name, &home.token);
    let target = format!("/nic/update?hostname={name}&myip={DECLARED}");
    let check = async |version: &str, request: &Request, status: &str, rest: &str| {
        let asked = match version {
            "HTTP/1.1" => "Connection: close\r\n",
            _ => "",
        };
        let answer = caller.read_all(request, version, asked).await;
        let lines = answer.split_inclusive("\r\n");
        let is_new = |line: &&str| line.starts_with("date: ") || line.starts_with("x-request-id: ");
        let repeatable: String = lines.filter(|line| !is_new(line)).collect();
        let expected = format!(
            "{version} {status}\r\ncontent-type: text/plain; charset=utf-8\r\n\
             cache-control: no-store\r\n{rest}"
        );
        assert_eq!(repeatable, expected, "{version} {request:?}");
    };
    let with_key = Request::get(&target).basic("", token);
    let good = "connection: close\r\ncontent-length: 17\r\n\r\ngood 198.51.100.7";
    check("HTTP/1.0", &with_key, "200 OK", good).await;
    let same = "connection: close\r\ncontent-length: 18\r\n\r\nnochg 198.51.100.7";
    check("HTTP/1.1", &with_key, "200 OK", same).await;
    check("HTTP/1.0", &with_key, "200 OK", same).await;
    let challenge = "www-authenticate: Basic realm=\"dynhost\"\r\nconnection: close\r\n\
                     content-length: 7\r\n\r\nbadauth";
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let without_key = Request::get(&target);
        check(version, &without_key, "401 Unauthorized", challenge).await;
    }
}

#[tokio::test]
async fn head_changes_nothing_and_confirms_no_key() {
    let stack = Stack::shared().await.unwrap();
    let endpoint = replica::behind_proxies(stack).await;
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let secret = random_hex(16).unwrap();
    let token = random_hex(16).unwrap();
    let data = [(TOKEN, &*token), (SHA1_SECRET, &*secret)];
    supply(stack, &zone, "home-update-key", &data).await;
    let spec = json!({"auth": {"sha1Script": {"user": SHA1_USER}}});
    let home = Home::new((stack, endpoint), &zone, "home", spec).await;
    let caller = Caller::new(endpoint).source(SOURCE);
    let name = &home.name;
    assert_eq!(
        caller.update(name, &token, DECLARED).await,
        (200, format!("good {DECLARED}"))
    );
    let before = home.observed().await;
    let wrong = random_hex(16).unwrap();
    let check = async |target: String, status: u16| {
        let request = Request {
            method: "HEAD",
            ..Request::get(&target)
        };
        let answer = caller
            .read_all(&request, "HTTP/1.1", "Connection: close\r\n")
            .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "{target}: {answer}");
    };
    for key in [&token, &wrong] {
        check(
            format!("/nic/update?hostname={name}&myip=192.0.2.9&token={key}"),
            200,
        )
        .await;
        check(
            format!("/update?domains=home&token={key}&ip=192.0.2.9"),
            200,
        )
        .await;
        check(format!("/update/home/{key}/192.0.2.9"), 200).await;
        check(format!("/update?domains=home&token={key}&clear=true"), 200).await;
        check(
            format!("/api/update?hostname={name}&token={key}&ipv4=192.0.2.9"),
            200,
        )
        .await;
        check(format!("/u/{key}/?address=192.0.2.9"), 200).await;
        check(format!("/{key}"), 405).await;
    }
    check(format!("/nic/update?hostname={name}&myip=192.0.2.9"), 401).await;
    let request = sha1_script(SHA1_USER, name, now(), &secret);
    check(request.target.clone(), 200).await;
    assert_eq!(home.observed().await, before);
    // Nor is the second of a signed request used up.
    assert_eq!(caller.send(&request).await, (200, format!("good {SOURCE}")));
}
