//! `coupon_kafka_admin` against a real Kafka. Every test has topics and groups of its own, so they run side by side.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::panic, clippy::unwrap_used)]

mod broker;
mod fixture;
mod offsets;
mod topics;
