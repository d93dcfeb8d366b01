//! Tenants of one zone: what one of them tries at the names, objects and records of another is
//! refused or harmless, and said so.

mod forged;

use dynhost_crds::{
    conditions::{ConditionType, Reason},
    host::{Alias, AliasType, DynamicHost, Ipv6FromPrefix, PrefixFrom},
    zone::{DynamicZone, NamespacesFrom},
};
use dynhost_e2e::{
    Bind, ZoneOptions, ZoneSpec, await_condition,
    stack::{LIMIT, condition},
};
use hickory_net::proto::rr::RecordType;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::fixture::{ADDRESS, Answer, Fixture, create_secret};

/// A zone for all namespaces.
async fn shared_zone(records: &[String]) -> Fixture {
    Fixture::with(ZoneOptions {
        from: NamespacesFrom::All,
        records: records.to_vec(),
        ..ZoneOptions::default()
    })
    .await
}

impl Fixture {
    async fn namespace(&self, prefix: &str) -> String {
        let namespace = self.stack.control_plane.namespace(prefix);
        namespace.await.unwrap()
    }

    async fn zones(&self) -> Api<DynamicZone> {
        Api::namespaced(self.stack.client().await.unwrap(), &self.zone.namespace)
    }

    async fn allow(&self, allowed: Value) {
        let patch = Patch::Merge(json!({"spec": {"allowedHosts": allowed}}));
        let (zones, params) = (self.zones().await, PatchParams::default());
        zones.patch(&self.zone.name, &params, &patch).await.unwrap();
    }

    /// A host of a tenant, not yet created.
    fn host_of(
        &self,
        namespace: &str,
        name: &str,
        hostname: &str,
        aliases: &[&str],
    ) -> DynamicHost {
        let mut host = self.zone.host(name);
        host.metadata.namespace = Some(namespace.to_owned());
        host.spec.hostname = hostname.to_owned();
        host.spec.aliases = aliases.iter().map(|name| alias(name)).collect();
        host
    }

    async fn merge_host(&self, host: &DynamicHost, patch: Value) {
        let hosts = self.stack.hosts(&host.namespace().unwrap()).await.unwrap();
        let (patch, params) = (Patch::Merge(patch), PatchParams::default());
        hosts
            .patch(&host.name_any(), &params, &patch)
            .await
            .unwrap();
    }

    async fn merge_status(&self, host: &DynamicHost, status: Value) {
        let hosts = self.stack.hosts(&host.namespace().unwrap()).await.unwrap();
        let (patch, params) = (
            Patch::Merge(json!({"status": status})),
            PatchParams::default(),
        );
        hosts
            .patch_status(&host.name_any(), &params, &patch)
            .await
            .unwrap();
    }

    /// Waits for this verdict on the host, and returns its message.
    async fn await_verdict(&self, host: &DynamicHost, reason: Reason) -> String {
        let accepted = ConditionType::Accepted;
        let host = self.await_reason(host, accepted, reason).await;
        condition(&host, accepted).unwrap().message.clone()
    }

    /// Creates a host that its zone admits, and publishes its first address.
    async fn publish(&self, host: &DynamicHost) -> String {
        let token = self.stack.create_host(host).await.unwrap();
        assert_eq!(self.update(host, &token).await, Answer::Taken);
        let (published, reason) = (ConditionType::Published, Reason::Published);
        self.await_reason(host, published, reason).await;
        token
    }

    async fn dump(&self) -> Vec<String> {
        self.stack.bind.dump(&self.zone.apex).await.unwrap()
    }

    /// The zone's records with one of these labels in them.
    async fn dump_of(&self, labels: &[&str]) -> Vec<String> {
        let mut records = self.dump().await;
        records.retain(|record| labels.iter().any(|label| record.contains(label)));
        records
    }

    /// Reports an address for a host, and waits until DNS has it.
    async fn report(&self, host: &DynamicHost, token: &str, address: &str) {
        let hostname = &host.spec.hostname;
        let answer = self.stack.update(hostname, token, address).await;
        assert_eq!(answer.unwrap().status, 200);
        let expected = [address];
        let resolves = self.stack.await_dns(hostname, RecordType::A, &expected);
        resolves.await.unwrap();
    }
}

fn alias(name: &str) -> Alias {
    Alias {
        name: name.to_owned(),
        type_: AliasType::Address,
    }
}

