//! Plays sales against the scaling policy and against KEDA with the HorizontalPodAutoscaler: who is done sooner, and what it costs.
//!
//! - [`arrivals`], [`cases`]: when winners come;
//! - [`plant`]: partitions, pods and a database;
//! - [`ours`], [`keda`]: what decides;
//! - [`run`]: plays a case; [`report`], [`plot`]: tables, JSON, pictures.
//!
//! All of it is computed in steps of 100 ms, without chance and without a clock.

mod arrivals;
mod cases;
#[cfg(test)]
mod claims;
mod keda;
mod ours;
mod plant;
mod plot;
mod report;
mod run;
mod scaler;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;

/// What the table in a document stands between.
const MARKS: [&str; 2] = ["<!-- simulate -->\n", "<!-- end -->\n"];

#[derive(Parser)]
#[command(about = "Plays arrival curves against the scaling policy and against KEDA + HPA", version)]
struct Arguments {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Write a picture of each case to DIR/scaling-CASE.svg.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Put the tables between the marks in this document.
    #[arg(long, value_name = "FILE")]
    doc: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let all = report::play_all();
    if let Some(folder) = &arguments.svg {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for played in &all {
            let path = folder.join(format!("scaling-{}.svg", played.slug));
            let picture = plot::svg(&played.case, &played.outcomes);
            std::fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let text = report::text(&all);
    if let Some(path) = &arguments.doc {
        document(path, &text)?;
    }
    let mut out = std::io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?,
        false => write!(out, "{text}")?,
    }
    Ok(())
}

fn document(path: &Path, text: &str) -> anyhow::Result<()> {
    let old = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let new = between_marks(&old, text).with_context(|| format!("{} lacks the marks {MARKS:?}", path.display()))?;
    std::fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

/// The document with this text between the marks; `None` if it has no marks.
fn between_marks(document: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}{text}{}{after}", MARKS[0], MARKS[1]))
}
