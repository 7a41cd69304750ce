//! Who is in the way of others, and what becomes of them: real connections to a server with small limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod connections;
mod port;
mod requests;
