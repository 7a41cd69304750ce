//! Counts what was heard.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::histogram::Histogram;
use super::report::{LoadReport, PutOff};
use super::response::Response;

/// Who is told a rank within this is served as if nothing had been: issuers call later what waits longer.
const SOON: Duration = Duration::from_millis(250);
/// After the first rate, requests are counted by such pieces of time, by when they are due.
const PIECE: Duration = Duration::from_millis(100);
/// One in so many may be late, and it is as if nobody were.
const FEW: u64 = 100;

/// What was heard so far.
#[derive(Debug)]
pub(crate) struct Tally {
    /// When the first rate ends: what counts as in time is before.
    end: Instant,
    asked: u64,
    told: u64,
    refused: u64,
    broken: u64,
    by_status: BTreeMap<u16, u64>,
    latencies: Histogram,
    latencies_of_told: Histogram,
    latencies_of_put_off: Histogram,
    put_off: PutOff,
    sent_in_time: u64,
    told_in_time: u64,
    /// By [`PIECE`]: requests that were due after the end, and how many of them were not served [`SOON`].
    after: Vec<(u64, u64)>,
    last_answer: Option<Instant>,
    last_rank: Option<Instant>,
    /// Users and the ranks that they were told.
    grants: Vec<(u64, u64)>,
}

/// An hour of pieces: what is due later counts as then.
const MOST_PIECES: usize = 36_000;
/// Ranks that are counted without a pause for more room.
const ROOM: usize = 1 << 22;

impl Tally {
    /// Nothing was heard. `end`: when the first rate ends.
    pub(crate) fn new(end: Instant) -> Self {
        Self {
            end,
            asked: 0,
            told: 0,
            refused: 0,
            broken: 0,
            by_status: BTreeMap::new(),
            latencies: Histogram::default(),
            latencies_of_told: Histogram::default(),
            latencies_of_put_off: Histogram::default(),
            put_off: PutOff::default(),
            sent_in_time: 0,
            told_in_time: 0,
            after: Vec::new(),
            last_answer: None,
            last_rank: None,
            grants: Vec::with_capacity(ROOM),
        }
    }

    /// A request is begun.
    pub(crate) fn ask(&mut self, now: Instant) {
        self.asked += 1;
        self.sent_in_time += u64::from(now < self.end);
    }

    /// It was answered. `due`: when it was to be sent.
    pub(crate) fn hear(&mut self, user: u64, response: &Response, due: Instant, now: Instant) {
        let latency = now.saturating_duration_since(due);
        self.latencies.record(micros(latency));
        *self.by_status.entry(response.status).or_default() += 1;
        self.last_answer = Some(now);
        match response.rank.filter(|_| response.status == 200) {
            Some(rank) => {
                self.told += 1;
                self.told_in_time += u64::from(now < self.end);
                self.latencies_of_told.record(micros(latency));
                self.last_rank = Some(now);
                self.grants.push((user, rank));
                self.comes_after(due, latency <= SOON);
            }
            None => {
                self.refused += u64::from((400..500).contains(&response.status));
                if response.status >= 500 {
                    self.put_off(response, latency);
                }
                self.comes_after(due, false);
            }
        }
    }

    fn put_off(&mut self, response: &Response, latency: Duration) {
        self.put_off.answers += 1;
        self.latencies_of_put_off.record(micros(latency));
        if let Some(seconds) = response.retry_after {
            *self.put_off.by_retry_after.entry(seconds).or_default() += 1;
        }
    }

    fn comes_after(&mut self, due: Instant, soon: bool) {
        let Some(late) = due.checked_duration_since(self.end) else { return };
        let piece = usize::try_from(late.as_millis() / PIECE.as_millis()).unwrap_or(usize::MAX).min(MOST_PIECES);
        if self.after.len() <= piece {
            self.after.resize(piece + 1, (0, 0));
        }
        let (all, bad) = &mut self.after[piece];
        (*all, *bad) = (*all + 1, *bad + u64::from(!soon));
    }

