//! No secret gets out of the operator, however it is logged and whatever is sent to it.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use dynhost_crds::{
    conditions::{ConditionType, Reason},
    host::DynamicHost,
    zone::DynamicZone,
};
use dynhost_e2e::{
    Stack, StackOptions, TsigAlgorithm, TsigKey, Zone, ZoneSpec, await_condition, http, random_hex,
    stack::LIMIT,
};
use hickory_net::proto::rr::RecordType;
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::fixture::{change, create_secret, supply};
use crate::leak::find_leak;

/// A stack of its own, all that must not get out of it, and all that the endpoint answered.
struct Canary {
    stack: Stack,
    zone: Zone,
    secrets: Api<Secret>,
    sensitive: Vec<String>,
    answers: String,
}

#[tokio::test]
async fn no_secret_is_in_any_log_event_status_metric_or_answer() {
    let mut canary = Canary::start().await;
    canary.an_event_tells_that_a_key_is_generated().await;
    canary.update_well_and_badly().await;
    canary.break_update_keys().await;
    canary.break_tsig_keys().await;
    canary.look_everywhere().await;
}

impl Canary {
    async fn start() -> Self {
        let stack = Stack::start(StackOptions {
            operator_arguments: ["--log", "trace"].map(str::to_owned).to_vec(),
            ..StackOptions::default()
        })
        .await
        .unwrap();
        // Text, so that it can be looked for decoded, too.
        let decoded = format!("tsig-{}", random_hex(16).unwrap());
        let key = TsigKey {
            name: "canary-key".to_owned(),
            algorithm: TsigAlgorithm::HmacSha256,
            secret: BASE64_STANDARD.encode(&decoded),
        };
        let zone = Zone {
            namespace: stack.control_plane.namespace("canary").await.unwrap(),
            name: "zone".to_owned(),
            apex: "canary.example.org".to_owned(),
            key,
        };
        let key_secret = zone.key.secret.clone();
        let served = ZoneSpec {
            apex: zone.apex.clone(),
            keys: vec![zone.key.clone()],
            records: Vec::new(),
            allow_transfer: false,
        };
        stack.bind.add_zone(served).await.unwrap();
        let secrets = Api::namespaced(stack.client().await.unwrap(), &zone.namespace);
        let canary = Self {
            stack,
            zone,
            secrets,
            sensitive: vec![decoded, key_secret],
            answers: String::new(),
        };
        let secret = canary.zone.key.secret.as_str();
        create_secret(&canary.secrets, "tsig", "Opaque", &[("secret", secret)]).await;
        canary.create_zone("zone", "tsig", "hmac-sha256").await;
        canary
    }

    async fn create_zone(&self, name: &str, secret: &str, algorithm: &str) {
        let zone = json!({"metadata": {"name": name}, "spec": {
            "domain": self.zone.apex,
            "rfc2136": {"servers": [self.stack.bind.address().to_string()], "tsig": {
                "keyName": self.zone.key.name,
                "algorithm": algorithm,
                "secretRef": {"name": secret},
            }},
        }});
        let zone: DynamicZone = serde_json::from_value(zone).unwrap();
        let zones = Api::namespaced(self.stack.client().await.unwrap(), &self.zone.namespace);
        zones.create(&PostParams::default(), &zone).await.unwrap();
    }

    /// A token that is looked for afterwards.
    fn token(&mut self) -> String {
        let token = random_hex(16).unwrap();
        self.sensitive.push(token.clone());
        token
    }

    /// Sends the request as it is; the answer is kept, and its status returned.
    async fn send(&mut self, request: &str) -> u16 {
        let server = self.stack.operator.update_address();
        let answer = http::exchange(server, request.as_bytes(), LIMIT)
            .await
            .unwrap();
        self.answers += &format!("{answer:?}\n{}\n", answer.text());
        answer.status
    }

    async fn get(&mut self, target: &str, headers: &str) -> u16 {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        self.send(&format!("{head}{headers}\r\n")).await
    }

    fn basic(&mut self, user: &str, token: &str) -> String {
        let credentials = BASE64_STANDARD.encode(format!("{user}:{token}"));
        self.sensitive.push(credentials.clone());
        format!("Authorization: Basic {credentials}\r\n")
    }

