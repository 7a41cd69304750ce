//! Whether to wait for Kafka: a small state machine without I/O or a clock of its own.
//!
//! Closed, every winner goes to Kafka. It opens when a record fails, finds the client's queue full, or is not acknowledged
//! within [`PATIENCE`], which is the age of the oldest record in flight. Open, winners go straight to SQL, and one record
//! every [`PROBE_EVERY`] goes to Kafka as well; the first that is acknowledged in time closes it.

use std::time::Duration;

use coupon_core::contract::deadlines;
use tokio::time::Instant;

/// How long a record may be on its way to Kafka before its winner is stored in SQL. Twenty times what a healthy
/// cluster takes, and well below the time after which users give up.
pub(crate) const PATIENCE: Duration = deadlines::PATIENCE;
/// Time between two probes while open.
pub(crate) const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Where a winner is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To Kafka; to SQL only if that takes too long.
    Kafka,
    /// To SQL.
    Direct,
    /// To both at once: the first that takes it decides, and Kafka shows whether it is back.
    Probe,
}

/// The state machine. Starts closed.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// When it opened, and when the next probe is due.
    open: Option<Open>,
}

#[derive(Debug, Clone)]
struct Open {
    since: Instant,
    next_probe: Instant,
    /// Kafka's words, if it has refused a record because our user lacks a right.
    refusal: Option<String>,
}

impl Breaker {
    /// Where to store the next winner.
    pub(crate) fn route(&mut self, now: Instant) -> Route {
        match &mut self.open {
            None => Route::Kafka,
            Some(open) if now >= open.next_probe => {
                open.next_probe = now + PROBE_EVERY;
                Route::Probe
            }
            Some(_) => Route::Direct,
        }
    }

    /// A record was refused, failed or is late. True if that opened the breaker.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        let opened = self.open.is_none();
        self.open.get_or_insert(Open { since: now, next_probe: now + PROBE_EVERY, refusal: None });
        opened
    }

    /// Our user lacks a right, in Kafka's words. Waiting does not help; so this is remembered, also if something else fails meanwhile.
    pub(crate) fn refused(&mut self, words: String) {
        if let Some(open) = &mut self.open {
            open.refusal = Some(words);
        }
    }

    /// What Kafka has refused since it opened.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.open.as_ref()?.refusal.as_deref()
    }

    /// A record that was handed over at `handed` is acknowledged. Closes the breaker if that did not take too long: a record
    /// that was stuck says nothing about the present. Returns how long it was open.
    pub(crate) fn acknowledged(&mut self, handed: Instant, now: Instant) -> Option<Duration> {
        if now.saturating_duration_since(handed) > PATIENCE {
            return None;
        }
        self.open.take().map(|open| now.saturating_duration_since(open.since))
    }

    /// Whether winners go straight to SQL.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_the_first_failure_and_probes_until_an_acknowledgement_in_time() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut breaker = Breaker::default();
        assert_eq!(breaker.route(at(0)), Route::Kafka);
        assert_eq!(breaker.acknowledged(at(0), at(5)), None, "it was not open");
        assert!(breaker.failed(at(10)));
        assert!(!breaker.failed(at(11)), "it is open already");
        assert_eq!(breaker.route(at(20)), Route::Direct, "Kafka has just failed");
        assert_eq!(breaker.route(at(510)), Route::Probe);
        assert_eq!(breaker.route(at(511)), Route::Direct, "one probe at a time");
        assert_eq!(breaker.route(at(1010)), Route::Probe);
        assert_eq!(breaker.acknowledged(at(5), at(1200)), None, "what was stuck says nothing about now");
        assert!(breaker.is_open());
        assert_eq!(breaker.acknowledged(at(1010), at(1210)), Some(Duration::from_millis(1200)));
        assert_eq!(breaker.route(at(1211)), Route::Kafka);
    }

    /// Wrong: a right that was lost in a sale is taken for an outage, of which nobody is told what to change; or is said after it is back.
    #[test]
    fn what_kafka_refuses_is_known_until_it_takes_a_record() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        breaker.refused("not allowed".to_owned());
        assert_eq!(breaker.refusal(), None, "nothing has failed");
        breaker.failed(now);
        assert_eq!(breaker.refusal(), None, "it is only late");
        breaker.refused("not allowed".to_owned());
        breaker.failed(now);
        assert_eq!(breaker.refusal(), Some("not allowed"), "what is late afterwards says nothing of the right");
        breaker.acknowledged(now, now);
        assert_eq!(breaker.refusal(), None);
    }
}
