//! Migrations against real databases of their own: what broke off goes on, what is missing is named, and programs of different
//! versions live with the same tables. Also what servers do to sessions and pooled connections.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::panic, clippy::unwrap_used)]

mod migrations;
mod server;
mod sessions;
