//! How long the parts wait for each other, in one place. Each time is derived from those before it: a part that waits for another, such as
//! a fence for the issuers, waits for as long as the other may take and some seconds more, whichever of them is changed.

use std::time::Duration;

/// How long a request may wait in an issuer's queue.
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
/// From asking Redis to the last moment at which a winner gets a success response.
pub const RESPOND: Duration = sum(&[BATCH, CONFIRM]);
/// Longer than everything that an admitted request waits for.
pub const ANSWER: Duration = sum(&[QUEUE, RESPOND, SECOND, SECOND]);
/// How long a fence may wait in an issuer for what is under way.
pub const FENCE: Duration = sum(&[RESPOND, SECOND]);
/// How long an operator waits for an issuer to confirm a fence: its own wait, and the way there and back.
pub const FENCE_ANSWER: Duration = sum(&[FENCE, SECOND, SECOND]);
/// From a grant to the moment at which an issuer that cannot be reached has written it or given it up, and has responded.
pub const SETTLE: Duration = sum(&[RESPOND, SECOND, SECOND]);
/// How long an issuer that ends may take, from when it takes no new request.
pub const DRAIN: Duration = Duration::from_secs(18);
/// From SIGTERM, or the end of an issuer's delay, until a pod is killed.
pub const GRACE: Duration = Duration::from_secs(35);
/// What is kept of [`DRAIN`] for flushing the producer.
pub const FLUSH: Duration = Duration::from_secs(3);
/// Longest pause of an issuer that serves nothing between two reads of the open epoch.
pub const EPOCH_POLL_PAUSE: Duration = Duration::from_millis(500);
/// How long one such read may take.
pub const EPOCH_READ: Duration = Duration::from_secs(3);

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

// What an issuer has accepted before it ends gets its response.
const _: () = assert!(millis(DRAIN) >= millis(sum(&[QUEUE, RESPOND, FLUSH])), "an issuer needs longer to end");
const _: () = assert!(millis(GRACE) > millis(DRAIN), "a pod is killed before it has ended by itself");

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures that documents and users know.
    #[test]
    fn the_times_are_those_that_are_documented() {
        let seconds = [CONFIRM, RESPOND, FENCE, FENCE_ANSWER, SETTLE, DRAIN, GRACE].map(|time| time.as_secs());
        assert_eq!(seconds, [8, 10, 11, 13, 12, 18, 35]);
        assert_eq!(millis(EPOCH_POLL_PAUSE), 500);
    }
}
