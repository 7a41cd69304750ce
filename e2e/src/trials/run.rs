//! Runs the tests that hold the trials, each once, and says which cases held.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::table::{Proof, Trial};

/// A compiled file of tests.
#[derive(Debug)]
struct Binary {
    executable: PathBuf,
    /// Its main file.
    source: PathBuf,
    /// Where its package is: tests run there.
    package: PathBuf,
    /// Names of its tests, with their modules.
    tests: Vec<String>,
}

/// A test of one binary.
type Place = (usize, String);

/// What became of one row.
#[derive(Debug)]
pub struct TrialOutcome {
    /// What was not seen to hold, in words; empty if it held.
    pub failures: Vec<String>,
    /// How many tests hold it.
    pub tests: usize,
    /// What holds it beside, and was not run here.
    pub not_run: Vec<String>,
}

/// Runs what holds `trials`, one binary after another.
///
/// # Errors
/// The tests cannot be listed or started.
pub fn run(root: &Path, trials: &[Trial]) -> Result<Vec<TrialOutcome>> {
    let binaries = binaries(root)?;
    let places: Vec<Vec<(&Proof, BTreeSet<Place>)>> = trials
        .iter()
        .map(|trial| trial.held_by.iter().map(|proof| (proof, places(root, &binaries, proof))).collect())
        .collect();
    let mut wanted: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (binary, test) in places.iter().flatten().flat_map(|(_, places)| places) {
        wanted.entry(*binary).or_default().insert(test.clone());
    }
    let mut passed: BTreeSet<Place> = BTreeSet::new();
    for (index, tests) in &wanted {
        let Some(binary) = binaries.get(*index) else { continue };
        println!("{} tests of {}", tests.len(), binary.source.strip_prefix(root).unwrap_or(&binary.source).display());
        passed.extend(binary.run(tests)?.into_iter().map(|test| (*index, test)));
    }
    Ok(places.into_iter().map(|proofs| outcome(&proofs, &passed)).collect())
}

fn outcome(proofs: &[(&Proof, BTreeSet<Place>)], passed: &BTreeSet<Place>) -> TrialOutcome {
    let mut outcome = TrialOutcome { failures: Vec::new(), tests: 0, not_run: Vec::new() };
    for (proof, places) in proofs {
        match proof {
            Proof::Make(target) => outcome.not_run.push(format!("make {target}")),
            Proof::Test(name) | Proof::File(name) if places.is_empty() => {
                outcome.failures.push(format!("there is no test {name}"));
            }
            Proof::Test(_) | Proof::File(_) => {
                outcome.tests += places.len();
                let failed = places.difference(passed).map(|(_, test)| format!("{test} failed"));
                outcome.failures.extend(failed);
            }
        }
    }
    outcome
}

/// Where the tests are that a proof names.
fn places(root: &Path, binaries: &[Binary], proof: &Proof) -> BTreeSet<Place> {
    let mut found = BTreeSet::new();
    for (index, binary) in binaries.iter().enumerate() {
        let tests = binary.tests.iter().filter(|test| match proof {
            Proof::Test(name) => is_named(test, name),
            Proof::File(path) => is_in(&root.join(path), &binary.source, test),
            Proof::Make(_) => false,
        });
        found.extend(tests.map(|test| (index, test.clone())));
    }
    found
}

/// Whether a test has this name, whatever its modules are; or, for a name that ends in `::`, is in a module of that name.
fn is_named(test: &str, name: &str) -> bool {
    match name.ends_with("::") {
        true => test.starts_with(name) || test.contains(&format!("::{name}")),
        false => test == name || test.strip_suffix(name).is_some_and(|modules| modules.ends_with("::")),
    }
}

/// Whether a test stands in `file`: it is the main file of its binary, or, beside a main file, the module that the test is in.
fn is_in(file: &Path, source: &Path, test: &str) -> bool {
    let is_main = source.file_name().is_some_and(|name| name == "main.rs");
    let module = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    file == source || (is_main && file.parent() == source.parent() && test.starts_with(&format!("{module}::")))
}

