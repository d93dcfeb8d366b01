//! Requests that carry secrets: in every dialect, at every place, well-formed or not.

use std::fmt::Write as _;

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use dynhost::name::Fqdn;
use dynhost::update::protocol::signed::{Update, render_body, render_text};
use dynhost_e2e::random_base64;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The account of the script of 2012.
pub(crate) const SHA1_USER: &str = "alice";

const CLOSE: &str = "Host: x\r\nConnection: close\r\n";

/// A request that names `{host}` and carries `{key}`: `{basic}` is base64 of it behind `router:`,
/// `{escaped}` is percent-encoded, `{label}` the name's first label.
fn filled(template: &str, host: &str, key: &str) -> String {
    let label = host.split('.').next().unwrap();
    let escaped: String = key.bytes().fold(String::new(), |mut text, octet| {
        match octet.is_ascii_alphanumeric() {
            true => text.push(char::from(octet)),
            false => write!(text, "%{octet:02X}").unwrap(),
        }
        text
    });
    template
        .replace("{host}", host)
        .replace("{label}", label)
        .replace("{basic}", &BASE64_STANDARD.encode(format!("router:{key}")))
        .replace("{escaped}", &escaped)
        .replace("{key}", key)
}

/// A request without a body; `headers` end in line ends.
pub(crate) fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{CLOSE}{headers}\r\n")
}

pub(crate) fn post(target: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\n{CLOSE}Content-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

const FORM: &str = "application/x-www-form-urlencoded";

/// One request of each unsigned dialect and place that lets a key in, for this host.
pub(crate) fn with_key(host: &str, key: &str, address: &str) -> Vec<String> {
    const BASIC: &str = "Authorization: Basic {basic}\r\n";
    const AGENT: &str = "User-Agent: my router {key}\r\n";
    let mut requests = Vec::new();
    let named = format!("/nic/update?hostname={{host}}&myip={address}");
    for path in ["/nic/update", "/v2/update", "/v3/update", "/update"] {
        let target = format!("{path}?hostname={{host}}&myip={address}");
        requests.push(get(&target, &format!("{BASIC}{AGENT}")));
    }
    for scheme in ["Bearer", "Token"] {
        requests.push(get(
            &named,
            &format!("Authorization: {scheme} {{key}}\r\n{AGENT}"),
        ));
    }
    for name in ["password", "pass", "pwd", "token", "key", "pw"] {
        requests.push(get(&format!("{named}&{name}={{escaped}}"), AGENT));
        let form = format!("hostname={{host}}&myip={address}&{name}={{escaped}}");
        requests.push(post("/nic/update", FORM, &filled(&form, host, key)));
    }
    for target in [
        format!("/update?domains={{label}}&token={{escaped}}&ip={address}"),
        format!("/update?domains={{host}}&token={{escaped}}&ip={address}&verbose=true"),
        format!("/update/{{label}}/{{escaped}}/{address}"),
        format!("/api/update?hostname={{host}}&token={{escaped}}&ipv4={address}"),
        format!("/u/{{escaped}}/?hostname={{host}}&address={address}"),
        "/nic/delete?hostname={host}&password={escaped}&myip=198.51.100.1".to_owned(),
    ] {
        requests.push(get(&target, AGENT));
    }
    requests
        .into_iter()
        .map(|request| filled(&request, host, key))
        .collect()
}

/// The key of a host as an sftdyn client's URL, and the page that explains an address.
pub(crate) fn without_name(key: &str) -> Vec<String> {
    let requests = [
        get("/{key}", "User-Agent: sftdyn {key}\r\n"),
        get("///{key}", ""),
        get("/debug/whoami?token={escaped}", ""),
        get(
            "/debug/whoami",
            "Authorization: Basic {basic}\r\nUser-Agent: {key}\r\n",
        ),
        get(
            "/nic/update?myip=198.51.100.9",
            "Authorization: Token {key}\r\n",
        ),
    ];
    requests.map(|request| filled(&request, "", key)).to_vec()
}

/// What lets nobody in, or is no update at all: the key in wrong places, and no HTTP.
pub(crate) fn misplaced(host: &str, key: &str) -> Vec<String> {
    let basic = "Authorization: Basic {basic}\r\n";
    let mut requests: Vec<String> = [
        ("/nic/update?hostname={escaped}", basic),
        ("/nic/update?hostname={escaped}.example.org", basic),
        ("/nic/update?hostname={host}&myip={escaped}", basic),
        ("/nic/update?hostname={host}&myip=10.0.0.1", basic),
        ("/nic/update?hostname={host}&ip6lanprefix={escaped}", basic),
        ("/nic/update?hostname={host}&%ff={escaped}", basic),
        ("/nic/update?{escaped}", basic),
        ("/nic/update?{escaped}=1&{escaped}:{host}={escaped}", basic),
        ("/nic/update/{escaped}", basic),
        ("/update?domains={escaped}&token={escaped}", ""),
        ("/update?domains={label}&token={escaped}&txt={escaped}", ""),
        ("/update/{escaped}", ""),
        ("/update/{label}/{escaped}/{escaped}", ""),
        (
            "/api/update?hostname={escaped}&token={escaped}&ipv4={escaped}",
            "",
        ),
        ("/u/{escaped}/{escaped}?address={escaped}", ""),
        ("/u/%ff{escaped}", ""),
        ("/{escaped}/?{escaped}", ""),
        ("/?{escaped}", ""),
        ("/ip?{escaped}", ""),
        ("/checkip?token={escaped}", basic),
        (
            "/ip.php?user={escaped}&id={escaped}&timeST={escaped}&hash={escaped}",
            basic,
        ),
        ("/signed/update?token={escaped}", basic),
        (
            "/nic/update?hostname={host}",
            "Authorization: Basic {key}\r\n",
        ),
        ("/nic/update?hostname={host}", "Authorization: {key}\r\n"),
        (
            "/nic/update?hostname={host}",
            "Authorization: Digest username=\"{key}\"\r\n",
        ),
        (
            "/nic/update?hostname={host}",
            "X-Token: {key}\r\nCookie: token={key}\r\nReferer: {key}\r\n",
        ),
        (
            "/nic/update?hostname={host}",
            "X-Forwarded-For: {key}\r\nForwarded: for={key}\r\n",
        ),
        (
            "/debug/whoami",
            "Authorization: Basic {key}\r\nX-Forwarded-For: {key}\r\n",
        ),
        ("/{key} {key}", basic),
        ("/nic/update", "{key}\r\n"),
        ("/nic/update", "{key}: {key}\r\n"),
        ("/nic/update", "Content-Length: {key}\r\n"),
        ("/nic/update", "Transfer-Encoding: {key}\r\n"),
    ]
    .map(|(target, headers)| get(target, headers))
    .to_vec();
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "{key}", "PRI"] {
        for target in [
            "/nic/update?token={escaped}",
            "/{escaped}",
            "/ip",
            "/update/{label}/{escaped}",
        ] {
            requests.push(get(target, basic).replacen("GET", method, 1));
        }
    }
    let body = "hostname={host}&token={escaped}&myip={escaped}";
    let long = format!("{body}&x={}", "{key}".repeat(700));
    for (target, content_type, body) in [
        ("/nic/update", FORM, body),
        ("/nic/update", "text/plain", body),
        ("/nic/update", FORM, &long),
        ("/nic/update?token={escaped}", "{key}", body),
        (
            "/update",
            "application/json",
            r#"{"public_ip":{"host":"{key}"},"signature":"{key}"}"#,
        ),
        ("/update", "application/json", "{key}"),
        ("/signed/update", "text/plain", "{key}"),
        (
            "/signed/update",
            "text/plain",
            "28:dynhost.dev/signed-update/v1,32:{key},",
        ),
    ] {
        requests.push(post(target, content_type, &filled(body, host, key)));
    }
    requests.push(get(
        "/nic/update",
        &format!("X-Long: {}\r\n", "{key}".repeat(1400)),
    ));
    requests.push("PROXY TCP4 {key} 127.0.0.1 1 2\r\n\r\n".to_owned());
    requests.push("{key}\r\n\r\n".to_owned());
    requests.push("GET {key} HTTP/1.1\r\n\r\n".to_owned());
    requests.push("GET /{key}\r\n\r\n".to_owned());
    requests.push("GET /{key} HTTP/7.0\r\n\r\n".to_owned());
    requests.push("\u{16}\u{3}\u{1}{key}\r\n\r\n".to_owned());
    requests
        .into_iter()
        .map(|request| filled(&request, host, key))
        .collect()
}

