//! What a client gets, to the octet.

use super::super::checkip;
use super::*;
use crate::update::protocol::route::Route;

const HOME: &str = "/nic/update?hostname=home.dyn.example.org&myip=198.51.100.7";

#[tokio::test]
async fn answers_are_exact() {
    let fixture = Fixture::new().await;
    fixture.add_host("home", json!({}));
    let basic = BASE64_STANDARD.encode(format!("x:{TOKEN}"));
    let wrong = BASE64_STANDARD.encode("x:wrong-horse-battery");
    let check = async |request: &str, expected: &str| {
        let answer = fixture
            .exchange(request.replace('\n', "\r\n").as_bytes())
            .await;
        assert_eq!(repeatable(&answer), expected, "{request}");
    };
    // HTTP/1.0, as inadyn speaks it: no host with a port, and the connection ends.
    check(
        &format!("GET {HOME} HTTP/1.0\nHost: 127.0.0.1\nAuthorization: Basic {basic}\n\n"),
        "HTTP/1.0 200 OK\n\
         cache-control: no-store\n\
         connection: close\n\
         content-length: 17\n\
         content-type: text/plain; charset=utf-8\n\
         \n\
         good 198.51.100.7",
    )
    .await;
    check(
        &format!(
            "GET {HOME} HTTP/1.1\nHost: x\nConnection: close\nAuthorization: Basic {basic}\n\n"
        ),
        "HTTP/1.1 200 OK\n\
         cache-control: no-store\n\
         connection: close\n\
         content-length: 18\n\
         content-type: text/plain; charset=utf-8\n\
         \n\
         nochg 198.51.100.7",
    )
    .await;
    let unauthorized = "HTTP/1.0 401 Unauthorized\n\
         cache-control: no-store\n\
         connection: close\n\
         content-length: 7\n\
         content-type: text/plain; charset=utf-8\n\
         www-authenticate: Basic realm=\"dynhost\"\n\
         \n\
         badauth";
    check(&format!("GET {HOME} HTTP/1.0\n\n"), unauthorized).await;
    check(
        &format!("GET {HOME} HTTP/1.0\nAuthorization: Basic {wrong}\n\n"),
        unauthorized,
    )
    .await;
    check(
        &format!("GET {HOME} HTTP/1.0\nAuthorization: Basic %\n\n"),
        unauthorized,
    )
    .await;
    check(
        &format!("GET {HOME} HTTP/1.0\nAuthorization: Bearer x\n\n"),
        unauthorized,
    )
    .await;
    check(
        &format!("GET /nic/update?hostname=other.dyn.example.org HTTP/1.0\nAuthorization: Basic {basic}\n\n"),
        "HTTP/1.0 404 Not Found\n\
         cache-control: no-store\n\
         connection: close\n\
         content-length: 6\n\
         content-type: text/plain; charset=utf-8\n\
         \n\
         nohost",
    )
    .await;
    // Nothing declared, and the connection comes from loopback.
    check(
        &format!("GET /nic/update?hostname=home.dyn.example.org HTTP/1.0\nAuthorization: Basic {basic}\n\n"),
        "HTTP/1.0 503 Service Unavailable\n\
         cache-control: no-store\n\
         connection: close\n\
         content-length: 3\n\
         content-type: text/plain; charset=utf-8\n\
         retry-after: 60\n\
         \n\
         911",
    )
    .await;
    check(
        &format!("PUT {HOME} HTTP/1.0\n\n"),
        "HTTP/1.0 405 Method Not Allowed\n\
         allow: GET, HEAD, POST\n\
         cache-control: no-store\n\
         connection: close\n\
         content-length: 19\n\
         content-type: text/plain; charset=utf-8\n\
         \n\
         method not allowed\n",
    )
    .await;
    check(
        "GET /ip HTTP/1.0\n\n",
        "HTTP/1.0 503 Service Unavailable\n\
         cache-control: no-store\n\
         connection: close\n\
         content-length: 18\n\
         content-type: text/plain; charset=utf-8\n\
         retry-after: 60\n\
         \n\
         no public address\n",
    )
    .await;
}

