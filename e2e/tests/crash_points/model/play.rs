//! The operations on the real parts, and the model held against what has come of them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use dynhost_crds::{
    conditions::ConditionType,
    host::{Alias, AliasType, DynamicHost, IpFamily, Ipv6FromPrefix, PrefixFrom},
};
use dynhost_e2e::{
    Zone, await_condition, http,
    stack::{LIMIT, condition},
};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    operation::{Operation, ROUTER},
    world::{Host, Told, World},
};
use crate::{
    lane::Lane,
    state::{relative, without_nonce},
};

/// A zone of BIND, and the hosts in it.
pub(super) struct Play<'a> {
    lane: &'a Lane,
    zone: Zone,
    hosts: Api<DynamicHost>,
}

impl<'a> Play<'a> {
    /// A zone with these records of others and the router's host in it.
    pub(super) async fn begin(lane: &'a Lane, foreign: &[&str]) -> Result<Self> {
        let zone = lane.create_zone(foreign).await?;
        let play = Self {
            lane,
            hosts: lane.hosts(&zone),
            zone,
        };
        let router = Host {
            label: ROUTER,
            ..Host::default()
        };
        play.create(ROUTER, &router).await?;
        Ok(play)
    }

    /// All records but the SOA, names relative to the apex.
    pub(super) async fn records(&self) -> Result<BTreeSet<String>> {
        let records = self.lane.stack().bind.dump(&self.zone.apex).await?;
        Ok(records.iter().map(|r| relative(r, &self.zone)).collect())
    }

