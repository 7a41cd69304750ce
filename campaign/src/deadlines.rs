//! How long the parts wait for each other, in one place. Each time follows from those before it: a part that waits for another, such as a
//! fence for the issuers, waits for as long as the other may take and some seconds more, whichever of them is changed.

use std::time::Duration;

/// How long a wish may wait in an issuer's queue.
pub const QUEUE: Duration = Duration::from_secs(2);
/// How long a batch may wait for Redis.
pub const BATCH: Duration = Duration::from_secs(2);
/// How long an issuer waits for Kafka before winners go straight to SQL.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long a winner may wait for its transaction past Kafka, and how long the transaction may take.
pub const DIRECT: Duration = Duration::from_secs(3);
/// How long a winner may take to become durable: the patience with Kafka, then waiting for a transaction and the transaction itself, and
/// some time for what lies between.
pub const CONFIRM: Duration = sum(&[PATIENCE, DIRECT, DIRECT, SECOND]);
/// From asking Redis to the last moment at which a winner is told.
pub const TELL: Duration = sum(&[BATCH, CONFIRM]);
/// Longer than everything that an admitted wish waits for.
pub const ANSWER: Duration = sum(&[QUEUE, TELL, SECOND, SECOND]);
/// How long a fence may wait in an issuer for what is under way.
pub const FENCE: Duration = sum(&[TELL, SECOND]);
/// How long an operator waits for an issuer to confirm a fence: its own wait, and the way there and back.
pub const FENCE_ANSWER: Duration = sum(&[FENCE, SECOND, SECOND]);
/// From a grant to the moment at which an issuer that nobody hears from has written it or given it up, and told whom it tells.
pub const SETTLE: Duration = sum(&[TELL, SECOND, SECOND]);
/// How long an issuer that ends may take, from when it takes no new wish.
pub const DRAIN: Duration = Duration::from_secs(18);
/// What is kept of that for flushing the producer.
pub const FLUSH: Duration = Duration::from_secs(3);
/// Pause of an issuer that serves nothing between two looks for an epoch, at most.
pub const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// How long one such look may take.
pub const LOOK: Duration = Duration::from_secs(3);

const SECOND: Duration = Duration::from_secs(1);

const fn sum(times: &[Duration]) -> Duration {
    let (mut all, mut at) = (Duration::ZERO, 0);
    while at < times.len() {
        all = all.saturating_add(times[at]);
        at += 1;
    }
    all
}

/// The same in whole milliseconds.
pub const fn millis(time: Duration) -> u64 {
    time.as_secs() * 1000 + time.subsec_millis() as u64
}

// What was taken in before an issuer ends can be answered by its end.
const _: () = assert!(millis(DRAIN) >= millis(sum(&[QUEUE, TELL, FLUSH])), "an issuer needs longer to end");

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures that documents and users know; whoever changes one finds the others here.
    #[test]
    fn the_times_are_those_that_are_documented() {
        let seconds = [CONFIRM, TELL, FENCE, FENCE_ANSWER, SETTLE, DRAIN].map(|time| time.as_secs());
        assert_eq!(seconds, [8, 10, 11, 13, 12, 18]);
        assert_eq!(millis(LOOK_PAUSE), 500);
    }
}
