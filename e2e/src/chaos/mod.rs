//! The machine that tries to break the promise: sales on a real stack while parts are killed, frozen, cut off and robbed of
//! their memory; then every answer that was given is held against Redis, Kafka and SQL.
//!
//! - [`fault`]: what can happen, and the plan of a round, a pure function of its seed
//! - [`links`]: the proxies of a stack, and the class that leads through them
//! - [`inject`]: carries a fault out, and repairs
//! - [`restart`]: the faults that are restarts as people make them
//! - [`test_bed`]: where sales take place, and how one is opened and settled
//! - [`load`]: clients that ask until they get a decided answer, and a record of every answer
//! - [`ledger`]: what Redis, Kafka and SQL say in the end
//! - [`checker`]: pure; answers and ledger -> verdict
//! - [`round`]: one sale from `kubectl apply` to the verdict
//! - [`outcome`]: what a round came to
//! - [`report`]: the lines, tables and files that remain
//!
//! It may kill and freeze parts of the stack and pods of its own campaigns, and nothing else.

pub mod checker;
pub mod fault;
pub mod inject;
pub mod ledger;
pub mod links;
pub mod load;
pub mod outcome;
pub mod report;
pub mod restart;
pub mod round;
pub mod test_bed;

/// The realm of these campaigns.
pub const REALM: &str = "chaos";
