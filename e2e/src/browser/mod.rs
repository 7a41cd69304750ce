//! `examples/browser` in a real browser: `make browser-demo`.
//!
//! [`chromium`] is the browser, [`shop`] serves the page and knows who is logged in, and [`relay`] is the network between the page and the issuers,
//! which counts what goes by and can be cut. What no sale says when it is asked to, [`stand_in`] says.

pub mod chromium;
pub mod relay;
pub mod shop;
pub mod stand_in;
