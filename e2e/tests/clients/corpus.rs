//! The requests of devices that cannot run here, as e2e/corpus/ has them.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dynhost_crds::{host::DynamicHost, key};
use dynhost_e2e::{Stack, Zone, ZoneOptions};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _, api::ObjectMeta};
use serde_json::Value;
use tokio::net::TcpStream;

use super::corpus_file::{CorpusFile, Effect, Exchange};
use super::wire::{Message, Wire};
use super::{addresses, observed, stack};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
const WRONG_KEY: &str = "TheUpdateKeyOfNobodyAtAll0123456";

#[tokio::test]
async fn devices_are_answered_octet_by_octet_and_their_reports_stored() {
    let stack = stack().await.unwrap();
    let zone = stack.create_zone(ZoneOptions::default()).await.unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "http")
        })
        .collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    let zone = &zone;
    let replays = files.iter().map(|path| async move {
        let device = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        match Replay::prepare(stack, zone, device, &text).await {
            Ok((replay, file)) => replay.run(&file).await,
            Err(error) => vec![format!("{device}: {error:#}")],
        }
    });
    let failures = join_all(replays).await.concat();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

/// The hosts of one file.
struct Replay<'a> {
    stack: &'a Stack,
    device: &'a str,
    hosts: Vec<DynamicHost>,
}

impl<'a> Replay<'a> {
    /// Creates the hosts of a file and fills its placeholders in.
    async fn prepare(
        stack: &'a Stack,
        zone: &Zone,
        device: &'a str,
        text: &str,
    ) -> Result<(Self, CorpusFile)> {
        let label2 = format!("{device}-2");
        let names = [
            ("{{label}}", device.to_owned()),
            ("{{label2}}", label2.clone()),
            ("{{host}}", format!("{device}.{}", zone.apex)),
            ("{{host2}}", format!("{label2}.{}", zone.apex)),
            ("{{unknown}}", format!("nowhere.{}", zone.apex)),
            ("{{wrong}}", WRONG_KEY.to_owned()),
        ];
        let has_second = text.contains("{{host2}}") || text.contains("{{label2}}");
        let text = fill_in(text, &names);
        let file = CorpusFile::parse(device, &text);

        let secret = format!("{device}-update-key");
        if let Some(token) = &file.token {
            supply_key(stack, &zone.namespace, &secret, token).await?;
        }
        let labels = [Some(device), has_second.then_some(&*label2)];
        let mut hosts = Vec::new();
        let mut token = String::new();
        for label in labels.into_iter().flatten() {
            let mut host = serde_json::to_value(zone.host(label))?;
            host["spec"]["auth"]["secretName"] = secret.as_str().into();
            merge(
                &mut host["spec"],
                file.spec.as_ref().unwrap_or(&Value::Null),
            );
            let host: DynamicHost = serde_json::from_value(host)?;
            token = stack.create_host(&host).await?;
            hosts.push(host);
        }
        let basic = |user: &str, key: &str| BASE64_STANDARD.encode(format!("{user}:{key}"));
        let keys = [
            ("{{token}}", token.clone()),
            ("{{basic}}", basic("router", &token)),
            ("{{basic-host}}", basic(&hosts[0].spec.hostname, &token)),
            ("{{basic-empty}}", basic("", &token)),
            ("{{basic-wrong}}", basic("router", WRONG_KEY)),
        ];
        let text = fill_in(&text, &keys);
        let left = text.replace("{{length}}", "").find("{{");
        ensure!(left.is_none(), "a placeholder is not known");
        let file = CorpusFile::parse(device, &text);
        let replay = Self {
            stack,
            device,
            hosts,
        };
        Ok((replay, file))
    }

    /// What differs from the file.
    async fn run(&self, file: &CorpusFile) -> Vec<String> {
        let mut failures = Vec::new();
        let mut connection = None;
        for exchange in &file.exchanges {
            if let Err(error) = self.exchange(exchange, &mut connection).await {
                failures.push(format!("{}: {}: {error:#}", self.device, exchange.name));
            }
        }
        failures
    }

