//! Holds every answer that was given against what Redis, Kafka and SQL say in the end. Pure: it can be shown to fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use strum::Display;

use super::ledger::Ledger;
use super::load::Answer;

/// Which sentence of the promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Breach {
    /// Somebody heard "issued", and is no row with that rank.
    Lost,
    /// More than N, a rank outside 1..=N, or one rank for two people.
    Oversold,
    /// One user with two coupons, or with two ranks.
    Duplicates,
    /// A record in the dead-letter topic: no record here is bad, only systems were away.
    DeadLetteredByOutage,
    /// Fewer than N rows, though people were still asking; or Redis holds a winner who is no row.
    Short,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// Which sentence.
    pub breach: Breach,
    /// What exactly.
    pub detail: String,
}

/// All that is wrong with a sale of `total` coupons, one each. Empty: the promise was kept.
pub fn check(total: u64, answers: &[Answer], ledger: &Ledger) -> Vec<Violation> {
    let mut found = BTreeSet::new();
    let mut add = |breach: Breach, detail: String| {
        found.insert(Violation { breach, detail });
    };
    let told: BTreeSet<(u64, &str)> =
        answers.iter().filter_map(|answer| Some((answer.rank?, answer.user.as_str()))).collect();
    let rows: BTreeSet<(u64, &str)> = pairs(&ledger.rows).collect();

    for (rank, user) in told.difference(&rows) {
        let instead: Vec<_> = rows.iter().filter(|row| row.0 == *rank || row.1 == *user).collect();
        add(Breach::Lost, format!("{user} heard rank {rank}; the rows say {instead:?}"));
    }

    if ledger.rows.len() as u64 > total {
        add(Breach::Oversold, format!("{} rows for {total} coupons", ledger.rows.len()));
    }
    for (rank, user) in told.iter().chain(&rows).filter(|(rank, _)| *rank == 0 || *rank > total) {
        add(Breach::Oversold, format!("{user} has rank {rank} of {total}"));
    }
    repeated("stored for", pairs(&ledger.rows), |detail| add(Breach::Oversold, detail));
    repeated("told to", told.iter().copied(), |detail| add(Breach::Oversold, detail));
    repeated("given by Redis to", pairs(&ledger.members), |detail| add(Breach::Oversold, detail));
    // One rank, two users: one in Redis, another in SQL. The next answer would be wrong.
    let stored_rank: HashMap<u64, &str> = rows.iter().copied().collect();
    for (rank, user) in pairs(&ledger.members) {
        match stored_rank.get(&rank) {
            Some(stored) if *stored != user => {
                add(Breach::Oversold, format!("rank {rank} is {stored}'s in SQL and {user}'s in Redis"));
            }
            Some(_) => {}
            None => add(Breach::Short, format!("{user} holds rank {rank} in Redis and is no row")),
        }
    }

    let flipped = |(rank, user)| (user, rank);
    repeated_users("is stored with ranks", pairs(&ledger.rows).map(flipped), |d| add(Breach::Duplicates, d));
    repeated_users("heard ranks", told.iter().copied().map(flipped), |d| add(Breach::Duplicates, d));
    repeated_users("has ranks in Redis", pairs(&ledger.members).map(flipped), |d| add(Breach::Duplicates, d));

    if ledger.dead_letters > 0 {
        let dead = ledger.dead_letters;
        add(Breach::DeadLetteredByOutage, format!("{dead} records in the dead-letter topic"));
    }
    if (ledger.rows.len() as u64) < total {
        add(Breach::Short, format!("{} rows for {total} coupons, with people still asking", ledger.rows.len()));
    }
    found.into_iter().collect()
}

fn pairs(all: &[(u64, String)]) -> impl Iterator<Item = (u64, &str)> {
    all.iter().map(|(rank, user)| (*rank, user.as_str()))
}

fn repeated<'a>(what: &str, all: impl Iterator<Item = (u64, &'a str)>, mut add: impl FnMut(String)) {
    let mut holders: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (rank, user) in all {
        holders.entry(rank).or_default().push(user);
    }
    for (rank, users) in holders.into_iter().filter(|(_, users)| users.len() > 1) {
        add(format!("rank {rank} is {what} {users:?}"));
    }
}

