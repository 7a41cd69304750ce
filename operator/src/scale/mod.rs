//! How many pods a campaign should have. Pure: what was read goes in, numbers and reasons come out.
//!
//! - [`rates`]: how fast records come and go;
//! - [`learned`]: what one pod can do, and how long it takes to start;
//! - [`levels`]: which numbers of consumers differ at all;
//! - [`consumers`]: the decision.

pub mod consumers;
pub mod learned;
pub mod levels;
pub mod rates;