    async fn create_host(&self, label: &str, secret: Option<&str>) -> DynamicHost {
        let mut host = self.zone.host(label);
        host.spec.auth.secret_name = secret.map(str::to_owned);
        let hosts = self.stack.hosts(&self.zone.namespace).await.unwrap();
        hosts.create(&PostParams::default(), &host).await.unwrap()
    }

    async fn await_reason(&self, label: &str, of: ConditionType, reason: Reason) {
        let awaited = self
            .stack
            .await_reason(&self.zone.namespace, label, of, reason);
        awaited.await.unwrap();
    }

    async fn an_event_tells_that_a_key_is_generated(&mut self) {
        self.create_host("home", None).await;
        self.await_reason("home", ConditionType::KeyReady, Reason::Generated)
            .await;
        let events: Api<Event> =
            Api::namespaced(self.stack.client().await.unwrap(), &self.zone.namespace);
        await_condition("an Event tells it", LIMIT, async || {
            let events = events.list(&ListParams::default()).await?;
            let told = events.items.iter().any(|event| {
                let about = event
                    .regarding
                    .as_ref()
                    .and_then(|about| about.name.as_deref());
                event.reason.as_deref() == Some("KeyGenerated")
                    && about == Some("home")
                    && event.type_.as_deref() == Some("Normal")
            });
            Ok(told.then_some(()))
        })
        .await
        .unwrap();
    }

    async fn update_well_and_badly(&mut self) {
        let namespace = self.zone.namespace.clone();
        let good = self
            .stack
            .update_key(&namespace, "home-update-key")
            .await
            .unwrap();
        self.sensitive.push(good.clone());
        let update = format!(
            "/nic/update?hostname=home.{}&myip=198.51.100.7",
            self.zone.apex
        );
        let right = self.basic("router", &good);
        assert_eq!(self.get(&update, &right).await, 200);
        let name = format!("home.{}", self.zone.apex);
        let published = self
            .stack
            .await_dns(&name, RecordType::A, &["198.51.100.7"]);
        published.await.unwrap();

        // What is presented here may be good elsewhere.
        let wrong = self.token();
        let denied = self.basic("router", &wrong);
        assert_eq!(self.get(&update, &denied).await, 401);
        let (as_user, as_name) = (self.basic(&good, &wrong), self.basic(&good, &good));
        assert_eq!(self.get(&update, &as_user).await, 401);
        assert_eq!(self.get(&update, &as_name).await, 200);
        for (target, headers, status) in [
            (
                format!("{update}&password={good}&token={wrong}"),
                String::new(),
                200,
            ),
            (format!("{update}&password={good}"), right.clone(), 200),
            (format!("/nic/update?hostname={good}"), right.clone(), 400),
            (
                format!("/nic/update?hostname={good}.example.org"),
                right.clone(),
                404,
            ),
            (format!("{update}&myip={good}"), right.clone(), 400),
            (format!("{update}&%ff={good}"), right.clone(), 400),
            (format!("/update/{good}"), String::new(), 401),
            (format!("/{good}/nic/update?x={wrong}"), right.clone(), 403),
            (
                update.clone(),
                format!("Authorization: Bearer {good}\r\n"),
                200,
            ),
            (
                update.clone(),
                format!("Authorization: Basic {good}\r\n"),
                401,
            ),
            (update.clone(), format!("Authorization: {good}\r\n"), 401),
            (
                update.clone(),
                format!("X-Token: {good}\r\nCookie: token={wrong}\r\n"),
                401,
            ),
        ] {
            assert_eq!(
                self.get(&target, &headers).await,
                status,
                "{target} {headers}"
            );
        }
        let form = format!(
            "hostname=home.{}&password={good}&myip={wrong}",
            self.zone.apex
        );
        let (length, type_) = (form.len(), "application/x-www-form-urlencoded");
        for (credentials, type_, status) in [
            (right.as_str(), type_, 400),
            ("", type_, 400),
            (&right, "text/plain", 415),
        ] {
            let request = format!(
                "POST /nic/update HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{credentials}\
                 Content-Type: {type_}\r\nContent-Length: {length}\r\n\r\n{form}"
            );
            assert_eq!(self.send(&request).await, status, "{request}");
        }
        let malformed = format!("GET /{good} {wrong} HTTP/1.1\r\n{right}\r\n");
        assert_eq!(self.send(&malformed).await, 400);
    }

