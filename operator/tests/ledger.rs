//! The operator's looks into Redis, Kafka and the database, against real ones. Needs a stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

mod ledger {
    mod compare;
    mod dead_letters;
    mod direct;
    mod discarded;
    mod epochs;
    mod forged;
    mod forgotten;
    mod kafka;
    mod later_version;
    mod lost;
    mod merge;
    mod missing_winners;
    mod operator_eyes;
    mod repair;
    mod restored;
    mod retention;
    mod terms;
}
