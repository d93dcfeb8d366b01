//! No key gets out of the operator, whatever is sent to it in any dialect.

use std::fs;

use dynhost_e2e::{
    Mode, Operator, Stack, StackOptions, Zone, ZoneOptions, await_condition, http, random_hex,
    stack::LIMIT,
};
use futures::future::join_all;
use jiff::Timestamp;
use kube::Api;
use serde_json::json;

use crate::canary_keys::{Keys, NO_LIMITS, create, start_endpoint};
use crate::canary_requests::{get, misplaced, sha1_script, with_key, without_name};
use crate::leak::find_leak;

struct Canary {
    stack: Stack,
    /// With the PROXY protocol, and a log in JSON.
    proxied: Operator,
    zone: Zone,
    keys: Keys,
    /// The previous token, of characters that every encoding has something to do with.
    odd: String,
    wrong: Keys,
    /// All that must not get out.
    sensitive: Vec<String>,
    answers: String,
    statuses: Vec<u16>,
    at: i64,
}

#[tokio::test]
async fn no_dialect_and_no_error_lets_a_key_out() {
    let mut canary = Canary::start().await;
    canary.update_in_every_dialect(false).await;
    canary.send_what_is_wrong(false).await;
    canary.update_in_every_dialect(true).await;
    canary.send_what_is_wrong(true).await;
    canary.be_limited().await;
    canary.update_without_api_server().await;
    canary.name_the_client().await;
    canary.look_everywhere().await;
}

impl Canary {
    async fn start() -> Self {
        let arguments = [&["--log", "trace"], &NO_LIMITS[..]].concat();
        let stack = Stack::start(StackOptions {
            operator_arguments: arguments.into_iter().map(str::to_owned).collect(),
            api_proxy: true,
        })
        .await
        .unwrap();
        let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
        let (keys, wrong) = (Keys::new(), Keys::new());
        let odd = format!("{0}/+&=%\"<>{0}", random_hex(12).unwrap());
        let secrets = Api::namespaced(stack.client().await.unwrap(), &zone.namespace);
        keys.store(&secrets, "canary", &odd).await;
        for label in ["home", "nas", "cam"] {
            create(&stack, &zone, label, ("canary", &keys), json!({})).await;
        }
        let proxied = start_endpoint(
            &stack,
            &[
                "--log",
                "trace",
                "--log-format",
                "json",
                "--proxy-protocol",
                "--trusted-proxies",
                "127.0.0.0/8",
                "--source-rate",
                "1",
                "--host-change-rate",
                "1000000",
            ],
        )
        .await;
        let mut sensitive = vec![odd.clone()];
        for keys in [&keys, &wrong] {
            sensitive.extend(
                [&keys.token, &keys.sha1_secret, &keys.signer.private_key].map(String::clone),
            );
        }
        Self {
            stack,
            proxied,
            zone,
            keys,
            odd,
            wrong,
            sensitive,
            answers: String::new(),
            statuses: Vec::new(),
            at: 0,
        }
    }

    fn name(&self) -> String {
        format!("home.{}", self.zone.apex)
    }

    /// A time that no signed request had before: now, or up to four seconds later.
    fn next_time(&mut self) -> i64 {
        self.at = Timestamp::now().as_second().max(self.at + 1);
        self.at
    }

    /// Sends the request as it is; the answer is kept. The status is 0 where there is none.
    async fn send(&mut self, request: &str, proxied: bool) -> u16 {
        let server = match proxied {
            true => self.proxied.update_address(),
            false => self.stack.operator.update_address(),
        };
        let answer = http::exchange(server, request.as_bytes(), LIMIT).await;
        let status = match answer {
            Ok(answer) => {
                self.answers += &format!("{answer:?}\n{}\n", answer.text());
                answer.status
            }
            Err(_) => 0,
        };
        self.statuses.push(status);
        status
    }

    /// Likewise, from a source of its own where that is told by the PROXY protocol.
    async fn ask(&mut self, request: &str, proxied: bool) -> u16 {
        if !proxied {
            return self.send(request, false).await;
        }
        let source = format!("2001:4:112:{:x}::7", self.statuses.len());
        let header = format!("PROXY TCP6 {source} ::1 1 2\r\n");
        self.send(&(header + request), true).await
    }

    /// Requests of all signed dialects, with what they are signed with; their proofs are sensitive.
    fn signed(&mut self, wrong: bool, address: &str) -> Vec<String> {
        let at = self.next_time();
        let name = |label| format!("{label}.{}", self.zone.apex);
        let keys = if wrong { &self.wrong } else { &self.keys };
        let made = [
            sha1_script(&name("home"), at, &keys.sha1_secret),
            keys.signer.signed(&name("nas"), at, address),
            keys.signer.envelope(&name("cam"), at, address),
        ];
        let made = made.map(|(request, proof)| {
            self.sensitive.push(proof);
            request
        });
        made.to_vec()
    }

