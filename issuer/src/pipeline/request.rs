//! One request for a coupon on its way through the process.

use std::borrow::Borrow;

use coupon_ledger::redis::IssueRequest;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::pipeline::outcome::RequestOutcome;

/// Winners that may wait to become durable. Far below what the client would hold, far above what a healthy
/// cluster needs: at 10 ms a record it allows two million a second.
pub(crate) const MAX_UNACKNOWLEDGED: usize = 20_000;

/// A request in the queue.
pub(crate) struct PendingRequest {
    /// Who asks, and with which key.
    pub(crate) request: IssueRequest,
    /// When it entered the queue.
    pub(crate) since: Instant,
    /// Where the outcome goes; closed when the user has left.
    pub(crate) reply: oneshot::Sender<RequestOutcome>,
}

impl Borrow<IssueRequest> for PendingRequest {
    fn borrow(&self) -> &IssueRequest {
        &self.request
    }
}

impl PendingRequest {
    /// Responds to the user.
    pub(crate) fn respond(self, outcome: RequestOutcome) {
        // The user may have left. Asking again with the same key gives the same outcome.
        let _ = self.reply.send(outcome);
    }
}
