//! Names of the environment variables by which pods get their settings.

/// The campaign, as `realm/namespace/couponId`.
pub const CAMPAIGN: &str = "COUPON_CAMPAIGN";
/// Path of `connections.yaml`.
pub const CONNECTIONS: &str = "COUPON_CONNECTIONS";
/// Path of the file with the token that an issuer's control port asks for.
pub const CONTROL_TOKEN_FILE: &str = "COUPON_CONTROL_TOKEN_FILE";
/// The cluster that an issuer is in. It serves no epoch that another cluster's operator opens.
pub const CLUSTER: &str = "COUPON_CLUSTER";
/// An issuer's address for users.
pub const LISTEN: &str = "COUPON_LISTEN";
/// An issuer's address for the operator.
pub const CONTROL_LISTEN: &str = "COUPON_CONTROL_LISTEN";
/// Address for probes and metrics.
pub const PROBE_LISTEN: &str = "COUPON_PROBE_LISTEN";
/// File for the addresses that are listened on.
pub const ADDRESSES_FILE: &str = "COUPON_ADDRESSES_FILE";
/// [`super::Acknowledge`].
pub const ACKNOWLEDGE: &str = "COUPON_ACKNOWLEDGE";
/// [`super::KeyBy`].
pub const KEY_BY: &str = "COUPON_KEY_BY";
/// Name of the pod.
pub const POD_NAME: &str = "POD_NAME";
/// Whether to log JSON.
pub const LOG_JSON: &str = "COUPON_LOG_JSON";
/// How many requests may wait in an issuer.
pub const QUEUE: &str = "COUPON_QUEUE";
/// Bytes of memory that an issuer may have.
pub const MEMORY_LIMIT: &str = "COUPON_MEMORY_LIMIT";
/// Seconds that a user's connection may be kept between two requests.
pub const KEEP_ALIVE_SECONDS: &str = "COUPON_KEEP_ALIVE_SECONDS";
/// Origins whose pages may call an issuer, with commas between them.
pub const CORS_ORIGINS: &str = "COUPON_CORS_ORIGINS";
/// Seconds for which a browser may go by an answer to a preflight.
pub const CORS_MAX_AGE_SECONDS: &str = "COUPON_CORS_MAX_AGE_SECONDS";
/// Milliseconds for which an issuer goes on serving after SIGTERM.
pub const SHUTDOWN_DELAY_MS: &str = "COUPON_SHUTDOWN_DELAY_MS";
/// Milliseconds from the end of that delay to the end of the process.
pub const DRAIN_TIMEOUT_MS: &str = "COUPON_DRAIN_TIMEOUT_MS";
