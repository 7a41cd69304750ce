//! What the benchmark is told.

use std::path::PathBuf;

use clap::Args;

/// Starts real servers, puts them under load case by case, and writes a report.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// One short round of the most important cases.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds; each goes through all cases in turn. By default 3, and 1 with `--quick`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: Option<u32>,
    /// Only these cases, or all whose names begin so: `durable-256,fast,sale`.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Folder of the programs, as built for release.
    #[arg(long, default_value = "target/release")]
    pub(crate) programs: PathBuf,
    /// Folder for report.json, report.md and pictures.
    #[arg(long, default_value = "target/bench")]
    pub(crate) output: PathBuf,
    /// Write tables to this document as well, between its marks, and pictures beside it.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

impl Options {
    /// How many rounds.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }
}
