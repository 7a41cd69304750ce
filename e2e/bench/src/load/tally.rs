//! Counts what was heard.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::histogram::Histogram;
use super::report::LoadReport;
use super::response::Response;

/// What was heard so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    asked: u64,
    told: u64,
    refused: u64,
    broken: u64,
    by_status: BTreeMap<u16, u64>,
    latencies: Histogram,
    last_answer: Option<Instant>,
    last_rank: Option<Instant>,
    /// Users and the ranks that they were told.
    grants: Vec<(u64, u64)>,
}

/// Ranks that are counted without a pause for more room.
const ROOM: usize = 1 << 22;

impl Tally {
    /// Nothing was heard.
    pub(crate) fn new() -> Self {
        Self { grants: Vec::with_capacity(ROOM), ..Self::default() }
    }

    /// A request is begun.
    pub(crate) fn ask(&mut self) {
        self.asked += 1;
    }

    /// It was answered.
    pub(crate) fn hear(&mut self, user: u64, response: &Response, latency: Duration, now: Instant) {
        self.latencies.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        *self.by_status.entry(response.status).or_default() += 1;
        self.last_answer = Some(now);
        match response.rank.filter(|_| response.status == 200) {
            Some(rank) => {
                self.told += 1;
                self.last_rank = Some(now);
                self.grants.push((user, rank));
            }
            None => self.refused += u64::from((400..500).contains(&response.status)),
        }
    }

    /// Its connection broke.
    pub(crate) fn lose(&mut self) {
        self.broken += 1;
    }

    /// Requests that were begun.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// The ranks that were told, as [`read_grants`] reads them.
    pub(crate) fn written_grants(&self) -> Vec<u8> {
        self.grants.iter().flat_map(|(user, rank)| [user.to_le_bytes(), rank.to_le_bytes()]).flatten().collect()
    }

    /// For whoever started it.
    pub(crate) fn report(self, begin: Instant, next_user: u64, cpu: Duration) -> LoadReport {
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at.saturating_duration_since(begin));
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let last_rank = self.last_rank.and_then(|at| SystemTime::now().checked_sub(at.elapsed()));
        let last_rank = last_rank.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        LoadReport {
            asked: self.asked,
            answered: self.by_status.values().sum(),
            told: self.told,
            refused: self.refused,
            by_status: self.by_status,
            broken: self.broken,
            next_user,
            seconds: since(self.last_answer).as_secs_f64(),
            p50_us: self.latencies.quantile_us(0.5),
            p99_us: self.latencies.quantile_us(0.99),
            p999_us: self.latencies.quantile_us(0.999),
            longest_us: self.latencies.longest_us(),
            cpu_us: micros(cpu),
            last_rank_s: since(self.last_rank).as_secs_f64(),
            last_rank_unix_us: micros(last_rank),
        }
    }
}

/// Users and ranks as [`Tally::written_grants`] wrote them.
pub(crate) fn read_grants(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    let (pairs, _) = bytes.as_chunks::<16>();
    pairs.iter().map(|pair| {
        let pair = u128::from_le_bytes(*pair);
        // The first eight bytes are the user.
        (pair as u64, (pair >> 64) as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, rank: Option<u64>) -> Response {
        Response { status, closes: false, rank, sold_out: status == 400 }
    }

    #[test]
    fn what_was_heard_adds_up() {
        let (mut tally, begin) = (Tally::default(), Instant::now());
        let answers = [
            response(200, Some(5)),
            response(400, None),
            response(503, None),
            response(200, Some(6)),
            response(200, None),
        ];
        for (user, answer) in (1..).zip(&answers) {
            tally.ask();
            tally.hear(user, answer, Duration::from_micros(user * 10), begin + Duration::from_secs(user));
        }
        tally.ask();
        tally.lose();
        tally.ask();
        assert_eq!(read_grants(&tally.written_grants()).collect::<Vec<_>>(), [(1, 5), (4, 6)]);
        let report = tally.report(begin, 8, Duration::from_millis(3));
        assert_eq!((report.asked, report.answered, report.told, report.refused, report.broken), (7, 5, 2, 1, 1));
        assert_eq!(report.errors(), 4, "one refused for now, one without a rank, one broken off, one never answered");
        assert_eq!((report.seconds, report.last_rank_s), (5.0, 4.0));
        assert_eq!((report.p50_us, report.longest_us, report.cpu_us), (30, 50, 3000));
        assert_eq!(report.by_status, BTreeMap::from([(200, 3), (400, 1), (503, 1)]));
    }
}
