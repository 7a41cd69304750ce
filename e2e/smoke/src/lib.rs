//! Counts of what the hot paths cost, held against what is recorded in `bounds.json`. The test is in `tests/smoke`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod bounds;
pub mod counting;
