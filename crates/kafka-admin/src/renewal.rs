//! The librdkafka client behind a [`super::KafkaAdmin`], and when it is replaced.
//!
//! librdkafka (2.12.1, `rdkafka_coord.c`) keeps who coordinates which group in a cache whose entries only go when they were not
//! used for `metadata.max.age.ms`. Administrative calls never throw an entry away when the broker answers that it is not the
//! coordinator, and a call every two seconds never lets it grow old: after an ordinary rolling restart the groups whose
//! coordinator moved could not be read until the process ended (the same fault in another client: IBM/sarama#3051). A client
//! that is told that somebody else leads now, or hears nothing, is therefore replaced by one that finds out anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{Client, lock};
use super::error::{AdminError, Failure, is_passing, is_silence};

/// Clients that were told that somebody else leads are replaced at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// And those that heard nothing: more often, an outage would be answered with a storm of connections.
const SILENT_EVERY: Duration = Duration::from_secs(30);

/// What a failure says about the client that met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The client is as good as any.
    None,
    /// What it believes about leaders is outdated: replace it.
    FindOutAnew,
    /// Nobody answered: what it believes may be outdated.
    Suspect,
}

/// The remedy for a failure with this code. Pure.
pub(super) fn remedy(code: Code) -> Remedy {
    match code {
        Code::NotCoordinator
        | Code::CoordinatorNotAvailable
        | Code::NotLeaderForPartition
        | Code::LeaderNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::NotController => Remedy::FindOutAnew,
        code if is_silence(code) => Remedy::Suspect,
        _ => Remedy::None,
    }
}

/// Whether asking again in a moment may bring another answer: a leader, coordinator or controller is just moving.
pub(super) fn is_moving(error: &AdminError) -> bool {
    matches!(error, AdminError::Other { code, .. } if is_passing(*code))
}

/// How often something is read while a leader is moving.
const READS: u32 = 6;
/// Before the second reading; each further pause is twice as long.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// The tries of one reading.
pub(super) struct Tries {
    until: Instant,
    made: u32,
    pause: Duration,
}

impl Tries {
    /// The last of them begins before `deadline` is over.
    pub(crate) fn until(deadline: Duration) -> Self {
        Self { until: Instant::now() + deadline, made: 1, pause: READ_PAUSE }
    }

    /// Whether to try once more, after a pause: only while somebody is `moving`.
    pub(crate) async fn again(&mut self, moving: bool) -> bool {
        if !moving || self.made >= READS || Instant::now() + self.pause >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.made += 1;
        self.pause *= 2;
        true
    }
}

struct Current {
    client: Arc<Client>,
    since: Instant,
}

/// The present client, and how to make the next.
pub(super) struct Renewal {
    config: ClientConfig,
    requests: Arc<AtomicU64>,
    current: Mutex<Current>,
}

impl Renewal {
    /// Makes the first client.
    ///
    /// # Errors
    /// [`AdminError::InvalidClient`] for a property that librdkafka refuses.
    pub(crate) fn start(config: &ClientConfig) -> Result<Self, AdminError> {
        let requests = Arc::new(AtomicU64::new(0));
        let client = Client::start(config, Arc::clone(&requests), None)?;
        let current = Mutex::new(Current { client, since: Instant::now() });
        Ok(Self { config: config.clone(), requests, current })
    }

    /// The present client. Calls hold the one that they were made with: it goes when the last of them has ended.
    pub(crate) fn client(&self) -> Arc<Client> {
        Arc::clone(&lock(&self.current).client)
    }

    /// Requests made by all clients together.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Replaces the client if the failure asks for it, and the last replacement is not too fresh.
    pub(crate) fn heed(&self, failure: &Failure) {
        let pause = match remedy(failure.code) {
            Remedy::None => return,
            Remedy::FindOutAnew => TOLD_EVERY,
            Remedy::Suspect => SILENT_EVERY,
        };
        let mut current = lock(&self.current);
        if current.since.elapsed() < pause {
            return;
        }
        match Client::start(&self.config, Arc::clone(&self.requests), current.client.trouble()) {
            Ok(client) => {
                tracing::info!(
                    bootstrap = client.bootstrap(),
                    code = ?failure.code,
                    "the Kafka admin client is replaced: who leads is found out anew"
                );
                *current = Current { client, since: Instant::now() };
            }
            Err(error) => tracing::warn!(%error, "the Kafka admin client could not be replaced"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_that_another_leads_finds_out_anew_and_nobody_else_does() {
        for (code, expected) in [
            (Code::NotCoordinator, Remedy::FindOutAnew),
            (Code::CoordinatorNotAvailable, Remedy::FindOutAnew),
            (Code::NotLeaderForPartition, Remedy::FindOutAnew),
            (Code::LeaderNotAvailable, Remedy::FindOutAnew),
            (Code::FencedLeaderEpoch, Remedy::FindOutAnew),
            (Code::UnknownLeaderEpoch, Remedy::FindOutAnew),
            (Code::NotController, Remedy::FindOutAnew),
            (Code::OperationTimedOut, Remedy::Suspect),
            (Code::BrokerTransportFailure, Remedy::Suspect),
            (Code::WaitingForCoordinator, Remedy::Suspect),
            // It leads, and is not ready yet: asking it again is right.
            (Code::CoordinatorLoadInProgress, Remedy::None),
            (Code::OffsetNotAvailable, Remedy::None),
            (Code::GroupAuthorizationFailed, Remedy::None),
            (Code::UnknownTopicOrPartition, Remedy::None),
            (Code::InvalidConfig, Remedy::None),
        ] {
            assert_eq!(remedy(code), expected, "{code:?}");
        }
    }

    fn told(renewal: &Renewal, code: Code) -> bool {
        let before = Arc::as_ptr(&renewal.client());
        renewal.heed(&Failure { code, message: "said the broker".into() });
        Arc::as_ptr(&renewal.client()) != before
    }

    #[test]
    fn a_client_is_replaced_at_most_once_a_second_and_after_silence_at_most_twice_a_minute() {
        let renewal = Renewal::start(ClientConfig::new().set("bootstrap.servers", "127.0.0.1:1")).unwrap();
        let age = |seconds| {
            lock(&renewal.current).since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        };
        assert!(!told(&renewal, Code::NotCoordinator), "it has just been made");
        age(2);
        assert!(!told(&renewal, Code::OperationTimedOut), "silence for 2 s");
        assert!(!told(&renewal, Code::InvalidConfig));
        assert!(told(&renewal, Code::NotCoordinator));
        assert!(!told(&renewal, Code::NotCoordinator));
        age(31);
        assert!(told(&renewal, Code::OperationTimedOut));
    }
}
