//! Scenarios on a real cluster: what users do, what breaks, and what must hold. Each has a namespace of its own.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod bad_input;
mod deletion;
mod disturbance;
mod drift;
mod honesty;
mod rollout;
mod routes;
mod scaling;
mod selling;
mod silence;
mod test_context;
