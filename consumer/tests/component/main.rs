//! Component tests: the consumer against a real Kafka and a real database.

// Helpers outside of test functions fail a test by panicking, too.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod crash;
mod dead_letters;
mod discarded;
mod drain;
mod forget;
mod large;
mod named;
mod outage;
mod process;
mod replay;
mod rights;
mod sessions;
mod stage;
mod standstill;
mod store;
mod strangers;
mod winners;
