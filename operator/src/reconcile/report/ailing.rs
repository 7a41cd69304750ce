//! What ails the pods.

use crate::diagnosis::Cause;

/// Why pods of each kind are not ready, as far as that is known.
#[derive(Debug, Clone, Default)]
pub struct Ailing {
    /// The issuers.
    pub issuer: Option<Cause>,
    /// The consumers.
    pub consumer: Option<Cause>,
}
