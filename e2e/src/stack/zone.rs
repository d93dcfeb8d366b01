//! A DNS zone, its TSIG key and its DynamicZone, of one test's own.

use anyhow::{Context, Result};
use dynhost_crds::{
    conditions::ConditionStatus,
    host::{DynamicHost, DynamicHostSpec, IpFamily, ZoneRef},
    zone::{
        AllowedHosts, AllowedNamespaces, DynamicZone, DynamicZoneSpec, NamespacesFrom, Ownership,
        OwnershipMode, Rfc2136, SecretKeyRef, Tsig, TsigAlgorithm as CrdTsigAlgorithm,
    },
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};

use super::{LIMIT, Stack};
use crate::{TsigAlgorithm, TsigKey, ZoneSpec, await_condition, random_hex};

/// What a test may want otherwise.
#[derive(Clone, Debug)]
pub struct ZoneOptions {
    /// The algorithm of the TSIG key.
    pub algorithm: TsigAlgorithm,
    /// Further lines of the zone file.
    pub records: Vec<String>,
    /// Whose hosts the zone admits.
    pub from: NamespacesFrom,
    /// `spec.ownership.id`.
    pub ownership_id: Option<String>,
    /// `spec.ownership.mode`.
    pub ownership_mode: OwnershipMode,
    /// Other servers than BIND itself, such as a proxy in front of it.
    pub servers: Option<Vec<String>>,
    /// BIND lets the operator transfer the zone.
    pub allow_transfer: bool,
}

impl Default for ZoneOptions {
    fn default() -> Self {
        Self {
            algorithm: TsigAlgorithm::HmacSha256,
            records: Vec::new(),
            from: NamespacesFrom::Same,
            ownership_id: None,
            ownership_mode: OwnershipMode::Marker,
            servers: None,
            allow_transfer: false,
        }
    }
}

/// A zone that BIND serves and a DynamicZone describes.
#[derive(Clone, Debug)]
pub struct Zone {
    /// The DynamicZone's namespace, made for it.
    pub namespace: String,
    /// The DynamicZone's name.
    pub name: String,
    /// The domain.
    pub apex: String,
    /// The key that may update it, in the Secret `tsig`.
    pub key: TsigKey,
}

impl Zone {
    /// A host `label` of this zone, in the zone's namespace, with every default; not yet created.
    pub fn host(&self, label: &str) -> DynamicHost {
        let mut host = DynamicHost::new(
            label,
            DynamicHostSpec {
                hostname: format!("{label}.{}", self.apex),
                zone_ref: ZoneRef {
                    name: self.name.clone(),
                    namespace: Some(self.namespace.clone()),
                },
                ttl: None,
                families: vec![IpFamily::IPv4, IpFamily::IPv6],
                auth: Default::default(),
                address: Default::default(),
                ipv6: None,
                aliases: Vec::new(),
                stale_after: None,
                when_stale: Default::default(),
                deletion_policy: Default::default(),
                suspend: false,
            },
        );
        host.metadata.namespace = Some(self.namespace.clone());
        host
    }
}

impl Stack {
    /// Makes a namespace, a zone in BIND with a key of its own, the key's Secret and the
    /// DynamicZone, and waits until that is Ready.
    ///
    /// # Errors
    /// Where one of them is refused or the zone does not become Ready.
    pub async fn create_zone(&self, options: ZoneOptions) -> Result<Zone> {
        let zone = self.create_zone_unready(options).await?;
        let zones: Api<DynamicZone> = Api::namespaced(self.client().await?, &zone.namespace);
        await_condition(&format!("zone {} is Ready", zone.apex), LIMIT, async || {
            let status = zones.get(&zone.name).await?.status.unwrap_or_default();
            let is_ready = status.conditions.iter().any(|condition| {
                condition.type_ == "Ready" && condition.status == ConditionStatus::True
            });
            Ok(is_ready.then_some(()))
        })
        .await
        .with_context(|| self.operator.log_tail(20))?;
        Ok(zone)
    }

    /// As [`Self::create_zone`], and waits for nothing.
    ///
    /// # Errors
    /// Where one of its objects is refused.
    pub async fn create_zone_unready(&self, options: ZoneOptions) -> Result<Zone> {
        let zone = Zone {
            namespace: self.control_plane.namespace("zone").await?,
            name: "zone".to_owned(),
            apex: format!("z{}.example.org", random_hex(5)?),
            key: TsigKey::generate(options.algorithm)?,
        };
        let served = ZoneSpec {
            apex: zone.apex.clone(),
            keys: vec![zone.key.clone()],
            records: options.records.clone(),
            allow_transfer: options.allow_transfer,
        };
        self.bind.add_zone(served).await?;
        let client = self.client().await?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some("tsig".to_owned()),
                ..ObjectMeta::default()
            },
            string_data: Some([("secret".to_owned(), zone.key.secret.clone())].into()),
            ..Secret::default()
        };
        Api::<Secret>::namespaced(client.clone(), &zone.namespace)
            .create(&PostParams::default(), &secret)
            .await?;
        let servers = options
            .servers
            .unwrap_or_else(|| vec![self.bind.address().to_string()]);
        let resource = DynamicZone::new(
            &zone.name,
            DynamicZoneSpec {
                domain: zone.apex.clone(),
                ttl: 60,
                rfc2136: Some(Rfc2136 {
                    servers,
                    tsig: Tsig {
                        key_name: zone.key.name.clone(),
                        algorithm: crd_algorithm(zone.key.algorithm),
                        secret_ref: SecretKeyRef {
                            name: secret.name_any(),
                            key: "secret".to_owned(),
                        },
                    },
                }),
                allowed_hosts: AllowedHosts {
                    namespaces: AllowedNamespaces {
                        from: options.from,
                        selector: None,
                    },
                    ..AllowedHosts::default()
                },
                ownership: Ownership {
                    mode: options.ownership_mode,
                    id: options.ownership_id,
                },
            },
        );
        Api::<DynamicZone>::namespaced(client, &zone.namespace)
            .create(&PostParams::default(), &resource)
            .await?;
        Ok(zone)
    }
}

fn crd_algorithm(algorithm: TsigAlgorithm) -> CrdTsigAlgorithm {
    match algorithm {
        TsigAlgorithm::HmacSha1 => CrdTsigAlgorithm::HmacSha1,
        TsigAlgorithm::HmacSha256 => CrdTsigAlgorithm::HmacSha256,
        TsigAlgorithm::HmacSha384 => CrdTsigAlgorithm::HmacSha384,
        TsigAlgorithm::HmacSha512 => CrdTsigAlgorithm::HmacSha512,
    }
}
