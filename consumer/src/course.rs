//! What is done about a reader that stands still: fresh clients, at growing pauses, and an end when they do not help. Pure.

use std::time::{Duration, Instant};

use crate::standstill::Patience;

/// Reading that went well for this long after the last replacement is as good as ever.
const CALM: Duration = Duration::from_secs(600);

/// What to do about a standstill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Replace the client.
    Replace,
    /// The last replacement is too fresh.
    Wait,
    /// Fresh clients do not help: end the process.
    End,
}

/// Replacements so far.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// In this run of trouble.
    replaced: u32,
    /// Since something was last read.
    in_vain: u32,
    last: Option<Instant>,
}

impl Course {
    /// What there is to read is read.
    pub(crate) fn calm(&mut self, now: Instant) {
        self.in_vain = 0;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) >= CALM) {
            *self = Self::default();
        }
    }

    /// What to do about a reader that stands still. `hanging`: replaced clients that have not ended. The pauses between replacements
    /// grow: twice, four, eight times [`Patience::still`].
    pub(crate) fn step(&self, hanging: u32, patience: &Patience, now: Instant) -> Step {
        if self.in_vain.max(hanging) >= patience.replacements {
            return Step::End;
        }
        let pause = patience.still * (1 << self.replaced.min(3));
        match self.last {
            Some(last) if now.saturating_duration_since(last) < pause => Step::Wait,
            _ => Step::Replace,
        }
    }

    /// The client is being replaced.
    pub(crate) fn replaced(&mut self, now: Instant) {
        self.replaced += 1;
        self.in_vain += 1;
        self.last = Some(now);
    }

    /// Replacements in vain.
    pub(crate) fn in_vain(&self) -> u32 {
        self.in_vain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        still: Duration::from_secs(30),
        rebalance: Duration::from_secs(120),
        check_interval: Duration::from_secs(5),
        replacements: 3,
        above_total: Duration::ZERO,
    };

    /// What is done at a second; a replacement is made.
    fn step(course: &mut Course, hanging: u32, at: Instant) -> Step {
        let step = course.step(hanging, &PATIENCE, at);
        if step == Step::Replace {
            course.replaced(at);
        }
        step
    }

    #[test]
    fn replacements_are_made_at_growing_pauses_and_end_when_they_do_not_help() {
        let (mut course, start) = (Course::default(), Instant::now());
        for (second, expected) in [
            (0, Step::Replace),
            (35, Step::Wait),
            (60, Step::Replace),
            (179, Step::Wait),
            (180, Step::Replace),
            (215, Step::End),
            (10_000, Step::End),
        ] {
            assert_eq!(step(&mut course, 0, start + Duration::from_secs(second)), expected, "second {second}");
        }
    }

    #[test]
    fn a_replacement_that_helped_is_forgiven_and_the_pauses_are_after_ten_minutes() {
        let (mut course, start) = (Course::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        // A reader that is struck again and again is helped again and again, but at the longest pause.
        for (second, expected) in [
            (0, Step::Replace),
            (60, Step::Replace),
            (180, Step::Replace),
            (300, Step::Wait),
            (420, Step::Replace),
            (660, Step::Replace),
        ] {
            assert_eq!(step(&mut course, 0, at(second)), expected, "second {second}");
            course.calm(at(second + 5));
        }
        course.calm(at(660 + 600));
        for (second, expected) in [(1261, Step::Replace), (1320, Step::Wait), (1321, Step::Replace)] {
            assert_eq!(step(&mut course, 0, at(second)), expected, "second {second}");
        }
        assert_eq!(step(&mut course, 3, at(9000)), Step::End, "clients that never end pile up");
    }
}
