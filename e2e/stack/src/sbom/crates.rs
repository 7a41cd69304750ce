//! The crates in a program: cargo says which, Cargo.lock how they were when they were fetched.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::component::{Component, encoded};

/// A crate's name and version.
type Crate = (String, String);

/// The crates in the programs of these packages, and what else is compiled with them.
pub(super) fn of(packages: &[String]) -> Result<Vec<Component>> {
    let (all, inside) = (tree(packages, "normal")?, tree(packages, "normal,no-proc-macro")?);
    let lock = lock(&lock_file()?)?;
    let mut components = Vec::new();
    for (key, license) in &all {
        let sha256 = lock.get(key).with_context(|| format!("Cargo.lock has no {} {}", key.0, key.1))?;
        let (name, version) = key;
        // What was not fetched is ours.
        let kind = if sha256.is_some() { "cargo" } else { "generic/coupon-operator" };
        components.push(Component {
            name: name.clone(),
            version: version.clone(),
            purl: format!("pkg:{kind}/{}@{}", encoded(name), encoded(version)),
            license: license.clone(),
            sha256: sha256.clone(),
            is_inside: inside.contains_key(key),
        });
        if name == "rdkafka-sys" {
            components.push(librdkafka(version)?);
        }
    }
    components.push(standard_library()?);
    Ok(components)
}

/// rdkafka-sys compiles the sources that it brings along, and says in its own version which they are.
fn librdkafka(of: &str) -> Result<Component> {
    let (_, version) =
        of.split_once('+').with_context(|| format!("rdkafka-sys {of} does not name librdkafka's version"))?;
    Ok(Component {
        name: "librdkafka".to_owned(),
        version: version.to_owned(),
        purl: format!("pkg:github/confluentinc/librdkafka@v{}", encoded(version)),
        license: Some("BSD-2-Clause".to_owned()),
        sha256: None,
        is_inside: true,
    })
}

fn standard_library() -> Result<Component> {
    let said = output(Command::new("rustc").arg("--version"))?;
    let version = said.split(' ').nth(1).with_context(|| format!("rustc --version says `{}`", said.trim()))?;
    Ok(Component {
        name: "rust-std".to_owned(),
        version: version.to_owned(),
        purl: format!("pkg:generic/rust-std@{}", encoded(version)),
        license: Some("MIT OR Apache-2.0".to_owned()),
        sha256: None,
        is_inside: true,
    })
}

/// The crates that these packages need on this machine, by the edges of this kind, and their licences. Nothing is fetched: after a build all
/// is there.
fn tree(packages: &[String], edges: &str) -> Result<BTreeMap<Crate, Option<String>>> {
    let mut command = cargo();
    command.args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p}\t{l}", "--edges", edges]);
    for package in packages {
        command.args(["--package", package]);
    }
    parse_tree(&output(&mut command)?)
}

/// Reads lines such as `tokio v1.54.1\tMIT` and `campaign v0.1.0 (/source/campaign)\tApache-2.0 (*)`.
fn parse_tree(text: &str) -> Result<BTreeMap<Crate, Option<String>>> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (package, license) = line.split_once('\t').with_context(|| format!("cargo tree says `{line}`"))?;
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next().and_then(|word| word.strip_prefix('v'))) else {
            bail!("cargo tree says `{line}`");
        };
        let license = license.trim_end_matches("(*)").trim().replace('/', " OR ");
        found.insert((name.to_owned(), version.to_owned()), Some(license).filter(|text| !text.is_empty()));
    }
    Ok(found)
}

fn lock_file() -> Result<String> {
    let manifest = output(cargo().args(["locate-project", "--workspace", "--message-format", "plain"]))?;
    let path = std::path::Path::new(manifest.trim()).with_file_name("Cargo.lock");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Each package of a Cargo.lock with the hash of what was fetched; nothing was for those of the workspace.
fn lock(text: &str) -> Result<BTreeMap<Crate, Option<String>>> {
    let mut found = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"').to_owned())
        };
        let (name, version) = field("name").zip(field("version")).context("a package of Cargo.lock has no name")?;
        let sha256 = field("checksum");
        ensure!(sha256.is_some() == field("source").is_some(), "Cargo.lock has no hash of {name} {version}");
        found.insert((name, version), sha256);
    }
    Ok(found)
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates<const N: usize>(all: [(&str, &str, Option<&str>); N]) -> BTreeMap<Crate, Option<String>> {
        all.map(|(name, version, value)| ((name.to_owned(), version.to_owned()), value.map(str::to_owned))).into()
    }

    #[test]
    fn every_kind_of_line_is_understood() {
        let text = "campaign v0.1.0 (/source/campaign)\tApache-2.0\ntokio v1.2.3\tMIT\n\nserde_derive v1.0.0 (proc-macro)\tMIT/Apache-2.0\n\
                    tokio v1.2.3\tMIT (*)\nodd v1.0.0\t\n";
        let expected = crates([
            ("campaign", "0.1.0", Some("Apache-2.0")),
            ("odd", "1.0.0", None),
            ("serde_derive", "1.0.0", Some("MIT OR Apache-2.0")),
            ("tokio", "1.2.3", Some("MIT")),
        ]);
        assert_eq!(parse_tree(text).unwrap(), expected);
        assert!(parse_tree("error: no such thing\t").is_err());
    }

    #[test]
    fn what_was_fetched_has_a_hash() {
        let ours =
            "version = 4\n\n[[package]]\nname = \"campaign\"\nversion = \"0.1.0\"\ndependencies = [\n \"tokio\",\n]\n";
        let fetched = "\n[[package]]\nname = \"tokio\"\nversion = \"1.2.3\"\nsource = \"registry+x\"\n";
        let whole = format!("{ours}{fetched}checksum = \"ab\"\n");
        assert_eq!(lock(&whole).unwrap(), crates([("campaign", "0.1.0", None), ("tokio", "1.2.3", Some("ab"))]));
        assert!(lock(fetched).is_err(), "nobody could tell whether it is the same");
    }

    #[test]
    fn librdkafka_is_known_by_its_own_version() {
        assert_eq!(librdkafka("4.10.0+2.12.1").unwrap().purl, "pkg:github/confluentinc/librdkafka@v2.12.1");
        assert!(librdkafka("4.10.0").is_err());
    }
}
