//! Gives the coupons of one campaign to the first who ask.
//!
//! A wish goes: [`http`] (reads the request) -> [`batcher`] (bounded queue, one call to Redis at a time) -> [`delivery`]
//! (Kafka acknowledges or, while the [`breaker`] is open, SQL commits through [`direct`]; then the user is told). [`gate`] decides whether anything may be granted and under which epoch;
//! [`gatekeeper`] shares it, [`opener`] reads the open epoch from SQL, [`control`] lets the operator fence.
//!
//! This process never decides who wins (Redis does), never opens itself (SQL says so), and speaks to no Kubernetes.

pub mod batcher;
pub mod breaker;
pub mod config;
pub mod control;
pub mod delivery;
pub mod direct;
pub mod gate;
pub mod gatekeeper;
pub mod http;
pub mod job;
pub mod metrics;
pub mod opener;
pub mod outcome;
mod prober;
pub mod redis_link;
pub mod service;
mod told;
mod trouble;

#[cfg(test)]
#[path = "../../campaign/tests/mangled/mod.rs"]
mod mangled;

#[cfg(test)]
#[path = "control_decoders.rs"]
mod decoders;
