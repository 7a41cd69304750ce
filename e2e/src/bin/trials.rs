//! `make trials`: every case of docs/TRIALS.md, held against the tests that it names, in one run.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use e2e::trials::run::run;
use e2e::trials::table::{Trial, read};

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the project's root")?;
    let trials = read(root)?;
    let outcomes = run(root, &trials)?;
    let mut failed = 0;
    for (trial, outcome) in trials.iter().zip(&outcomes) {
        let beside = match outcome.not_run.as_slice() {
            [] => String::new(),
            targets => format!("; not run here: {}", targets.join(", ")),
        };
        if outcome.failures.is_empty() {
            println!("held    {}: {} tests{beside}", trial.cases, outcome.tests);
        } else {
            failed += trial.count();
            println!("FAILED  {}: {}{beside}", trial.cases, outcome.failures.join("; "));
        }
    }
    let cases: usize = trials.iter().map(Trial::count).sum();
    println!("trials: cases={cases} held={} failed={failed}", cases - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