fn binaries(root: &Path) -> Result<Vec<Binary>> {
    let output = Command::new("cargo")
        .args(["test", "--workspace", "--offline", "--no-run", "--message-format", "json"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo, which says where the tests are")?;
    if !output.status.success() {
        bail!("the tests do not compile: {}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut binaries = messages.filter_map(|message| Binary::of(&message)).collect::<Result<Vec<_>>>()?;
    // As `cargo test` runs them: what Helm installs must be there before tests of the API server bring their own.
    binaries.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(binaries)
}

impl Binary {
    /// The binary of one of Cargo's messages, if it is one of tests.
    fn of(message: &Value) -> Option<Result<Self>> {
        let path = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).map(PathBuf::from);
        let is_test = message.pointer("/profile/test").and_then(Value::as_bool).unwrap_or(false);
        let executable = path("/executable").filter(|_| is_test)?;
        let (source, manifest) = (path("/target/src_path")?, path("/manifest_path")?);
        let binary = Self { executable, source, package: manifest.parent()?.to_owned(), tests: Vec::new() };
        Some(binary.listed())
    }

    fn listed(self) -> Result<Self> {
        let name = self.executable.display().to_string();
        let output = Command::new(&self.executable)
            .args(["--list", "--format", "terse"])
            .current_dir(&self.package)
            .output()
            .with_context(|| name)?;
        let list = String::from_utf8_lossy(&output.stdout);
        let tests = list.lines().filter_map(|line| line.strip_suffix(": test")).map(ToOwned::to_owned).collect();
        Ok(Self { tests, ..self })
    }

    /// Runs these tests; those that passed.
    fn run(&self, tests: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let output = Command::new(&self.executable)
            .arg("--exact")
            .args(tests)
            .current_dir(&self.package)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| self.executable.display().to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            // The words of those that failed.
            println!("{text}");
        }
        let passed = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... ok"));
        Ok(passed.map(ToOwned::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_name_module_or_file() {
        for (test, name, expected) in [
            ("it_lives", "it_lives", true),
            ("repair::it_lives", "it_lives", true),
            ("repair::so_it_lives", "it_lives", false),
            ("repair::it_lives_on", "it_lives", false),
            ("repair::tests::it_lives", "repair::", true),
            ("operator::ledger::repair::tests::it_lives", "repair::", true),
            ("disrepair::tests::it_lives", "repair::", false),
        ] {
            assert_eq!(is_named(test, name), expected, "{test} {name}");
        }
        for (file, source, test, expected) in [
            ("operator/tests/size.rs", "operator/tests/size.rs", "any", true),
            ("operator/tests/ledger/kafka.rs", "operator/tests/ledger/main.rs", "kafka::members", true),
            ("operator/tests/ledger/kafka.rs", "operator/tests/ledger/main.rs", "logs::members", false),
            ("operator/tests/ledger/kafka.rs", "operator/tests/other/main.rs", "kafka::members", false),
            ("operator/tests/size.rs", "operator/tests/other.rs", "size::any", false),
        ] {
            assert_eq!(is_in(Path::new(file), Path::new(source), test), expected, "{file} {test}");
        }
    }

    #[test]
    fn a_case_holds_when_all_that_holds_it_passed() {
        let place = |test: &str| (0, test.to_owned());
        let (one, file, long) =
            (Proof::Test("a".to_owned()), Proof::File("b.rs".to_owned()), Proof::Make("chaos".to_owned()));
        let proofs = [
            (&one, BTreeSet::from([place("a")])),
            (&file, BTreeSet::from([place("b"), place("c")])),
            (&long, BTreeSet::new()),
        ];
        let held = outcome(&proofs, &BTreeSet::from([place("a"), place("b"), place("c")]));
        assert_eq!((held.failures.len(), held.tests, held.not_run), (0, 3, vec!["make chaos".to_owned()]));
        let failed = outcome(&proofs, &BTreeSet::from([place("a"), place("c")]));
        assert_eq!(failed.failures, ["b failed"]);
        let renamed = outcome(&[(&one, BTreeSet::new())], &BTreeSet::new());
        assert_eq!(renamed.failures, ["there is no test a"]);
    }
}
