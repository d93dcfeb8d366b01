//! Every example is accepted, and every `examples/invalid/` refused, by the real API server.

// Helpers of tests are tests, too: where they cannot go on, the test fails.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use dynhost_e2e::{ControlPlane, stack::install};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

#[tokio::test]
async fn examples_are_accepted_and_invalid_ones_refused_for_the_reason_they_name() {
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane).await.unwrap();
    let valid = manifests(FOLDER);
    assert!(!valid.is_empty());
    for file in valid {
        control_plane
            .kubectl(&["apply", "-f", file.to_str().unwrap()], "")
            .await
            .unwrap();
    }
    let invalid = manifests(&format!("{FOLDER}/invalid"));
    assert!(!invalid.is_empty());
    for file in invalid {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# Refused: "))
            .unwrap_or_else(|| panic!("{} does not say why it is refused", file.display()));
        let output = control_plane
            .try_kubectl(&["create", "-f", "-"], &text)
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{} is accepted", file.display());
        assert!(said.contains(expected), "{}: {said}", file.display());
    }
}

/// The YAML files of a folder, in order.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}
