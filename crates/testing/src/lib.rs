//! What tests of several crates share. Like a test, it panics where something does not work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod certificates;
pub mod mangled;
pub mod metrics_reference;
pub mod process;
pub mod proxy;
pub mod rows;
pub mod secured_kafka;
pub mod servers;
pub mod tokens;
