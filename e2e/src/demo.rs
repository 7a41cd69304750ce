//! How every demo ends: its last line says what came of it, and its exit status whether that is good.

use std::process::ExitCode;

use anyhow::{Context, Result};

/// Runs a demo, which gives its last line and whether all was as promised.
pub fn run(name: &str, demo: impl Future<Output = Result<(String, bool)>>) -> ExitCode {
    let run = tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(demo));
    match run {
        Ok((line, good)) => {
            println!("{line}");
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{name} failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
