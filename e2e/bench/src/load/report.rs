//! What a load generator tells whoever started it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The line that it prints.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Requests that were begun.
    pub(crate) asked: u64,
    /// Responses, whatever they said.
    pub(crate) answered: u64,
    /// Responses that told a rank.
    pub(crate) told: u64,
    /// Refusals that are final (4xx).
    pub(crate) refused: u64,
    /// Responses by HTTP status.
    pub(crate) by_status: BTreeMap<u16, u64>,
    /// Requests whose connection broke.
    pub(crate) broken: u64,
    /// The first user whom nobody has been.
    pub(crate) next_user: u64,
    /// From the first request to the last response.
    pub(crate) seconds: f64,
    /// Latencies of all responses, in microseconds: from the time at which a request was due, or was sent where it was due at once.
    pub(crate) p50_us: u64,
    /// The latency that 99 % did not exceed.
    pub(crate) p99_us: u64,
    /// The latency that 99.9 % did not exceed.
    pub(crate) p999_us: u64,
    /// The longest latency.
    pub(crate) longest_us: u64,
    /// The same of those that told a rank: the latency that 99 % did not exceed.
    pub(crate) told_p99_us: u64,
    /// Requests that left in the time of the first rate, or of all where there is one rate.
    pub(crate) sent_in_time: u64,
    /// Ranks that were told in that time.
    pub(crate) told_in_time: u64,
    /// Those that were refused for now (5xx).
    pub(crate) put_off: PutOff,
    /// From the end of that time to the end of the last tenth of a second in which more than one in a hundred of those that were due were not
    /// told a rank within 250 ms; nothing if there is none.
    pub(crate) recovered_us: u64,
    /// Processor time of this process, connecting included.
    pub(crate) cpu_us: u64,
    /// From the first request to the last rank that was told.
    pub(crate) last_rank_s: f64,
    /// When that was, in microseconds since 1970.
    pub(crate) last_rank_unix_us: u64,
}

/// Refusals for now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PutOff {
    /// How many.
    pub(crate) answers: u64,
    /// The latency that 99 % of them did not exceed.
    pub(crate) p99_us: u64,
    /// The longest latency.
    pub(crate) longest_us: u64,
    /// How many said after how many seconds to ask again, by these.
    pub(crate) by_retry_after: BTreeMap<u64, u64>,
}

impl LoadReport {
    /// Requests that were not served: refused for now (5xx), broken off, or never answered.
    pub(crate) fn errors(&self) -> u64 {
        self.asked.saturating_sub(self.told + self.refused)
    }
}
