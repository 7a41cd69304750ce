//! Private servers for component tests: real ones, on free loopback ports, with data folders of their own. Dropping one kills it and removes
//! its data; should the test's process be killed, the kernel kills the server too.
//!
//! All calls block until they are done, for some seconds at most.

mod certificate;
mod folder;
mod kafka;
mod mariadb;
mod redis;
mod secured;
mod service;

pub use certificate::Certificate;
pub use kafka::Kafka;
pub use mariadb::MariaDb;
pub use redis::{Redis, Sentinel};
pub use secured::Secured;
