//! What makes the operator work, and go on working: watches in, passes out.

pub(crate) mod backoff;
pub mod campaign;
pub(crate) mod class;
pub(crate) mod gone;
pub mod health;
pub mod leader_election;
pub(crate) mod suspension;
pub(crate) mod suspension_outcome;
pub(crate) mod unreadable;
mod watches;
