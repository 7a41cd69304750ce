//! Which crates the workspace has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    src_path: PathBuf,
}

/// The first file of each library, program and test of the workspace, as cargo knows them.
///
/// # Errors
/// If cargo cannot tell.
pub(crate) fn roots(workspace: &Path) -> Result<Vec<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace)
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("read what cargo metadata wrote")?;
    let mut roots: Vec<PathBuf> =
        metadata.packages.into_iter().flat_map(|package| package.targets).map(|target| target.src_path).collect();
    roots.sort();
    Ok(roots)
}