    async fn exchange(&self, exchange: &Exchange, connection: &mut Option<Wire>) -> Result<()> {
        let before = self.observed().await?;
        if !exchange.on_same_connection {
            let address = self.stack.operator.update_address();
            *connection = Some(Wire::new(TcpStream::connect(address).await?));
        }
        let wire = connection
            .as_mut()
            .context("there is no connection to go on with")?;
        wire.send(&exchange.request).await?;
        let request = String::from_utf8_lossy(&exchange.request);
        let first_line = request.lines().next().unwrap_or_default();
        let answer = wire.receive(first_line.starts_with("HEAD ")).await?;
        let answer = answer.context("the connection ended without an answer")?;
        check_answer(&answer, exchange, first_line)?;
        if first_line.ends_with("HTTP/1.0") {
            ensure!(
                wire.ends().await,
                "the connection stays open after HTTP/1.0"
            );
        }
        let after = self.observed().await?;
        for effect in &exchange.effects {
            self.check_effect(effect, &before, &after)?;
        }
        Ok(())
    }

    async fn observed(&self) -> Result<Vec<Value>> {
        let hosts = self.hosts.iter();
        let observed = join_all(hosts.map(|host| observed(self.stack, host))).await;
        observed.into_iter().collect()
    }

    fn check_effect(&self, effect: &Effect, before: &[Value], after: &[Value]) -> Result<()> {
        match effect {
            Effect::Unchanged => ensure!(before == after, "{before:?} became {after:?}"),
            Effect::Observed(name, expected) => {
                let of_name = |host: &DynamicHost| host.spec.hostname == *name;
                let at = self.hosts.iter().position(of_name);
                let at = at.with_context(|| format!("{name} is no host of this file"))?;
                let found = addresses(&after[at]);
                ensure!(found == *expected, "{name} has {found:?}, not {expected:?}");
            }
        }
        Ok(())
    }
}

fn check_answer(answer: &Message, exchange: &Exchange, first_line: &str) -> Result<()> {
    let found = (
        answer.status()?,
        String::from_utf8_lossy(&answer.body).into_owned(),
    );
    let expected = (exchange.status, exchange.body.clone());
    ensure!(found == expected, "answered {found:?}, not {expected:?}");
    if !first_line.starts_with("HEAD ") {
        let length = answer.header("content-length");
        let expected = exchange.body.len().to_string();
        ensure!(length == Some(&expected), "Content-Length is {length:?}");
    }
    ensure!(
        answer.header("transfer-encoding").is_none(),
        "{}",
        answer.head
    );
    let challenge = answer.header("www-authenticate");
    match found.0 {
        401 if !challenge.is_some_and(|value| value.starts_with("Basic realm=")) => {
            bail!("a 401 without a challenge: {}", answer.head)
        }
        503 if answer.header("retry-after").is_none() => {
            bail!("a 503 without Retry-After: {}", answer.head)
        }
        _ => Ok(()),
    }
}

fn fill_in(text: &str, values: &[(&str, String)]) -> String {
    let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
    values.iter().fold(text.to_owned(), fill)
}

/// JSON merge patch (RFC 7396), without removals.
fn merge(into: &mut Value, patch: &Value) {
    for (name, value) in patch.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => merge(&mut into[name], value),
            _ => into[name] = value.clone(),
        }
    }
}

async fn supply_key(stack: &Stack, namespace: &str, name: &str, token: &str) -> Result<()> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some(key::SECRET_TYPE.to_owned()),
        string_data: Some([(key::TOKEN.to_owned(), token.to_owned())].into()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(stack.client().await?, namespace);
    let made = secrets.create(&Default::default(), &secret).await?;
    ensure!(made.name_any() == name, "{made:?}");
    Ok(())
}
