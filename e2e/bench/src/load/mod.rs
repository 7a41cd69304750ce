//! The load generator: one thread, kept connections, users of their own, latency from the time at which a request was due.
//!
//! Requests that are due at a time leave at the next millisecond, as the runtime's timers go by those; that wait counts.

mod connection;
mod generator;
mod histogram;
mod options;
mod pattern;
mod proof;
mod report;
mod request;
mod response;
mod tally;

use anyhow::{Context, Result};
use coupon_runtime::http::raise_open_files;
use coupon_testing::process;
use tokio::task::LocalSet;

pub(crate) use self::options::Options;
pub(crate) use self::report::LoadReport;
#[cfg(test)]
pub(crate) use self::report::PutOff;
pub(crate) use self::request::user_id;
pub(crate) use self::tally::read_grants;

/// Does what the options say and prints a line.
///
/// # Errors
/// The server cannot be connected to, or the file cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    raise_open_files().context("the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let heard = LocalSet::new().block_on(&runtime, generator::generate(options))?;
    let cpu = process::cpu(std::process::id())?;
    if let Some(path) = &options.told {
        let written = std::fs::write(path, heard.tally.written_grants());
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let report = heard.tally.report(heard.begin, heard.next_user, cpu);
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
