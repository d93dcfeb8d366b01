//! Shell exports for other programs.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    iter,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use dynhost_e2e::{
    ControlPlaneBinary, Operator, Scratch, Stack, control_plane_binary, operator_binary,
};

use crate::examples::{ZONE, ZONE_NAME, ZONE_NAMESPACE};

/// The file, removed on drop: what it tells of ends with the demonstration.
pub(crate) struct EnvFile {
    path: PathBuf,
}

impl EnvFile {
    /// Writes the file beside its place with mode 0600, and renames it there: whoever sees it sees
    /// all of it.
    ///
    /// What there is of each replica is in one variable, with spaces between.
    pub(crate) async fn write(
        path: &Path,
        stack: &Stack,
        replicas: &[Operator],
        tools: &Path,
    ) -> Result<Self> {
        let (mut updates, mut admins, mut pids) = (Vec::new(), Vec::new(), Vec::new());
        for operator in iter::once(&stack.operator).chain(replicas) {
            updates.push(operator.update_url());
            admins.push(operator.admin_url());
            pids.push(operator.pid().await?.to_string());
        }
        let mut folders = vec![tools.to_owned()];
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let exports = [
            ("PATH", text(env::join_paths(folders)?.as_ref())?),
            ("KUBECONFIG", text(&stack.control_plane.kubeconfig())?),
            ("UPDATE_URL", stack.operator.update_url()),
            ("ADMIN_URL", stack.operator.admin_url()),
            ("DNS_SERVER", stack.bind.address().to_string()),
            ("ZONE", ZONE.to_owned()),
            ("ZONE_NAME", ZONE_NAME.to_owned()),
            ("ZONE_NAMESPACE", ZONE_NAMESPACE.to_owned()),
            ("OPERATOR_PID", stack.operator.pid().await?.to_string()),
            ("UPDATE_URLS", updates.join(" ")),
            ("ADMIN_URLS", admins.join(" ")),
            ("OPERATOR_PIDS", pids.join(" ")),
        ];
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}", std::process::id()));
        let unfinished = Self {
            path: unfinished.into(),
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished.path)
            .with_context(|| format!("writing {}", unfinished.path.display()))?;
        for (name, value) in exports {
            writeln!(file, "export {name}={}", quote(&value))?;
        }
        fs::rename(&unfinished.path, path)
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        // Renamed, or removed by somebody else already.
        let _absent = fs::remove_file(&self.path);
    }
}

/// A folder with a link to every program that the demonstration brought along.
pub(crate) async fn link_tools() -> Result<Scratch> {
    let tools = Scratch::new("tools")?;
    for binary in ControlPlaneBinary::ALL {
        let path = control_plane_binary(binary).await?;
        symlink(path, tools.path().join(binary.name()))?;
    }
    symlink(operator_binary().await?, tools.path().join("dynhost"))?;
    Ok(tools)
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path is not UTF-8")?;
    Ok(text.to_owned())
}

/// Single quotes keep everything but themselves.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_value_is_one_word_of_the_shell() {
        for (value, quoted) in [("a b", "'a b'"), ("$(x)", "'$(x)'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quote(value), quoted);
        }
    }
}
