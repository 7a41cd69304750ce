//! What a coupon's life is made of, without I/O, shared by issuer, consumer and operator so that all three speak of the same things:
//!
//! - [`identity`]: who a campaign, a user and a request are, and every name derived from them;
//! - [`names`]: how its topics and its consumer group are called in Kafka;
//! - [`user_id`], [`minted`]: which user ids are taken from outside, and keys that we make ourselves;
//! - [`event`]: the record of one issued coupon and its encoding;
//! - [`position`]: where records lie;
//! - [`format`](mod@format), [`later`]: versions of what programs of different age read from each other;
//! - [`contract`]: what operator and issuers must agree on: the control protocol, ports, settings, and how long the parts wait for each other;
//! - [`connections`]: where Redis, Kafka and the database are, as a process reads it at its start;
//! - [`shown`], [`yaml`]: text from outside, made fit to be shown, and read with errors that say what to change;
//! - [`failpoints`]: faults that tests ask for; not in release builds.

pub mod connections;
pub mod contract;
pub mod event;
pub mod failpoints;
pub mod format;
pub mod identity;
pub mod later;
pub mod minted;
pub mod names;
pub mod position;
pub mod shown;
pub mod user_id;
pub mod yaml;

#[cfg(test)]
mod decoders;
