//! Copies of a stored host and its update key.

use std::net::Ipv4Addr;

use crate::stack::{Stack, Zone};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dynhost::record::marker::HostDigest;
use http::Request;
use serde_json::Value;

/// Host 0 and its update key as they are stored, and what in their texts is theirs alone.
pub(super) struct Template {
    namespace: String,
    host: String,
    secret: String,
    host_uid: String,
    secret_uid: String,
    address: String,
    marker: String,
    token: String,
}

/// The DynamicHost's name and its first label.
pub(super) fn name(number: usize) -> String {
    format!("h{number:06}")
}

/// The number of a DynamicHost.
pub(super) fn number(name: &str) -> Option<usize> {
    name.strip_prefix('h')?.parse().ok()
}

impl Template {
    pub(super) async fn read(stack: &Stack, zone: &Zone, token: String) -> Result<Self> {
        let (namespace, name) = (&zone.namespace, name(0));
        let host = get(
            stack,
            &format!("/apis/dynhost.dev/v1alpha1/namespaces/{namespace}/dynamichosts/{name}"),
        )
        .await?;
        let secret = get(
            stack,
            &format!("/api/v1/namespaces/{namespace}/secrets/{name}-update-key"),
        )
        .await?;
        let text = |value: &Value, pointer: &str| {
            let text = value.pointer(pointer).and_then(Value::as_str);
            text.map(str::to_owned)
                .with_context(|| format!("the stored host has no {pointer}"))
        };
        Ok(Self {
            namespace: namespace.clone(),
            host_uid: text(&host, "/metadata/uid")?,
            secret_uid: text(&secret, "/metadata/uid")?,
            address: text(&host, "/status/observed/ipv4/address")?,
            marker: text(&host, "/status/published/marker")?,
            host: host.to_string(),
            secret: secret.to_string(),
            token,
        })
    }

    /// The keys and contents of a host and its Secret in the API server's store.
    pub(super) fn objects(&self, number: usize, address: Ipv4Addr) -> [(String, String); 2] {
        let (own, former) = (name(number), name(0));
        let of = |text: &str| {
            text.replace(&former, &own)
                .replace(&self.host_uid, &uid(number, 0))
                .replace(&self.secret_uid, &uid(number, 1))
        };
        let host = of(&self.host)
            .replace(&self.marker, &self.marker(number))
            .replace(&quoted(&self.address), &quoted(&address.to_string()));
        let base64 = |token: &str| quoted(&BASE64_STANDARD.encode(token));
        let secret = of(&self.secret).replace(&base64(&self.token), &base64(&self.token(number)));
        let namespace = &self.namespace;
        [
            (format!("dynhost.dev/dynamichosts/{namespace}/{own}"), host),
            (format!("secrets/{namespace}/{own}-update-key"), secret),
        ]
    }

    /// The text of a host's marker.
    pub(super) fn marker(&self, number: usize) -> String {
        let digest = |number| HostDigest::of(&self.namespace, &name(number)).to_string();
        self.marker.replace(&digest(0), &digest(number))
    }

    /// A host's update key: as long as a generated one.
    pub(super) fn token(&self, number: usize) -> String {
        match number {
            0 => self.token.clone(),
            _ => format!("bench{number:027}"),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn uid(number: usize, kind: u8) -> String {
    format!("{number:08x}-0000-4000-8000-{kind:012x}")
}

/// An object as it is stored: without the version, which is etcd's own.
async fn get(stack: &Stack, path: &str) -> Result<Value> {
    let request = Request::get(path).body(Vec::new())?;
    let mut object: Value = stack.client().await?.request(request).await?;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    Ok(object)
}
