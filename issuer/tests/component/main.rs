//! The issuer against a real Redis, Kafka and MariaDB. Run through `make test`, which starts them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod authentication;
mod bad_input;
mod crash;
mod database;
mod fencing;
mod fixture;
mod front;
mod idle;
mod issuing;
mod moved;
mod outage;
mod process;
mod rate_limits;
mod reading;
mod refusing;
mod shutdown;
mod sold_out;
