//! Servers as a careful platform team runs them: TLS by an authority of their own, a login for everybody, and for operator and pods the
//! rights that README lists, and no others.

pub mod administrator;
mod authority;
pub mod brokers;
pub(crate) mod redis_cli;
pub mod rights;

pub use authority::Authority;

/// The user that may do everything, at Kafka and Redis, with its password. Servers speak to each other as it.
pub const ADMIN: (&str, &str) = ("admin", "admin-dev");
/// The password of the Sentinels.
pub const SENTINEL_PASSWORD: &str = "sentinel-dev";
