//! The shared libraries that a binary loads.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The libraries and the loader of a dynamically linked binary; empty for a static one.
pub(crate) fn of(binary: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(binary).output().context("cannot run ldd")?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let is_static = |text: &str| text.contains("not a dynamic executable") || text.contains("statically linked");
    if is_static(&stdout) || is_static(&stderr) {
        return Ok(Vec::new());
    }
    ensure!(output.status.success(), "ldd cannot read {}: {}", binary.display(), stderr.trim());
    parse(&stdout).with_context(|| format!("{} cannot be packed", binary.display()))
}

/// Reads the lines of ldd: `name => /path (0x..)`, `/loader (0x..)`, and the kernel's own, which has no path.
fn parse(output: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in output.lines() {
        let line = line.trim();
        ensure!(!line.ends_with("not found"), "a shared library is missing: {line}");
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        if let Some(path) = path.split_whitespace().next().filter(|path| path.starts_with('/')) {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_understood() {
        let output = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected: Vec<PathBuf> =
            vec!["/lib/x86_64-linux-gnu/libssl.so.3".into(), "/lib64/ld-linux-x86-64.so.2".into()];
        assert_eq!(parse(output).unwrap(), expected);
        assert!(parse("\tlibx.so => not found\n").is_err());
    }
}
