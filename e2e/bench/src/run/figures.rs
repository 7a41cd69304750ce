//! What is measured, by name, and what came of one round of a case.

use std::collections::BTreeMap;

/// Answers a second.
pub(crate) const ANSWERED: &str = "answered_per_s";
/// From the first request to the last answer.
pub(crate) const SECONDS: &str = "seconds";
/// Latency, in milliseconds.
pub(crate) const P50: &str = "p50_ms";
/// Latency, in milliseconds.
pub(crate) const P99: &str = "p99_ms";
/// Latency, in milliseconds.
pub(crate) const P999: &str = "p99.9_ms";
/// Longest latency, in milliseconds.
pub(crate) const LONGEST: &str = "longest_ms";
/// Requests that were refused for now, broken off or never answered.
pub(crate) const ERRORS: &str = "errors";
/// Processor time of each answer, row or coupon, in microseconds.
pub(crate) const SERVER_CPU: &str = "server_cpu_us";
/// The same of the consumer.
pub(crate) const CONSUMER_CPU: &str = "consumer_cpu_us";
/// The same of Redis.
pub(crate) const REDIS_CPU: &str = "redis_cpu_us";
/// The same of Kafka.
pub(crate) const KAFKA_CPU: &str = "kafka_cpu_us";
/// The same of MariaDB.
pub(crate) const DATABASE_CPU: &str = "mariadb_cpu_us";
/// The same of the load generator, or of who inserts rows.
pub(crate) const CLIENT_CPU: &str = "client_cpu_us";
/// Most memory while measured, in MiB.
pub(crate) const SERVER_PEAK: &str = "server_peak_mib";
/// The same of the consumer.
pub(crate) const CONSUMER_PEAK: &str = "consumer_peak_mib";
/// The same of Redis.
pub(crate) const REDIS_PEAK: &str = "redis_peak_mib";
/// The same of Kafka.
pub(crate) const KAFKA_PEAK: &str = "kafka_peak_mib";
/// The same of MariaDB.
pub(crate) const DATABASE_PEAK: &str = "mariadb_peak_mib";
/// The same of the benchmark itself.
pub(crate) const CLIENT_PEAK: &str = "client_peak_mib";
/// Requests of one script call.
pub(crate) const WISHES: &str = "wishes_per_call";
/// Records of one batch in the log: librdkafka sends one of a partition with each produce request.
pub(crate) const RECORDS: &str = "records_per_request";
/// What Redis keeps for each winner.
pub(crate) const BYTES: &str = "redis_bytes_per_winner";
/// Coupons, rows or winners of a case that has so many.
pub(crate) const COUPONS: &str = "coupons";
/// Rows stored a second.
pub(crate) const ROWS: &str = "rows_per_s";
/// From the first request to the last rank.
pub(crate) const SELL_OUT: &str = "sell_out_s";
/// From the last rank to the last row.
pub(crate) const LAST_ROW: &str = "last_row_s";
/// Until Redis was filled and the epoch open.
pub(crate) const REBUILD: &str = "rebuild_s";

/// The most answers a second that were found before there were too many.
pub(crate) const BEST: &str = "best_per_s";
/// Requests that left a second while there were too many.
pub(crate) const OFFERED: &str = "offered_per_s";
/// Ranks that were told a second meanwhile, as a part of the best.
pub(crate) const GOODPUT: &str = "goodput_vs_best";
/// Latency of those who were told a rank, in milliseconds.
pub(crate) const TOLD_P99: &str = "told_p99_ms";
/// Latency of those who were refused for now, in milliseconds.
pub(crate) const PUT_OFF_P99: &str = "refused_p99_ms";
/// The part of refusals for now that say when to ask again.
pub(crate) const RETRY_AFTER: &str = "retry_after_part";
/// The part of them that say the most frequent time: all who hear the same come back together.
pub(crate) const SAME_RETRY: &str = "same_retry_after_part";
/// From the end of the overload until everybody was served soon.
pub(crate) const RECOVERED: &str = "recovered_s";

/// Figures by name.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// What came of one round of a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Round {
    /// What was measured.
    pub(crate) figures: Figures,
    /// Why it does not count, if it does not.
    pub(crate) wrong: Vec<String>,
}

/// A case, round by round.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CaseOutcome {
    /// Its name.
    pub(crate) name: &'static str,
    /// In their order.
    pub(crate) rounds: Vec<Round>,
}

impl CaseOutcome {
    /// A figure of the round of this number, if it counts.
    pub(crate) fn figure(&self, round: usize, name: &str) -> Option<f64> {
        let round = self.rounds.get(round).filter(|round| round.wrong.is_empty())?;
        round.figures.get(name).copied()
    }

    /// A figure of all rounds that count.
    pub(crate) fn figures(&self, name: &str) -> Vec<f64> {
        (0..self.rounds.len()).filter_map(|round| self.figure(round, name)).collect()
    }

    /// Whether every round counts.
    pub(crate) fn counts(&self) -> bool {
        self.rounds.iter().all(|round| round.wrong.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_is_wrong_is_left_out() {
        let round = |value, wrong: &[&str]| Round {
            figures: Figures::from([(P50, value)]),
            wrong: wrong.iter().map(|why| (*why).to_owned()).collect(),
        };
        let outcome =
            CaseOutcome { name: "x", rounds: vec![round(1.0, &[]), round(2.0, &["sold twice"]), round(3.0, &[])] };
        assert_eq!(outcome.figures(P50), [1.0, 3.0]);
        assert_eq!((outcome.figure(1, P50), outcome.figure(2, P50), outcome.figure(2, P99)), (None, Some(3.0), None));
        assert!(!outcome.counts());
    }
}
