//! What ARCHITECTURE.md says of the source tree, held against the source tree.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy does not count helpers as tests"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use dynhost_crds::{conditions::Reason, yaml::crds};
use serde::Deserialize;
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Clients, runtimes and web frameworks.
const IO_CRATES: [&str; 7] = [
    "kube::",
    "tokio::",
    "axum::",
    "hyper::",
    "hyper_util::",
    "hickory_net::",
    "futures::",
];

/// What makes an outcome depend on something else than the arguments.
const HIDDEN_INPUTS: [&str; 7] = [
    "async fn",
    ".await",
    "Instant::now",
    "Timestamp::now",
    "SystemTime::now",
    "std::env",
    "aws_lc_rs::rand",
];

/// The modules that do IO.
const IO_MODULES: [&str; 8] = [
    "crate::endpoint",
    "crate::events",
    "crate::reconcile",
    "crate::provider",
    "crate::watch",
    "crate::run",
    "crate::admin::",
    "crate::metrics",
];

/// Every file and folder of the repository, relative to it, but for what is built and git's own.
fn paths() -> BTreeSet<String> {
    fn visit(folder: &Path, paths: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let relative = path
                .strip_prefix(ROOT)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if matches!(relative.as_str(), ".git" | "target") {
                continue;
            }
            if path.is_dir() {
                visit(&path, paths);
            }
            paths.insert(relative);
        }
    }
    let mut paths = BTreeSet::new();
    visit(Path::new(ROOT), &mut paths);
    paths
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(Path::new(ROOT).join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of operator/src with their code: without comments, and without tests.
fn operator() -> BTreeMap<String, String> {
    let is_test = |path: &str| path.contains("/tests/") || path.ends_with("/tests.rs");
    let sources = paths().into_iter().filter_map(|path| {
        let name = path.strip_prefix("operator/src/")?;
        (name.ends_with(".rs") && !is_test(&path)).then(|| (name.to_owned(), code(&read(&path))))
    });
    let sources: BTreeMap<_, _> = sources.collect();
    assert!(sources.len() > 30, "{:?}", sources.keys());
    sources
}

fn code(text: &str) -> String {
    // Test modules come last.
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Checks that no file that `covers` mentions any of these.
fn forbid(covers: impl Fn(&str) -> bool, forbidden: &[&str]) {
    let sources = operator();
    let covered: Vec<_> = sources.iter().filter(|(path, _)| covers(path)).collect();
    assert!(!covered.is_empty());
    for (path, code) in covered {
        for word in forbidden {
            assert!(!mentions(code, word), "{path} mentions {word}");
        }
    }
}

/// Whether the word stands there and is not the end of a longer one.
fn mentions(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        word.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Checks that exactly these files mention one of the words.
fn check_only(expected: &[&str], words: &[&str]) {
    let sources = operator();
    let found: Vec<&str> = sources
        .iter()
        .filter(|(_, code)| words.iter().any(|word| mentions(code, word)))
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(found, expected, "{words:?}");
}

#[test]
fn what_calls_itself_pure_knows_no_client_runtime_clock_or_randomness() {
    let marked: Vec<String> = paths()
        .into_iter()
        .filter(|path| path.starts_with("operator/src/") && path.ends_with(".rs"))
        .filter(|path| read(path).starts_with("//! PURE"))
        .map(|path| path["operator/src/".len()..].to_owned())
        .collect();
    for folder in [
        "update/mod.rs",
        "record/mod.rs",
        "admission.rs",
        "name_pattern.rs",
    ] {
        assert!(
            marked.iter().any(|path| path == folder),
            "{folder} is not marked PURE"
        );
    }
    let is_pure = |path: &str| {
        let folder_of = |marked: &String| marked.strip_suffix("mod.rs").map(str::to_owned);
        let in_folder = |marked| folder_of(marked).is_some_and(|folder| path.starts_with(&folder));
        marked
            .iter()
            .any(|marked| marked == path || in_folder(marked))
    };
    forbid(is_pure, &HIDDEN_INPUTS);
    let speaks_dns = |path: &str| path.starts_with("provider/rfc2136/");
    // The DNS message is its pure form: its types are of the crate that also has transports.
    forbid(|path| is_pure(path) && !speaks_dns(path), &IO_CRATES);
    // `reconcile/` and `provider/` have pure files of their own, which share their types.
    let shares_types = |path: &str| path.starts_with("reconcile/") || path.starts_with("provider/");
    forbid(|path| is_pure(path) && !shares_types(path), &IO_MODULES);
}

#[test]
fn the_endpoint_never_speaks_dns_and_the_controller_never_reads_a_request() {
    let dns = ["provider::", "record::", "reconcile::", "hickory_net::"];
    forbid(|path| path.starts_with("endpoint/"), &dns);
    let http = ["endpoint::", "protocol::", "axum::", "hyper::", "http::"];
    forbid(|path| path.starts_with("reconcile/"), &http);
    let kubernetes = [
        "kube::",
        "k8s_openapi::",
        "axum::",
        "reconcile::",
        "endpoint::",
    ];
    forbid(|path| path.starts_with("provider/"), &kubernetes);
    forbid(
        |path| !path.starts_with("provider/rfc2136/"),
        &["hickory_net::"],
    );
}

#[test]
fn only_run_spawns_what_lives_as_long_as_the_process() {
    // endpoint/server/mod.rs: a task for each connection, which ends with it and with the server.
    check_only(&["endpoint/server/mod.rs", "run.rs"], &[".spawn", "spawn"]);
}

#[test]
fn the_api_server_is_written_to_in_few_places() {
    // The endpoint's observations, the controller's status of hosts, and that of zones.
    let status = [
        "endpoint/host_api.rs",
        "reconcile/status.rs",
        "reconcile/zone.rs",
    ];
    check_only(&status, &[".patch_status", ".replace_status"]);
    // Those, finalizers, update keys and the lease; Events go through kube's recorder.
    check_only(
        &[
            "endpoint/host_api.rs",
            "leader/election.rs",
            "reconcile/finalizer.rs",
            "reconcile/key.rs",
            "reconcile/status.rs",
            "reconcile/zone.rs",
        ],
        &[
            "PatchParams",
            "PostParams",
            "DeleteParams",
            ".delete_collection",
        ],
    );
    check_only(&["events/sending.rs"], &["Recorder"]);
}

#[test]
fn files_stay_small() {
    for path in paths() {
        let is_ours = path.starts_with("operator/") || path.starts_with("crds/");
        if is_ours && Path::new(ROOT).join(&path).is_file() {
            let lines = read(&path).lines().count();
            assert!(lines <= 600, "{path} has {lines} lines");
        }
    }
}

#[test]
fn every_path_that_a_page_names_exists() {
    let paths = paths();
    let exists = |named: &str| {
        let below = format!("/{named}");
        paths.contains(named) || paths.iter().any(|path| path.ends_with(&below))
    };
    let roots: BTreeSet<&str> = paths
        .iter()
        .filter_map(|path| path.split('/').next())
        .collect();
    let is_path = |word: &str| {
        let (first, rest) = word.split_once('/').unwrap_or((word, ""));
        let extension = word.rsplit_once('.').map(|(_, extension)| extension);
        let is_file = matches!(extension, Some("rs" | "md" | "yaml" | "toml"));
        (roots.contains(first) && word.contains('/'))
            || is_file
            || (rest.is_empty() && word.ends_with('/'))
    };
    for page in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"] {
        let text = read(page);
        let separators = |c: char| c.is_whitespace() || "`()[]<>|,;:\"'".contains(c);
        let words = text
            .split(separators)
            .map(|word| word.trim_end_matches('.'));
        let named: BTreeSet<&str> = words
            .map(|word| word.strip_prefix("./").unwrap_or(word))
            .filter_map(|word| word.split('#').next())
            .filter(|word| !word.starts_with(['/', '~', '-', '.']) || word.starts_with(".ci"))
            .filter(|word| !word.contains(['*', '{', '$']) && is_path(word))
            .collect();
        assert!(!named.is_empty(), "{page}");
        for path in named {
            assert!(exists(path.trim_end_matches('/')), "{page} names {path}");
        }
    }
}

#[test]
fn the_pages_for_users_tell_every_reason_and_every_field() {
    let resources = read("docs/resources.md");
    let reference = read("docs/reference/conditions.md");
    for reason in Reason::ALL {
        let name = format!("`{}`", reason.as_str());
        assert!(resources.contains(&name), "docs/resources.md lacks {name}");
        assert!(
            reference.contains(&name),
            "docs/reference/conditions.md lacks {name}"
        );
    }
    for (_, crd) in crds() {
        let crd = serde_json::to_value(&crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for field in leaves("", &schema["spec"]) {
            let name = format!("`{field}`");
            assert!(resources.contains(&name), "docs/resources.md lacks {name}");
        }
    }
}

/// The paths of a schema's fields that have no fields themselves, such as `auth.secretName`.
fn leaves(path: &str, schema: &Value) -> Vec<String> {
    let object = if schema["items"]["properties"].is_object() {
        &schema["items"]
    } else {
        schema
    };
    match object["properties"].as_object() {
        None => vec![path.trim_start_matches('.').to_owned()],
        Some(fields) => fields
            .iter()
            .flat_map(|(name, field)| leaves(&format!("{path}.{name}"), field))
            .collect(),
    }
}

#[derive(Deserialize)]
struct Role {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

#[test]
fn deploy_grants_what_is_listed_here_and_nothing_more() {
    let mut granted = BTreeSet::new();
    let mut aggregated = BTreeSet::new();
    let is_manifest = |path: &&String| path.starts_with("deploy/") && path.ends_with(".yaml");
    for path in paths().iter().filter(is_manifest) {
        for document in serde_yaml_ng::Deserializer::from_str(&read(path)) {
            let value = Value::deserialize(document).unwrap();
            if !value["kind"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("Role"))
            {
                continue;
            }
            let role: Role = serde_json::from_value(value).unwrap();
            // What holds in one namespace only.
            let name = match role.kind.as_str() {
                "ClusterRole" => role.metadata.name.clone(),
                _ => format!("{}/{}", role.metadata.namespace, role.metadata.name),
            };
            for rule in &role.rules {
                let groups = rule.api_groups.join(",");
                for resource in &rule.resources {
                    let verbs = rule.verbs.join(",");
                    let mut resource = resource.clone();
                    if !rule.resource_names.is_empty() {
                        resource += &format!("[{}]", rule.resource_names.join(","));
                    }
                    granted.insert(format!("{name} {groups}/{resource} {verbs}"));
                }
            }
            for label in role.metadata.labels.keys() {
                aggregated.insert(format!("{} {label}", role.metadata.name));
            }
        }
    }
    let all = "get,list,watch,create,update,patch,delete,deletecollection";
    let expected = [
        "dynhost /namespaces list,watch".to_owned(),
        "dynhost /secrets get,list,watch,create,patch".to_owned(),
        "dynhost apiextensions.k8s.io/customresourcedefinitions[dynamichosts.dynhost.dev] get"
            .to_owned(),
        "dynhost dynhost.dev/dynamichosts get,list,watch,patch".to_owned(),
        "dynhost dynhost.dev/dynamichosts/status patch".to_owned(),
        "dynhost dynhost.dev/dynamiczones get,list,watch,patch".to_owned(),
        "dynhost dynhost.dev/dynamiczones/status patch".to_owned(),
        "dynhost events.k8s.io/events create,patch".to_owned(),
        "dynhost-system/dynhost coordination.k8s.io/leases create".to_owned(),
        "dynhost-system/dynhost coordination.k8s.io/leases[dynhost] get,list,watch,update"
            .to_owned(),
        format!("dynhost-hosts-edit dynhost.dev/dynamichosts {all}"),
        "dynhost-view dynhost.dev/dynamichosts get,list,watch".to_owned(),
        "dynhost-view dynhost.dev/dynamiczones get,list,watch".to_owned(),
    ];
    assert_eq!(granted, BTreeSet::from(expected));
    let expected = [
        "dynhost-hosts-edit rbac.authorization.k8s.io/aggregate-to-admin",
        "dynhost-hosts-edit rbac.authorization.k8s.io/aggregate-to-edit",
        "dynhost-view rbac.authorization.k8s.io/aggregate-to-view",
    ];
    let aggregated: Vec<&str> = aggregated.iter().map(String::as_str).collect();
    assert_eq!(aggregated, expected);
}
