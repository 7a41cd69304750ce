//! Classes measured against real servers: what is wrong is named, with whose login, and what to change. Needs a stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod acls;
mod classes;
mod clocks;
mod fake;
mod faults;
mod stage;
mod unreachable;
