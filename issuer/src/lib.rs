//! Gives the coupons of one campaign to the first who ask.
//!
//! A request takes this path: [`http`] reads it, [`pipeline`] asks Redis for a rank and waits until a winner is durable, and [`http`] responds.
//! [`authentication`] knows who asks and [`rate_limits`] who asks too often, [`epoch`] decides whether anything may be granted and under which epoch, and [`control`] is where the operator fences. [`service`] puts
//! all of them together.
//!
//! This process never decides who wins (Redis does), never opens itself (SQL says so), and does not use the Kubernetes API.

mod authentication;
pub mod config;
mod control;
mod epoch;
mod given_user_id;
pub mod http;
mod log_throttle;
mod metrics;
pub mod pipeline;
mod rate_limits;
pub mod service;