    pub(super) async fn perform(&self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Create { object, host } => self.create(object, host).await,
            Operation::Delete { object } => {
                self.hosts.delete(object, &Default::default()).await?;
                Ok(())
            }
            Operation::Change { object, host } => self.change(object, host).await,
            Operation::ChangeFamilies { object, host } => {
                self.change(object, host).await?;
                await_condition(&format!("{object} is looked at"), LIMIT, async || {
                    let host = self.hosts.get(object).await?;
                    Ok(is_current(&host).then_some(()))
                })
                .await
            }
            Operation::Report { object, addresses } => {
                self.request(object, "update", addresses).await
            }
            Operation::Withdraw { object, address } => {
                self.request(object, "delete", address).await
            }
            Operation::Prefix(prefix) => {
                let prefix = format!("2001:db8:{prefix:x}::/64");
                self.request(ROUTER, "update", &prefix).await
            }
            Operation::Nsupdate(lines) => self.nsupdate(lines).await,
            Operation::Touch => {
                let touched = json!({"metadata": {"annotations": {
                    "example.org/touched": Timestamp::now().to_string(),
                }}});
                for host in self.hosts.list_metadata(&ListParams::default()).await? {
                    self.patch(&host.name_any(), touched.clone()).await?;
                }
                Ok(())
            }
        }
    }

    /// Waits until all is as the model says.
    pub(super) async fn await_settled(&self, world: &World) -> Result<()> {
        await_condition("all is as the model says", LIMIT, async || {
            let found = self.records().await?;
            let lost: Vec<_> = world.foreign.difference(&found).collect();
            ensure!(lost.is_empty(), "somebody else's {lost:?} is gone");
            let ours = found.difference(&world.foreign);
            let ours: BTreeSet<_> = ours.map(|record| without_nonce(record)).collect();
            let expected = world.records();
            ensure!(
                ours == expected,
                "DNS has {ours:#?} of ours instead of {expected:#?}"
            );
            let hosts = self.hosts.list(&ListParams::default()).await?;
            for host in &hosts {
                ensure!(
                    is_told(host, world),
                    "{} says {:#?}",
                    host.name_any(),
                    host.status
                );
            }
            // And the router's.
            let number = world.hosts.len() + 1;
            ensure!(
                hosts.items.len() == number,
                "{} hosts, not {number}",
                hosts.items.len()
            );
            Ok(Some(()))
        })
        .await
        .with_context(|| self.lane.stack().operator.log_tail(10))
    }

    async fn create(&self, object: &str, host: &Host) -> Result<()> {
        let host = self.object(object, host);
        self.hosts.create(&PostParams::default(), &host).await?;
        Ok(())
    }

    /// Writes the fields of the spec that may change.
    async fn change(&self, object: &str, host: &Host) -> Result<()> {
        let spec = self.object(object, host).spec;
        let spec = json!({
            "ttl": spec.ttl,
            "families": spec.families,
            "aliases": spec.aliases,
            "suspend": spec.suspend,
        });
        self.patch(object, json!({ "spec": spec })).await
    }

    fn object(&self, name: &str, host: &Host) -> DynamicHost {
        let mut object = self.zone.host(host.label);
        object.metadata.name = Some(name.to_owned());
        let spec = &mut object.spec;
        spec.ttl = host.ttl;
        spec.suspend = host.suspend;
        spec.auth.allow_clear = true;
        if host.only_ipv4 {
            spec.families = vec![IpFamily::IPv4];
        }
        if host.aliases {
            let alias = |front: &str, type_| Alias {
                name: format!("{front}.{}", spec.hostname),
                type_,
            };
            spec.aliases = vec![alias("a", AliasType::Address), alias("c", AliasType::Cname)];
        }
        if host.is_behind_router {
            spec.ipv6 = Some(Ipv6FromPrefix {
                interface_id: Some("::1234".to_owned()),
                mac_address: None,
                prefix_from: Some(PrefixFrom {
                    name: ROUTER.to_owned(),
                }),
            });
        }
        object
    }

    async fn patch(&self, object: &str, patch: serde_json::Value) -> Result<()> {
        let params = PatchParams::default();
        // It may be gone by now, where all are touched.
        match self
            .hosts
            .patch(object, &params, &Patch::Merge(patch))
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    /// Repeats a request until it is acknowledged.
    async fn request(&self, object: &str, verb: &str, addresses: &str) -> Result<()> {
        let label = self.hosts.get(object).await?.spec.hostname;
        let target = format!("/nic/{verb}?hostname={label}&myip={addresses}");
        let stack = self.lane.stack();
        await_condition(&format!("{target} is acknowledged"), LIMIT, async || {
            let key = format!("{object}-update-key");
            let token = self.lane.token(&self.zone, &key).await?;
            let address = stack.operator.update_address();
            let answer = http::get(address, &target, Some(("router", &token))).await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            Ok(Some(()))
        })
        .await
        .with_context(|| stack.operator.log_tail(10))
    }

    /// Names become absolute: the second word of `update delete` and of `update add`.
    async fn nsupdate(&self, lines: &[String]) -> Result<()> {
        let absolute = lines.iter().map(|line| {
            let mut words: Vec<&str> = line.splitn(4, ' ').collect();
            let name = format!("{}.{}.", words[2], self.zone.apex);
            words[2] = &name;
            words.join(" ")
        });
        let script = absolute.collect::<Vec<_>>().join("\n");
        let bind = &self.lane.stack().bind;
        bind.nsupdate(&self.zone.apex, &self.zone.key, &script)
            .await
    }
}

/// Whether the controller has judged a host's present spec.
fn is_current(host: &DynamicHost) -> bool {
    let status = host.status.as_ref();
    status.and_then(|status| status.observed_generation) == host.metadata.generation
}

/// Whether a host says what it must, of its present spec.
fn is_told(host: &DynamicHost, world: &World) -> bool {
    let reason = |of| condition(host, of).map(|condition| condition.reason.as_str());
    is_current(host)
        && match world.told(&host.name_any()) {
            Told::Anything => true,
            Told::NameConflict => reason(ConditionType::Accepted) == Some("NameConflict"),
            Told::Published(told) => reason(ConditionType::Published) == Some(told),
        }
}
