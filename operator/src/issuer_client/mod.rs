//! What issuers say when they are asked: their load, what they serve, and whether users reach them.

pub(crate) mod counts;
pub(crate) mod endpoints;
pub mod pods;
pub(crate) mod pressure;
pub(crate) mod serving;