#[tokio::test]
async fn each_request_has_its_status_and_words() {
    let fixture = Fixture::new().await;
    fixture.add_host("home", json!({}));
    fixture.add_host("v6", json!({"spec": {"families": ["IPv6"]}}));
    fixture.add_host("lan", json!({"spec": {"address": {"allowPrivate": true}}}));
    fixture.add_host("off", json!({"spec": {"suspend": true}}));
    fixture.add_host("lost", json!({"spec": {"zoneRef": {"name": "gone"}}}));
    fixture.add_host("out", json!({"spec": {"hostname": "home.example.com"}}));
    fixture.add_host("other", json!({"spec": {"auth": {"secretName": "other"}}}));
    fixture.add_key("other", "other-horse-battery");
    let check = async |query: &str, status: u16, body: &str| {
        let answer = fixture.get(&format!("/nic/update?{query}")).await;
        assert_eq!(answer, (status, body.to_owned()), "{query}");
    };
    let named = |names: &[&str]| {
        let names: Vec<_> = names
            .iter()
            .map(|n| format!("{n}.dyn.example.org"))
            .collect();
        format!("hostname={}", names.join(","))
    };
    let home = named(&["home"]);
    check(
        &format!("{home}&myip=198.51.100.7"),
        200,
        "good 198.51.100.7",
    )
    .await;
    check(
        &format!("{home}&myip=198.51.100.7"),
        200,
        "nochg 198.51.100.7",
    )
    .await;
    check(
        &format!("{home}&myip=2001:DB8::7,198.51.100.7"),
        200,
        "good 198.51.100.7,2001:DB8::7",
    )
    .await;
    check(
        &format!("{home}&myip=198.51.100.7&myipv6=2001:db8:0::7"),
        200,
        "nochg 198.51.100.7,2001:db8:0::7",
    )
    .await;
    check(
        &format!("{home}&myip=%3Cipaddr%3E&myipv6=2001:db8::7"),
        200,
        "nochg 2001:db8::7",
    )
    .await;
    check(&format!("{home}&myip=999.1.1.1"), 400, "911 badip").await;
    check(&format!("{home}&myip=198.51.100.0/24"), 400, "911 badip").await;
    check(&format!("{home}&myip=192.168.1.2"), 400, "911 badip").await;
    check(&format!("{home}&myip=224.0.0.1"), 400, "911 badip").await;
    check(&format!("{home}&myip=%ff"), 400, "911 badparam").await;
    check(
        "hostname=h_me.dyn.example.org&myip=198.51.100.7",
        400,
        "notfqdn",
    )
    .await;
    check("myip=198.51.100.7", 400, "notfqdn").await;
    check(&named(&["other"]), 404, "nohost").await;
    check(&named(&["nowhere"]), 404, "nohost").await;
    check("hostname=home.example.com&myip=198.51.100.7", 404, "nohost").await;
    check(&named(&["lost"]), 503, "911").await;
    check(&named(&["off"]), 403, "abuse").await;
    check(
        &format!("{}&myip=10.0.0.1", named(&["lan"])),
        200,
        "good 10.0.0.1",
    )
    .await;
    check(&named(&["lan"]), 200, "good 127.0.0.1").await;
    check(
        &format!("{}&myip=198.51.100.7", named(&["v6"])),
        200,
        "nochg 198.51.100.7",
    )
    .await;
    let twenty_one: Vec<_> = (0..21).map(|n| format!("h{n}")).collect();
    let twenty_one: Vec<_> = twenty_one.iter().map(String::as_str).collect();
    check(&named(&twenty_one), 400, "numhost").await;
    check(
        &format!(
            "{}&myip=198.51.100.9",
            named(&["off", "home", "other", "home"])
        ),
        200,
        "abuse\ngood 198.51.100.9\nnohost\ngood 198.51.100.9",
    )
    .await;
    check(
        &format!("{}&myip=198.51.100.9", named(&["home", "lost"])),
        503,
        "nochg 198.51.100.9\n911",
    )
    .await;
    check(
        &format!("{}&myip=9.9.9.9", named(&["other", "off"])),
        404,
        "nohost\nabuse",
    )
    .await;
    // Only the host's own name was published, and never the connection's.
    assert_eq!(fixture.stored("v6", "ipv4"), Value::Null);
    assert_eq!(fixture.stored("other", "ipv4"), Value::Null);
}

#[tokio::test]
async fn twenty_hosts_are_updated_at_once() {
    let fixture = Fixture::new().await;
    let names: Vec<_> = (0..20).map(|n| format!("h{n}")).collect();
    for name in &names {
        fixture.add_host(name, json!({}));
    }
    let list: Vec<_> = names
        .iter()
        .map(|n| format!("{n}.dyn.example.org"))
        .collect();
    let target = format!("/v3/update?hostname={}&myip=198.51.100.7", list.join(","));
    let (status, body) = fixture.get(&target).await;
    assert_eq!((status, body), (200, ["good 198.51.100.7"; 20].join("\n")));
    for name in &names {
        assert_eq!(fixture.stored(name, "ipv4")["address"], "198.51.100.7");
    }
}

