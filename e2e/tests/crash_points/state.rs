//! What an operator has made of the world, as far as it must be the same in every life.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;
use dynhost_crds::{host::DynamicHost, zone::DynamicZone};
use dynhost_e2e::Zone;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;
use serde_json::{Value, json};

use super::lane::Lane;

/// Members of objects that tell when something was, or which of several equal objects it is.
const PASSING: [&str; 10] = [
    "at",
    "changedAt",
    "creationTimestamp",
    "deletionTimestamp",
    "lastSeen",
    "lastTransitionTime",
    "managedFields",
    "resourceVersion",
    "signedAt",
    "uid",
];

/// All of a zone and of its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Every record but the SOA, as `name ttl type data`, names relative to the apex.
    pub(crate) records: Vec<String>,
    /// The objects by kind and name.
    pub(crate) objects: BTreeMap<String, Value>,
    /// Whether status names every marker that is in DNS, by host.
    pub(crate) knows_its_marker: BTreeMap<String, bool>,
}

impl State {
    pub(crate) async fn of(lane: &Lane, zone: &Zone) -> Result<Self> {
        let client = || lane.client.clone();
        let all = ListParams::default();
        let server = lane.seam().name_server().to_string();
        let hosts = lane.hosts(zone).list(&all).await?;
        let zones: Api<DynamicZone> = Api::namespaced(client(), &zone.namespace);
        let secrets: Api<Secret> = Api::namespaced(client(), &zone.namespace);
        let mut objects = BTreeMap::new();
        for host in &hosts {
            objects.insert(
                format!("host {}", host.name_any()),
                told(host, zone, &server),
            );
        }
        for object in &zones.list(&all).await? {
            objects.insert(
                format!("zone {}", object.name_any()),
                told(object, zone, &server),
            );
        }
        for mut secret in secrets.list(&all).await? {
            let uids = hosts.iter().filter_map(|host| host.metadata.uid.as_deref());
            let uids: Vec<&str> = uids.collect();
            let owners = secret.owner_references();
            let is_owned = owners
                .iter()
                .all(|owner| uids.contains(&owner.uid.as_str()));
            // Random.
            secret.data = None;
            let mut value = told(&secret, zone, &server);
            value["owned by hosts that exist"] = json!(is_owned);
            objects.insert(format!("secret {}", secret.name_any()), value);
        }
        let records = lane.stack().bind.dump(&zone.apex).await?;
        let told = comparable(&records, zone);
        let knows_its_marker = hosts.iter().filter_map(|host| {
            let marker = host.status.as_ref()?.published.as_ref()?.marker.as_ref()?;
            let markers = records.iter().filter(|record| is_marker(record, host));
            let markers: Vec<_> = markers.collect();
            let is_named = |record: &&String| record.ends_with(marker.as_str());
            let knows = !markers.is_empty() && markers.iter().all(is_named);
            Some((host.name_any(), knows))
        });
        Ok(Self {
            knows_its_marker: knows_its_marker.collect(),
            objects,
            records: told,
        })
    }

    /// The records alone.
    pub(crate) async fn records_of(lane: &Lane, zone: &Zone) -> Result<Vec<String>> {
        let records = lane.stack().bind.dump(&zone.apex).await?;
        Ok(comparable(&records, zone))
    }

    /// What is here and not there, line by line with `+`, and the other way round with `-`.
    pub(crate) fn difference(&self, expected: &Self) -> String {
        let (here, there) = (self.to_string(), expected.to_string());
        let without = |sign: char, one: &str, other: &str| {
            let lines = one
                .lines()
                .filter(|line| !other.lines().any(|o| o == *line));
            lines
                .map(|line| format!("\n{sign} {line}"))
                .collect::<String>()
        };
        without('+', &here, &there) + &without('-', &there, &here)
    }
}

impl fmt::Display for State {
    /// One member of an object a line, with its path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn members(f: &mut fmt::Formatter<'_>, path: &str, value: &Value) -> fmt::Result {
            match value {
                Value::Object(all) => all
                    .iter()
                    .try_for_each(|(name, value)| members(f, &format!("{path}.{name}"), value)),
                Value::Array(items) => items
                    .iter()
                    .enumerate()
                    .try_for_each(|(at, item)| members(f, &format!("{path}[{at}]"), item)),
                value => writeln!(f, "{path}: {value}"),
            }
        }
        for record in &self.records {
            writeln!(f, "{record}")?;
        }
        for (name, object) in &self.objects {
            members(f, name, object)?;
        }
        for (host, knows) in &self.knows_its_marker {
            writeln!(f, "host {host} knows its marker: {knows}")?;
        }
        Ok(())
    }
}

/// Whether a record is a marker at a name of this host: its own or one below, as its aliases are.
fn is_marker(record: &str, host: &DynamicHost) -> bool {
    let name = record.split(' ').next().unwrap_or_default();
    let ends = name.ends_with(&format!(".{}.", host.spec.hostname));
    ends && name.starts_with("_dynhost.") && record.contains(" TXT ")
}

/// An object without what passes, and with neither names nor numbers of its own.
fn told(object: &impl Serialize, zone: &Zone, server: &str) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    forget_passing(&mut value);
    let text = value.to_string();
    let text = text
        .replace(&zone.apex, "APEX")
        .replace(&zone.namespace, "NAMESPACE");
    let text = text
        .replace(&zone.key.name, "KEY")
        .replace(server, "SERVER");
    serde_json::from_str(&without_nonce(&text)).unwrap()
}

fn forget_passing(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !PASSING.contains(&name.as_str()));
            members.values_mut().for_each(forget_passing);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_passing),
        _ => {}
    }
}

fn comparable(records: &[String], zone: &Zone) -> Vec<String> {
    let records = records.iter().map(|record| relative(record, zone));
    let mut records: Vec<_> = records.map(|record| without_nonce(&record)).collect();
    records.sort();
    records
}

/// A record with names relative to the apex; the apex itself is `APEX`.
pub(crate) fn relative(record: &str, zone: &Zone) -> String {
    let record = record.replacen(&format!(".{}.", zone.apex), "", 1);
    record.replace(&zone.apex, "APEX").replace(" IN ", " ")
}

/// Cuts markers off behind their owner: the digest is the namespace's, the nonce random.
pub(crate) fn without_nonce(text: &str) -> String {
    let mut parts = text.split(" h=");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['"', '\\']).unwrap_or(part.len());
        told += &part[end..];
    }
    told
}
