//! What the API server says of an object, without storing it.

use dynhost_e2e::Stack;
use http::Request;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The API server's answer to the creation of objects of one kind.
pub(crate) struct Schema {
    client: Client,
    plural: &'static str,
    valid: Value,
}

impl Schema {
    /// Of DynamicHosts.
    pub(crate) async fn of_hosts() -> Self {
        let spec = json!({"hostname": "home.dyn.example.org", "zoneRef": {"name": "dyn"}});
        Self::new("DynamicHost", "dynamichosts", spec).await
    }

    /// Of DynamicZones.
    pub(crate) async fn of_zones() -> Self {
        let tsig = json!({"keyName": "dyn-key", "secretRef": {"name": "dyn-tsig"}});
        let spec = json!({
            "domain": "dyn.example.org",
            "rfc2136": {"servers": ["ns1.example.org:53"], "tsig": tsig},
        });
        Self::new("DynamicZone", "dynamiczones", spec).await
    }

    async fn new(kind: &str, plural: &'static str, spec: Value) -> Self {
        let stack = Stack::shared().await.unwrap();
        Self {
            client: stack.client().await.unwrap(),
            plural,
            valid: json!({
                "apiVersion": "dynhost.dev/v1alpha1",
                "kind": kind,
                "metadata": {"name": "one", "namespace": "default"},
                "spec": spec,
            }),
        }
    }

    /// A valid object with only what is required, but for `value` at `field`, such as
    /// `spec.auth.secretName`; null removes the field.
    pub(crate) fn with(&self, field: &str, value: Value) -> Value {
        let mut object = self.valid.clone();
        set(&mut object, field, value);
        object
    }

    /// Checks that the object with `value` at `field` is accepted.
    pub(crate) async fn accepts(&self, field: &str, value: Value) {
        let answer = self.create(&self.with(field, value.clone())).await;
        assert_eq!(answer.err(), None, "{field}: {value}");
    }

    /// Checks that the object with `value` at `field` is refused for this reason.
    pub(crate) async fn refuses(&self, field: &str, value: Value, why: &str) {
        let answer = self.create(&self.with(field, value.clone())).await;
        let message = answer.expect_err(&format!("{field}: {value} is accepted"));
        assert!(message.contains(why), "{field}: {value}: {message}");
    }

    /// The object with the schema's defaults, or why it is refused.
    pub(crate) async fn create(&self, object: &Value) -> Result<Value, String> {
        let path = format!(
            "/apis/dynhost.dev/v1alpha1/namespaces/default/{}?dryRun=All&fieldValidation=Strict",
            self.plural
        );
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(object).unwrap())
            .unwrap();
        match self.client.request(request).await {
            Ok(created) => Ok(created),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(error) => panic!("{error}"),
        }
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    let (parents, last) = field.rsplit_once('.').unwrap_or(("", field));
    let parent = parents
        .split('.')
        .filter(|name| !name.is_empty())
        .fold(object, |object, name| &mut object[name]);
    if value.is_null() {
        parent.as_object_mut().unwrap().remove(last);
    } else {
        parent[last] = value;
    }
}

/// A name of `octets` octets with labels as long as they may be.
pub(crate) fn name_of(octets: usize) -> String {
    let label = "a".repeat(63);
    let mut name = [label.as_str(); 5].join(".");
    name.truncate(octets);
    match name.strip_suffix('.') {
        // A label of 62 and one of 1 instead of a label of 63 and nothing.
        Some(name) => format!("{}.a", &name[..name.len() - 1]),
        None => name,
    }
}

/// Stores an object of this spec, named `one`, in a namespace of its own.
pub(crate) async fn store<K>(spec: Value) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let stack = Stack::shared().await.unwrap();
    let namespace = stack.control_plane.namespace("schema").await.unwrap();
    let objects = Api::namespaced(stack.client().await.unwrap(), &namespace);
    let object = serde_json::from_value(json!({"metadata": {"name": "one"}, "spec": spec}));
    let params = PostParams::default();
    objects.create(&params, &object.unwrap()).await.unwrap();
    objects
}

/// Checks that the stored spec may be changed so, or is refused for this reason.
pub(crate) async fn check_change<K>(objects: &Api<K>, change: Value, refusal: Option<&str>)
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let patch = json!({"spec": change});
    let params = PatchParams::default();
    let patched = objects.patch("one", &params, &Patch::Merge(&patch)).await;
    let said = patched.err().map(|error| error.to_string());
    match (said, refusal) {
        (None, None) => {}
        (Some(said), Some(refusal)) => assert!(said.contains(refusal), "{patch}: {said}"),
        (said, _) => panic!("{patch}: {said:?} instead of {refusal:?}"),
    }
}
