//! The cgroup of a stack's pods, in whatever hierarchies the machine has (version 1, 2, or both).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long the kernel may take to release cgroups whose processes have ended.
const REMOVAL: Duration = Duration::from_secs(10);

/// The stack's cgroup, as the kubelet names it.
#[must_use]
pub fn path(stack: &str) -> String {
    format!("/coupon-{stack}")
}

#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    version_2: bool,
}

/// Reads the cgroup mounts from `/proc/self/mountinfo`: `.. root mountpoint options .. - type source options`.
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let parse = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let version_2 = match after.split(' ').next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        Some(Hierarchy { root: before.split(' ').nth(4)?.into(), version_2 })
    };
    mountinfo.lines().filter_map(parse).collect()
}

fn mounted() -> Result<Vec<Hierarchy>> {
    let found = hierarchies(&fs::read_to_string("/proc/self/mountinfo")?);
    if found.is_empty() {
        bail!("no cgroups are mounted on this machine: mount them at /sys/fs/cgroup");
    }
    Ok(found)
}

/// Creates the stack's cgroup in every hierarchy: the kubelet demands that it exists.
///
/// # Errors
/// If this process may not create cgroups.
pub fn create(stack: &str) -> Result<()> {
    let all = mounted()?;
    // Beside version 1, the mounted version 2 has no controllers and only tracks processes.
    let mixed = all.iter().any(|hierarchy| !hierarchy.version_2);
    for hierarchy in &all {
        let folder = join(&hierarchy.root, stack);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot create the cgroup {}", folder.display()));
            }
            _ => {}
        }
        if hierarchy.version_2 && !mixed {
            enable_controllers(&hierarchy.root)?;
            enable_controllers(&folder)?;
        }
        // In version 1, a new cpuset is empty, and so unusable.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if !hierarchy.version_2 && folder.join(file).exists() {
                fs::write(folder.join(file), fs::read(hierarchy.root.join(file))?)?;
            }
        }
    }
    Ok(())
}

/// Lets the children of a version 2 cgroup use all controllers that it has.
fn enable_controllers(folder: &Path) -> Result<()> {
    let available = fs::read_to_string(folder.join("cgroup.controllers"))?;
    for controller in available.split_whitespace() {
        fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}")).with_context(|| {
            format!(
                "cannot enable the {controller} controller below {}: no process may be in that cgroup itself",
                folder.display()
            )
        })?;
    }
    Ok(())
}

/// Removes the stack's cgroups; their processes must have ended.
///
/// # Errors
/// If one is still in use after a while.
pub fn remove(stack: &str) -> Result<()> {
    let deadline = Instant::now() + REMOVAL;
    for hierarchy in mounted()? {
        let folder = join(&hierarchy.root, stack);
        while let Err(error) = remove_tree(&folder) {
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("cannot remove the cgroup {}", folder.display()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Whether any cgroup of the stack is left.
///
/// # Errors
/// If the machine's mounts cannot be read.
pub fn exists(stack: &str) -> Result<bool> {
    Ok(mounted()?.iter().any(|hierarchy| join(&hierarchy.root, stack).exists()))
}

fn join(root: &Path, stack: &str) -> PathBuf {
    root.join(path(stack).trim_start_matches('/'))
}

/// Only folders can be removed, and only from the innermost outwards; their files are the kernel's.
fn remove_tree(folder: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_among_other_mounts() {
        let mountinfo = "25 1 0:24 / /sys rw - sysfs sysfs rw\n\
                         31 25 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                         32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n";
        let expected = vec![
            Hierarchy { root: "/sys/fs/cgroup/cpu".into(), version_2: false },
            Hierarchy { root: "/sys/fs/cgroup/unified".into(), version_2: true },
        ];
        assert_eq!(hierarchies(mountinfo), expected);
    }
}
