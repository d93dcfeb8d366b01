//! A host's whole life, step by step.

use anyhow::{Context, Result, ensure};
use dynhost_crds::{host::DynamicHost, zone::DynamicZone};
use dynhost_e2e::{Zone, await_condition, http, stack::LIMIT};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{lane::Lane, state::State};

/// What others have in the zone, in the way of nothing.
const FOREIGN: [&str; 6] = [
    "www 300 A 192.0.2.1",
    "www 300 AAAA 2001:db8:bad::1",
    "mail 300 CNAME www",
    "@ 300 MX 10 mail.example.net.",
    "home 300 TXT \"beside\"",
    "sub 300 NS ns.example.net.",
];

const LABEL: &str = "home";

/// What the client, the host's owner or the zone's administrator does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    CreateZone,
    CreateHost,
    FirstReport,
    Change,
    SecondFamily,
    OtherTtl,
    Suspend,
    Resume,
    Withdraw,
    DeleteHost,
    DeleteZone,
}

impl Step {
    /// A life, in its order.
    pub(crate) const ALL: [Self; 11] = [
        Self::CreateZone,
        Self::CreateHost,
        Self::FirstReport,
        Self::Change,
        Self::SecondFamily,
        Self::OtherTtl,
        Self::Suspend,
        Self::Resume,
        Self::Withdraw,
        Self::DeleteHost,
        Self::DeleteZone,
    ];

    /// What DNS has of the host behind it.
    fn records(self) -> &'static [&'static str] {
        match self {
            Self::CreateZone | Self::CreateHost | Self::DeleteHost | Self::DeleteZone => &[],
            Self::FirstReport => &["_dynhost.home 60 TXT v=1 o=home", "home 60 A 198.51.100.7"],
            Self::Change => &["_dynhost.home 60 TXT v=1 o=home", "home 60 A 198.51.100.8"],
            Self::SecondFamily => &[
                "_dynhost.home 60 TXT v=1 o=home",
                "home 60 A 198.51.100.8",
                "home 60 AAAA 2001:db8::7",
            ],
            Self::OtherTtl | Self::Suspend | Self::Resume => &[
                "_dynhost.home 30 TXT v=1 o=home",
                "home 30 A 198.51.100.8",
                "home 30 AAAA 2001:db8::7",
            ],
            Self::Withdraw => &[
                "_dynhost.home 30 TXT v=1 o=home",
                "home 30 AAAA 2001:db8::7",
            ],
        }
    }

    /// Some of what it makes the operator write.
    pub(crate) fn writes(self) -> &'static [&'static str] {
        const REPORT: &str = "PATCH dynamichosts/status by dynhost-endpoint";
        const STATUS: &str = "PATCH dynamichosts/status by dynhost-controller";
        const HOST: &str = "PATCH dynamichosts by dynhost-controller";
        const ZONE_STATUS: &str = "PATCH dynamiczones/status by dynhost-controller";
        const ZONE: &str = "PATCH dynamiczones by dynhost-controller";
        const KEY: &str = "POST secrets by dynhost-controller";
        match self {
            Self::CreateZone => &[ZONE_STATUS],
            Self::CreateHost => &[HOST, KEY, STATUS, ZONE, ZONE_STATUS],
            Self::FirstReport | Self::Change | Self::SecondFamily | Self::Withdraw => {
                &[REPORT, "UPDATE", STATUS]
            }
            Self::OtherTtl => &["UPDATE", STATUS],
            Self::Suspend | Self::Resume => &[STATUS],
            Self::DeleteHost => &["UPDATE", HOST, ZONE_STATUS],
            Self::DeleteZone => &[ZONE],
        }
    }

    /// The reason of the host's condition Published behind it, where there is a host.
    fn published(self) -> Option<&'static str> {
        match self {
            Self::CreateZone | Self::DeleteHost | Self::DeleteZone => None,
            Self::CreateHost => Some("AwaitingFirstUpdate"),
            Self::Suspend => Some("Suspended"),
            _ => Some("Published"),
        }
    }
}

/// One life, with a zone and a namespace of its own.
pub(crate) struct Life<'a> {
    lane: &'a Lane,
    pub(crate) zone: Zone,
    hosts: Api<DynamicHost>,
    zones: Api<DynamicZone>,
    /// The records that the zone began with.
    foreign: Vec<String>,
}

impl<'a> Life<'a> {
    /// Takes the first step, [`Step::CreateZone`].
    pub(crate) async fn begin(lane: &'a Lane) -> Result<Self> {
        let zone = lane.create_zone(&FOREIGN).await?;
        let mut life = Self {
            hosts: lane.hosts(&zone),
            zones: Api::namespaced(lane.client.clone(), &zone.namespace),
            foreign: Vec::new(),
            lane,
            zone,
        };
        life.foreign = life.state().await?.records;
        ensure!(life.foreign.len() == FOREIGN.len() + 2, "{:?}", life.foreign);
        Ok(life)
    }

    pub(crate) async fn state(&self) -> Result<State> {
        State::of(self.lane, &self.zone).await
    }

