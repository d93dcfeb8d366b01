//! Hosts for the tests of this folder.

use dynhost_crds::host::DynamicHost;
use serde_json::{Value, json};

use crate::index::host::Host;

/// The host `family/home` named `home.dyn.example.org`, with these fields of `spec` beside the name.
pub(crate) fn host(spec: Value) -> Host {
    object(json!({"spec": spec}))
}

/// The same with these fields of the whole object.
pub(crate) fn object(fields: Value) -> Host {
    let mut host = json!({
        "apiVersion": "dynhost.dev/v1alpha1",
        "kind": "DynamicHost",
        "metadata": {
            "name": "home", "namespace": "family", "uid": "uid-home", "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
    });
    json_patch::merge(&mut host, &fields);
    let host: DynamicHost = serde_json::from_value(host).unwrap();
    Host::from_object(&host).unwrap()
}
