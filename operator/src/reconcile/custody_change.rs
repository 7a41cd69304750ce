//! How far a ledger has come here from another cluster.

use std::time::Instant;

/// How far a ledger has come here from another cluster. Losing it costs some seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CustodyChange {
    /// The ledger was taken over, and no epoch was opened since.
    is_new: bool,
    /// Since when the campaign is known to be closed in Redis for the issuers of the cluster that had the ledger before, and at which
    /// epoch.
    closed: Option<(u64, Instant)>,
}

impl CustodyChange {
    /// The ledger was taken over.
    pub(super) fn begin(&mut self) {
        self.is_new = true;
    }

    /// An epoch was opened. Answers whether it is the first one since the ledger was taken over.
    pub(super) fn end(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// Since when the campaign is known to be closed for the other cluster's issuers at this epoch: from now on, if that is new.
    pub(super) fn closed_since(&mut self, epoch: u64) -> Instant {
        let known = self.closed.filter(|(known, _)| *known == epoch);
        let (_, since) = *self.closed.insert(known.unwrap_or_else(|| (epoch, Instant::now())));
        since
    }
}
