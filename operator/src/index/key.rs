//! An update key's Secret in compact form: digests only, never the token. (The secret of
//! the script of 2012 is needed as it is.)

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use dynhost_crds::GROUP;
use dynhost_crds::key::{GENERATED_LABEL, MIN_TOKEN_OCTETS, PREVIOUS_TOKEN, SHA1_SECRET, TOKEN};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::object::Meta;
use crate::update::proof::Sha1Secret;
use serde::{Deserialize, Serialize};

/// The SHA-256 digest of an update key.
///
/// Tokens are long and random, so one round without salt is enough, and a look-up by digest takes
/// the same time for every guess.
#[derive(Clone, Copy)]
pub struct TokenDigest(pub(super) [u8; 32]);

impl TokenDigest {
    /// The digest of a token as a client presents it, or as the Secret holds it.
    pub fn new(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

impl Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest")
    }
}

/// A Secret of type `dynhost.dev/update-key`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateKey {
    pub meta: Meta,
    /// dynhost made the token.
    pub generated: bool,
    /// Hashes of the UIDs of the hosts that own the Secret, where it was generated; nobody asks for
    /// others. Whoever may write a Secret may write thousands, of any length.
    pub(super) owners: Box<[u64]>,
    /// `None`: the token is missing or too short.
    #[serde(with = "super::packing::digest")]
    pub token: Option<TokenDigest>,
    #[serde(with = "super::packing::digest")]
    pub previous: Option<TokenDigest>,
    /// What the script of 2012 signs with.
    #[serde(with = "super::packing::secret")]
    pub sha1_secret: Option<Sha1Secret>,
}

impl UpdateKey {
    /// `None` for metadata that no API server sends.
    pub fn new(secret: &Secret) -> Option<Self> {
        let digest = |key: &str| {
            let data = secret.data.as_ref()?.get(key)?;
            let token = without_line_end(&data.0);
            (token.len() >= MIN_TOKEN_OCTETS).then(|| TokenDigest::new(token))
        };
        let labels = secret.metadata.labels.as_ref();
        let generated = labels.is_some_and(|l| l.contains_key(GENERATED_LABEL));
        let owners = secret.metadata.owner_references.iter().flatten();
        Some(Self {
            meta: Meta::new(&secret.metadata)?,
            generated,
            owners: match generated {
                true => owners.filter(is_host).map(|o| hash_of(&o.uid)).collect(),
                false => Box::default(),
            },
            token: digest(TOKEN),
            previous: digest(PREVIOUS_TOKEN),
            sha1_secret: secret
                .data
                .as_ref()
                .and_then(|data| Sha1Secret::new(&data.get(SHA1_SECRET)?.0)),
        })
    }

    /// Whether the host with this UID is an owner of the generated Secret.
    pub fn is_owned_by(&self, host: &str) -> bool {
        self.owners.contains(&hash_of(host))
    }

    /// The digests that authenticate: none where the token in force cannot be used.
    pub fn digests(&self) -> impl Iterator<Item = TokenDigest> {
        let previous = self.token.and(self.previous);
        self.token.into_iter().chain(previous)
    }
}

fn is_host(owner: &&OwnerReference) -> bool {
    let group = owner.api_version.split('/').next();
    group == Some(GROUP) && owner.kind == "DynamicHost"
}

fn hash_of(uid: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    hasher.finish()
}

/// One trailing line end is an editor's or `echo`'s, not the user's.
pub(crate) fn without_line_end(token: &[u8]) -> &[u8] {
    let token = token.strip_suffix(b"\n").unwrap_or(token);
    token.strip_suffix(b"\r").unwrap_or(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: serde_json::Value) -> UpdateKey {
        let secret = serde_json::json!({
            "metadata": {"name": "k", "namespace": "n", "uid": "u", "resourceVersion": "1",
                         "creationTimestamp": "2026-01-01T00:00:00Z"},
            "data": data,
        });
        UpdateKey::new(&serde_json::from_value(secret).unwrap()).unwrap()
    }

    #[test]
    fn a_secrets_tokens_are_what_clients_must_present() {
        use base64::Engine as _;
        fn check(token: Option<&str>, previous: Option<&str>, accepted: &[&str]) {
            let b64 = |t: &str| base64::engine::general_purpose::STANDARD.encode(t);
            let mut data = serde_json::Map::new();
            token.map(|t| data.insert("token".into(), b64(t).into()));
            previous.map(|t| data.insert("previousToken".into(), b64(t).into()));
            let key = secret(data.into());
            let expected: Vec<_> = accepted
                .iter()
                .map(|t| TokenDigest::new(t.as_bytes()))
                .collect();
            let digests: Vec<_> = key.digests().collect();
            assert!(digests == expected, "{token:?} {previous:?}");
        }
        check(Some("correct-horse"), None, &["correct-horse"]);
        check(Some("correct-horse\n"), None, &["correct-horse"]);
        check(Some("correct-horse\r\n"), None, &["correct-horse"]);
        check(Some("correct-horse\n\n"), None, &["correct-horse\n"]);
        check(Some("12-octets-ok"), None, &["12-octets-ok"]);
        check(Some("11-octets-x"), None, &[]);
        check(Some("11-octets-x\n"), None, &[]);
        check(Some(""), None, &[]);
        check(None, Some("former-horse-1"), &[]);
        check(Some("correct-horse"), Some(""), &["correct-horse"]);
        check(
            Some("correct-horse"),
            Some("former-horse-1"),
            &["correct-horse", "former-horse-1"],
        );
    }

    #[test]
    fn owners_are_the_hosts_that_a_generated_secret_names() {
        let owner = |api_version: &str, kind: &str, uid: &str| {
            let uid = uid.to_owned();
            serde_json::json!({"apiVersion": api_version, "kind": kind, "name": "h", "uid": uid})
        };
        let key = |generated: bool| {
            let mut metadata = serde_json::json!({
                "name": "k", "namespace": "n", "uid": "u", "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [
                    owner("dynhost.dev/v1alpha1", "DynamicHost", "one"),
                    owner("dynhost.dev/v1alpha1", "DynamicHost", &"x".repeat(1 << 20)),
                    owner("dynhost.dev/v1alpha1", "DynamicZone", "zone"),
                    owner("v1", "Pod", "pod"),
                    owner("dynhost.dev/v1", "DynamicHost", "two"),
                ],
            });
            if generated {
                metadata["labels"] = serde_json::json!({"dynhost.dev/generated": "true"});
            }
            let secret = serde_json::json!({"metadata": metadata});
            UpdateKey::new(&serde_json::from_value(secret).unwrap()).unwrap()
        };
        let generated = key(true);
        for (uid, expected) in [
            ("one", true),
            ("two", true),
            ("zone", false),
            ("pod", false),
        ] {
            assert_eq!(generated.is_owned_by(uid), expected, "{uid}");
        }
        // Nobody asks whose the others are.
        assert!(!key(false).is_owned_by("one"));
        assert_eq!((generated.owners.len(), key(false).owners.len()), (3, 0));
        assert_eq!(size_of_val(&*generated.owners), 3 * 8);
    }

    #[test]
    fn a_digest_prints_nothing() {
        let printed = format!("{:?}", TokenDigest::new(b"correct-horse"));
        assert_eq!(printed, "TokenDigest");
    }
}