    /// Takes a step. A client repeats what was not acknowledged.
    pub(crate) async fn take(&self, step: Step) -> Result<()> {
        match step {
            Step::CreateZone => Ok(()),
            Step::CreateHost => self.create_host().await,
            Step::FirstReport => self.request("update", "198.51.100.7").await,
            Step::Change => self.request("update", "198.51.100.8").await,
            Step::SecondFamily => self.request("update", "198.51.100.8,2001:db8::7").await,
            Step::OtherTtl => self.change_host(json!({"ttl": 30})).await,
            Step::Suspend => self.change_host(json!({"suspend": true})).await,
            Step::Resume => self.change_host(json!({"suspend": false})).await,
            Step::Withdraw => self.request("delete", "198.51.100.8").await,
            Step::DeleteHost => {
                self.hosts.delete(LABEL, &Default::default()).await?;
                Ok(())
            }
            Step::DeleteZone => {
                let name = &self.zone.name;
                self.zones.delete(name, &Default::default()).await?;
                Ok(())
            }
        }
    }

    /// Waits until a step has had all its consequences, and returns what is then.
    pub(crate) async fn await_settled(&self, step: Step) -> Result<State> {
        await_condition(&format!("{step:?} is settled"), LIMIT, async || {
            let state = self.state().await?;
            let records = state.records_beside(&self.foreign);
            ensure!(records == step.records(), "DNS has {records:?}");
            let missing = self.foreign.iter().find(|f| !state.records.contains(f));
            ensure!(missing.is_none(), "somebody else's {missing:?} is gone");
            check_objects(step, &state)?;
            Ok(Some(state))
        })
        .await
        .with_context(|| self.lane.stack().operator.log_tail(30))
    }

    /// Waits until all is as it was behind this step of an undisturbed life.
    pub(crate) async fn await_same(&self, step: Step, expected: &State) -> Result<()> {
        await_condition(&format!("{step:?} ends as undisturbed"), LIMIT, async || {
            let state = self.state().await?;
            ensure!(state == *expected, "{state:#?}\ninstead of {expected:#?}");
            Ok(Some(()))
        })
        .await
        .with_context(|| self.lane.stack().operator.log_tail(30))
    }

    async fn create_host(&self) -> Result<()> {
        let mut host = self.zone.host(LABEL);
        host.spec.auth.allow_clear = true;
        self.hosts.create(&PostParams::default(), &host).await?;
        Ok(())
    }

    async fn change_host(&self, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.hosts
            .patch(LABEL, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Repeats a request until it is acknowledged.
    async fn request(&self, verb: &str, addresses: &str) -> Result<()> {
        let stack = self.lane.stack();
        let token = stack
            .update_key(&self.zone.namespace, &format!("{LABEL}-update-key"))
            .await?;
        let hostname = format!("{LABEL}.{}", self.zone.apex);
        let target = format!("/nic/{verb}?hostname={hostname}&myip={addresses}");
        await_condition(&format!("{target} is acknowledged"), LIMIT, async || {
            let address = stack.operator.update_address();
            let answer = http::get(address, &target, Some(("router", &token))).await?;
            let text = answer.text();
            let is_acknowledged = text.starts_with("good") || text.starts_with("nochg");
            ensure!(answer.status == 200 && is_acknowledged, "{}: {text}", answer.status);
            Ok(Some(()))
        })
        .await
        .with_context(|| stack.operator.log_tail(30))
    }
}

/// Checks all that the operator has to write into objects behind a step.
fn check_objects(step: Step, state: &State) -> Result<()> {
    let zone = state.objects.get("zone zone");
    let host = state.objects.get(&format!("host {LABEL}"));
    ensure!(zone.is_some() == (step != Step::DeleteZone), "the zone is {zone:?}");
    if let Some(zone) = zone {
        let is_ready = has_condition(zone, "Ready", "True", "Ready");
        let hosts = u64::from(step.published().is_some());
        ensure!(is_ready && zone["status"]["hosts"] == hosts, "the zone is {zone:#}");
        let is_held = zone["metadata"]["finalizers"] == json!(["dynhost.dev/in-use"]);
        ensure!(is_held == (step != Step::CreateZone), "the zone is {zone:#}");
    }
    ensure!(host.is_some() == step.published().is_some(), "the host is {host:?}");
    let key = state.objects.contains_key(&format!("secret {LABEL}-update-key"));
    ensure!(key == host.is_some(), "the key is there: {key}");
    if let (Some(host), Some(reason)) = (host, step.published()) {
        let generation = &host["metadata"]["generation"];
        let is_current = host["status"]["observedGeneration"] == *generation;
        let conditions = host["status"]["conditions"].as_array();
        let published = conditions.into_iter().flatten();
        let published = published.filter(|condition| condition["type"] == "Published");
        let is_told = published.clone().any(|published| published["reason"] == reason);
        ensure!(is_current && is_told, "the host is {host:#}");
        let rrsets = host["status"]["published"]["rrsets"].as_array();
        let rrsets = rrsets.map_or(0, Vec::len);
        ensure!(rrsets == step.records().len().saturating_sub(1), "{host:#}");
    }
    let knows = state.knows_its_marker.values().all(|knows| *knows);
    ensure!(knows, "status names another marker than DNS has");
    Ok(())
}

fn has_condition(object: &Value, of: &str, status: &str, reason: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        condition["type"] == of && condition["status"] == status && condition["reason"] == reason
    })
}
