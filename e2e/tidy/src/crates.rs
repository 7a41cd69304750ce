//! Which crates the workspace has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A crate of the workspace, as cargo knows it.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A library, program or test of a crate.
#[derive(Deserialize)]
pub(crate) struct Target {
    kind: Vec<String>,
    /// Its first file.
    pub(crate) src_path: PathBuf,
}

impl Target {
    /// Whether it is what others use, a library or a program, and no test.
    pub(crate) fn is_product(&self) -> bool {
        self.kind.iter().any(|kind| kind == "lib" || kind == "bin")
    }
}

/// A crate that another one depends on.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    rename: Option<String>,
    /// Nothing for `[dependencies]`, else `dev` or `build`.
    kind: Option<String>,
}

impl Dependency {
    /// What sources call it.
    pub(crate) fn name_in_sources(&self) -> String {
        self.rename.as_ref().unwrap_or(&self.name).replace('-', "_")
    }

    /// Whether it stands in `[dependencies]`.
    pub(crate) fn is_normal(&self) -> bool {
        self.kind.is_none()
    }
}

/// The crates of the workspace.
///
/// # Errors
/// If cargo cannot tell.
pub(crate) fn packages(workspace: &Path) -> Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace)
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("read what cargo metadata wrote")?;
    Ok(metadata.packages)
}

/// The first file of each library, program and test of these crates.
pub(crate) fn roots(packages: &[Package]) -> Vec<PathBuf> {
    let targets = packages.iter().flat_map(|package| &package.targets);
    let mut roots: Vec<PathBuf> = targets.map(|target| target.src_path.clone()).collect();
    roots.sort();
    roots
}
