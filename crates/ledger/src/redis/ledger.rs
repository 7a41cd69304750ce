//! What Redis is filled with.

use coupon_core::identity::{RequestKey, UserId};

/// A winner as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerWinner {
    /// Place in the order of winners.
    pub rank: u64,
    /// The user's n-th coupon.
    pub n: u32,
    /// Who.
    pub user: UserId,
    /// When it was granted, milliseconds since 1970.
    pub granted_ms: i64,
    /// The request that won it.
    pub key: RequestKey,
}

/// Everything Redis is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Winners in any order; ranks are unique.
    pub winners: Vec<LedgerWinner>,
    /// Ranks below `highest` that nobody holds, ascending.
    pub free: Vec<u64>,
    /// Highest rank ever given.
    pub highest: u64,
}
