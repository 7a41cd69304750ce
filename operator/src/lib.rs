//! The operator: makes what a `CouponCampaign` asks for, and keeps it so.
//!
//! - [`api`]: the custom resources;
//! - [`controller`]: watches in, passes out;
//! - [`reconcile`]: one pass over one campaign: observe, plan, apply, report;
//! - [`log_view`]: what Kafka says of campaigns; [`topic`]: what their topics should be, and making them; both ask for many at
//!   once, through [`gather`];
//! - [`scale`]: how many pods there should be; [`pressure`]: what issuers say of their load; [`pods`]: speaks to them;
//! - [`epoch`]: opens the ledger: fences issuers, reads SQL, Kafka and Redis, and fills Redis;
//! - [`ledger_count`]: how many rows there are;
//! - [`repair`]: publishes again what only Redis holds; [`dead`], [`dead_held`]: what dead letters hold;
//! - [`children`]: the Kubernetes objects that a campaign owns; `way`: whether users reach its issuers through them;
//! - [`class`], [`connections`]: where Kafka, Redis and the database are; [`measure`], [`class_status`]: whether they do what is needed;
//!   `doubts`: when that is asked again at once;
//! - `stop`: suspends within seconds, whatever is away;
//! - [`lease`]: who works when several operators run; [`progress`]: whether this one is alive.

pub mod api;
pub mod backoff;
mod bounded;
pub mod children;
pub mod class;
pub(crate) mod class_kept;
pub mod class_status;
pub mod class_use;
pub mod config;
pub mod connections;
pub mod context;
pub mod controller;
pub mod dead;
pub mod dead_held;
pub mod dead_log;
pub(crate) mod diagnosis;
pub(crate) mod doubts;
pub mod epoch;
pub mod error;
pub mod events;
#[cfg(test)]
mod fixtures;
pub mod gather;
pub mod last_classes;
pub mod lease;
pub mod ledger_count;
pub mod limits;
pub mod log_view;
pub mod measure;
pub mod metrics;
pub mod pods;
pub mod pressure;
pub mod pressure_counts;
pub mod progress;
pub mod reconcile;
pub mod repair;
pub mod retry;
pub mod scale;
pub(crate) mod serving;
pub(crate) mod stop;
pub mod stopped;
pub mod topic;
mod unreadable;
pub(crate) mod way;
pub mod words;
