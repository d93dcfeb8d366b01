//! The hosts of a load, each with a key of its own.

use std::{collections::HashMap, net::Ipv4Addr, time::Duration};

use anyhow::{Result, ensure};
use dynhost_crds::{
    conditions::{ConditionStatus, ConditionType},
    host::DynamicHost,
    key,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, ObjectMeta, PostParams},
};

use crate::{
    Zone, ZoneOptions, await_condition, random_hex,
    stack::{Stack, condition},
};

/// Creations in flight.
const CREATIONS: usize = 8;

/// Some seconds for some hundred hosts; the operator may be one built for debugging.
const LIMIT: Duration = Duration::from_secs(120);

/// A zone and hosts that are Ready, none of which was reported yet.
#[derive(Clone, Debug)]
pub struct Population {
    /// Where they are.
    pub zone: Zone,
    /// Their names, in the order of their numbers.
    pub hostnames: Vec<String>,
    /// Their keys.
    pub tokens: Vec<String>,
}

impl Population {
    /// Creates them; an operator must run.
    ///
    /// # Errors
    /// Where one is refused, or does not become Ready.
    pub async fn create(stack: &Stack, options: ZoneOptions, size: usize) -> Result<Self> {
        let zone = stack.create_zone(options).await?;
        let api = stack.hosts(&zone.namespace).await?;
        let secrets = Api::<Secret>::namespaced(stack.client().await?, &zone.namespace);
        let (hostnames, tokens) = stream::iter(0..size)
            .map(|number| {
                let host = zone.host(&format!("h{number}"));
                let (api, secrets) = (&api, &secrets);
                async move {
                    let token = random_hex(16)?;
                    let secret = update_key(&host, &token);
                    secrets.create(&PostParams::default(), &secret).await?;
                    api.create(&PostParams::default(), &host).await?;
                    anyhow::Ok((host.spec.hostname, token))
                }
            })
            .buffered(CREATIONS)
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .unzip();
        await_condition("all hosts are Ready", LIMIT, async || {
            let all = api.list(&ListParams::default()).await?.items;
            let is_ready = |host: &&_| {
                condition(host, ConditionType::Ready)
                    .is_some_and(|ready| ready.status == ConditionStatus::True)
            };
            let ready = all.iter().filter(is_ready).count();
            ensure!(ready == size, "{ready} of {size} are");
            Ok(Some(()))
        })
        .await?;
        Ok(Self {
            zone,
            hostnames,
            tokens,
        })
    }

    /// What DNS has of each, by a transfer.
    ///
    /// # Errors
    /// Where BIND does not answer.
    pub async fn in_dns(&self, stack: &Stack) -> Result<Vec<Vec<Ipv4Addr>>> {
        let records = stack.bind.dump(&self.zone.apex).await?;
        let mut addresses: HashMap<&str, Vec<Ipv4Addr>> = HashMap::new();
        for record in &records {
            // Name, TTL, class, type, data.
            let words: Vec<_> = record.split(' ').collect();
            if let [name, _, _, "A", address] = words[..] {
                let of_name = addresses.entry(name.trim_end_matches('.'));
                of_name.or_default().push(address.parse()?);
            }
        }
        let of = |name: &String| addresses.remove(name.as_str()).unwrap_or_default();
        Ok(self.hostnames.iter().map(of).collect())
    }
}

fn update_key(host: &DynamicHost, token: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(format!("{}-update-key", host.name_any())),
            ..ObjectMeta::default()
        },
        type_: Some(key::SECRET_TYPE.to_owned()),
        string_data: Some([(key::TOKEN.to_owned(), token.to_owned())].into()),
        ..Secret::default()
    }
}
