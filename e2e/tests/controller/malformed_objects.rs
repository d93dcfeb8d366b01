//! Objects that were stored while the schema was looser.

use anyhow::{Result, ensure};
use dynhost_crds::GROUP;
use dynhost_e2e::{AuditEvent, Stack, Zone, ZoneOptions, await_condition, stack::LIMIT};
use serde_json::{Value, json};

use super::live_host::LiveHost;
use super::restarted_stack::restarted_stack;

const OPERATOR: &str = "system:serviceaccount:dynhost-system:dynhost";

const CRDS: [&str; 2] = ["dynamichosts.dynhost.dev", "dynamiczones.dynhost.dev"];

/// Stores objects and changes that the schema does not allow, and puts the schema back.
pub(crate) async fn store_past_the_schema(
    stack: &Stack,
    objects: &[Value],
    change: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let kubectl = &stack.control_plane;
    let mut schemas = Vec::new();
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    for crd in CRDS {
        let path = "jsonpath={.spec.versions[0].schema.openAPIV3Schema}";
        let schema = kubectl
            .kubectl(&["get", "crd", crd, "-o", path], "")
            .await?;
        schemas.push(serde_json::from_str::<Value>(&schema)?);
        set_schema(stack, crd, &anything).await?;
    }
    for object in objects {
        // The API server takes a moment to serve the new schema.
        await_condition("the loose schema is served", LIMIT, async || {
            let create = ["create", "-f", "-"];
            kubectl.kubectl(&create, &object.to_string()).await?;
            Ok(Some(()))
        })
        .await?;
    }
    change().await?;
    for (crd, schema) in CRDS.iter().zip(&schemas) {
        set_schema(stack, crd, schema).await?;
    }
    for object in objects {
        let mut again = object.clone();
        again["metadata"]["name"] = "refused".into();
        await_condition("the strict schema is served", LIMIT, async || {
            let create = ["create", "--dry-run=server", "-f", "-"];
            let output = kubectl.try_kubectl(&create, &again.to_string()).await?;
            Ok((!output.status.success()).then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn set_schema(stack: &Stack, crd: &str, schema: &Value) -> Result<()> {
    let path = "/spec/versions/0/schema/openAPIV3Schema";
    let patch = json!([{"op": "replace", "path": path, "value": schema}]).to_string();
    let arguments = ["patch", "crd", crd, "--type=json", "-p", &patch];
    stack.control_plane.kubectl(&arguments, "").await?;
    Ok(())
}

fn object(zone: &Zone, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "dynhost.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": zone.namespace}, "spec": spec,
    })
}

#[tokio::test]
async fn malformed_objects_are_told_so_and_hinder_no_others() -> Result<()> {
    let stack = restarted_stack().await?;
    let stack = &*stack;
    let zone = stack.create_zone(ZoneOptions::default()).await?;
    let good = LiveHost::create_published(stack, &zone, "home", "198.51.100.7").await?;
    let hostname = |label: &str| format!("{label}.{}", zone.apex);
    let zone_ref = json!({"name": zone.name});
    let tellable = [
        (
            "DynamicHost",
            "wrong-ttl",
            json!({"hostname": hostname("wrong-ttl"), "zoneRef": zone_ref, "ttl": "long"}),
        ),
        (
            "DynamicHost",
            "bad-name",
            json!({"hostname": hostname("not a name"), "zoneRef": zone_ref}),
        ),
        (
            "DynamicZone",
            "wrong-ttl",
            json!({"domain": "example.org", "ttl": "long"}),
        ),
        (
            "DynamicZone",
            "no-provider",
            json!({"domain": "example.org"}),
        ),
    ];
    // The API server takes no status of these: its rules want other types.
    let untellable = [
        (
            "DynamicHost",
            "wrong-types",
            json!({"hostname": 7, "zoneRef": "zone", "families": {}}),
        ),
        (
            "DynamicZone",
            "wrong-types",
            json!({"domain": ["example.org"]}),
        ),
    ];
    let malformed = [tellable.as_slice(), untellable.as_slice()].concat();
    let objects: Vec<_> = malformed
        .iter()
        .map(|(kind, name, spec)| object(&zone, kind, name, spec))
        .collect();
    stack.operator.terminate().await?;
    store_past_the_schema(stack, &objects, async || Ok(())).await?;

    let mark = stack.control_plane.audit_mark().await?;
    stack.operator.start_again().await?;
    good.report("198.51.100.8").await?;
    good.await_published(&["A 60 198.51.100.8"]).await?;
    for (kind, name, _) in &tellable {
        await_invalid(stack, &zone, kind, name).await?;
    }
    // Having said so, it is silent, however often it looks at them.
    for address in ["198.51.100.9", "198.51.100.10"] {
        for (kind, name, _) in &tellable {
            let touched = format!("example.org/touched={address}");
            let annotate = [
                "annotate",
                "--overwrite",
                kind,
                name,
                &touched,
                "-n",
                &zone.namespace,
            ];
            stack.control_plane.kubectl(&annotate, "").await?;
        }
        good.report(address).await?;
        good.await_published_addresses(address).await?;
    }
    let events = stack.control_plane.audit_events(mark).await?;
    for (kind, name, _) in &malformed {
        let resource = format!("{}s", kind.to_lowercase());
        let is_told = |event: &&AuditEvent| {
            event.group == GROUP
                && event.namespace == zone.namespace
                && event.resource == resource
                && event.name == *name
                && event.user == OPERATOR
                && event.verb == "patch"
        };
        let told: Vec<_> = events.iter().filter(is_told).collect();
        assert!(told.len() <= 1, "{kind} {name} was patched: {told:#?}");
    }

    for (kind, name, _) in &malformed {
        let delete = ["delete", kind, name, "-n", &zone.namespace, "--timeout=20s"];
        stack.control_plane.kubectl(&delete, "").await?;
    }
    good.delete().await?;
    good.await_gone().await
}

/// Waits until the object's Accepted is False because of Invalid.
async fn await_invalid(stack: &Stack, zone: &Zone, kind: &str, name: &str) -> Result<()> {
    let what = format!("{kind} {name} is told to be invalid");
    await_condition(&what, LIMIT, async || {
        let get = ["get", kind, name, "-n", &zone.namespace, "-o", "json"];
        let text = stack.control_plane.kubectl(&get, "").await?;
        let object: Value = serde_json::from_str(&text)?;
        let conditions = object["status"]["conditions"].as_array();
        let mut accepted = conditions
            .into_iter()
            .flatten()
            .filter(|c| c["type"] == "Accepted");
        let is_told = accepted.any(|c| c["status"] == "False" && c["reason"] == "Invalid");
        ensure!(is_told, "{:#}", object["status"]);
        Ok(Some(()))
    })
    .await
}
