//! What to do about faults and outcomes. Pure; `writer` does it.
//!
//! An outage is waited out, however long it takes, and costs no record. Only rows that the database itself refuses, one
//! by one and again and again, become dead letters, and too many of those in a row are an outage in disguise.

use std::time::Duration;

use coupon_core::event::DecodeError;
use coupon_ledger::database::{Fault, RowOutcome};

/// Retries of one unit of work, after its first try.
pub const RETRIES: u32 = 5;
/// Dead letters for refused rows in a row, without a success in between, before the breaker trips.
pub const MAX_DEAD_LETTERS_IN_A_ROW: u32 = 20;
/// Time between two probes while the breaker is open.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(5);

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_RETRY_DELAY: Duration = Duration::from_millis(500);
const LONGEST_OUTAGE_DELAY: Duration = Duration::from_secs(5);

/// The retry schedule: 100 ms, growing by half each time, at most 500 ms.
pub fn retry_delay(retries_so_far: u32) -> Duration {
    let factor = 1.5f64.powi(retries_so_far.min(16).cast_signed());
    FIRST_DELAY.mul_f64(factor).min(LONGEST_RETRY_DELAY)
}

/// The wait between two tries during an outage: 100 ms, doubling, at most 5 s.
pub fn outage_delay(tries_so_far: u32) -> Duration {
    (FIRST_DELAY * (1 << tries_so_far.min(10))).min(LONGEST_OUTAGE_DELAY)
}

/// What to do after a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Try the same again after this time.
    Retry(Duration),
    /// An outage: pause reading, say so, and try the same again after this time.
    Wait(Duration),
    /// Some row is refused: try each half by itself.
    Split,
    /// This row is refused for good.
    DeadLetter,
    /// This row is refused while nothing is dead-lettered: put it back and probe with another.
    PutBack,
}

/// The tries that one unit of work has had.
#[derive(Debug, Default)]
pub struct Tries {
    outage: u32,
    contention: u32,
    rejected: u32,
}

impl Tries {
    /// What to do after a failed try of `rows` rows.
    pub fn after(&mut self, fault: Fault, rows: usize, breaker_open: bool) -> NextStep {
        match fault {
            Fault::Away | Fault::Denied | Fault::Schema => self.wait(),
            Fault::Contention if self.contention < RETRIES => {
                self.contention += 1;
                NextStep::Retry(retry_delay(self.contention - 1))
            }
            // A lock that is never free is the database's trouble, not the record's.
            Fault::Contention => self.wait(),
            Fault::Rejected if rows > 1 => NextStep::Split,
            Fault::Rejected if breaker_open => NextStep::PutBack,
            Fault::Rejected if self.rejected < RETRIES => {
                self.rejected += 1;
                NextStep::Retry(retry_delay(self.rejected - 1))
            }
            Fault::Rejected => NextStep::DeadLetter,
        }
    }

    /// Retries so far.
    pub fn retries(&self) -> u32 {
        self.contention + self.rejected
    }

    fn wait(&mut self) -> NextStep {
        self.outage += 1;
        NextStep::Wait(outage_delay(self.outage - 1))
    }
}

/// Stops dead-lettering when too many rows in a row are refused.
#[derive(Debug, Default)]
pub struct Breaker {
    in_a_row: u32,
    open: bool,
}

impl Breaker {
    /// Whether dead-lettering is stopped.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Asks to dead-letter one more refused row. False trips the breaker, or says that it has tripped.
    pub fn admit(&mut self) -> bool {
        if self.in_a_row >= MAX_DEAD_LETTERS_IN_A_ROW {
            self.open = true;
        }
        if !self.open {
            self.in_a_row += 1;
        }
        !self.open
    }

    /// The database took a row.
    pub fn success(&mut self) {
        *self = Self::default();
    }
}

/// Why a record is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterReason {
    /// Its value is no winner of this campaign.
    #[error("{0}")]
    Unreadable(DecodeError),
    /// Another row holds its rank, or its user's n-th place.
    #[error("another coupon holds this rank, or this user's n-th place; the stored one stands")]
    Conflict,
    /// Its rank is above the campaign's total.
    #[error("the rank is above the campaign's total of {total}")]
    AboveTotal {
        /// The total in force.
        total: u64,
    },
    /// The database refuses its row.
    #[error("{0}")]
    Rejected(String),
}

impl DeadLetterReason {
    /// All names.
    pub const NAMES: [&str; 4] = ["UnreadableRecord", "RankConflict", "RankAboveTotal", "RowRejected"];

