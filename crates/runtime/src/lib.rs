//! What every program of ours does in the same way, whatever it is for:
//!
//! - [`listening`]: binding ports, and saying which;
//! - [`http`]: the server of every port, with bounds;
//! - [`telemetry`]: logs, metrics and probes, and the end on a signal.

pub mod http;
pub mod listening;
pub mod telemetry;
