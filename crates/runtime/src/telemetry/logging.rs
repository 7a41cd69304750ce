//! Where a process logs to, and how.

use std::ffi::OsStr;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Logs to stderr: JSON with `json`, plain lines otherwise, in colours only on a terminal. The level comes from `RUST_LOG`, `info` by
/// default.
pub fn init_logging(json: bool) {
    let coloured = wants_colours(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    // A second initialisation (tests) keeps the first; there is nothing to do about it.
    let _ = if json {
        registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
    } else {
        registry.with(tracing_subscriber::fmt::layer().with_ansi(coloured).with_writer(std::io::stderr)).try_init()
    };
}

/// Logs are kept in files and shown in browsers, where colours are noise. `no_color`: <https://no-color.org>.
fn wants_colours(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_owner_wants_them() {
        for (terminal, no_color, expected) in [
            (true, None, true),
            (true, Some(""), true),
            (true, Some("1"), false),
            (false, None, false),
            (false, Some(""), false),
        ] {
            assert_eq!(wants_colours(terminal, no_color.map(OsStr::new)), expected, "{terminal} {no_color:?}");
        }
    }
}
