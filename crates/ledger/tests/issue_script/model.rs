//! What the script should do, said again in Rust.

use std::collections::BTreeMap;

use coupon_core::identity::{RequestKey, UserId, member};
use coupon_ledger::redis::rebuild::Ledger;
use coupon_ledger::redis::{Answer, Batch, Grant, IssueRequest, Terms};

/// What Redis holds, besides the terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub issued: BTreeMap<String, u64>,
    pub requests: BTreeMap<String, String>,
    pub counts: BTreeMap<String, u64>,
    pub free: Vec<u64>,
    pub highest: u64,
    pub last_ms: i64,
}

pub(crate) struct Model {
    pub terms: Terms,
    pub contents: Contents,
}

impl Model {
    pub(crate) fn new(terms: Terms, ledger: &Ledger) -> Self {
        let mut contents = Contents {
            issued: BTreeMap::new(),
            requests: BTreeMap::new(),
            counts: BTreeMap::new(),
            free: ledger.free.clone(),
            highest: ledger.highest,
            last_ms: 0,
        };
        for winner in &ledger.winners {
            let member = member(winner.n, &winner.user);
            contents.issued.insert(member.clone(), winner.rank);
            contents.last_ms = contents.last_ms.max(winner.granted_ms);
            contents.requests.insert(member, format!("{}:{}", winner.granted_ms, winner.key));
            *contents.counts.entry(winner.user.as_str().to_owned()).or_default() += 1;
        }
        Self { terms, contents }
    }

    fn holds(&self, user: &UserId, n: u32) -> Option<Grant> {
        let member = member(n, user);
        let (ms, key) = self.contents.requests.get(&member)?.split_once(':')?;
        Some(Grant {
            rank: self.contents.issued[&member],
            n,
            issued_count: self.contents.issued.len() as u64,
            granted_ms: ms.parse().unwrap(),
            key: RequestKey::new(key).unwrap(),
        })
    }

    fn answer(&mut self, request: &IssueRequest, now_ms: i64) -> Answer {
        let limit = self.terms.limit;
        let held: Vec<Grant> = (1..=limit).filter_map(|n| self.holds(&request.user, n)).collect();
        let same = |grant: &&Grant| grant.key == request.key || (request.minted && limit == 1);
        if let Some(grant) = held.iter().find(same) {
            return Answer::Repeated(grant.clone());
        }
        let issued = self.contents.issued.len() as u64;
        if held.len() as u64 >= u64::from(limit) {
            Answer::UserLimit
        } else if now_ms < self.terms.start_ms {
            Answer::NotStarted
        } else if now_ms >= self.terms.end_ms {
            Answer::Ended
        } else if self.terms.suspended {
            Answer::Suspended
        } else if issued >= self.terms.total {
            Answer::SoldOut
        } else {
            let rank = if self.contents.free.is_empty() {
                self.contents.highest += 1;
                self.contents.highest
            } else {
                self.contents.free.remove(0)
            };
            let n = (1..=limit).find(|n| held.iter().all(|grant| grant.n != *n)).unwrap();
            let member = member(n, &request.user);
            self.contents.issued.insert(member.clone(), rank);
            self.contents.requests.insert(member, format!("{now_ms}:{}", request.key));
            *self.contents.counts.entry(request.user.as_str().to_owned()).or_default() += 1;
            self.contents.last_ms = now_ms;
            Answer::Granted(self.holds(&request.user, n).unwrap())
        }
    }

    /// What the script must answer, but for its clock, which is read from its answer.
    pub(crate) fn batch(&mut self, requests: &[IssueRequest], now_ms: i64) -> Batch {
        let answers = requests.iter().map(|request| self.answer(request, now_ms)).collect();
        Batch {
            now_ms,
            total: self.terms.total,
            limit: self.terms.limit,
            issued: self.contents.issued.len() as u64,
            highest: self.contents.highest,
            start_ms: self.terms.start_ms,
            end_ms: self.terms.end_ms,
            suspended: self.terms.suspended,
            answers,
        }
    }
}
