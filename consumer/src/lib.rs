//! The consumer of one campaign: stores winners, from its Kafka topic into its rows.
//!
//! ```text
//! poll (thread) -> coupon_sink: queue, writer, dead letters -> rows
//!      ^                 \-- frontier: what may be committed
//!   guard -> standstill: does the reader stand still though the witness sees records wait? -> another client
//! ```
//!
//! Offsets are committed only behind rows that are committed, or dead letters that are acknowledged. `standstill` and `course` are
//! pure; `poll` and its `client` alone talk to the group. [`service`] is the running consumer; [`replay`] is the command that puts
//! dead letters back, [`forget`] the one that puts people under pseudonyms, and `rights` checks first whether their logins may do what they
//! need. [`winners`] lists the rows. Only these three ask Redis. This crate knows nothing of Kubernetes.

pub mod config;
pub mod forget;
pub mod metrics;
pub mod replay;
pub mod service;
pub mod status;
pub mod winners;

mod client;
mod course;
mod guard;
mod poll;
mod rights;
mod standstill;
mod witness;

pub use client::SESSION;
pub use coupon_sink::writer::BatchLimits;
pub use standstill::Patience;
