//! Why a pass ended early.

use crate::error::ReconcileError;

/// Why a pass ended early, and whether status says so already.
pub(super) struct Stopped {
    /// What went wrong.
    pub error: ReconcileError,
    /// Status says it.
    pub is_reported: bool,
}

impl<E> From<E> for Stopped
where
    ReconcileError: From<E>,
{
    fn from(error: E) -> Self {
        Self { error: error.into(), is_reported: false }
    }
}
