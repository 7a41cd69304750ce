//! Under which epoch this process may grant, if at all.
//!
//! [`state`] decides, [`guard`] shares that between tasks and counts what is under way, and [`poller`] reads the open epoch from SQL.

pub(crate) mod guard;
pub(crate) mod poller;
pub(crate) mod state;
