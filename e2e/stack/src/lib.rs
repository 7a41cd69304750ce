//! The local stack: a real Kubernetes, Kafka, Redis and MariaDB on one Linux machine, without Docker.
//!
//! [`install`] gets and builds the programs once, into a cache. [`up`] starts them in namespaces of their own, where [`supervisor`] keeps
//! watch over them and answers on a Unix socket ([`control`]); [`down`] ends them all. Tests read where things are from [`connections`], and
//! start private servers with [`services`].
//!
//! It may start processes, mount inside its own namespaces, create cgroups named after the stack, and write to its cache, its state folder
//! and (while installing) to the machine's packages. It changes nothing else on the machine.

pub mod cache;
pub mod cgroup;
pub mod child;
pub mod connections;
pub mod control;
pub mod down;
pub mod enter;
pub mod image;
pub mod install;
pub mod layout;
pub mod monitoring;
pub mod options;
pub mod plot;
pub mod secured;
pub mod services;
pub mod status;
pub mod supervisor;
pub mod table;
pub mod up;

mod containerd;
mod kafka;
mod kubernetes;
mod libraries;
mod mariadb;
mod namespace;
mod packages;
mod plan;
mod ports;
mod probe;
mod process;
mod redis;
mod run;
mod sbom;
mod server;
mod tools;

#[cfg(test)]
mod release_tests;

pub use connections::Connections;
