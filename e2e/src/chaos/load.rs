//! Clients that ask until they get a decided answer, and a record of every answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::{sleep, sleep_until};

use crate::issuer_client::IssuerClient;

/// Requests at the same time: the machine is small.
const TOGETHER: usize = 64;
/// How long a client waits before it asks again.
const AGAIN: Duration = Duration::from_millis(250);

/// One answer that one user heard, or that nobody answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Who asked.
    pub user: String,
    /// When the request was sent, in milliseconds after the first user.
    pub sent_ms: u64,
    /// When the answer was heard.
    pub heard_ms: u64,
    /// HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The answer's code, `ISSUED` for a success.
    pub code: String,
    /// The rank, of a success.
    pub rank: Option<u64>,
}

impl Answer {
    /// Whether asking again cannot change it: neither silence nor "try again".
    pub fn is_decided(&self) -> bool {
        is_decided(self.status)
    }
}

fn is_decided(status: u16) -> bool {
    !matches!(status, 0 | 429 | 500..=599)
}

/// All clients of one sale.
#[derive(Clone)]
pub struct LoadGenerator {
    issuer: IssuerClient,
    begin: Instant,
    turns: Arc<Semaphore>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl LoadGenerator {
    /// Nobody has come yet; `begin` is when the first one will.
    pub fn new(issuer: IssuerClient, begin: Instant) -> Self {
        Self { issuer, begin, turns: Arc::new(Semaphore::new(TOGETHER)), answers: Arc::default() }
    }

    /// Everything that was heard so far, in the order in which it was heard.
    pub fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the first user comes.
    pub fn begin(&self) -> Instant {
        self.begin
    }

    /// Milliseconds since the first user.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// `users` people arrive evenly over `stretch`; each asks until the answer is decided, at most until `deadline`.
    pub async fn rush(&self, users: usize, stretch: Duration, deadline: Instant) {
        let names = (0..users).map(|number| format!("user-{number:05}")).collect();
        self.arrive(names, self.begin, stretch, deadline).await;
    }

    /// The same from `begin` on, and with these names.
    pub async fn arrive(&self, users: Vec<String>, begin: Instant, stretch: Duration, deadline: Instant) {
        let mut clients = tokio::task::JoinSet::new();
        let count = users.len().max(1);
        for (number, user) in users.into_iter().enumerate() {
            let arrives = begin + stretch.mul_f64(number as f64 / count as f64);
            let one = self.clone();
            clients.spawn(async move {
                sleep_until(arrives.into()).await;
                one.insist(&user, deadline).await;
            });
        }
        clients.join_all().await;
    }

    /// One user asks once.
    pub async fn ask_once(&self, user: &str) -> Answer {
        self.ask(user, &format!("wish-{user}")).await
    }

    /// One user asks until the answer is decided, at most until `deadline`; then the last answer is what it was.
    pub async fn insist(&self, user: &str, deadline: Instant) -> Option<Answer> {
        let key = format!("wish-{user}");
        let mut last = None;
        while Instant::now() < deadline {
            let answer = self.ask(user, &key).await;
            let decided = answer.is_decided();
            last = Some(answer);
            if decided {
                break;
            }
            sleep(AGAIN).await;
        }
        last
    }

    async fn ask(&self, user: &str, key: &str) -> Answer {
        let _turn = self.turns.acquire().await;
        let sent_ms = self.now_ms();
        let heard = self.issuer.ask(user, Some(key)).await;
        let answer = Answer {
            user: heard.user,
            sent_ms,
            heard_ms: self.now_ms(),
            status: heard.status,
            code: heard.code,
            rank: heard.rank,
        };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer.clone());
        answer
    }
}

/// From the fault at `fault_ms` until somebody heard a new rank in answer to a request that was sent after it; `None` if
/// nobody did.
pub fn time_to_issue_again(answers: &[Answer], fault_ms: u64) -> Option<Duration> {
    let mut known = std::collections::HashSet::new();
    let mut first = None;
    let mut in_order: Vec<&Answer> = answers.iter().filter(|answer| answer.rank.is_some()).collect();
    in_order.sort_by_key(|answer| answer.heard_ms);
    for answer in in_order {
        let new = known.insert(answer.rank);
        if new && answer.sent_ms >= fault_ms && first.is_none() {
            first = Some(Duration::from_millis(answer.heard_ms.saturating_sub(fault_ms)));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sent_ms: u64, heard_ms: u64, rank: Option<u64>) -> Answer {
        let status = if rank.is_some() { 200 } else { 503 };
        Answer { user: "u".to_owned(), sent_ms, heard_ms, status, code: String::new(), rank }
    }

    #[test]
    fn only_a_new_rank_of_a_later_request_counts_as_issuing_again() {
        let answers = [
            answer(0, 10, Some(1)),
            answer(90, 120, Some(2)),  // on its way when the fault came
            answer(110, 130, Some(1)), // asked again
            answer(110, 140, None),
            answer(200, 350, Some(3)),
            answer(210, 360, Some(4)),
        ];
        assert_eq!(time_to_issue_again(&answers, 100), Some(Duration::from_millis(250)));
        assert_eq!(time_to_issue_again(&answers, 1000), None);
    }

    #[test]
    fn silence_and_try_again_are_not_decided() {
        for status in [0, 429, 500, 502, 503, 504] {
            assert!(!is_decided(status), "{status}");
        }
        assert!([200, 400, 404].into_iter().all(is_decided));
    }
}
