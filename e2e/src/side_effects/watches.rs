//! What watches tell, and what they keep to themselves.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Request, Uri};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::api::parameter;

/// How a frozen watch goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// With all that has happened meanwhile.
    #[default]
    InOrder,
    /// With the last that has happened to each object: a watcher that was away sees no more.
    Merged,
    /// With nothing of it: the API server says that it has forgotten (410), so all is listed anew.
    Expired,
    /// With nothing of it, and without a word about that: only the next event of an object tells.
    Lost,
}

/// What the API server had at some time, by resource.
#[derive(Clone, Debug, Default)]
pub struct Memory(HashMap<String, Past>);

/// The objects of one resource, as of a version.
#[derive(Clone, Debug)]
struct Past {
    kind: String,
    api_version: String,
    version: String,
    objects: Vec<Value>,
}

/// The watches of every resource.
#[derive(Debug, Default)]
pub(super) struct Watches(Mutex<HashMap<String, Resource>>);

#[derive(Debug, Default)]
struct Resource {
    gate: watch::Sender<Gate>,
    /// What was asked for last: the path of the collection and the selectors.
    asked: Option<String>,
    past: Option<Past>,
    times_misled: usize,
}

/// Whether watches of a resource may tell what they hear.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gate {
    is_frozen: bool,
    releases: usize,
    release: Release,
}

impl Watches {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Resource>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, resource: &str, look: impl FnOnce(&mut Resource) -> T) -> T {
        look(self.all().entry(resource.to_owned()).or_default())
    }

    pub(super) fn freeze(&self, resources: &[&str]) {
        for resource in resources {
            self.with(resource, |resource| {
                resource.gate.send_modify(|gate| gate.is_frozen = true);
            });
        }
    }

    pub(super) fn release(&self, release: Release) {
        for resource in self.all().values_mut() {
            resource.past = None;
            resource.gate.send_if_modified(|gate| {
                let was_frozen = gate.is_frozen;
                if was_frozen {
                    *gate = Gate {
                        is_frozen: false,
                        releases: gate.releases + 1,
                        release,
                    };
                }
                was_frozen
            });
        }
    }

    pub(super) async fn remember(&self, client: &Client, resources: &[&str]) -> Result<Memory> {
        let mut memory = Memory::default();
        for resource in resources {
            let asked = self.with(resource, |resource| resource.asked.clone());
            let asked = asked.with_context(|| format!("nobody watches {resource}"))?;
            let request = Request::get(asked).body(Vec::new())?;
            let list: Value = client.request(request).await?;
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let past = Past {
                kind: text(&list["kind"]).context("a list has a kind")?,
                api_version: text(&list["apiVersion"]).context("a list has an apiVersion")?,
                version: text(&list["metadata"]["resourceVersion"]).context("a list has one")?,
                objects: list["items"].as_array().cloned().unwrap_or_default(),
            };
            memory.0.insert((*resource).to_owned(), past);
        }
        Ok(memory)
    }

    pub(super) fn mislead(&self, memory: Memory) {
        for (name, past) in memory.0 {
            self.freeze(&[&name]);
            self.with(&name, |resource| resource.past = Some(past));
        }
    }

    pub(super) fn times_misled(&self, resource: &str) -> usize {
        self.with(resource, |resource| resource.times_misled)
    }

    /// Waits until a watch may be opened, and returns what to tell it of the past. Then the request
    /// goes on from there.
    pub(super) async fn open(&self, resource: &str, uri: &mut Uri) -> Vec<Bytes> {
        let asks_for_all = parameter(uri, "sendInitialEvents") == Some("true");
        let past = self.with(resource, |resource| {
            resource.asked = Some(collection(uri));
            resource.past.clone().filter(|_| asks_for_all)
        });
        if let Some(past) = past {
            *uri = since(uri, &past.version);
            self.with(resource, |resource| resource.times_misled += 1);
            return past.events();
        }
        let mut gate = self.gate(resource);
        // The sender is ours.
        let _ended = gate.wait_for(|gate| !gate.is_frozen).await;
        Vec::new()
    }

    pub(super) fn gate(&self, resource: &str) -> watch::Receiver<Gate> {
        self.with(resource, |resource| resource.gate.subscribe())
    }
}

