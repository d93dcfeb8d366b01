//! A host's life in a zone that others use too.

use anyhow::{Context, Result, ensure};
use dynhost_crds::{host::DynamicHost, zone::DynamicZone};
use dynhost_e2e::{Zone, await_condition, http, stack::LIMIT};
use jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    lane::Lane,
    state::State,
    step::{Expected, Step},
};

/// What others have in the zone, in the way of nothing.
const FOREIGN: [&str; 6] = [
    "www 300 A 192.0.2.1",
    "www 300 AAAA 2001:db8:bad::1",
    "mail 300 CNAME www",
    "@ 300 MX 10 mail.example.net.",
    "home 300 TXT \"beside\"",
    "sub 300 NS ns.example.net.",
];

/// The host's name in Kubernetes, and its first label in DNS.
const LABEL: &str = "home";

/// One life, with a zone and a namespace of its own.
pub(crate) struct Life<'a> {
    lane: &'a Lane,
    zone: Zone,
    hosts: Api<DynamicHost>,
    zones: Api<DynamicZone>,
    /// The records that the zone began with.
    foreign: Vec<String>,
    /// Whether the operator is killed wherever it is. Where that is between a message that only
    /// repeats what is there and its status, status names the former marker until the next change,
    /// and has to name the new one behind it.
    is_killed_anywhere: bool,
}

impl<'a> Life<'a> {
    /// Takes the first step, [`Step::CreateZone`].
    pub(crate) async fn begin(lane: &'a Lane) -> Result<Self> {
        let zone = lane.create_zone(&FOREIGN).await?;
        let mut life = Self {
            hosts: lane.hosts(&zone),
            zones: Api::namespaced(lane.client.clone(), &zone.namespace),
            foreign: Vec::new(),
            is_killed_anywhere: false,
            lane,
            zone,
        };
        life.foreign = life.state().await?.records;
        // And the zone's own name server.
        ensure!(
            life.foreign.len() == FOREIGN.len() + 2,
            "{:?}",
            life.foreign
        );
        Ok(life)
    }

    /// The same where the operator is killed at other places than its side effects, too.
    pub(crate) fn killed_anywhere(self) -> Self {
        Self {
            is_killed_anywhere: true,
            ..self
        }
    }

    pub(crate) async fn state(&self) -> Result<State> {
        State::of(self.lane, &self.zone).await
    }

    /// Takes a step on which the operator dies. What a client asks it may go unacknowledged.
    pub(crate) async fn take_and_die(&self, step: Step) -> Result<()> {
        let died = self.lane.seam().died();
        match step {
            Step::Report(_) | Step::Withdraw(_) => tokio::select! {
                biased;
                () = died => Ok(()),
                taken = self.take(step) => {
                    taken?;
                    self.await_death(step).await
                }
            },
            _ => {
                self.take(step).await?;
                self.await_death(step).await
            }
        }
    }

    /// Takes a step, and waits until the operator has died on it, or all is as `expected`. Whether
    /// it has died.
    pub(crate) async fn take_and_perhaps_die(&self, step: Step, expected: &State) -> Result<bool> {
        let seam = self.lane.seam();
        let settled = async {
            self.take(step).await?;
            self.await_same(expected).await
        };
        tokio::select! {
            biased;
            () = seam.died() => return Ok(true),
            settled = settled => settled?,
        }
        // The server may have done it and not yet answered.
        seam.end().await;
        Ok(seam.is_dead())
    }

    async fn await_death(&self, step: Step) -> Result<()> {
        let died = tokio::time::timeout(LIMIT, self.lane.seam().died());
        let context = || format!("{step:?} does not come to it within {LIMIT:?}");
        died.await.with_context(context)
    }

    /// Takes a step. A client repeats what was not acknowledged.
    pub(crate) async fn take(&self, step: Step) -> Result<()> {
        if let Some(spec) = step.spec(&self.hostname()) {
            let patch = Patch::Merge(json!({ "spec": spec }));
            let params = PatchParams::default();
            self.hosts.patch(LABEL, &params, &patch).await?;
        }
        match step {
            Step::CreateHost => {
                let mut host = self.zone.host(LABEL);
                host.spec.auth.allow_clear = true;
                self.hosts.create(&PostParams::default(), &host).await?;
            }
            Step::Report(addresses) => self.request("update", addresses).await?,
            Step::Withdraw(address) => self.request("delete", address).await?,
            Step::ReportElsewhere(address) => self.store_ipv4(address).await?,
            Step::DeleteHost => drop(self.hosts.delete(LABEL, &Default::default()).await?),
            Step::DeleteZone => {
                let name = &self.zone.name;
                self.zones.delete(name, &Default::default()).await?;
            }
            // The first step has been taken, the others are of the spec.
            _ => {}
        }
        Ok(())
    }

