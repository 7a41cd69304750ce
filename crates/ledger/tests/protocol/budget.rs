//! How much may go wrong in a search.

/// What may still go wrong, or be asked for; each event uses one up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Promotions of the replica.
    pub failovers: u8,
    /// FLUSHALLs.
    pub flushes: u8,
    /// Resumed memory snapshots.
    pub resumes: u8,
    /// Crashes of an issuer. Deleting one that does not confirm is free.
    pub crashes: u8,
    /// Acknowledgements or commits that an issuer does not wait for any longer.
    pub timeouts: u8,
    /// Records lost on the way to Kafka.
    pub losses: u8,
    /// Winners published again by the repair loop.
    pub republished: u8,
    /// Dead letters written for rows that SQL refuses.
    pub dead_letters: u8,
    /// Dead letters replayed.
    pub replays: u8,
    /// Deletions, each followed by an application.
    pub deletions: u8,
    /// Removals of the keys because the campaign is over for long enough. Clocks are no part of this: it may be at any time.
    pub removals: u8,
    /// Changes of the quantity in the spec.
    pub changes: u8,
    /// Barriers that somebody writes by hand, for an epoch that was never allotted.
    pub forged: u8,
}

/// Nothing goes wrong.
pub(crate) const NOTHING: Budget = Budget {
    failovers: 0,
    flushes: 0,
    resumes: 0,
    crashes: 0,
    timeouts: 0,
    losses: 0,
    republished: 0,
    dead_letters: 0,
    replays: 0,
    deletions: 0,
    removals: 0,
    changes: 0,
    forged: 0,
};
