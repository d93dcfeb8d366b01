//! Objects as they are stored: also those that do not fit the types.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Resource;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object as the API server has it. One that was stored while the schema was looser must not
/// stop the watch for the others.
///
/// Unlike kube's `DeserializeGuard` it keeps the status, without which the controller would tell
/// such an object the same thing for ever.
#[derive(Clone, Debug)]
pub struct Stored<K>(pub Result<K, Misfit>);

/// What can be read of an object that does not fit the types.
#[derive(Clone, Debug)]
pub struct Misfit {
    pub metadata: ObjectMeta,
    /// What does not fit.
    pub error: String,
    status: Value,
}

impl Misfit {
    /// A member of the status, where that fits.
    pub fn status<T: DeserializeOwned>(&self, member: &str) -> Option<T> {
        T::deserialize(self.status.get(member)?).ok()
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let error = match K::deserialize(&object) {
            Ok(fitting) => return Ok(Self(Ok(fitting))),
            Err(error) => error.to_string(),
        };
        let metadata = ObjectMeta::deserialize(&object["metadata"]).map_err(D::Error::custom)?;
        Ok(Self(Err(Misfit {
            metadata,
            error,
            status: object["status"].take(),
        })))
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0
            .as_ref()
            .map_or_else(|misfit| &misfit.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0
            .as_mut()
            .map_or_else(|misfit| &mut misfit.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use dynhost_crds::conditions::Condition;
    use dynhost_crds::host::DynamicHost;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_can_still_be_told_from_others_and_what_was_said_of_it() {
        let condition = json!({
            "type": "Accepted", "status": "False", "reason": "Invalid", "message": "spec: no",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let mut object = json!({
            "metadata": {"name": "home", "namespace": "family", "uid": "h"},
            "spec": {"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}},
            "status": {"observedGeneration": 3, "conditions": [condition], "observed": 7},
        });
        let stored: Stored<DynamicHost> = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(stored.meta().name.as_deref(), Some("home"));
        let misfit = stored.0.unwrap_err();
        assert_eq!(misfit.status("observedGeneration"), Some(3));
        assert_eq!(
            misfit.status::<Vec<Condition>>("conditions").unwrap().len(),
            1
        );
        assert_eq!(misfit.status::<String>("observed"), None);

        object["status"]["observed"] = json!({});
        let stored: Stored<DynamicHost> = serde_json::from_value(object).unwrap();
        assert_eq!(stored.0.unwrap().metadata.name.as_deref(), Some("home"));
    }
}