    async fn update_in_every_dialect(&mut self, proxied: bool) {
        let (name, token) = (self.name(), self.keys.token.clone());
        let mut requests = with_key(&name, &token, "198.51.100.7");
        requests.extend(without_name(&token)[..4].iter().cloned());
        requests.extend(with_key(&name, &self.odd, "198.51.100.8"));
        requests.extend(self.signed(false, "198.51.100.9"));
        for request in requests {
            let status = self.ask(&request, proxied).await;
            assert_eq!(status, 200, "{request}\n{}", self.last_answer());
        }
        let wrong = self.wrong.token.clone();
        let mut requests = with_key(&name, &wrong, "198.51.100.7");
        requests.extend(without_name(&wrong));
        requests.extend(self.signed(true, "198.51.100.7"));
        for request in requests {
            let status = self.ask(&request, proxied).await;
            assert!(matches!(status, 401 | 403), "{status} {request}");
        }
    }

    fn last_answer(&self) -> &str {
        self.answers.trim_end().rsplit("Response {").next().unwrap()
    }

    async fn send_what_is_wrong(&mut self, proxied: bool) {
        let name = self.name();
        let keys = [
            self.keys.token.clone(),
            self.odd.clone(),
            self.wrong.token.clone(),
            self.keys.sha1_secret.clone(),
            self.keys.signer.private_key.clone(),
        ];
        for key in keys {
            for request in misplaced(&name, &key) {
                self.ask(&request, proxied).await;
                if proxied {
                    self.send(&request, true).await;
                }
            }
            if proxied {
                let request = get(&format!("/{key}"), "");
                let odd = format!("PROXY UNKNOWN {key}\r\n{request}");
                self.send(&odd, true).await;
            }
        }
    }

    /// One source fails more often than it may.
    async fn be_limited(&mut self) {
        let server = self.proxied.update_address();
        let key = &self.wrong.token;
        let request = format!(
            "PROXY TCP4 192.31.196.7 127.0.0.1 1 2\r\n{}",
            get(&format!("/{key}"), "")
        );
        let attempts = (0..20).map(|_| http::exchange(server, request.as_bytes(), LIMIT));
        for answer in join_all(attempts).await {
            let answer = answer.unwrap();
            self.statuses.push(answer.status);
            self.answers += &format!("{answer:?}\n{}\n", answer.text());
        }
    }

    async fn update_without_api_server(&mut self) {
        let name = self.name();
        let proxy = self.stack.api_proxy.as_ref().unwrap();
        proxy.set_mode(Mode::Cut);
        let mut requests = with_key(&name, &self.keys.token, "198.51.100.10");
        requests.extend(self.signed(false, "198.51.100.10"));
        requests.push(without_name(&self.keys.token).swap_remove(0));
        for request in requests {
            let status = self.send(&request, false).await;
            assert!(matches!(status, 500 | 503), "{status} {request}");
        }
        let proxy = self.stack.api_proxy.as_ref().unwrap();
        proxy.set_mode(Mode::Pass);
    }

    /// A client's name is stored where it is none of ours to hide.
    async fn name_the_client(&mut self) {
        let target = format!("/nic/update?hostname={}&myip=198.51.100.11", self.name());
        let credentials = format!("Authorization: Bearer {}\r\n", self.keys.token);
        let request = get(
            &target,
            &format!("{credentials}User-Agent: canary-client/1\r\n"),
        );
        let server = self.stack.operator.update_address();
        await_condition("the API server is reached again", LIMIT, async || {
            let answer = http::exchange(server, request.as_bytes(), LIMIT).await?;
            Ok((answer.status == 200).then_some(()))
        })
        .await
        .unwrap();
    }

    async fn look_everywhere(&self) {
        for status in [200, 400, 401, 403, 404, 405, 413, 415, 429, 431, 500, 503] {
            assert!(self.statuses.contains(&status), "no answer was {status}");
        }
        let get = async |kinds: &str| {
            let command = ["get", kinds, "-A", "-o", "json", "--show-managed-fields"];
            let control_plane = &self.stack.control_plane;
            control_plane.kubectl(&command, "").await.unwrap()
        };
        let metrics = async |operator: &Operator| {
            let metrics = http::get(operator.admin_address(), "/metrics", None).await;
            metrics.unwrap().text()
        };
        let log = |operator: &Operator| fs::read_to_string(operator.log()).unwrap();
        let operator = &self.stack.operator;
        let places = [
            ("the log", log(operator), " TRACE "),
            ("the log in JSON", log(&self.proxied), r#""level":"TRACE""#),
            (
                "Events",
                get("events.v1.events.k8s.io").await,
                "AddressChanged",
            ),
            ("hosts", get("dynamichosts").await, "canary-client/1"),
            ("zones", get("dynamiczones").await, "observedGeneration"),
            ("metrics", metrics(operator).await, r#"protocol="sftdyn""#),
            (
                "metrics",
                metrics(&self.proxied).await,
                r#"reason="proxy_header""#,
            ),
            ("answers", self.answers.clone(), "badauth"),
        ];
        for (place, text, proof) in &places {
            assert!(text.contains(proof), "{place} are not those looked for");
            if let Some(line) = find_leak(text, &self.sensitive) {
                panic!("{place}: {line}");
            }
        }
        // What is looked for is found where it is.
        let held = get("secrets").await;
        for secret in [&self.keys.token, &self.keys.sha1_secret, &self.odd] {
            let secret = std::slice::from_ref(secret);
            assert!(find_leak(&held, secret).is_some(), "{secret:?} is nowhere");
        }
    }
}