    /// A stable name in CamelCase.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => Self::NAMES[0],
            Self::Conflict => Self::NAMES[1],
            Self::AboveTotal { .. } => Self::NAMES[2],
            Self::Rejected(_) => Self::NAMES[3],
        }
    }
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is a row now.
    Stored,
    /// It was a row already.
    Duplicate,
    /// It is skipped.
    Void,
    /// It goes to the dead letter topic.
    DeadLetter(DeadLetterReason),
}

/// What becomes of a record that the database has dealt with. `was_there` says whether its row was there before.
pub fn fate(outcome: &RowOutcome, was_there: bool) -> Fate {
    match outcome {
        RowOutcome::Stored if was_there => Fate::Duplicate,
        RowOutcome::Stored => Fate::Stored,
        RowOutcome::Void => Fate::Void,
        RowOutcome::Conflict => Fate::DeadLetter(DeadLetterReason::Conflict),
        RowOutcome::AboveTotal { total } => Fate::DeadLetter(DeadLetterReason::AboveTotal { total: *total }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(fault: Fault, rows: usize, count: usize) -> Vec<NextStep> {
        let mut tries = Tries::default();
        (0..count).map(|_| tries.after(fault, rows, false)).collect()
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_outage_is_waited_out_and_never_costs_a_record() {
        for fault in [Fault::Away, Fault::Denied, Fault::Schema] {
            for rows in [1, 500] {
                let steps = steps(fault, rows, 1000);
                assert!(steps.iter().all(|step| matches!(step, NextStep::Wait(_))), "{fault:?}");
                assert_eq!(steps[0], NextStep::Wait(ms(100)));
                assert_eq!(steps[999], NextStep::Wait(ms(5000)));
            }
        }
    }

    #[test]
    fn contention_is_retried_and_then_is_an_outage() {
        let expected = [
            NextStep::Retry(ms(100)),
            NextStep::Retry(ms(150)),
            NextStep::Retry(ms(225)),
            NextStep::Retry(Duration::from_micros(337_500)),
            NextStep::Retry(ms(500)),
            NextStep::Wait(ms(100)),
            NextStep::Wait(ms(200)),
        ];
        assert_eq!(steps(Fault::Contention, 500, 7), expected);
        assert_eq!(steps(Fault::Contention, 1, 7), expected);
    }

    #[test]
    fn a_refused_batch_is_split_and_a_refused_row_is_retried_five_times() {
        assert_eq!(steps(Fault::Rejected, 2, 1), [NextStep::Split]);
        let steps = steps(Fault::Rejected, 1, 6);
        assert!(steps[..5].iter().all(|step| matches!(step, NextStep::Retry(_))));
        assert_eq!(steps[5], NextStep::DeadLetter);
    }

    #[test]
    fn an_outage_between_refusals_does_not_bring_the_dead_letter_nearer() {
        let mut tries = Tries::default();
        for _ in 0..4 {
            tries.after(Fault::Rejected, 1, false);
        }
        for _ in 0..50 {
            assert!(matches!(tries.after(Fault::Away, 1, false), NextStep::Wait(_)));
        }
        assert!(matches!(tries.after(Fault::Rejected, 1, false), NextStep::Retry(_)));
        assert_eq!(tries.after(Fault::Rejected, 1, false), NextStep::DeadLetter);
        assert_eq!(tries.retries(), 5);
    }

    #[test]
    fn the_breaker_trips_on_the_21st_refusal_in_a_row() {
        let mut breaker = Breaker::default();
        assert!((0..20).all(|_| breaker.admit()));
        assert!(!breaker.admit());
        assert!(breaker.is_open());
        assert_eq!(Tries::default().after(Fault::Rejected, 1, breaker.is_open()), NextStep::PutBack);
        breaker.success();
        assert!(!breaker.is_open() && breaker.admit());
    }

    #[test]
    fn a_success_in_between_keeps_the_breaker_closed() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            assert!((0..20).all(|_| breaker.admit()));
            breaker.success();
        }
    }

    #[test]
    fn every_outcome_has_a_fate() {
        for (outcome, was_there, expected) in [
            (RowOutcome::Stored, false, Fate::Stored),
            (RowOutcome::Stored, true, Fate::Duplicate),
            (RowOutcome::Void, false, Fate::Void),
            (RowOutcome::Conflict, false, Fate::DeadLetter(DeadLetterReason::Conflict)),
            (RowOutcome::AboveTotal { total: 7 }, false, Fate::DeadLetter(DeadLetterReason::AboveTotal { total: 7 })),
        ] {
            assert_eq!(fate(&outcome, was_there), expected);
        }
    }
}
