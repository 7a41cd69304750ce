//! The operator's looks into Redis, Kafka and the database, against real ones. Needs a stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod api;
mod dead_letters;
mod log;
mod merge;
mod missing_winners;
mod repair;
mod stage;
mod terms;
