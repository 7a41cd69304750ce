//! The table of docs/TRIALS.md: each case, and what holds it. Pure.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// One row: a case, or several that are one, and what holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Its names, for people: `C1, SC-07`.
    pub cases: String,
    /// What was seen to hold it.
    pub held_by: Vec<Proof>,
}

/// What holds a case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// A test of this name, or each test of a module of this name.
    Test(String),
    /// Each test of this file, from the project's root.
    File(String),
    /// A target of the Makefile, with its variables: too long to be run with others.
    Make(String),
}

impl Trial {
    /// How many cases the row is about.
    pub fn count(&self) -> usize {
        self.cases.split(", ").count()
    }
}

impl Proof {
    fn parse(text: &str) -> Self {
        match (text.strip_prefix("make "), Path::new(text).extension().is_some_and(|extension| extension == "rs")) {
            (Some(target), _) => Self::Make(target.to_owned()),
            (None, true) => Self::File(text.to_owned()),
            (None, false) => Self::Test(text.to_owned()),
        }
    }
}

/// Reads the table.
///
/// # Errors
/// There is no table, a row has other than four columns, or no test holds it.
pub fn trials(document: &str) -> Result<Vec<Trial>> {
    let rows = document.lines().filter(|line| line.starts_with("| ")).skip(1);
    let trials = rows.map(trial).collect::<Result<Vec<_>>>()?;
    ensure!(!trials.is_empty(), "the document has no table of trials");
    Ok(trials)
}

fn trial(line: &str) -> Result<Trial> {
    // A bar that is no border is escaped.
    let line = line.trim().trim_matches('|').replace("\\|", "\u{1}");
    let cells: Vec<String> = line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
    let [cases, _, _, held_by] = cells.as_slice() else {
        anyhow::bail!("a row has {} columns instead of 4: {line}", cells.len());
    };
    // Every second piece stands between back quotes.
    let held_by: Vec<Proof> = held_by.split('`').skip(1).step_by(2).map(Proof::parse).collect();
    let runs = held_by.iter().any(|proof| !matches!(proof, Proof::Make(_)));
    ensure!(runs, "{cases}: no test or file in back quotes holds it");
    Ok(Trial { cases: cases.clone(), held_by })
}

/// The table of this project.
///
/// # Errors
/// As [`trials`]; or there is no such file.
pub fn read(root: &Path) -> Result<Vec<Trial>> {
    let path = root.join("docs/TRIALS.md");
    trials(&std::fs::read_to_string(&path).with_context(|| path.display().to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_case_and_what_holds_it() {
        let document = "# Trials\n\n| case | wrong | now | held by |\n|---|---|---|---|\n\
            | C1, SC-07 | it died | it lives | `operator/tests/repair_size.rs`; `it_lives_on`; `make repair-bench` |\n\
            | D1 | a \\| b | c | the cases of `serving::` |\n";
        let (test, file) = (|name: &str| Proof::Test(name.to_owned()), |name: &str| Proof::File(name.to_owned()));
        assert_eq!(
            trials(document).unwrap(),
            [
                Trial {
                    cases: "C1, SC-07".to_owned(),
                    held_by: vec![
                        file("operator/tests/repair_size.rs"),
                        test("it_lives_on"),
                        Proof::Make("repair-bench".to_owned())
                    ],
                },
                Trial { cases: "D1".to_owned(), held_by: vec![test("serving::")] },
            ]
        );
        assert_eq!(trials(document).unwrap().iter().map(Trial::count).sum::<usize>(), 3);
    }

    #[test]
    fn what_nothing_holds_is_no_row() {
        let row = |row: &str| trials(&format!("| case | wrong | now | held by |\n{row}\n")).unwrap_err().to_string();
        assert!(row("| C1 | it died | it lives | nothing |").contains("C1: no test"));
        assert!(row("| C1 | it died | it lives |").contains("3 columns"));
        assert!(trials("nothing").unwrap_err().to_string().contains("no table"));
    }

    /// Wrong: the table names a test that was renamed, and nobody knows what holds the case.
    #[test]
    fn what_the_table_names_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let makefile = std::fs::read_to_string(root.join("Makefile")).unwrap();
        let sources = sources(root);
        let missing: Vec<String> = read(root)
            .unwrap()
            .iter()
            .flat_map(|trial| trial.held_by.iter().map(move |proof| (trial, proof)))
            .filter(|(_, proof)| match proof {
                Proof::File(path) => !root.join(path).is_file(),
                Proof::Make(target) => {
                    let name = target.split(' ').next().unwrap_or_default();
                    !makefile.lines().any(|line| line.starts_with(&format!("{name}:")))
                }
                Proof::Test(name) => !sources.iter().any(|source| is_defined(source, name)),
            })
            .map(|(trial, proof)| format!("{}: {proof:?}", trial.cases))
            .collect();
        assert!(missing.is_empty(), "docs/TRIALS.md names what is not there:\n{}", missing.join("\n"));
    }

    fn is_defined(source: &str, name: &str) -> bool {
        match name.strip_suffix("::") {
            Some(module) => {
                let last = module.rsplit("::").next().unwrap_or(module);
                source.lines().any(|line| {
                    line.trim_start_matches("pub ").trim_start_matches("pub(crate) ") == format!("mod {last};")
                })
            }
            None => source.contains(&format!("fn {name}(")),
        }
    }

    /// The text of every Rust file of the project's crates.
    fn sources(root: &Path) -> Vec<String> {
        let mut folders: Vec<_> =
            ["consumer", "crates", "e2e", "issuer", "operator"].iter().map(|name| root.join(name)).collect();
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    found.push(std::fs::read_to_string(path).unwrap());
                }
            }
        }
        found
    }
}
