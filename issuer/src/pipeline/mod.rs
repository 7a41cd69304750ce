//! From an admitted request to its outcome.
//!
//! [`batcher`] queues requests, if [`admission`] lets them in, and calls Redis with one batch at a time over [`redis_link`]. [`delivery`] waits until each winner is durable:
//! Kafka acknowledges it or, while the [`breaker`] is open, SQL commits it through [`direct_writer`]; who asks again and is a row ([`stored`]) is
//! told at once.
//! Once all is issued, [`sold_out`] answers who has not won.

pub(crate) mod admission;
pub(crate) mod batcher;
mod breaker;
pub(crate) mod delivery;
pub(crate) mod direct_writer;
pub(crate) mod durability;
pub(crate) mod outcome;
pub(crate) mod prober;
mod redis_health;
pub mod redis_link;
mod request;
pub(crate) mod shared_breaker;
pub(crate) mod sold_out;
pub(crate) mod sold_out_keeper;
pub(crate) mod stored;
