//! The hosts of a tenant's namespace, and what its zone says of a pause.

use anyhow::{Context, Result, ensure};
use dynhost_crds::zone::NamespacesFrom;
use dynhost_e2e::{Stack, Zone, ZoneOptions, await_condition, http, stack::LIMIT};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use serde_json::json;

use super::live_host::LiveHost;
use super::zone_records::{merge_zone, zones};

/// A namespace that a zone admits, and its published hosts.
pub(crate) struct Team<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) namespace: String,
    pub(crate) hosts: Vec<LiveHost<'a>>,
}

/// A zone that admits the namespaces with the label `team=yes`.
pub(crate) async fn zone_of_teams(stack: &Stack) -> Result<Zone> {
    let options = ZoneOptions {
        from: NamespacesFrom::All,
        ..ZoneOptions::default()
    };
    let zone = stack.create_zone(options).await?;
    let namespaces = json!({"from": "Selector", "selector": {"matchLabels": {"team": "yes"}}});
    let consent = json!({"spec": {"allowedHosts": {"namespaces": namespaces}}});
    merge_zone(stack, &zone, consent).await?;
    Ok(zone)
}

impl<'a> Team<'a> {
    /// With hosts `<prefix>0` and so on, each published.
    pub(crate) async fn create(
        stack: &'a Stack,
        zone: &Zone,
        prefix: &str,
        count: usize,
    ) -> Result<Self> {
        let mut team = Self {
            stack,
            namespace: stack.control_plane.namespace(prefix).await?,
            hosts: Vec::new(),
        };
        team.label("yes").await?;
        let namespace = &team.namespace;
        let hosts = stream::iter(0..count).map(|number| async move {
            let mut host = zone.host(&format!("{prefix}{number}"));
            host.metadata.namespace = Some(namespace.clone());
            let host = LiveHost::create(stack, &host).await?;
            host.report("198.51.100.7").await?;
            host.await_published(&["A 60 198.51.100.7"]).await?;
            anyhow::Ok(host)
        });
        team.hosts = hosts.buffered(4).try_collect().await?;
        Ok(team)
    }

    pub(crate) async fn label(&self, value: &str) -> Result<()> {
        let label = format!("team={value}");
        let arguments = ["label", "namespace", &self.namespace, &label, "--overwrite"];
        self.stack.control_plane.kubectl(&arguments, "").await?;
        Ok(())
    }

    pub(crate) async fn delete_namespace(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.stack.client().await?);
        namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await?;
        Ok(())
    }

    pub(crate) async fn await_namespace_gone(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.stack.client().await?);
        let what = format!("namespace {} is gone", self.namespace);
        await_condition(&what, 2 * LIMIT, async || {
            let namespace = namespaces.get_opt(&self.namespace).await?;
            ensure!(namespace.is_none(), "{:#?}", namespace.map(|n| n.status));
            Ok(Some(()))
        })
        .await
        .with_context(|| self.stack.operator.log_tail(20))
    }
}

/// What the zone's condition DeletionPaused says, where it has one.
async fn pause(stack: &Stack, zone: &Zone) -> Result<Option<String>> {
    let status = zones(stack, zone).await?.get(&zone.name).await?.status;
    let conditions = status.unwrap_or_default().conditions.into_iter();
    let mut pauses = conditions.filter(|c| c.type_ == "DeletionPaused");
    Ok(pauses.next().map(|condition| condition.message))
}

/// Waits until the zone says that deleting is paused, in these words; all that it says.
pub(crate) async fn await_pause(stack: &Stack, zone: &Zone, words: &str) -> Result<String> {
    let what = format!("zone {} is paused: {words}", zone.apex);
    await_condition(&what, LIMIT, async || {
        let pause = pause(stack, zone).await?;
        let pause = pause.context("it has no DeletionPaused")?;
        ensure!(pause.contains(words), "{pause}");
        Ok(Some(pause))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))
}

/// Waits until the zone says nothing of a pause.
pub(crate) async fn await_no_pause(stack: &Stack, zone: &Zone) -> Result<()> {
    let what = format!("zone {} is not paused", zone.apex);
    await_condition(&what, LIMIT, async || {
        let pause = pause(stack, zone).await?;
        ensure!(pause.is_none(), "{pause:?}");
        Ok(Some(()))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))
}

/// Waits until the metric says that so many names wait in all zones.
pub(crate) async fn await_paused_names(stack: &Stack, names: usize) -> Result<()> {
    let expected = format!("dynhost_paused_deletions {names}");
    await_condition(&expected, LIMIT, async || {
        let page = http::get(stack.operator.admin_address(), "/metrics", None).await?;
        let page = page.text();
        let line = page
            .lines()
            .find(|l| l.starts_with("dynhost_paused_deletions "));
        ensure!(line == Some(&expected), "{line:?}");
        Ok(Some(()))
    })
    .await
    .with_context(|| stack.operator.log_tail(20))
}

/// Runs the command that the zone's condition tells, as a shell would at `time`.
pub(crate) async fn approve(stack: &Stack, pause: &str, time: Timestamp) -> Result<()> {
    let command = pause.split_once("kubectl ");
    let (_, command) = command.with_context(|| format!("no command in {pause}"))?;
    let date = time.strftime("%FT%TZ").to_string();
    ensure!(command.contains("$(date -u +%FT%TZ)"), "{command}");
    let command = command.replace("$(date -u +%FT%TZ)", &date);
    let arguments: Vec<_> = command.split(' ').collect();
    stack.control_plane.kubectl(&arguments, "").await?;
    Ok(())
}