fn repeated_users<'a>(what: &str, all: impl Iterator<Item = (&'a str, u64)>, mut add: impl FnMut(String)) {
    let mut held: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (user, rank) in all {
        held.entry(user).or_default().push(rank);
    }
    for (user, ranks) in held.into_iter().filter(|(_, ranks)| ranks.len() > 1) {
        add(format!("{user} {what} {ranks:?}"));
    }
}

/// How many violations of a kind.
pub fn count(violations: &[Violation], breach: Breach) -> usize {
    violations.iter().filter(|each| each.breach == breach).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: u64 = 3;

    fn answer(user: &str, rank: u64) -> Answer {
        let (status, code) = (200, "ISSUED".to_owned());
        Answer { user: user.to_owned(), sent_ms: 0, heard_ms: 1, status, code, rank: Some(rank) }
    }

    fn list(all: &[(u64, &str)]) -> Vec<(u64, String)> {
        all.iter().map(|(rank, user)| (*rank, (*user).to_owned())).collect()
    }

    /// Three winners, all told (the third twice), all stored.
    fn good() -> (Vec<Answer>, Ledger) {
        let winners = [(1, "a"), (2, "b"), (3, "c")];
        let answers = vec![answer("a", 1), answer("b", 2), answer("c", 3), answer("c", 3)];
        let ledger = Ledger { rows: list(&winners), members: list(&winners), records: Vec::new(), dead_letters: 0 };
        (answers, ledger)
    }

    fn breaches(change: impl FnOnce(&mut Vec<Answer>, &mut Ledger)) -> Vec<Breach> {
        let (mut answers, mut ledger) = good();
        change(&mut answers, &mut ledger);
        let mut found: Vec<Breach> = check(N, &answers, &ledger).into_iter().map(|each| each.breach).collect();
        found.dedup();
        found
    }

    #[test]
    fn a_good_sale_is_good() {
        assert_eq!(breaches(|_, _| {}), []);
        // A winner who heard nothing is no violation, and neither is a no.
        assert_eq!(breaches(|answers, _| answers.truncate(1)), []);
    }

    #[test]
    fn every_breach_is_found() {
        type Change = fn(&mut Vec<Answer>, &mut Ledger);
        use Breach::{DeadLetteredByOutage, Duplicates, Lost, Oversold, Short};
        let cases: [(&str, Change, &[Breach]); 12] = [
            ("a told winner is no row", |_, l| l.rows = list(&[(1, "a"), (2, "b")]), &[Lost, Short]),
            ("a told winner is a row with another rank", |a, _| a.push(answer("d", 1)), &[Lost, Oversold]),
            ("the rank went to somebody else", |_, l| l.rows[0].1 = "d".to_owned(), &[Lost, Oversold]),
            ("a row too many", |_, l| l.rows.push((4, "d".to_owned())), &[Oversold]),
            ("a rank too high was told", |a, _| a.push(answer("d", 4)), &[Lost, Oversold]),
            ("rank 0", |a, _| a[0].rank = Some(0), &[Lost, Oversold]),
            ("a rank is stored twice", |_, l| l.rows.push((3, "d".to_owned())), &[Oversold]),
            ("Redis and SQL disagree", |_, l| l.members[1].1 = "d".to_owned(), &[Oversold]),
            ("a user heard two ranks", |a, _| a.push(answer("a", 2)), &[Lost, Oversold, Duplicates]),
            (
                "a user has two rows",
                |a, l| {
                    a.truncate(2);
                    l.rows[2].1 = "a".to_owned();
                    l.members[2].1 = "a".to_owned();
                },
                &[Duplicates],
            ),
            ("a dead letter", |_, l| l.dead_letters = 1, &[DeadLetteredByOutage]),
            (
                "Redis holds a winner who is no row",
                |a, l| {
                    a.truncate(2);
                    l.rows.truncate(2);
                },
                &[Short],
            ),
        ];
        for (what, change, expected) in cases {
            assert_eq!(breaches(change), expected, "{what}");
        }
    }

    #[test]
    fn each_violation_is_counted_once() {
        let (mut answers, ledger) = good();
        answers.extend([answer("d", 4), answer("d", 4)]);
        let found = check(N, &answers, &ledger);
        assert_eq!(count(&found, Breach::Lost), 1, "one person lost one coupon, however often they heard of it");
    }
}
