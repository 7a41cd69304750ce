//! `coupon_ledger::database` against a real database. Every test has a campaign of its own, so they run side by side.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::panic, clippy::unwrap_used)]

mod custody;
mod epochs;
mod ledger;
mod rows;
