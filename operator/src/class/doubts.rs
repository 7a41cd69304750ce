//! When campaigns have met something else than the last look at their class found, that look is repeated at once: but not again and again
//! where it finds nothing, as with a right on the topic of one campaign alone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A look at the class that is younger than this is not doubted.
const DOUBTED_AFTER: Duration = Duration::from_secs(5);
/// A look that is older than this is about to be repeated anyway.
const LONGEST: Duration = Duration::from_secs(60);

/// Of one class.
#[derive(Debug, Default)]
pub(crate) struct Doubts(Mutex<DoubtState>);

#[derive(Debug, Default)]
struct DoubtState {
    /// The last look is doubted, and the next one has not ended.
    open: bool,
    /// Looks in a row that found all well although the one before was doubted.
    in_vain: u32,
}

impl Doubts {
    fn state(&self) -> MutexGuard<'_, DoubtState> {
        // Plain values: whole whatever panicked beside them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last measurement, which is of this age, is doubted. True: repeat it at once. False: that has begun already, or the measurement
    /// is recent enough to stand.
    pub(crate) fn raise(&self, age: Duration) -> bool {
        let mut state = self.state();
        let stands = DOUBTED_AFTER.saturating_mul(1 << state.in_vain.min(8)).min(LONGEST);
        if state.open || age < stands {
            return false;
        }
        state.open = true;
        true
    }

    /// Whether the last look is doubted.
    pub(crate) fn is_open(&self) -> bool {
        self.state().open
    }

    /// A look has ended; `well`: it found nothing wrong.
    pub(crate) fn record_look(&self, well: bool) {
        let mut state = self.state();
        state.in_vain = match (well, state.open) {
            (false, _) => 0,
            (true, true) => state.in_vain.saturating_add(1),
            // Nobody has doubted it for a minute.
            (true, false) => state.in_vain.saturating_sub(1),
        };
        state.open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a right that is lost in a sale is named a minute later; or a class is looked at every few seconds, and never finds anything.
    #[test]
    fn a_look_is_repeated_at_once_and_ever_later_where_it_finds_nothing() {
        let seconds = Duration::from_secs;
        let doubts = Doubts::default();
        assert!(!doubts.raise(seconds(4)), "it was a moment ago");
        for stands in [5, 10, 20, 40, 60, 60, 60] {
            assert!(!doubts.raise(seconds(stands - 1)), "{stands}");
            assert!(doubts.raise(seconds(stands)) && doubts.is_open(), "{stands}");
            assert!(!doubts.raise(seconds(stands)), "it is under way");
            doubts.record_look(true);
            assert!(!doubts.is_open());
        }
        assert!(doubts.raise(seconds(60)));
        doubts.record_look(false);
        assert!(doubts.raise(seconds(5)), "what was doubted was found, and something else may come");
        doubts.record_look(true);
        assert!(!doubts.raise(seconds(5)));
        doubts.record_look(true);
        assert!(doubts.raise(seconds(5)), "it was at rest");
    }
}
