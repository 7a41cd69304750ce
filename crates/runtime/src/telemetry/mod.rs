//! Logs, metrics and probes, the same in every process.

mod logging;
mod probes;
mod registry;
mod shutdown;

pub use logging::init_logging;
pub use probes::{BUT, Probes, Verdict, router, serve};
pub use registry::{LATENCY_BUCKETS, SharedRegistry, registry, scrape};
pub use shutdown::ShutdownSignal;
