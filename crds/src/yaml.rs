//! The CRDs as YAML.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::{host::DynamicHost, zone::DynamicZone};

/// The CRDs, each with the name of its file in `crds/yaml`.
pub fn crds() -> [(&'static str, CustomResourceDefinition); 2] {
    [
        ("dynamiczones.yaml", DynamicZone::crd()),
        ("dynamichosts.yaml", DynamicHost::crd()),
    ]
}

/// One CRD as a YAML document.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml_ng::Error> {
    serde_yaml_ng::to_string(crd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_yaml_is_what_the_types_say() {
        for (file, crd) in crds() {
            let path = format!("{}/yaml/{file}", env!("CARGO_MANIFEST_DIR"));
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                committed,
                to_yaml(&crd).unwrap(),
                "{file} is not current: write it with `dynhost crds --into crds/yaml`"
            );
        }
    }

    #[test]
    fn every_string_and_list_and_map_is_bounded() {
        fn check(path: &str, schema: &serde_json::Value) {
            let has = |key: &str| schema.get(key).is_some();
            match schema["type"].as_str() {
                Some("string") => assert!(has("maxLength") || has("enum"), "{path} is unbounded"),
                Some("array") => {
                    assert!(has("maxItems"), "{path} is unbounded");
                    check(&format!("{path}[]"), &schema["items"]);
                }
                Some("object") => {
                    assert!(
                        !has("additionalProperties") || has("maxProperties"),
                        "{path} is unbounded"
                    );
                    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                        check(&format!("{path}.{name}"), property);
                    }
                }
                _ => {}
            }
        }
        for (_, crd) in crds() {
            let crd = serde_json::to_value(crd).unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
            check("spec", &schema["spec"]);
            check("status", &schema["status"]);
        }
    }
}
