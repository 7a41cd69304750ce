//! The metrics of a process.

use std::sync::{Arc, RwLock};

use prometheus_client::registry::Registry;

/// The metrics of a process, shared by those who register and the one who serves.
pub type SharedRegistry = Arc<RwLock<Registry>>;

/// An empty registry whose metrics start with `prefix_`.
pub fn registry(prefix: &str) -> SharedRegistry {
    Arc::new(RwLock::new(Registry::with_prefix(prefix)))
}

/// Upper bounds, in seconds, of every latency histogram: 1 ms to 10 s, finest around the 500 ms that an answer may take.
pub const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0];