#[tokio::test]
async fn a_cold_index_refuses_nobody() {
    let fixture = Fixture::with(Freshness::default()).await;
    assert_eq!(fixture.get(HOME).await, (503, "911".to_owned()));
    let anonymous = fixture
        .exchange(format!("GET {HOME} HTTP/1.0\r\n\r\n").as_bytes())
        .await;
    assert_eq!(split(&anonymous), (401, "badauth".to_owned()));
}

#[tokio::test]
async fn a_form_is_posted() {
    let fixture = Fixture::new().await;
    fixture.add_host("home", json!({}));
    let basic = BASE64_STANDARD.encode(format!("x:{TOKEN}"));
    let check = async |content_type: &str, body: &str, status: u16, said: &str| {
        let length = body.len();
        let request = format!(
            "POST /nic/update HTTP/1.0\r\nAuthorization: Basic {basic}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = split(&fixture.exchange(request.as_bytes()).await);
        assert_eq!(answer, (status, said.to_owned()), "{content_type}");
    };
    let form = "application/x-www-form-urlencoded";
    let body = "hostname=home.dyn.example.org&myip=198.51.100.7&password=x";
    check(form, body, 200, "good 198.51.100.7").await;
    let with_charset = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
    check(with_charset, body, 200, "nochg 198.51.100.7").await;
    check("application/json", "{}", 415, "the body is not a form\n").await;
    let large = "x".repeat(17 * 1024);
    check(form, &large, 413, "the body is too large\n").await;
}

#[tokio::test]
async fn a_probe_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.add_host("home", json!({}));
    let basic = BASE64_STANDARD.encode(format!("x:{TOKEN}"));
    let anonymous = fixture
        .exchange(format!("HEAD {HOME} HTTP/1.0\r\n\r\n").as_bytes())
        .await;
    assert!(anonymous.starts_with("HTTP/1.0 401 "), "{anonymous}");
    assert!(anonymous.contains("www-authenticate: Basic"), "{anonymous}");
    let request = format!("HEAD {HOME} HTTP/1.0\r\nAuthorization: Basic {basic}\r\n\r\n");
    let known = fixture.exchange(request.as_bytes()).await;
    assert_eq!(split(&known), (200, String::new()));
    assert_eq!(fixture.api_server.take_patches(), []);
}

#[tokio::test]
async fn what_is_not_http_or_too_large_gets_a_clean_refusal() {
    let fixture = Fixture::new().await;
    let check = async |request: Vec<u8>, status: u16| {
        let answer = fixture.exchange(&request).await;
        assert_eq!(split(&answer).0, status, "{answer}");
    };
    let long = format!(
        "GET /nic/update?{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "x".repeat(100_000)
    );
    check(long.into_bytes(), 431).await;
    let long = format!(
        "GET /nic/update HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    check(long.into_bytes(), 431).await;
    check(
        b"GET /nic/update?hostname=\xff\xfe\x00 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        400,
    )
    .await;
    check(b"\x16\x03\x01\x02\x00\r\n\r\n".to_vec(), 400).await;
    check(
        b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        403,
    )
    .await;
    check(
        b"DELETE /ip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        405,
    )
    .await;
}

#[test]
fn a_public_caller_is_told_its_address() {
    fn check(client: Option<&str>, route: Route, status: u16, text: &str) {
        let client = client.map(|client| client.parse().unwrap());
        assert_eq!(
            checkip::answer(route, client).as_text(),
            (status, text),
            "{client:?}"
        );
    }
    const PAGE: &str = "<html><head><title>Current IP Check</title></head>\
                        <body>Current IP Address: 9.9.9.9</body></html>";
    check(Some("9.9.9.9"), Route::CheckIpPage, 200, PAGE);
    check(Some("9.9.9.9"), Route::BareIp, 200, "9.9.9.9\n");
    check(Some("9.9.9.9"), Route::OwnAddress, 200, "9.9.9.9");
    let page6 = PAGE.replace("9.9.9.9", "2620:fe::fe");
    check(Some("2620:fe::fe"), Route::CheckIpPage, 200, &page6);
    check(Some("2620:fe::fe"), Route::BareIp, 200, "2620:fe::fe\n");
    for route in [Route::CheckIpPage, Route::BareIp, Route::OwnAddress] {
        for peer in ["10.42.0.1", "127.0.0.1", "192.0.2.1", "fe80::1"] {
            check(Some(peer), route, 503, "no public address\n");
        }
        check(None, route, 503, "no public address\n");
    }
}

#[tokio::test]
async fn placeholders_in_angle_brackets_pass_in_every_request_of_a_connection() {
    let fixture = Fixture::new().await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    for end in ["keep-alive", "close"] {
        let request = format!(
            "GET /nic/update?hostname=<domain>&myip=<ipaddr> HTTP/1.1\r\nHost: x\r\n\
             Connection: {end}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}
