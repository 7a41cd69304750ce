//! End to end: a real cluster, the chart, people who ask, and a count in the database.
//!
//! Everything here runs inside a local stack (`stack exec`), and speaks to the product as its users do: Helm, `kubectl apply`,
//! HTTP, SQL. Nothing is asked of the programs' own counters.

pub mod attack;
pub mod browser;
pub mod campaign;
pub mod chaos;
pub mod database;
pub mod demo;
pub mod front;
pub mod install;
pub mod issuer_client;
pub mod logins;
pub mod many;
mod memory;
pub mod outages;
pub mod redis_cli;
pub mod scaling;
pub mod trials;
pub mod url;
pub mod wait;
pub mod watched;