#[tokio::test]
async fn where_each_tenant_has_names_of_its_own_nobody_gets_anothers() {
    let f = shared_zone(&[]).await;
    let apex = f.zone.apex.clone();
    f.allow(json!({"names": [format!("*.{{namespace}}.{apex}")]}))
        .await;
    let (red, blue) = (f.namespace("red").await, f.namespace("blue").await);
    let home = f.host_of(&red, "home", &format!("home.{red}.{apex}"), &[]);
    f.publish(&home).await;
    let before = f.dump().await;

    let own = format!("home.{blue}.{apex}");
    let of_red = |label: &str| format!("{label}.{red}.{apex}");
    let (not_allowed, outside) = (Reason::NotAllowedByZone, Reason::OutsideZone);
    for (name, hostname, wanted, reason, said) in [
        ("same", of_red("home"), None, not_allowed, "hostname: "),
        ("beside", of_red("www"), None, not_allowed, "hostname: "),
        ("below", of_red("a.home"), None, not_allowed, "hostname: "),
        (
            "parent",
            format!("{red}.{apex}"),
            None,
            not_allowed,
            "hostname: ",
        ),
        (
            "none",
            format!("home.{apex}"),
            None,
            not_allowed,
            "hostname: ",
        ),
        (
            "alias",
            own.clone(),
            Some(of_red("www")),
            not_allowed,
            "alias www.",
        ),
        (
            "wild",
            own.clone(),
            Some(of_red("*")),
            not_allowed,
            "alias *.",
        ),
        (
            "all",
            own.clone(),
            Some(format!("*.{apex}")),
            not_allowed,
            "alias *.",
        ),
        ("apex", own.clone(), Some(apex.clone()), outside, "alias z"),
        (
            "away",
            own.clone(),
            Some("www.example.org".to_owned()),
            outside,
            "alias www.",
        ),
    ] {
        let aliases: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let host = f
            .create_host(&f.host_of(&blue, name, &hostname, &aliases))
            .await;
        let message = f.await_verdict(&host, reason).await;
        assert!(message.starts_with(said), "{name}: {message}");
        f.delete_host(&host).await;
    }
    assert_eq!(f.dump().await, before);

    let www = format!("www.{blue}.{apex}");
    let wild = format!("*.{blue}.{apex}");
    let host = f.host_of(&blue, "home", &own, &[&www, &wild]);
    f.publish(&host).await;
    for name in [&own, &www, &format!("any.{blue}.{apex}")] {
        let resolves = f.stack.await_dns(name, RecordType::A, &[ADDRESS]);
        resolves.await.unwrap();
    }
}

#[tokio::test]
async fn an_alias_is_lost_to_an_older_claim_and_costs_its_host_no_records() {
    let f = shared_zone(&[]).await;
    let apex = f.zone.apex.clone();
    // Of one second the first in the alphabet is the older.
    let (older, younger) = (f.namespace("a-tenant").await, f.namespace("z-tenant").await);
    let below = format!("www.home.{apex}");
    let first = f.host_of(&older, "www", &below, &[]);
    f.publish(&first).await;
    let home = f.host_of(&younger, "home", &format!("home.{apex}"), &[]);
    let token = f.publish(&home).await;
    let before = f.dump().await;

    f.merge_host(&home, json!({"spec": {"aliases": [{"name": below}]}}))
        .await;
    let message = f.await_verdict(&home, Reason::NameConflict).await;
    assert!(
        message.starts_with(&format!("alias {below}: ")),
        "{message}"
    );
    assert!(!message.contains(&older), "{message}");
    f.await_answer(&home, &token, Answer::NoHost).await;
    assert_eq!(f.dump().await, before);

    f.merge_host(&home, json!({"spec": {"aliases": null}}))
        .await;
    f.await_verdict(&home, Reason::Accepted).await;
    f.await_answer(&home, &token, Answer::Taken).await;
    f.await_verdict(&first, Reason::Accepted).await;
}

#[tokio::test]
async fn a_tenant_has_as_many_hosts_as_the_zone_says_the_oldest() {
    let f = shared_zone(&[]).await;
    let apex = f.zone.apex.clone();
    f.allow(json!({"maxPerNamespace": 2})).await;
    let (red, blue) = (f.namespace("red").await, f.namespace("blue").await);
    let host = |namespace: &str, name: &str| {
        f.host_of(namespace, name, &format!("{name}.{namespace}.{apex}"), &[])
    };
    let mut hosts = Vec::new();
    for name in ["a", "b", "c", "d"] {
        hosts.push(f.create_host(&host(&red, name)).await);
    }
    let other = f.create_host(&host(&blue, "z")).await;
    f.await_verdict(&other, Reason::Accepted).await;
    let await_all = async |expected: &[Reason]| {
        let hosts = hosts.iter().rev().zip(expected.iter().rev());
        for (host, reason) in hosts.take(expected.len()) {
            let message = f.await_verdict(host, *reason).await;
            let says_limit = message.starts_with("the zone admits ");
            assert_eq!(says_limit, *reason == Reason::QuotaExceeded, "{message}");
        }
    };
    let (yes, no) = (Reason::Accepted, Reason::QuotaExceeded);
    await_all(&[yes, yes, no, no]).await;
    f.delete_host(&hosts[0]).await;
    await_all(&[yes, yes, no]).await;
    f.allow(json!({"maxPerNamespace": 1})).await;
    await_all(&[yes, no, no]).await;
    f.allow(json!({"maxPerNamespace": null})).await;
    await_all(&[yes, yes, yes]).await;
}

