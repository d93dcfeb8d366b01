//! Thousands of hosts that are published: objects, update keys and records.
//!
//! One host goes the whole way through the product. The others are copies of what is stored of it,
//! with names, UIDs, keys and markers of their own, put into etcd and into the zone directly: that
//! takes seconds, where the API server would take minutes to create as many.

mod template;

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::stack::{Stack, Zone, ZoneOptions, condition};
use anyhow::{Result, ensure};
use dynhost_crds::conditions::{ConditionStatus, ConditionType};
use dynhost_crds::host::DynamicHost;
use dynhost_crds::key;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};

use self::template::Template;
use super::await_quiet;
use super::raw_zone::{RawZone, WINDOW, Write};
use super::request::{Exchange, dyndns2};

/// Objects that are put at a time, so that they are not all in memory here.
const PUT: usize = 10_000;

/// Names in a message.
const BATCH: usize = 100;

pub struct Population {
    pub zone: Zone,
    template: Template,
    /// What each host reported last.
    addresses: Vec<Ipv4Addr>,
}

/// Another address for each host in each round, of a block that is public.
pub fn address(round: usize, host: usize) -> Ipv4Addr {
    const FIRST: u32 = u32::from_be_bytes([203, 1, 0, 0]);
    const ROUND: usize = 1 << 17;
    let offset = u32::try_from(round * ROUND + host).unwrap_or_default();
    Ipv4Addr::from(FIRST + offset)
}

impl Population {
    /// That many hosts of a zone of their own. The operator is stopped then.
    pub async fn create(stack: &Stack, options: ZoneOptions, size: usize) -> Result<Self> {
        let options = ZoneOptions {
            ownership_id: Some("bench".to_owned()),
            ..options
        };
        let zone = stack.create_zone(options).await?;
        let host = zone.host(&template::name(0));
        let token = stack.create_host(&host).await?;
        let first = address(0, 0);
        let answer = stack
            .update(&host.spec.hostname, &token, &first.to_string())
            .await?;
        ensure!(answer.text().starts_with("good "), "answered {answer:?}");
        stack
            .await_host(
                &zone.namespace,
                &template::name(0),
                "is published",
                |host| is_published(host, first),
            )
            .await?;
        await_quiet(&stack.operator).await?;
        stack.operator.terminate().await?;
        let mut population = Self {
            template: Template::read(stack, &zone, token).await?,
            zone,
            addresses: vec![first],
        };
        population.grow(stack, size).await?;
        Ok(population)
    }

    /// Adds hosts up to that many. The operator must be stopped.
    pub async fn grow(&mut self, stack: &Stack, size: usize) -> Result<()> {
        let (bind, zone) = (&stack.bind, &self.zone);
        let mut records = RawZone::new(bind.address(), &zone.apex, &zone.key)?;
        while self.addresses.len() < size {
            let first = self.addresses.len();
            let some = first..size.min(first + PUT);
            let objects: Vec<_> = some
                .clone()
                .flat_map(|i| self.template.objects(i, address(0, i)))
                .collect();
            stack.control_plane.store(&objects).await?;
            let writes: Vec<_> = some.clone().map(|i| self.write(i)).collect();
            records.write(&writes, BATCH, WINDOW).await?;
            self.addresses.extend(some.map(|i| address(0, i)));
        }
        self.end_revision(stack).await
    }

    /// Objects that were put together have one revision, and a watch that begins in the midst of it
    /// is never told of the rest: a later revision of each kind makes the API server wait for all.
    async fn end_revision(&self, stack: &Stack) -> Result<()> {
        let namespace = &self.zone.namespace;
        let client = stack.client().await?;
        let name = "the-last";
        let hosts: Api<DynamicHost> = Api::namespaced(client.clone(), namespace);
        let host = self.zone.host(name);
        hosts.create(&PostParams::default(), &host).await?;
        hosts.delete(name, &DeleteParams::default()).await?;
        let secrets: Api<Secret> = Api::namespaced(client, namespace);
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(key::SECRET_TYPE.to_owned()),
            ..Secret::default()
        };
        secrets.create(&PostParams::default(), &secret).await?;
        secrets.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// The first write of a host's records.
    pub fn write(&self, host: usize) -> Write {
        Write {
            hostname: self.hostname(host),
            address: address(0, host),
            marker: self.template.marker(host),
            former: None,
        }
    }

    pub fn size(&self) -> usize {
        self.addresses.len()
    }

    /// The DynamicHost's name.
    pub fn name(&self, host: usize) -> String {
        template::name(host)
    }

    pub fn hostname(&self, host: usize) -> String {
        format!("{}.{}", template::name(host), self.zone.apex)
    }

    /// A report of another address, which is what the host should have from now on.
    pub fn report(&mut self, host: usize, round: usize) -> Exchange {
        let address = self.set(host, round);
        let token = self.template.token(host);
        Exchange {
            request: dyndns2(&self.hostname(host), &token, &address.to_string(), ""),
            status: 200,
            body: format!("good {address}"),
        }
    }

    /// Notes that the host should have the address of that round.
    pub fn set(&mut self, host: usize, round: usize) -> Ipv4Addr {
        let address = address(round, host);
        if let Some(current) = self.addresses.get_mut(host) {
            *current = address;
        }
        address
    }

    /// How many hosts have address and marker in DNS.
    pub async fn in_dns(&self, stack: &Stack) -> Result<usize> {
        let records = stack.bind.dump(&self.zone.apex).await?;
        let mut addresses = HashMap::new();
        let mut markers = HashMap::new();
        for record in &records {
            // Name, TTL, class, type, data.
            let mut words = record.splitn(5, ' ');
            let name = words.next().unwrap_or_default().trim_end_matches('.');
            match (words.nth(2), words.next()) {
                (Some("A"), Some(address)) => drop(addresses.insert(name, address)),
                (Some("TXT"), Some(_)) => {
                    *markers.entry(name).or_insert(0) += 1;
                }
                _ => {}
            }
        }
        let is_in_dns = |host: usize, wanted: &Ipv4Addr| {
            let hostname = self.hostname(host);
            addresses.get(hostname.as_str()) == Some(&wanted.to_string().as_str())
                && markers.get(format!("_dynhost.{hostname}").as_str()) == Some(&1)
        };
        let all = self.addresses.iter().enumerate();
        Ok(all
            .filter(|(host, wanted)| is_in_dns(*host, wanted))
            .count())
    }

    /// How many hosts' status says that they are published with the address that they should have.
    pub async fn in_status(&self, stack: &Stack) -> Result<usize> {
        let hosts = stack.hosts(&self.zone.namespace).await?;
        let mut count = 0;
        let mut params = ListParams::default().limit(500);
        loop {
            let page = hosts.list(&params).await?;
            for host in &page.items {
                let name = host.metadata.name.as_deref().unwrap_or_default();
                let wanted = template::number(name).and_then(|i| self.addresses.get(i));
                count += usize::from(wanted.is_some_and(|wanted| is_published(host, *wanted)));
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(count);
            }
        }
    }
}

fn is_published(host: &DynamicHost, address: Ipv4Addr) -> bool {
    let published = condition(host, ConditionType::Published);
    let status = host.status.as_ref();
    let rrsets = status.and_then(|status| Some(&status.published.as_ref()?.rrsets));
    published.is_some_and(|published| published.status == ConditionStatus::True)
        && rrsets.is_some_and(|rrsets| {
            let address = address.to_string();
            rrsets
                .iter()
                .any(|rrset| rrset.rtype == "A" && rrset.values == [address.as_str()])
        })
}
