//! The packages of the system that files belong to, by dpkg.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::component::{Component, encoded};

/// The certificate authorities that a Debian machine trusts.
pub(crate) const CA_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What dpkg is asked for: the same words that [`parse_package`] takes apart.
const FORMAT: &str = "${Package}\t${Version}\t${Architecture}\t${source:Package}\n";

/// The packages of these files. A file of no package stands for itself.
pub(super) fn of(files: &[&Path]) -> Result<Vec<Component>> {
    let owners =
        owners(&dpkg_query(|command| command.arg("--search").args(files.iter().flat_map(|file| names(file))))?);
    let (mut packages, mut components) = (BTreeSet::new(), Vec::new());
    for file in files {
        // Made by that package when it is installed, so no file of it.
        let made = (*file == Path::new(CA_CERTIFICATES)).then(|| "ca-certificates".to_owned());
        match made.or_else(|| owner(&owners, file)) {
            Some(package) => _ = packages.insert(package),
            None => components.push(unowned(file)),
        }
    }
    let release = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    if !packages.is_empty() {
        let known = dpkg_query(|command| command.arg("--show").arg("--showformat").arg(FORMAT).args(&packages))?;
        for line in known.lines() {
            components.push(parse_package(line, &release)?);
        }
    }
    Ok(components)
}

/// Not every file has to be known: dpkg answers for those that are, and says no at the end.
fn dpkg_query(arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
    let output = arguments(&mut Command::new("dpkg-query")).output().context("cannot run dpkg-query")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Packages may name a file by `/lib` or by `/usr/lib`, which are one folder.
fn names(file: &Path) -> [PathBuf; 2] {
    let other = match file.strip_prefix("/usr") {
        Ok(rest) => Path::new("/").join(rest),
        Err(_) => Path::new("/usr").join(file.strip_prefix("/").unwrap_or(file)),
    };
    [file.to_owned(), other]
}

/// Reads lines such as `libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6`.
fn owners(text: &str) -> Vec<(String, PathBuf)> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
    // A file that several have (`a, b: /path`) is the first one's.
    lines.map(|(owner, path)| (owner.split(", ").next().unwrap_or(owner).to_owned(), path.into())).collect()
}

fn owner(owners: &[(String, PathBuf)], file: &Path) -> Option<String> {
    let names = names(file);
    owners.iter().find(|(_, path)| names.contains(path)).map(|(owner, _)| owner.clone())
}

fn parse_package(line: &str, release: &str) -> Result<Component> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, version, architecture, source] = fields[..] else {
        anyhow::bail!("dpkg-query says `{line}`");
    };
    let value = |key: &str| {
        let found = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.map(|value| value.trim_matches('"')).with_context(|| format!("/etc/os-release has no {key}"))
    };
    let (id, number) = (value("ID")?, value("VERSION_ID")?);
    let (distro, package, at) = (encoded(&format!("{id}-{number}")), encoded(name), encoded(version));
    Ok(Component {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: format!("pkg:deb/{id}/{package}@{at}?arch={architecture}&distro={distro}&upstream={}", encoded(source)),
        license: None,
        sha256: None,
        is_inside: true,
    })
}

fn unowned(file: &Path) -> Component {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Component {
        name: name.to_string(),
        version: String::new(),
        purl: format!("pkg:generic/{}", encoded(&name)),
        license: None,
        sha256: None,
        is_inside: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_either_of_its_names() {
        let owners = owners("libc6:amd64: /lib/x/libc.so.6\nlibssl3:amd64, libssl-odd: /usr/lib/x/libssl.so.3\n");
        for (file, expected) in [
            ("/lib/x/libc.so.6", Some("libc6:amd64")),
            ("/usr/lib/x/libc.so.6", Some("libc6:amd64")),
            ("/lib/x/libssl.so.3", Some("libssl3:amd64")),
            ("/lib/x/libother.so.3", None),
        ] {
            assert_eq!(owner(&owners, Path::new(file)).as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn a_package_is_named_as_scanners_look_it_up() {
        let release = "PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n";
        let package = parse_package("libstdc++6\t1:12.2.0-14+deb12u1\tamd64\tgcc-12", release).unwrap();
        assert_eq!(
            package.purl,
            "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=gcc-12"
        );
        assert!(parse_package("libssl3", release).is_err() && parse_package("a\t1\tx\ta", "ID=debian\n").is_err());
    }
}
