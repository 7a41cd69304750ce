//! The Kafka side: a winner is durable once the topic has acknowledged it.
//!
//! - [`acknowledgements`]: what becomes of the records of a batch;
//! - [`probe`]: one record written and read back, to know whether a login may;
//! - [`producer`]: how winners are written;
//! - [`reading`]: clients that read without joining a group;
//! - [`tail`]: reading a range of a topic without joining a group.

pub mod acknowledgements;
mod append_error;
mod config;
mod headers;
pub mod probe;
pub mod producer;
pub mod reading;
pub mod tail;

pub use append_error::AppendError;
pub use config::client_config;
pub use headers::{ORIGINAL_OFFSET, ORIGINAL_PARTITION, decode_record, header_bytes, origin, raw_headers};
