//! Which class a campaign uses, and where that class says Kafka, Redis and the database are.

pub(crate) mod admission;
pub(crate) mod authentication;
mod connections;
pub(crate) mod doubts;
mod error;
pub(crate) mod in_use;
mod key_set;
pub(crate) mod last_seen;
pub(crate) mod limits;
pub mod measure;
pub(crate) mod pinned;
pub mod pools;
pub(crate) mod rate_limits;
mod secrets;

pub use admission::{admit, campaign_id, check_coupon_id_unique, resolve, uses};
pub use authentication::{IssuerFiles, key_files};
pub use connections::{ClassConnections, connections};
pub use error::ClassError;
pub use rate_limits::header_files;
