//! What is left to be stored.

use crate::kafka::view::KafkaView;
use crate::reconcile::observe::LedgerView;

/// What is left to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemainingWork {
    /// Nothing: every winner is a row or a dead letter.
    None,
    /// Records wait in the log.
    Lag(u64),
    /// The log is empty, but Redis has winners that are neither rows nor dead letters.
    Gap(u64),
    /// Not known, which is not nothing.
    Unknown,
}

impl RemainingWork {
    /// What three systems say together; `None`: that one could not be read.
    pub fn of(ledger: Option<&LedgerView>, kafka: Option<&KafkaView>, issued: Option<u64>) -> Self {
        let lag = kafka.and_then(|kafka| kafka.lag);
        let (Some(ledger), Some(issued)) = (ledger, issued) else { return Self::Unknown };
        // Complete rows need no offsets to be read.
        if ledger.stored >= issued && ledger.row.is_some() && issued > 0 && lag.is_none_or(|lag| lag == 0) {
            return Self::None;
        }
        match (lag, kafka.and_then(|kafka| kafka.dead_ranks)) {
            (Some(0), Some(dead)) => match issued.saturating_sub(ledger.stored + dead) {
                0 => Self::None,
                gap => Self::Gap(gap),
            },
            (Some(lag), _) if lag > 0 => Self::Lag(lag),
            _ => Self::Unknown,
        }
    }
}
