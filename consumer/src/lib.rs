//! Stores winners: from a campaign's Kafka topic into its rows.
//!
//! ```text
//! poll (thread) -> queue -> writer -> campaign::table::store
//!      ^                      \-> dead_letter -> <topic>.DLT
//!      \-- frontier: what may be committed --/
//!   guard -> standstill: does the reader stand still though the witness sees records wait? -> another client
//! ```
//!
//! Offsets are committed only behind rows that are committed, or dead letters that are acknowledged. `frontier`,
//! `decide`, `ceiling`, `standstill` and `course` are pure; `poll` and its `client` alone talk to the group, `ledger` alone to the database, `dead_letter` alone writes to Kafka.
//! [`service`] is the running consumer; [`drain`] is the same work on a given range, for the operator; [`replay`] is the
//! command that puts dead letters back, [`forget`] the one that puts people under pseudonyms; only these ask Redis, and look first (`rights`). This crate knows nothing of Kubernetes, and
//! never decides which of two winners is right: the first row stands.

pub mod config;
pub mod drain;
pub mod forget;
pub mod metrics;
pub mod replay;
pub mod service;
pub mod status;
pub mod writer;

mod ceiling;
mod client;
mod course;
mod dead_letter;
mod decide;
mod frontier;
mod guard;
mod ledger;
mod pipeline;
mod poll;
mod queue;
mod rights;
mod standstill;
mod witness;

#[cfg(test)]
#[path = "../../campaign/tests/mangled/mod.rs"]
mod mangled;

pub use client::SESSION;
pub use standstill::Patience;
