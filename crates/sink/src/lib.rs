//! Stores the records of a campaign's topic as rows: what the running consumer and the operator's drain have in common.
//!
//! ```text
//! intake -> queue -> writer -> rows (coupon_ledger::database::store)
//!   ^                    \-> dead_letter -> <topic>.DLT
//!   \-- frontier: the offset of each partition before which everything is dealt with --/
//! ```
//!
//! A record is done only when its row is committed or its dead letter is acknowledged, so the caller commits offsets
//! no further than the frontier. `frontier`, `decide`, `ceiling` and `letters` are pure; `rows` alone talks to the database, and
//! `dead_letter` alone writes to Kafka; `repeated` reads back which grants have a letter. [`pipeline::Pipeline`] connects the parts; [`drain::drain`] runs one over a given range.
//! What happens is reported to an [`observer::Observer`]: the consumer makes metrics of it, a drain counts.
//! This crate joins no consumer group, and never decides which of two winners is right: the first row stands.

pub mod dead_letter;
pub mod decide;
pub mod drain;
pub mod frontier;
pub mod observer;
pub mod pauses;
pub mod pipeline;
pub mod queue;
pub mod rows;
pub mod writer;

mod ceiling;
mod letters;
mod repeated;
mod unit;
