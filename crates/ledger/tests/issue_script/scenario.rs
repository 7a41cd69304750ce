//! Random ledgers, terms and steps.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use coupon_core::identity::{RequestKey, UserId};
use coupon_ledger::redis::rebuild::{Ledger, LedgerWinner};
use proptest::prelude::*;

/// Few, so that they meet often; some look like parts of what Redis holds.
pub(crate) const USERS: [&str; 5] = ["a", "1:a", "b:c", "\u{20ac}", "d e"];

pub(crate) const KEYS: [&str; 4] = ["k", "1:k", "12:", "\u{fc} x"];
const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    Before,
    Open,
    After,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// User and key, by number; no key means that one is minted.
    Ask(Vec<(usize, Option<usize>)>),
    /// The last batch once more.
    Replay,
    /// Other terms: more coupons, another window, suspended or not.
    Change { more: u64, when: When, suspended: bool },
    /// A caller of another epoch.
    OtherEpoch,
    /// A caller that has seen a higher rank.
    Behind,
    /// Another history.
    HistoryChanged,
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) limit: u32,
    /// Ranks above the highest that is held.
    pub(crate) beyond: u64,
    /// Coupons above the highest rank ever given.
    pub(crate) spare: u64,
    /// For each user and n: whether it is held, where in the order, with which key.
    pub(crate) held: Vec<(bool, u8, usize)>,
    /// For each rank that could be held: whether it is skipped, and so free.
    pub(crate) gaps: Vec<bool>,
    pub(crate) when: When,
    pub(crate) suspended: bool,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn when() -> impl Strategy<Value = When> {
    prop_oneof![6 => Just(When::Open), 1 => Just(When::Before), 1 => Just(When::After)]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let request = (0..USERS.len(), proptest::option::weighted(0.6, 0..KEYS.len()));
    prop_oneof![
        8 => proptest::collection::vec(request, 1..12).prop_map(Step::Ask),
        2 => Just(Step::Replay),
        2 => (0u64..3, when(), proptest::bool::weighted(0.2))
            .prop_map(|(more, when, suspended)| Step::Change { more, when, suspended }),
        1 => Just(Step::OtherEpoch),
        1 => Just(Step::Behind),
        1 => Just(Step::HistoryChanged),
    ]
}

pub(crate) fn scenario() -> impl Strategy<Value = Scenario> {
    let most = USERS.len() * 3;
    let held = proptest::collection::vec((proptest::bool::weighted(0.3), any::<u8>(), 0..KEYS.len()), most);
    let gaps = proptest::collection::vec(proptest::bool::weighted(0.3), 2 * most);
    let steps = proptest::collection::vec(step(), 1..8);
    (1u32..=3, 0u64..3, 0u64..8, held, gaps, when(), proptest::bool::weighted(0.1), steps).prop_map(
        |(limit, beyond, spare, held, gaps, when, suspended, steps)| Scenario {
            limit,
            beyond,
            spare,
            held,
            gaps,
            when,
            suspended,
            steps,
        },
    )
}

pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub(crate) fn window(when: When) -> (i64, i64) {
    let now = now_ms();
    match when {
        When::Before => (now + HOUR_MS, now + 2 * HOUR_MS),
        When::Open => (now - HOUR_MS, now + HOUR_MS),
        When::After => (now - 2 * HOUR_MS, now - HOUR_MS),
    }
}

/// The ledger to begin with: winners with gaps between their ranks, and users who lack a lower n than one they hold.
pub(crate) fn ledger(scenario: &Scenario) -> Ledger {
    let mut places: Vec<(u8, usize, u32, usize)> = Vec::new();
    for (index, (held, order, key)) in scenario.held.iter().enumerate() {
        let n = u32::try_from(index / USERS.len()).unwrap() + 1;
        if *held && n <= scenario.limit {
            places.push((*order, index % USERS.len(), n, *key));
        }
    }
    places.sort_unstable();
    let mut ranks = (1u64..).zip(&scenario.gaps).filter(|(_, gap)| !**gap).map(|(rank, _)| rank);
    // A user's coupons have keys of their own: a request wins once.
    let mut used: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut winners = Vec::new();
    for (_, user, n, key) in places {
        let Some(rank) = ranks.next() else { break };
        let keys = used.entry(user).or_default();
        let key = (0..KEYS.len()).map(|shift| (key + shift) % KEYS.len()).find(|key| !keys.contains(key)).unwrap();
        keys.push(key);
        winners.push(LedgerWinner {
            rank,
            n,
            user: UserId::new(USERS[user]).unwrap(),
            granted_ms: 1_000 + i64::try_from(rank).unwrap(),
            key: RequestKey::new(KEYS[key]).unwrap(),
        });
    }
    let highest = winners.iter().map(|winner| winner.rank).max().unwrap_or(0) + scenario.beyond;
    let free = (1..=highest).filter(|rank| winners.iter().all(|winner| winner.rank != *rank)).collect();
    Ledger { winners, free, highest }
}
