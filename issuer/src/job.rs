//! One wish on its way through the process.

use campaign::stock::Wish;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::outcome::Outcome;

/// Winners that may wait to become durable. Far below what the client would hold, far above what a healthy
/// cluster needs: at 10 ms a record it allows two million a second.
pub const MAX_UNACKNOWLEDGED: usize = 20_000;

/// A wish in the queue.
pub struct Job {
    /// The wish.
    pub wish: Wish,
    /// When it entered the queue.
    pub since: Instant,
    /// Where the answer goes; closed when the user has left.
    pub reply: oneshot::Sender<Outcome>,
}

impl Job {
    /// Tells the user.
    pub(crate) fn answer(self, outcome: Outcome) {
        // A user who has left does not hear it; asking again gives the same answer.
        let _ = self.reply.send(outcome);
    }
}
