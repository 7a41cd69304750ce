//! The Redis side: ranks are given here, and only here ([`issue()`], `lua/issue.lua`).
//!
//! Redis decides and orders; it is not the record. Whatever is in it can be rebuilt from Kafka and SQL ([`rebuild`]).

mod attempt;
mod client;
pub mod connect;
mod error;
mod forget;
mod holders;
mod issue;
mod keys;
mod ledger;
pub mod probe;
pub mod rebuild;
mod remove;
mod script;
pub mod sentinel;
mod state;

pub use error::{Afterwards, Denial, Executed, RedisError, says_missing_right};
pub use forget::{Place, kept_n, places_of, rename};
pub use holders::{Grants, Held, grants, held_by, ranks_of, read_holders, read_winners};
pub use issue::{Answer, Batch, Grant, IssueRequest, MAX_BATCH, Refusal, Reply, issue, winner};
pub use keys::RedisKeys;
pub use remove::{Removed, bytes, remove};
pub use state::{
    Configured, NumberedTerms, OpenInRedis, RedisState, Terms, clear_unreadable, close, configure, correct_time,
    forget, observe, suspend,
};
