//! What the sink reports while it works.

use std::fmt::Debug;
use std::time::Duration;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordOutcome {
    /// It is a row now.
    Stored,
    /// It was a row already.
    Duplicate,
    /// It belongs to an epoch that had ended before it arrived, and is skipped.
    Void,
    /// People have given it up, and it is skipped.
    Discarded,
    /// Another row holds its rank or its user's n-th place; it becomes a dead letter.
    Conflict,
    /// Its rank is above the campaign's total; it becomes a dead letter.
    AboveTotal,
    /// Its value is no winner of this campaign; it becomes a dead letter.
    Unreadable,
    /// The database refuses its row; it becomes a dead letter.
    Rejected,
}

impl RecordOutcome {
    /// A stable name, such as `above_total`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Void => "void",
            Self::Discarded => "discarded",
            Self::Conflict => "conflict",
            Self::AboveTotal => "above_total",
            Self::Unreadable => "unreadable",
            Self::Rejected => "rejected",
        }
    }
}

/// What is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// A call to the database.
    Database,
    /// Writing a dead letter.
    DeadLetterTopic,
    /// Storing records whose ranks are above the campaign's total.
    AboveTotal,
}

impl Retry {
    /// A stable name, such as `above_total`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::DeadLetterTopic => "dead_letter_topic",
            Self::AboveTotal => "above_total",
        }
    }
}

/// Why the sink wants no more records for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// The database is away, or will not work.
    Database,
    /// Too many rows in a row were refused.
    Breaker,
    /// The dead letter topic cannot be written. Concerns single partitions.
    DeadLetterTopic,
    /// A rank is above the campaign's total, which may be about to rise. Concerns single partitions.
    AboveTotal,
}

impl PauseReason {
    /// A stable name, such as `above_total`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Breaker => "breaker",
            Self::DeadLetterTopic => "dead_letter_topic",
            Self::AboveTotal => "above_total",
        }
    }
}

/// Hears what the sink does, as it does it. Calls come from several tasks, and must not block.
pub trait Observer: Debug + Send + Sync {
    /// So many records are dealt with, or, of those that become dead letters, about to be handed to their writer.
    fn records(&self, _outcome: RecordOutcome, _count: usize) {}

    /// The dead letter topic has acknowledged a record. `reason` is [`crate::decide::Reason::name`].
    fn dead_letter(&self, _reason: &'static str) {}

    /// Something failed and will be tried again.
    fn retry(&self, _what: Retry) {}

    /// A transaction of so many rows is committed.
    fn transaction(&self, _time: Duration, _rows: usize) {}

    /// A new row is committed, so long after the grant of its rank.
    fn end_to_end(&self, _time: Duration) {}

    /// How many causes there are now to pause for this reason: partitions, or 1 where it concerns all of them. 0: it is over.
    fn paused(&self, _reason: PauseReason, _count: usize) {}
}
