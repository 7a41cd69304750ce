//! Many campaigns at once: what they cost.
//!
//! - [`meter`]: what the operator, the API server, Redis and Kafka have done so far, and the difference between two readings
//! - [`stand_in`]: marks pods ready that no node runs

pub mod meter;
pub mod stand_in;
