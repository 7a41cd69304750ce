//! The metrics of a process.

use std::sync::{Arc, RwLock};

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The metrics of a process, shared by those who register and the one who serves.
pub type SharedRegistry = Arc<RwLock<Registry>>;

/// A registry whose metrics start with `prefix_`. It says which version this is, and nothing else yet.
pub fn registry(prefix: &str) -> SharedRegistry {
    let mut registry = Registry::with_prefix(prefix);
    registry.register("build", "Which version this is", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    Arc::new(RwLock::new(registry))
}

/// All metrics as Prometheus reads them (OpenMetrics). `None`: somebody panicked while registering, or a metric cannot be written.
pub fn scrape(registry: &SharedRegistry) -> Option<String> {
    let mut text = String::new();
    let registry = registry.read().ok()?;
    prometheus_client::encoding::text::encode(&mut text, &registry).ok()?;
    Some(text)
}

/// Upper bounds, in seconds, of every latency histogram: 1 ms to 10 s, finest around the 500 ms that an answer may take.
pub const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0];
