//! Putting our finalizers on objects and taking them off.

use std::fmt::Debug;

use dynhost_crds::CONTROLLER_FIELD_MANAGER;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{NamespaceResourceScope, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::index::object::Meta;

/// Adds `finalizer` to the object; the object as it is then, or `None` where it is gone or another
/// one of the same name.
pub(super) async fn add<K>(
    client: &kube::Client,
    meta: &Meta,
    finalizer: &str,
) -> Result<Option<K>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
{
    edit(client, meta, |finalizers| {
        if !finalizers.iter().any(|f| f == finalizer) {
            finalizers.push(finalizer.to_owned());
        }
    })
    .await
}

/// Takes `finalizer` off the object; likewise.
pub(super) async fn remove<K>(
    client: &kube::Client,
    meta: &Meta,
    finalizer: &str,
) -> Result<Option<K>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
{
    edit(client, meta, |finalizers| {
        finalizers.retain(|f| f != finalizer)
    })
    .await
}

/// Reads the object and writes its list of finalizers back under the resourceVersion read, until
/// nobody else has written in between.
async fn edit<K>(
    client: &kube::Client,
    meta: &Meta,
    change: impl Fn(&mut Vec<String>),
) -> Result<Option<K>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &meta.key.namespace);
    loop {
        let Some(object) = api.get_opt(&meta.key.name).await? else {
            return Ok(None);
        };
        if object.meta().uid.as_deref() != Some(&*meta.uid) {
            return Ok(None);
        }
        let former = object.meta().finalizers.clone().unwrap_or_default();
        let mut finalizers = former.clone();
        change(&mut finalizers);
        if finalizers == former {
            return Ok(Some(object));
        }
        let patch = json!({"metadata": {
            "resourceVersion": object.meta().resource_version,
            "finalizers": finalizers,
        }});
        let params = PatchParams {
            field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api
            .patch(&meta.key.name, &params, &Patch::Merge(patch))
            .await
        {
            Ok(object) => return Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
