//! What is known before an epoch is opened, and after.

/// How many winners there were, as far as is remembered where neither Redis nor the rows are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Once {
    /// Rows, at most: as many winners there must be again.
    pub stored: u64,
    /// But for so many, who are given up.
    pub given_up: u64,
    /// Ranks given, at least. Some of them nobody may have heard of, so they may be missing; but they are looked for.
    pub issued: u64,
    /// The same, also those above the total, which are no winners' and may have been told all the same.
    pub given: u64,
}

impl Once {
    /// How many winners there must be at least.
    pub fn must_be(&self) -> u64 {
        self.stored.saturating_sub(self.given_up)
    }

    /// Whether there were more than these winners, and than these ranks that are kept for grants which people have given up: those were
    /// given, and are no rows.
    pub(crate) fn misses(&self, winners: u64, kept: u64) -> bool {
        winners < self.stored || winners + kept < self.issued
    }
}

/// What is remembered beside the ledger's own systems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The highest epoch that anybody knows.
    pub epoch: u64,
    /// Winners that there were once.
    pub once: Once,
}

/// What an opened epoch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The new epoch.
    pub epoch: u64,
    /// Winners that the ledger holds.
    pub winners: u64,
    /// Ranks that are handed out again.
    pub free: u64,
    /// Winners that were in Redis only: not durable yet.
    pub redis_only: u64,
    /// Redis held all of it and was bound anew instead of being filled.
    pub rebound: bool,
    /// Ranks that had been given before, as far as that is remembered. Not bounded by the total.
    pub given_before: u64,
}
