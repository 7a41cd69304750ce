//! The three systems in which a ledger lives, and every call that reads or changes it:
//!
//! - [`redis`]: where ranks are given (`lua/`);
//! - [`kafka`]: where a winner becomes durable;
//! - [`database`]: where a winner becomes a row (`migrations/`).
//!
//! This crate knows nothing of Kubernetes and makes no policy: when to open, fence, rebuild or scale is the operator's decision.

pub mod database;
pub mod kafka;
pub mod redis;