impl Past {
    /// A streamed list (KEP-3157).
    fn events(&self) -> Vec<Bytes> {
        let kind = self.kind.trim_end_matches("List");
        let with_type = |object: &Value| {
            let mut object = object.clone();
            object["kind"] = json!(kind);
            object["apiVersion"] = json!(self.api_version);
            object
        };
        let objects = self
            .objects
            .iter()
            .map(|object| json!({"type": "ADDED", "object": with_type(object)}));
        let end = json!({"type": "BOOKMARK", "object": with_type(&json!({"metadata": {
            "resourceVersion": self.version,
            "annotations": {"k8s.io/initial-events-end": "true"},
        }}))});
        objects.chain([end]).map(|event| line(&event)).collect()
    }
}

/// The request without what makes it a watch.
fn collection(uri: &Uri) -> String {
    let selectors = ["fieldSelector", "labelSelector"].into_iter();
    let selectors = selectors.filter_map(|name| Some(format!("{name}={}", parameter(uri, name)?)));
    format!("{}?{}", uri.path(), selectors.collect::<Vec<_>>().join("&"))
}

/// The request for what has happened since a version.
fn since(uri: &Uri, version: &str) -> Uri {
    let replaced = [
        "sendInitialEvents",
        "resourceVersionMatch",
        "resourceVersion",
    ];
    let pairs = uri.query().unwrap_or_default().split('&');
    let kept = pairs.filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !replaced.contains(&name)
    });
    let query: Vec<&str> = kept.collect();
    let text = format!(
        "{}?{}&resourceVersion={version}",
        uri.path(),
        query.join("&")
    );
    // Made of parts of one that was valid; otherwise the API server refuses it.
    text.parse().unwrap_or_else(|_| uri.clone())
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}

/// Tells a watcher the past, and then what comes, while its gate is open.
///
/// # Errors
/// Where the watcher has gone away.
pub(super) async fn tell(
    past: Vec<Bytes>,
    mut coming: impl Stream<Item = Bytes> + Unpin,
    gate: &mut watch::Receiver<Gate>,
    told: &mpsc::Sender<Bytes>,
) -> Result<(), mpsc::error::SendError<Bytes>> {
    for line in past {
        told.send(line).await?;
    }
    let mut releases = gate.borrow_and_update().releases;
    let mut kept = Vec::new();
    let mut has_ended = false;
    loop {
        let now = *gate.borrow_and_update();
        if now.releases != releases {
            releases = now.releases;
            match now.release {
                Release::InOrder => {}
                Release::Merged => kept = merged(kept),
                Release::Lost => kept.clear(),
                Release::Expired => return told.send(expired()).await,
            }
        }
        if !now.is_frozen {
            for line in kept.drain(..) {
                told.send(line).await?;
            }
            if has_ended {
                return Ok(());
            }
        }
        tokio::select! {
            biased;
            changed = gate.changed() => if changed.is_err() {
                return Ok(());
            },
            () = told.closed() => return Ok(()),
            next = coming.next(), if !has_ended => match next {
                Some(line) => kept.push(line),
                None => has_ended = true,
            },
        }
    }
}

/// The last event of each object, in the order of those. Bookmarks tell nothing of objects.
fn merged(lines: Vec<Bytes>) -> Vec<Bytes> {
    let mut last: BTreeMap<String, (usize, Bytes)> = BTreeMap::new();
    for (at, line) in lines.into_iter().enumerate() {
        let event: Value = serde_json::from_slice(&line).unwrap_or_default();
        let meta = &event["object"]["metadata"];
        let object = format!("{}/{}", meta["namespace"], meta["name"]);
        last.insert(object, (at, line));
    }
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_by_key(|(at, _)| *at);
    last.into_iter().map(|(_, line)| line).collect()
}

fn expired() -> Bytes {
    line(&json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    }}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_the_last_event_of_each_object() {
        let event = |kind: &str, name: &str, version: &str| {
            line(&json!({"type": kind, "object": {"metadata": {
                "namespace": "n", "name": name, "resourceVersion": version,
            }}}))
        };
        let events = vec![
            event("ADDED", "a", "1"),
            event("ADDED", "b", "2"),
            event("MODIFIED", "a", "3"),
            event("DELETED", "b", "4"),
            event("MODIFIED", "a", "5"),
        ];
        let expected = [event("DELETED", "b", "4"), event("MODIFIED", "a", "5")];
        assert_eq!(merged(events), expected);
    }
}
