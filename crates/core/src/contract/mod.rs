//! What operator and issuers must agree on, each in one place, so that neither side can be changed without the other:
//!
//! - [`control`]: what they say to each other over the issuers' control port;
//! - [`ports`]: where pods listen;
//! - [`environment`]: how the operator hands settings to a pod;
//! - [`settings`]: values of those settings;
//! - [`authentication`]: how an issuer knows who asks;
//! - [`rate_limits`]: how often may be asked, and through which gateway;
//! - [`deadlines`]: how long the parts wait for each other.
//!
//! Programs of different age work side by side ([`crate::format`]). So unknown fields are ignored, and a field that an older program does not
//! send has a default.

pub mod authentication;
pub mod control;
pub mod deadlines;
pub mod environment;
mod network;
pub mod ports;
pub mod rate_limits;
pub mod settings;

pub use authentication::{Authentication, AuthenticationKind, KeySource, SignatureAlgorithm, TokenSettings};
pub use control::{FenceRequest, FenceResponse, Pressure};
pub use network::{Network, NetworkError};
pub use rate_limits::{HeaderValues, Rate, RateLimits, RequiredHeader};
pub use settings::{Acknowledge, KeyBy};
