//! When offsets that cannot be read become a condition: a leader that moves is read again within seconds, and is no news.

use std::time::{Duration, Instant};

/// How long offsets may be unknown before a condition says so.
const PASSING: Duration = Duration::from_secs(30);

/// Since when a campaign's offsets are unknown.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnreadWatch {
    since: Option<Instant>,
    told: bool,
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Nothing: they are known, or unknown for a moment.
    No,
    /// They have been unknown for long. `new`: it was not said before.
    Long {
        /// Whether this is the first time.
        new: bool,
    },
}

impl UnreadWatch {
    /// Takes in whether a pass could read them.
    pub(crate) fn observe(&mut self, unreadable: bool, now: Instant) -> Unread {
        if !unreadable {
            *self = Self::default();
            return Unread::No;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < PASSING {
            return Unread::No;
        }
        Unread::Long { new: !std::mem::replace(&mut self.told, true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_said_and_once() {
        let (mut watch, start) = (UnreadWatch::default(), Instant::now());
        for (second, unreadable, expected) in [
            (0, true, Unread::No),
            (29, true, Unread::No),
            (29, false, Unread::No),
            (40, true, Unread::No),
            (69, true, Unread::No),
            (70, true, Unread::Long { new: true }),
            (72, true, Unread::Long { new: false }),
            (74, false, Unread::No),
            (76, true, Unread::No),
            (106, true, Unread::Long { new: true }),
        ] {
            assert_eq!(watch.observe(unreadable, start + Duration::from_secs(second)), expected, "second {second}");
        }
    }
}
