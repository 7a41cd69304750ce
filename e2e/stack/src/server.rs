//! What one server needs to run: its command line, its log, and how one knows that it serves.

use std::path::PathBuf;
use std::time::Duration;

use crate::probe::Probe;

/// A server, prepared: its configuration is written, its data folder exists.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Unique within a stack.
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    /// Where clients reach it; for people.
    pub(crate) address: String,
    /// How one knows that it serves.
    pub(crate) probe: Probe,
    /// How long it may take until the probe succeeds.
    pub(crate) ready_within: Duration,
    /// The servers that must be ready before it starts.
    pub(crate) after: Vec<String>,
    /// Whether it stores something that a graceful stop should complete.
    pub(crate) stores: bool,
}

/// A command line from things that can be shown.
macro_rules! command {
    ($($word:expr),+ $(,)?) => { vec![$($word.to_string()),+] };
}
pub(crate) use command;
