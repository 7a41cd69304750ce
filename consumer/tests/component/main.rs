//! Component tests: the consumer against a real Kafka and a real database.

mod dead_letters;
mod drain;
mod outage;
mod process;
mod proxy;
mod stage;
mod store;
