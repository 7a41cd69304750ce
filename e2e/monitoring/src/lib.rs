//! What a stack with `--with monitoring` needs beside Debian's Prometheus and Alertmanager. A package of its own, so that `stack`, which
//! everything else waits for, is compiled without an HTTP server.
//!
//! - [`config`]: pure; the project's rules, routes and example of what to scrape, with the addresses of a stack in them
//! - [`targets`]: tells Prometheus which pods there are, as Debian's is built without Kubernetes
//! - [`receiver`], [`message`]: stands for Slack and PagerDuty, and keeps what it was sent

pub mod config;
pub mod message;
pub mod receiver;
pub mod targets;
