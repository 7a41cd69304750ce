//! Long proofs of the promise: one named trouble each, its figures, and a claim that holds or not.
//!
//! `make chaos` looks for what nobody thought of, in rounds of seconds; here a system is away for minutes, a failover loses
//! what it can lose, the operator dies at each point of its protocol, and a defence is left out to see that it is needed.
//!
//! - [`report`], [`figures`]: pure; the last line, and what it is made of
//! - [`scenario`]: one sale with something that happens to it, from `kubectl apply` to the verdict
//! - [`away`]: the database, or Kafka, is stopped for minutes
//! - [`failover`], [`broker`]: a Redis primary, or one of three brokers, is killed
//! - [`roll`]: all brokers are restarted one after another under load
//! - [`restored`]: the database is put back to a backup
//! - [`secured`]: every password and the authority change during a sale
//! - [`suspended`]: a sale is suspended while a system is away
//! - [`large`]: Redis forgets a sale with a million winners
//! - [`fault_injector`]: crash points and left-out defences of running pods
//! - [`crash`], [`without`]: the operator dies in the middle of a step; a defence is left out

pub mod away;
pub mod broker;
pub mod crash;
pub mod failover;
pub mod fault_injector;
pub mod figures;
pub mod large;
pub mod report;
pub mod restored;
pub mod roll;
pub mod scenario;
pub mod secured;
pub mod suspended;
pub mod without;
