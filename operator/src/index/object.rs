//! What every Kubernetes object of ours has in common.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// The namespace and name of an object; the kind is known from where it stands.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ObjectKey {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a list has shown, by hash: of a hundred thousand objects two have the same once in billions
/// of lists.
#[derive(Debug, Default)]
pub struct Listed {
    state: RandomState,
    hashes: HashSet<u64>,
}

impl Listed {
    pub fn insert(&mut self, key: &ObjectKey) {
        self.hashes.insert(self.state.hash_one(key));
    }

    pub fn remove(&mut self, key: &ObjectKey) {
        self.hashes.remove(&self.state.hash_one(key));
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.hashes.contains(&self.state.hash_one(key))
    }
}

/// The part of an object's metadata that the program uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub key: ObjectKey,
    pub uid: Arc<str>,
    /// Orders the versions of one object (KEP-5504: resource versions compare as numbers).
    pub resource_version: u64,
    pub generation: i64,
    #[serde(with = "super::packing::time")]
    pub created: Timestamp,
    /// The object has a deletion timestamp and waits for its finalizers.
    pub deleting: bool,
}

impl Meta {
    /// `None` for metadata that no API server sends: without name, UID, or a numeric resource version.
    pub fn new(meta: &ObjectMeta) -> Option<Self> {
        Some(Self {
            key: ObjectKey::new(
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref()?,
            ),
            uid: meta.uid.as_deref()?.into(),
            resource_version: meta.resource_version.as_deref()?.parse().ok()?,
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.as_ref()?.0,
            deleting: meta.deletion_timestamp.is_some(),
        })
    }

    /// Whether `self` says more than `known` about the same object, or is another object of the same name.
    pub fn supersedes(&self, known: &Self) -> bool {
        self.uid != known.uid || self.resource_version > known.resource_version
    }

    /// The order of claims: creation time, then namespace and name.
    pub fn seniority(&self) -> (Timestamp, &ObjectKey) {
        (self.created, &self.key)
    }
}
