//! The operator: makes what a `CouponCampaign` asks for, and keeps it so.
//!
//! - [`api`]: the custom resources;
//! - [`controller`]: watches in, passes out; who works when several operators run, and whether this one is alive;
//! - [`reconcile`]: one pass over one campaign: observe, plan, apply, report;
//! - [`class`]: where Kafka, Redis and the database are, what a class allows, and whether those three do what is needed;
//! - `kafka`: what Kafka says of campaigns; what their topics should be, and making them;
//! - [`issuer_client`]: what issuers say, and whether they serve what the ledger has opened;
//! - [`ledger`]: opens, counts, repairs and reads the ledger;
//! - [`routes`]: how users get from outside to a campaign's Service, and what those say who are to lead them there;
//! - [`scaling`]: how many pods there should be;
//! - [`workloads`]: the Kubernetes objects that a campaign owns;
//! - [`error`], `diagnosis`: what failed, what it means, and what is to be done.

// A pass is one future of many layers, and an optimized build looks through all of them at once.
#![recursion_limit = "256"]

pub mod api;
pub mod class;
pub mod config;
pub mod context;
pub mod controller;
pub(crate) mod diagnosis;
pub mod error;
pub(crate) mod events;
#[cfg(test)]
mod fixtures;
pub mod issuer_client;
pub(crate) mod kafka;
pub mod ledger;
pub mod metrics;
pub mod reconcile;
pub mod routes;
pub mod scaling;
pub mod workloads;