#[tokio::test]
async fn who_may_edit_hosts_cannot_write_what_is_said_of_them() {
    let f = shared_zone(&[]).await;
    let apex = f.zone.apex.clone();
    let red = f.namespace("red").await;
    let kubectl = async |command: &[&str], stdin: &str| {
        let command = [command, &["-n", &red]].concat();
        let output = f.stack.control_plane.try_kubectl(&command, stdin).await;
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let bind = [
        "create",
        "rolebinding",
        "tenant",
        "--clusterrole=edit",
        "--user=red",
    ];
    assert!(kubectl(&bind, "").await.0);

    let published = json!({
        "rrsets": [{"name": format!("victim.{apex}"), "type": "A", "ttl": 60, "values": [ADDRESS]}],
        "at": "2026-01-01T00:00:00Z",
    });
    let observation = json!({
        "address": "192.0.2.66", "changedAt": "2026-01-01T00:00:00Z", "protocol": "forged",
    });
    let status = json!({"observed": {"ipv4": observation}, "published": published});
    let mut host = serde_json::to_value(f.host_of(&red, "home", &format!("home.{apex}"), &[]));
    host.as_mut().unwrap()["status"] = status.clone();
    let manifest = host.unwrap().to_string();
    // With the object itself a status is not taken.
    await_condition("the tenant may create hosts", LIMIT, async || {
        let create = ["create", "--as=red", "--validate=ignore", "-f", "-"];
        let (created, said) = kubectl(&create, &manifest).await;
        anyhow::ensure!(created, "{said}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    let home = f.host_of(&red, "home", &format!("home.{apex}"), &[]);
    let (ready, awaiting) = (ConditionType::Ready, Reason::AwaitingFirstUpdate);
    f.await_reason(&home, ready, awaiting).await;
    let patch = json!({"status": status}).to_string();
    let merge = [
        "patch",
        "dynamichost",
        "home",
        "--as=red",
        "--type=merge",
        "-p",
        &patch,
    ];
    assert!(kubectl(&merge, "").await.0);
    let forge = [&merge[..], &["--subresource=status"]].concat();
    let (forged, said) = kubectl(&forge, "").await;
    assert!(!forged && said.contains("(Forbidden)"), "{said}");

    let home = f.await_reason(&home, ready, awaiting).await;
    let status = home.status.unwrap();
    assert_eq!((status.observed, status.published), (None, None));
    let records = f.dump().await;
    assert!(
        !records.iter().any(|record| record.contains("192.0.2.66")),
        "{records:?}"
    );
}

#[tokio::test]
async fn a_zones_tsig_key_is_a_secret_beside_it_and_no_other() {
    let f = shared_zone(&[]).await;
    let apex = f.zone.apex.clone();
    let red = f.namespace("red").await;
    // The zone's Secret has this name too, in the zone's namespace.
    let wrong = "dGhpcyBpcyBub3QgdGhlIGtleSBvZiB0aGUgem9uZSE=";
    create_secret(
        &f.secrets_of(&red).await,
        "tsig",
        "Opaque",
        &[("secret", wrong)],
    )
    .await;
    let home = f.host_of(&red, "home", &format!("home.{apex}"), &[]);
    f.publish(&home).await;

    let mut zone = f.zones().await.get(&f.zone.name).await.unwrap();
    zone.metadata = kube::api::ObjectMeta::default();
    zone.status = None;
    let kubectl = async |validate: &str, name: &str, secret: Value| {
        let mut manifest = serde_json::to_value(&zone).unwrap();
        manifest["metadata"] = json!({"name": name});
        manifest["spec"]["rfc2136"]["tsig"]["secretRef"] = secret;
        let (command, manifest) = (
            ["create", validate, "-n", &red, "-f", "-"],
            manifest.to_string(),
        );
        let output = f.stack.control_plane.try_kubectl(&command, &manifest);
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let own = json!({"name": "tsig", "key": "secret"});
    assert!(kubectl("--validate=strict", "own", own).await.0);

    let key = f.zone.key.secret.clone();
    let beside = f.secrets().await;
    create_secret(&beside, "beside", "Opaque", &[("secret", key.as_str())]).await;
    let away = json!({"name": "beside", "key": "secret", "namespace": f.zone.namespace});
    let (taken, said) = kubectl("--validate=strict", "away", away.clone()).await;
    assert!(!taken && said.contains("unknown field"), "{said}");
    assert!(kubectl("--validate=ignore", "away", away).await.0);

    let zones: Api<DynamicZone> = Api::namespaced(f.stack.client().await.unwrap(), &red);
    for (name, words) in [("own", "BADSIG"), ("away", "the TSIG key was not found")] {
        await_condition("the zone's key is rejected", LIMIT, async || {
            let status = zones.get(name).await?.status.unwrap_or_default();
            let conditions = status.conditions.iter();
            let said: Vec<_> = conditions.map(|c| (&*c.reason, &*c.message)).collect();
            let is_rejected = said.iter().any(|(reason, message)| {
                *reason == Reason::CredentialsRejected.as_str() && message.contains(words)
            });
            anyhow::ensure!(is_rejected, "{name}: {said:?}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_zone_swapped_under_a_host_overwrites_nothing_where_it_leads_now() {
    let f = shared_zone(&[]).await;
    let apex = f.zone.apex.clone();
    let red = f.namespace("red").await;
    let home = f.host_of(&red, "home", &format!("home.{apex}"), &[]);
    let token = f.publish(&home).await;
    let before = f.dump().await;

    // Another server, where the name is somebody else's; and the zone goes by force.
    let other = Bind::start().await.unwrap();
    let records = vec!["home 60 A 192.0.2.1".to_owned()];
    let served = ZoneSpec {
        apex: apex.clone(),
        keys: vec![f.zone.key.clone()],
        records,
        allow_transfer: false,
    };
    other.add_zone(served).await.unwrap();
    let there = other.dump(&apex).await.unwrap();
    let zones = f.zones().await;
    let name = &f.zone.name;
    let mut zone = zones.get(name).await.unwrap();
    zones.delete(name, &Default::default()).await.unwrap();
    let strip = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let stripped = zones.patch(name, &PatchParams::default(), &strip).await;
    stripped.unwrap();
    await_condition("the zone is gone", LIMIT, async || {
        Ok(zones.get_opt(name).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    zone.metadata = kube::api::ObjectMeta {
        name: Some(name.clone()),
        ..Default::default()
    };
    zone.status = None;
    zone.spec.rfc2136.as_mut().unwrap().servers = vec![other.address().to_string()];
    zones.create(&PostParams::default(), &zone).await.unwrap();

    let (published, foreign) = (ConditionType::Published, Reason::ForeignRecord);
    await_condition("the host is told", LIMIT, async || {
        let updated = f.stack.update(&home.spec.hostname, &token, "198.51.100.9");
        Ok((updated.await?.status == 200).then_some(()))
    })
    .await
    .unwrap();
    f.await_reason(&home, published, foreign).await;
    assert_eq!(other.dump(&apex).await.unwrap(), there);
    f.delete_host(&home).await;
    assert_eq!(other.dump(&apex).await.unwrap(), there);
    assert_eq!(f.dump().await, before);
}

#[tokio::test]
async fn a_prefix_is_that_of_a_host_of_the_same_namespace_only() {
    let f = shared_zone(&[]).await;
    let apex = f.zone.apex.clone();
    let (red, blue) = (f.namespace("red").await, f.namespace("blue").await);
    let router = async |namespace: &str, label: &str, prefix: &str| {
        let host = f.host_of(namespace, "router", &format!("{label}.{apex}"), &[]);
        f.stack.create_host(&host).await.unwrap();
        let observation = json!({
            "prefix": prefix, "changedAt": "2026-01-01T00:00:00Z", "protocol": "dyndns2",
        });
        f.merge_status(&host, json!({"observed": {"ipv6Prefix": observation}}))
            .await;
    };
    router(&blue, "router-blue", "2001:db8:b:1::/64").await;
    let mut nas = f.host_of(&red, "nas", &format!("nas.{apex}"), &[]);
    nas.spec.ipv6 = Some(Ipv6FromPrefix {
        interface_id: Some("::7".to_owned()),
        mac_address: None,
        prefix_from: Some(PrefixFrom {
            name: "router".to_owned(),
        }),
    });
    f.stack.create_host(&nas).await.unwrap();
    let (ready, awaiting) = (ConditionType::Ready, Reason::AwaitingFirstUpdate);
    f.await_reason(&nas, ready, awaiting).await;
    f.await_idle().await;
    f.await_reason(&nas, ready, awaiting).await;
    let nothing = f.stack.await_dns(&nas.spec.hostname, RecordType::AAAA, &[]);
    nothing.await.unwrap();

    router(&red, "router-red", "2001:db8:a:1::/64").await;
    let resolves = f
        .stack
        .await_dns(&nas.spec.hostname, RecordType::AAAA, &["2001:db8:a:1::7"]);
    resolves.await.unwrap();
}
