//! The ledger of a campaign, over SQL, dead letters, Kafka and Redis: opened, counted, and repaired.

pub mod count;
pub mod dead_letters;
pub mod epoch;
pub mod repair;
