//! Why a request is not looked at any further.

use axum::http::HeaderValue;

/// Why, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has not what the gateway gives to those that it lets through.
    Header,
    /// Its user has asked too often.
    User(Quota),
    /// Its address has.
    Address(Quota),
    /// All together have: the seconds after which to ask again. How much this process takes is nobody's business.
    Pod(u64),
}

/// What is told to a client that has asked too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Seconds after which to ask again.
    pub(crate) retry_after: u64,
    /// `RateLimit-Policy`.
    pub(crate) policy: HeaderValue,
    /// `RateLimit`.
    pub(crate) limit: HeaderValue,
}
