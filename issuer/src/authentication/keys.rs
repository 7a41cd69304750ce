//! Keeps the keys of tokens up to date: from time to time, and when a token names one that is not known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coupon_core::contract::{SignatureAlgorithm, TokenSettings};
use coupon_core::shown::shown;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::key_set::KeySet;
use super::known_tokens::KnownTokens;
use super::refusal::Refusal;
use super::source::{Source, UrlError};
use crate::log_throttle::LogThrottle;
use crate::metrics::{Metrics, ReadingLabel};

/// How often keys are read, give or take a tenth.
const EVERY: Duration = Duration::from_secs(60);
/// How soon after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How soon after the beginning of one reading the next may begin: whoever forges tokens asks no server more often than that.
const SOONEST: Duration = Duration::from_secs(1);
/// How long one reading may take.
const READING: Duration = Duration::from_secs(3);
/// How long a request waits for a reading: for its turn, and for its end.
const WAIT: Duration = SOONEST.saturating_add(READING);
/// Requests that wait at once.
const MOST_WAITING: usize = 256;
/// What became of a reading, as counted: it succeeded.
pub(super) const READ: &str = "read";
/// It did not.
pub(super) const FAILED: &str = "failed";
/// Longest cause that is shown, in characters.
const MAX_CAUSE: usize = 300;

/// Keys, and the tokens that were checked with them: with other keys, none is known.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) set: KeySet,
    pub(super) known: KnownTokens,
}

/// The last reading that has ended.
#[derive(Debug, Default)]
struct Reading {
    /// How many had begun when it did, itself included.
    number: u64,
    /// The keys of the last that succeeded.
    trusted: Option<Arc<Trusted>>,
    /// Why it failed, if it did.
    failure: Option<String>,
}

#[derive(Debug)]
struct Shared {
    last: watch::Sender<Reading>,
    begun: AtomicU64,
    wanted: Notify,
    waiting: Semaphore,
}

/// The keys that are known. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Keys(Arc<Shared>);

/// Reads them.
pub(crate) struct KeyReader {
    source: Source,
    algorithms: Vec<SignatureAlgorithm>,
    keys: Keys,
    metrics: Metrics,
    log: LogThrottle,
}

impl Keys {
    /// Reads nothing yet.
    pub(super) fn new(settings: &TokenSettings, metrics: Metrics) -> Result<(Self, KeyReader), UrlError> {
        let keys = Self(Arc::new(Shared {
            last: watch::Sender::default(),
            begun: AtomicU64::default(),
            wanted: Notify::new(),
            waiting: Semaphore::new(MOST_WAITING),
        }));
        let reader = KeyReader {
            source: Source::new(&settings.keys)?,
            algorithms: settings.algorithms.clone(),
            keys: keys.clone(),
            metrics,
            log: LogThrottle::default(),
        };
        Ok((keys, reader))
    }

    /// The keys, if there are any.
    pub(super) fn known(&self) -> Option<Arc<Trusted>> {
        self.0.last.borrow().trusted.clone()
    }

    /// Why there are none, if there are none.
    pub(super) fn why_none(&self) -> Option<String> {
        let last = self.0.last.borrow();
        match (&last.trusted, &last.failure) {
            (Some(_), _) => None,
            (None, Some(failure)) => Some(failure.clone()),
            (None, None) => Some("they are being read".to_owned()),
        }
    }

    /// The keys of a reading that begins after this call, for which this waits.
    pub(super) async fn read_anew(&self) -> Result<Arc<Trusted>, Refusal> {
        let _one_of_those_who_wait = self.0.waiting.try_acquire().map_err(|_| Refusal::Crowded)?;
        let begun = self.0.begun.load(Ordering::SeqCst);
        let mut last = self.0.last.subscribe();
        self.0.wanted.notify_one();
        match timeout(WAIT, last.wait_for(|reading| reading.number > begun)).await {
            Ok(Ok(reading)) if reading.failure.is_none() => reading.trusted.clone().ok_or(Refusal::NoKeys),
            _ => Err(Refusal::KeysAway),
        }
    }
}

impl KeyReader {
    /// Reads again and again. Never ends.
    pub(crate) async fn run(self) {
        loop {
            let begun = Instant::now();
            let number = self.keys.0.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let read = self.read().await;
            let pause = match &read {
                Ok(_) => EVERY.mul_f64(rand::random_range(0.9..=1.1)),
                Err(_) if self.keys.known().is_none() => SOONEST,
                Err(_) => AFTER_FAILURE,
            };
            self.publish(number, read);
            tokio::select! {
                () = sleep_until(begun + pause) => {}
                () = self.keys.0.wanted.notified() => sleep_until(begun + SOONEST).await,
            }
        }
    }

    async fn read(&self) -> Result<KeySet, String> {
        let read = timeout(READING, self.source.read()).await;
        let bytes = match read {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer within {} s", READING.as_secs())),
        };
        KeySet::parse(&bytes, &self.algorithms).map_err(|error| error.to_string())
    }

    /// What could not be read takes nothing away.
    fn publish(&self, number: u64, read: Result<KeySet, String>) {
        let result = if read.is_ok() { READ } else { FAILED };
        self.metrics.key_readings.get_or_create(&ReadingLabel { result }).inc();
        let before = self.keys.known();
        let (trusted, failure) = match read {
            Ok(set) => {
                if self.log.recovered() {
                    tracing::info!("the keys of tokens can be read again");
                }
                match before.filter(|before| before.set.is_same(&set)) {
                    Some(same) => (Some(same), None),
                    None => {
                        tracing::info!(keys = set.len(), "the keys of tokens are new");
                        (Some(Arc::new(Trusted { set, known: KnownTokens::default() })), None)
                    }
                }
            }
            Err(why) => {
                let why = shown(&why, MAX_CAUSE);
                if self.log.should_log(&why, Instant::now()) {
                    let known = before.as_ref().map_or(0, |before| before.set.len());
                    tracing::warn!(known, "the keys of tokens cannot be read: {why}");
                }
                (before, Some(why))
            }
        };
        self.metrics.token_keys.set(trusted.as_ref().map_or(0, |trusted| trusted.set.len() as u64));
        self.keys.0.last.send_replace(Reading { number, trusted, failure });
    }
}