    /// From the end of the first rate to the last piece in which more than a [`FEW`] were not served.
    fn recovered(&self) -> Duration {
        let last = self.after.iter().rposition(|(all, bad)| bad * FEW > *all);
        last.map_or(Duration::ZERO, |piece| PIECE.saturating_mul(u32::try_from(piece + 1).unwrap_or(u32::MAX)))
    }

    /// Its connection broke.
    pub(crate) fn lose(&mut self, due: Instant) {
        self.broken += 1;
        self.comes_after(due, false);
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
        let recovered = self.recovered();
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at.saturating_duration_since(begin));
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
            told_p99_us: self.latencies_of_told.quantile_us(0.99),
            sent_in_time: self.sent_in_time,
            told_in_time: self.told_in_time,
            put_off: PutOff {
                p99_us: self.latencies_of_put_off.quantile_us(0.99),
                longest_us: self.latencies_of_put_off.longest_us(),
                ..self.put_off
            },
            recovered_us: micros(recovered),
            cpu_us: micros(cpu),
            last_rank_s: since(self.last_rank).as_secs_f64(),
            last_rank_unix_us: micros(last_rank),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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
        Response { status, closes: false, rank, sold_out: status == 400, retry_after: (status == 503).then_some(2) }
    }

    #[test]
    fn what_was_heard_adds_up() {
        let begin = Instant::now();
        let mut tally = Tally::new(begin + Duration::from_millis(2500));
        let answers = [
            response(200, Some(5)),
            response(400, None),
            response(503, None),
            response(200, Some(6)),
            response(200, None),
        ];
        for (user, answer) in (1..).zip(&answers) {
            let now = begin + Duration::from_secs(user);
            tally.ask(now);
            tally.hear(user, answer, now - Duration::from_micros(user * 10), now);
        }
        tally.ask(begin);
        tally.lose(begin);
        tally.ask(begin);
        assert_eq!(read_grants(&tally.written_grants()).collect::<Vec<_>>(), [(1, 5), (4, 6)]);
        let report = tally.report(begin, 8, Duration::from_millis(3));
        assert_eq!((report.asked, report.answered, report.told, report.refused, report.broken), (7, 5, 2, 1, 1));
        assert_eq!(report.errors(), 4, "one refused for now, one without a rank, one broken off, one never answered");
        assert_eq!((report.seconds, report.last_rank_s), (5.0, 4.0));
        assert_eq!((report.p50_us, report.longest_us, report.cpu_us), (30, 50, 3000));
        assert_eq!(report.by_status, BTreeMap::from([(200, 3), (400, 1), (503, 1)]));
        assert_eq!((report.sent_in_time, report.told_in_time, report.told_p99_us), (4, 1, 40));
        let put_off = &report.put_off;
        assert_eq!((put_off.answers, put_off.p99_us, put_off.longest_us), (1, 30, 30));
        assert_eq!(put_off.by_retry_after, BTreeMap::from([(2, 1)]));
    }

    /// Wrong: who was refused while there was too much, or is served a moment later, counts as not served after it.
    #[test]
    fn it_has_recovered_behind_the_last_piece_of_time_in_which_some_were_not_served() {
        let begin = Instant::now();
        let (end, at) = (begin + Duration::from_secs(5), |ms| begin + Duration::from_millis(ms));
        let recovered = |answers: &[(Response, u64, u64)]| {
            let mut tally = Tally::new(end);
            answers.iter().for_each(|(answer, due, now)| tally.hear(1, answer, at(*due), at(*now)));
            tally.report(begin, 2, Duration::ZERO).recovered_us
        };
        let (told, later) = (response(200, Some(1)), response(503, None));
        assert_eq!(recovered(&[(later, 4999, 5100), (told, 4900, 5900), (told, 5000, 5250)]), 0);
        assert_eq!(recovered(&[(told, 5000, 5251), (later, 5310, 5311), (told, 5400, 5450)]), 400_000);
        let mut one_of_101 = vec![(told, 5700, 5701); 100];
        one_of_101.push((later, 5700, 5701));
        assert_eq!(recovered(&one_of_101), 0);
        let mut broken = Tally::new(end);
        broken.lose(at(5700));
        assert_eq!(broken.report(begin, 2, Duration::ZERO).recovered_us, 800_000);
    }
}
