//! The files of examples/, applied in the order of their numbers.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use dynhost_e2e::{Stack, TsigAlgorithm, TsigKey, ZoneSpec, random_base64};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::show;

/// The folder.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// The zone of examples/03-zone.yaml.
pub(crate) const ZONE: &str = "dyn.example.org";
pub(crate) const ZONE_NAME: &str = "dyn";
pub(crate) const ZONE_NAMESPACE: &str = "dns";

/// The zone of examples/11-tenants.yaml.
const TEAMS_ZONE: &str = "teams.example.org";

/// The host of examples/04-host.yaml, whose update key is generated.
pub(crate) const HOME: &str = "home.dyn.example.org";
pub(crate) const HOST_NAME: &str = "home";
pub(crate) const HOST_NAMESPACE: &str = "family";

/// What came of the examples.
pub(crate) struct Demo {
    /// The update key that was generated for [`HOME`].
    pub(crate) home_key: String,
}

impl Demo {
    /// Serves the zones in BIND, applies every example and waits until all of them are Ready.
    ///
    /// The TSIG secret and the name server's address are replaced by those of this run.
    pub(crate) async fn apply(stack: &Stack) -> Result<Self> {
        let key = TsigKey {
            name: "dyn-key".to_owned(),
            algorithm: TsigAlgorithm::HmacSha256,
            secret: random_base64(32)?,
        };
        for apex in [ZONE, TEAMS_ZONE] {
            let zone = ZoneSpec {
                apex: apex.to_owned(),
                keys: vec![key.clone()],
                records: Vec::new(),
                allow_transfer: true,
            };
            stack.bind.add_zone(zone).await?;
        }
        let server = stack.bind.address().to_string();
        for file in numbered_files()? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            show::step(&format!("kubectl apply -f examples/{name}"));
            let mut manifests = String::new();
            for mut manifest in read_manifests(&file)? {
                if let Some(replaced) = adapt(&mut manifest, &server, &key.secret) {
                    show::output(&format!("(with {replaced})"));
                }
                manifests += &format!("---\n{manifest}\n");
            }
            let said = stack
                .control_plane
                .kubectl(&["apply", "-f", "-"], &manifests)
                .await?;
            show::output(&said);
        }
        show::step("kubectl wait --for=condition=Ready dynamiczones,dynamichosts --all -A");
        let wait = ["wait", "--for=condition=Ready", "--timeout=60s"];
        let all = ["dynamiczones,dynamichosts", "--all", "--all-namespaces"];
        let said = stack
            .control_plane
            .kubectl(&[&wait[..], &all[..]].concat(), "")
            .await
            .with_context(|| stack.operator.log_tail(30))?;
        show::output(&said);
        let home_key = stack.update_key(HOST_NAMESPACE, "home-update-key").await?;
        Ok(Self { home_key })
    }
}

/// `NN-….yaml`, in order.
fn numbered_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(FOLDER)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_manifests(file: &PathBuf) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file)?;
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).map_err(Into::into))
        .collect()
}

/// Puts this run's name server and TSIG secret in, and says what was replaced.
fn adapt(manifest: &mut Value, server: &str, secret: &str) -> Option<String> {
    match (
        manifest["kind"].as_str(),
        manifest["metadata"]["name"].as_str(),
    ) {
        (Some("Secret"), Some("dyn-tsig")) => {
            manifest["stringData"]["secret"] = json!(secret);
            Some("the TSIG secret of this run's name server".to_owned())
        }
        (Some("DynamicZone"), _) => {
            manifest["spec"]["rfc2136"]["servers"] = json!([server]);
            Some(format!("servers: [{server}], this run's name server"))
        }
        _ => None,
    }
}