    /// Waits until all consequences of these steps are there, and returns what is then.
    pub(crate) async fn await_settled(&self, steps: &[Step]) -> Result<State> {
        let expected = Expected::after(steps);
        let is_change = steps
            .last()
            .is_some_and(|step| step.writes().contains(&"UPDATE"));
        let must_know = is_change || !self.is_killed_anywhere;
        await_condition(&format!("{steps:?} is settled"), LIMIT, async || {
            let records = State::records_of(self.lane, &self.zone).await?;
            let missing = self.foreign.iter().find(|f| !records.contains(f));
            ensure!(missing.is_none(), "somebody else's {missing:?} is gone");
            let ours = records
                .iter()
                .filter(|record| !self.foreign.contains(record));
            ensure!(ours.eq(expected.records().iter()), "DNS has {records:#?}");
            let state = self.state().await?;
            check_objects(&expected, &state)?;
            let knows = state.knows_its_marker.values().all(|knows| *knows);
            ensure!(
                knows || !must_know,
                "status does not name the markers that DNS has"
            );
            Ok(Some(state))
        })
        .await
        .with_context(|| self.lane.stack().operator.log_tail(8))
    }

    /// Waits until all is as `expected`.
    pub(crate) async fn await_same(&self, expected: &State) -> Result<()> {
        let mut expected = expected.clone();
        let leave_out_markers = |state: &mut State| {
            if self.is_killed_anywhere {
                state.knows_its_marker.clear();
            }
        };
        leave_out_markers(&mut expected);
        await_condition("all is as in an undisturbed life", LIMIT, async || {
            // The most of it, for a tenth of the price.
            let records = State::records_of(self.lane, &self.zone).await?;
            ensure!(records == expected.records, "DNS has {records:#?}");
            let mut state = self.state().await?;
            leave_out_markers(&mut state);
            let difference = || state.difference(&expected);
            ensure!(state == expected, "it differs:{}", difference());
            Ok(Some(()))
        })
        .await
        .with_context(|| self.lane.stack().operator.log_tail(8))
    }

    fn hostname(&self) -> String {
        format!("{LABEL}.{}", self.zone.apex)
    }

    /// Repeats a request until it is acknowledged.
    async fn request(&self, verb: &str, addresses: &str) -> Result<()> {
        let stack = self.lane.stack();
        let key = format!("{LABEL}-update-key");
        let token = self.lane.token(&self.zone, &key).await?;
        let hostname = self.hostname();
        let target = format!("/nic/{verb}?hostname={hostname}&myip={addresses}");
        await_condition(&format!("{target} is acknowledged"), LIMIT, async || {
            let address = stack.operator.update_address();
            let answer = http::get(address, &target, Some(("router", &token))).await?;
            let text = answer.text();
            let is_acknowledged = text.starts_with("good") || text.starts_with("nochg");
            ensure!(
                answer.status == 200 && is_acknowledged,
                "{}: {text}",
                answer.status
            );
            Ok(Some(()))
        })
        .await
        .with_context(|| stack.operator.log_tail(8))
    }

    /// Stores a reported address past the operator, the way another replica's endpoint does.
    async fn store_ipv4(&self, address: &str) -> Result<()> {
        let observation = json!({
            "address": address, "changedAt": Timestamp::now(), "protocol": "dyndns2",
        });
        let patch = json!({"status": {"observed": {"ipv4": observation}}});
        self.hosts
            .patch_status(LABEL, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }
}

/// Checks all that the operator has to write into objects.
fn check_objects(expected: &Expected, state: &State) -> Result<()> {
    let zone = state.objects.get("zone zone");
    ensure!(zone.is_some() == expected.zone, "the zone is {zone:?}");
    if let Some(zone) = zone {
        ensure!(
            has_condition(zone, "Ready", "Ready"),
            "the zone is {zone:#}"
        );
        let hosts = u64::from(expected.host.is_some());
        ensure!(zone["status"]["hosts"] == hosts, "the zone is {zone:#}");
        let is_held = zone["metadata"]["finalizers"] == json!(["dynhost.dev/in-use"]);
        ensure!(is_held == expected.is_in_use, "the zone is {zone:#}");
    }
    let host = state.objects.get(&format!("host {LABEL}"));
    let key = state.objects.get(&format!("secret {LABEL}-update-key"));
    ensure!(
        key.is_some() == expected.host.is_some(),
        "the key is {key:?}"
    );
    ensure!(
        host.is_some() == expected.host.is_some(),
        "the host is {host:?}"
    );
    if let (Some(host), Some(reason)) = (host, expected.published()) {
        let status = &host["status"];
        let is_current = status["observedGeneration"] == host["metadata"]["generation"];
        let is_told = has_condition(host, "Published", reason);
        ensure!(is_current && is_told, "the host is {host:#}");
        let rrsets = status["published"]["rrsets"].as_array();
        let count = rrsets.map_or(0, Vec::len);
        ensure!(count == expected.rrsets(), "the host is {host:#}");
        for record in rrsets.into_iter().flatten().flat_map(told_records) {
            let is_there = state.records.contains(&record);
            ensure!(is_there, "status tells of {record}: {host:#}");
        }
    }
    Ok(())
}

/// The records of an RRset in status, as [`State::records`] has them.
fn told_records(rrset: &Value) -> Vec<String> {
    let text = |member: &str| rrset[member].as_str().unwrap_or_default();
    let name = text("name").trim_end_matches(".APEX");
    let (ttl, rtype) = (&rrset["ttl"], text("type"));
    let end = if rtype == "CNAME" { "." } else { "" };
    let values = rrset["values"].as_array().into_iter().flatten();
    let values = values.filter_map(Value::as_str);
    values
        .map(|value| format!("{name} {ttl} {rtype} {value}{end}"))
        .collect()
}

fn has_condition(object: &Value, of: &str, reason: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == of && condition["reason"] == reason)
}
