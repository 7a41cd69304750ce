//! Shows how far a step is: a bar on a terminal, now and then a line elsewhere. Always on stderr, so that the result can be
//! piped.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(5);

/// One step on its way. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    what: &'static str,
    bar: ProgressBar,
    /// When the next line is due; `None` where a bar, or nothing, is shown.
    next_line: Option<Arc<Mutex<Instant>>>,
}

impl Progress {
    /// A step of unknown length.
    pub(crate) fn new(what: &'static str) -> Self {
        Self::start(what, ProgressBar::new_spinner(), "{spinner} {msg}: {pos}")
    }

    /// A step of so many letters.
    pub(crate) fn of(what: &'static str, length: usize) -> Self {
        let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
        Self::start(what, bar, "{msg} [{bar:40}] {pos}/{len} {elapsed}")
    }

    /// Shows nothing.
    pub(crate) fn hidden() -> Self {
        Self { what: "", bar: ProgressBar::hidden(), next_line: None }
    }

    fn start(what: &'static str, bar: ProgressBar, template: &str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        let lines = !std::io::stderr().is_terminal();
        Self { what, bar, next_line: lines.then(|| Arc::new(Mutex::new(Instant::now() + INTERVAL))) }
    }

    /// So many more are done.
    pub(crate) fn advance(&self, count: usize) {
        self.bar.inc(u64::try_from(count).unwrap_or(u64::MAX));
        let Some(next) = &self.next_line else { return };
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= *next {
            *next = Instant::now() + INTERVAL;
            let of = self.bar.length().map(|length| format!(" of {length}")).unwrap_or_default();
            // A closed stderr is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{}: {}{of}", self.what, self.bar.position());
        }
    }

    /// The step is over.
    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
