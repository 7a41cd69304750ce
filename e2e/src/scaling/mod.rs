//! Pods that follow the work, watched from outside: what is offered, what waits, how many pods there are.
//!
//! - [`timeline`], [`picture`]: pure; what was seen, and what follows from it
//! - [`watch`]: looks at a sale twice a second

pub mod picture;
pub mod timeline;
pub mod watch;
