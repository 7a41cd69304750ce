//! Whether Kafka answered the last time that it was asked.

use std::sync::{Mutex, PoisonError};

use coupon_kafka_admin::AdminError;

/// The failure of the last round of requests, if nobody answered it.
#[derive(Default)]
pub(super) struct Silence(Mutex<Option<AdminError>>);

impl Silence {
    /// A round has ended so. A refusal is an answer as well.
    pub(super) fn note(&self, failure: Option<&AdminError>) {
        let silent = failure.filter(|error| matches!(error, AdminError::Unreachable { .. })).cloned();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = silent;
    }

    /// What the last round met, if it was not answered.
    pub(super) fn since_the_last_answer(&self) -> Option<AdminError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Wrong: passes hurry a Kafka that answers, if only with a no, or wait for one that is away.
    #[test]
    fn only_a_round_that_nobody_answered_is_silence() {
        let away = AdminError::Unreachable {
            bootstrap: "kafka:9092".into(),
            deadline: Duration::from_secs(10),
            cause: "connection refused".into(),
        };
        let refused = AdminError::AuthenticationFailed { bootstrap: "kafka:9092".into(), cause: "no".into() };
        let silence = Silence::default();
        for (failure, silent) in
            [(None, None), (Some(&away), Some(&away)), (Some(&refused), None), (Some(&away), Some(&away))]
        {
            silence.note(failure);
            assert_eq!(silence.since_the_last_answer().as_ref(), silent, "{failure:?}");
        }
        silence.note(None);
        assert_eq!(silence.since_the_last_answer(), None);
    }
}
