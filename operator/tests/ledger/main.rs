//! The operator's looks into Redis, Kafka and the database, against real ones. Needs a stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod api;
mod compare;
mod dead_letters;
mod direct;
mod discarded;
mod forgotten;
mod later_version;
mod log;
mod lost;
mod merge;
mod missing_winners;
mod operator_eyes;
mod repair;
mod restored;
mod retention;
#[path = "../common/servers.rs"]
mod servers;
mod stage;
mod terms;
