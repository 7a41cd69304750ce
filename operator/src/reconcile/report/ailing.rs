//! What ails the pods.

use crate::diagnosis::NotReadyCause;

/// Why pods of each kind are not ready, as far as that is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ailing {
    /// The issuers.
    pub issuer: Option<NotReadyCause>,
    /// The consumers.
    pub consumer: Option<NotReadyCause>,
}