/// A client with an Ed25519 key.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    /// Base64 of its 32 octets (RFC 8032).
    pub(crate) private_key: String,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let private_key = random_base64(32).unwrap();
        let seed = BASE64_STANDARD.decode(&private_key).unwrap();
        Self {
            pair: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap(),
            private_key,
        }
    }

    /// As `auth.publicKeys` lists it.
    pub(crate) fn public_key(&self) -> String {
        BASE64_STANDARD.encode(self.pair.public_key())
    }

    fn signature(&self, text: &[u8]) -> [u8; 64] {
        self.pair.sign(text).as_ref().try_into().unwrap()
    }

    /// Our own form: the request and its signature in base64.
    pub(crate) fn signed(&self, host: &str, at: i64, ipv4: &str) -> (String, String) {
        let text = render_text(&Update {
            name: Fqdn::parse(host).unwrap(),
            at: at.try_into().unwrap(),
            ipv4: ipv4.parse().ok(),
            ipv6: None,
            prefix: None,
        });
        let signature = self.signature(&text);
        let body = String::from_utf8(render_body(&text, &signature)).unwrap();
        let request = post("/signed/update", "application/octet-stream", &body);
        (request, BASE64_STANDARD.encode(signature))
    }

    /// The envelope of soerenschneider/dyndns, likewise.
    pub(crate) fn envelope(&self, host: &str, at: i64, ipv4: &str) -> (String, String) {
        let digest = hexadecimal(&Sha256::digest(format!("{at}{host}{ipv4}")));
        let signature = BASE64_STANDARD.encode(self.signature(digest.as_bytes()));
        let timestamp = Timestamp::from_second(at).unwrap().to_string();
        let public_ip = json!({"host": host, "timestamp": timestamp, "ipv4": ipv4});
        let body = json!({"public_ip": public_ip, "signature": signature}).to_string();
        (post("/update", "application/json", &body), signature)
    }
}

/// The script of 2012: the request and its hash.
pub(crate) fn sha1_script(host: &str, at: i64, secret: &str) -> (String, String) {
    let time = Timestamp::from_second(at).unwrap();
    let time = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let text = format!("{host}\n{time}\n{secret}\n");
    let hash = hexadecimal(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref());
    let time = time.replace(' ', "%20");
    let target = format!("/ip.php?user={SHA1_USER}&id={host}&timeST={time}&hash={hash}");
    (
        get(&target, &format!("User-Agent: script {secret}\r\n")),
        hash,
    )
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