    async fn break_update_keys(&mut self) {
        let secrets = self.secrets.clone();
        let (token, previous, other) = (self.token(), self.token(), self.token());
        let data = [("token", token.as_str()), ("previousToken", &previous)];
        supply(&secrets, "rotated", &data).await;
        self.create_host("rotated", Some("rotated")).await;
        self.await_reason("rotated", ConditionType::KeyReady, Reason::Supplied)
            .await;
        let update = format!(
            "/nic/update?hostname=rotated.{}&myip=198.51.100.8",
            self.zone.apex
        );
        let credentials = self.basic("rotated", &previous);
        assert_eq!(self.get(&update, &credentials).await, 200);
        change(&secrets, "rotated", &[("previousToken", "")]).await;

        supply(&secrets, "same", &[("token", &token)]).await;
        create_secret(&secrets, "opaque", "Opaque", &[("token", &other)]).await;
        supply(
            &secrets,
            "short",
            &[("token", &other[..11]), ("previousToken", &other)],
        )
        .await;
        self.sensitive.push(other[..11].to_owned());
        for (name, reason) in [
            ("same", Reason::TokenNotUnique),
            ("opaque", Reason::WrongType),
            ("short", Reason::Invalid),
        ] {
            self.create_host(name, Some(name)).await;
            self.await_reason(name, ConditionType::KeyReady, reason)
                .await;
        }
    }

    async fn break_tsig_keys(&mut self) {
        let secrets = self.secrets.clone();
        let (wrong, text) = (self.token(), self.token());
        let wrong = BASE64_STANDARD.encode(wrong);
        let text = format!("not base64: {text}");
        create_secret(&secrets, "wrong-tsig", "Opaque", &[("secret", &wrong)]).await;
        create_secret(&secrets, "text-tsig", "Opaque", &[("secret", &text)]).await;
        for (name, secret, algorithm) in [
            ("wrong-secret", "wrong-tsig", "hmac-sha256"),
            ("wrong-algorithm", "tsig", "hmac-sha512"),
            ("no-base64", "text-tsig", "hmac-sha256"),
        ] {
            self.create_zone(name, secret, algorithm).await;
            let client = self.stack.client().await.unwrap();
            let zones: Api<DynamicZone> = Api::namespaced(client, &self.zone.namespace);
            await_condition(name, LIMIT, async || {
                let status = zones.get(name).await?.status.unwrap_or_default();
                let reasons: Vec<&str> = status.conditions.iter().map(|c| &*c.reason).collect();
                anyhow::ensure!(reasons.contains(&"CredentialsRejected"), "{reasons:?}");
                Ok(Some(()))
            })
            .await
            .unwrap();
        }
    }

    async fn look_everywhere(&self) {
        let get = async |kinds: &str| {
            let command = ["get", kinds, "-A", "-o", "json", "--show-managed-fields"];
            self.stack
                .control_plane
                .kubectl(&command, "")
                .await
                .unwrap()
        };
        let admin = self.stack.operator.admin_address();
        let metrics = http::get(admin, "/metrics", None).await.unwrap();
        let places = [
            (
                "the log",
                fs::read_to_string(self.stack.operator.log()).unwrap(),
                "TRACE",
            ),
            (
                "Events",
                get("events.v1.events.k8s.io").await,
                "KeyGenerated",
            ),
            ("hosts", get("dynamichosts").await, "TokenNotUnique"),
            ("zones", get("dynamiczones").await, "CredentialsRejected"),
            ("metrics", metrics.text(), "dynhost_requests_total"),
            ("answers", self.answers.clone(), "badauth"),
        ];
        for (place, text, proof) in &places {
            assert!(text.contains(proof), "{place} are not those looked for");
            if let Some(line) = find_leak(text, &self.sensitive) {
                panic!("{place}: {line}");
            }
        }
        // The TSIG key in base64 and the generated token can be found where they are.
        let held = get("secrets").await;
        for secret in &self.sensitive[1..3] {
            let is_found = find_leak(&held, std::slice::from_ref(secret)).is_some();
            assert!(is_found, "{secret} is nowhere");
        }
    }
}
