//! What a coupon's life is made of, shared by issuer, consumer and operator so that all three speak of the same things:
//!
//! - [`identity`]: who a campaign, a user and a request are, and every name derived from them;
//! - [`names`]: how its topics and its consumer group are called in Kafka;
//! - [`user_id`], [`minted`]: which user ids are taken from outside, and keys that we make ourselves;
//! - [`event`]: the record of one issued coupon and its encoding;
//! - [`stock`]: the Redis side, where ranks are given (`lua/`);
//! - [`log`]: the Kafka side, where a winner becomes durable;
//! - [`table`]: the SQL side, where a winner becomes a row (`migrations/`);
//! - [`deadlines`]: how long the parts wait for each other;
//! - [`settings`]: how a process is told where those three are;
//! - [`shown`]: text from outside, made fit to be shown;
//! - [`listening`]: binding ports, and saying which;
//! - [`http`]: the server of every port, with bounds;
//! - [`telemetry`]: logs, metrics and probes, the same in every process;
//! - [`sabotage`]: faults that tests ask for; not in release builds.
//!
//! This crate may talk to Redis, Kafka and SQL. It knows nothing of Kubernetes and makes no policy: when to open, fence,
//! rebuild or scale is the operator's decision.

pub mod deadlines;
pub mod event;
pub mod format;
pub mod http;
pub mod identity;
pub mod later;
pub mod listening;
pub mod log;
pub mod minted;
pub mod names;
pub mod sabotage;
pub mod settings;
pub mod shown;
pub mod stock;
pub mod table;
pub mod telemetry;
pub mod user_id;
pub mod yaml;

#[cfg(test)]
mod decoders;
