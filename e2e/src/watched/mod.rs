//! A sale as whoever is on call sees it: what dashboards show, which alerts fire, whom they reach, and that they end.
//!
//! - [`dashboards`], [`pace`], [`timeline`], [`report`]: pure; the queries of dashboards, alerts in a faster time, what was seen, and what
//!   follows from it
//! - [`servers`]: Prometheus, Alertmanager and the receiver of the stack
//! - [`faults`], [`scene`]: what is done to a sale, and which alerts must come of it
//! - [`crowd`]: people who ask all the time
//! - [`watch`]: looks at all of it once a second

pub mod crowd;
pub mod dashboards;
pub mod faults;
pub mod pace;
pub mod report;
pub mod scene;
pub mod servers;
pub mod timeline;
pub mod watch;
