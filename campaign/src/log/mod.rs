//! The Kafka side: a winner is durable once the topic has acknowledged it.
//!
//! - [`admin`]: topics, offsets and groups;
//! - [`probe`]: one record written and read back, to know whether a login may;
//! - [`producer`]: how winners are written;
//! - [`reading`]: clients that read without joining a group;
//! - [`tail`]: reading a range of a topic without joining a group.

pub mod admin;
mod config;
mod headers;
pub mod probe;
pub mod producer;
pub mod reading;
mod rights;
pub mod tail;

pub use config::client_config;
pub use headers::{ORIGINAL_OFFSET, ORIGINAL_PARTITION, RawHeader, header_bytes, origin, raw_headers};
pub use rights::{lacks_a_right, says_missing_right};
