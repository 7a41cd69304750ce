//! Whether what users heard fits together, and fits what Redis gave. Pure.

use std::collections::HashMap;

/// Ranks that users were told.
#[derive(Debug)]
pub(crate) struct Told {
    total: u64,
    /// By rank, from 1: the user's number and one more; 0 is nobody.
    users: Vec<u64>,
    /// By user: only those who were told more than one are looked for, so this holds the first.
    ranks: HashMap<u64, u64>,
    winners: u64,
    outside: u64,
    shared: u64,
    changed: u64,
}

impl Told {
    /// Nobody has heard anything of this campaign.
    pub(crate) fn of(total: u64) -> Self {
        Self { total, users: vec![0], ranks: HashMap::new(), winners: 0, outside: 0, shared: 0, changed: 0 }
    }

    /// A user was told a rank.
    pub(crate) fn hear(&mut self, user: u64, rank: u64) {
        if rank == 0 || rank > self.total {
            self.outside += 1;
            return;
        }
        if *self.ranks.entry(user).or_insert(rank) != rank {
            self.changed += 1;
        }
        let place = usize::try_from(rank).unwrap_or(usize::MAX);
        if place >= self.users.len() {
            self.users.resize(place + 1, 0);
        }
        match self.users[place] {
            0 => {
                self.users[place] = user + 1;
                self.winners += 1;
            }
            holder if holder != user + 1 => self.shared += 1,
            _ => {}
        }
    }

    /// Users who were told a rank.
    pub(crate) fn winners(&self) -> u64 {
        self.winners
    }

    /// What is wrong with it; `issued`: what Redis has given, if there is one; `unheard`: requests whose end nobody heard, each of
    /// which may have got a rank.
    pub(crate) fn faults(&self, issued: Option<u64>, unheard: u64) -> Vec<String> {
        let (total, winners) = (self.total, self.winners);
        let mut faults = Vec::new();
        let mut fault = |is_one: bool, what: String| faults.extend(is_one.then_some(what));
        fault(self.outside > 0, format!("{} ranks were told that are not in 1..{total}", self.outside));
        fault(self.shared > 0, format!("{} users were told a rank of somebody else's", self.shared));
        fault(self.changed > 0, format!("{} times a user was told another rank than before", self.changed));
        if let Some(issued) = issued {
            fault(issued > total, format!("Redis gave {issued} ranks, and there are {total}"));
            let told = format!(
                "Redis gave {issued} ranks, users were told {winners}, and {unheard} requests have no known end"
            );
            fault(issued < winners || issued > winners + unheard, told);
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(total: u64, all: &[(u64, u64)]) -> Told {
        let mut told = Told::of(total);
        all.iter().for_each(|(user, rank)| told.hear(*user, *rank));
        told
    }

    #[test]
    fn each_rank_is_one_users_and_each_user_has_one() {
        let exact = told(3, &[(0, 2), (7, 1), (7, 1), (8, 3)]);
        assert_eq!((exact.winners(), exact.faults(Some(3), 0)), (3, Vec::new()));
        for (all, fault) in [
            (&[(1, 0)][..], "not in 1..3"),
            (&[(1, 4)], "not in 1..3"),
            (&[(1, 2), (2, 2)], "somebody else's"),
            (&[(1, 2), (1, 3)], "another rank"),
        ] {
            let faults = told(3, all).faults(None, 0);
            assert!(faults.iter().any(|words| words.contains(fault)), "{all:?}: {faults:?}");
        }
    }

    /// Wrong: a coupon that somebody may hold is missed, or one that nobody was told of is taken for a fault though its user heard nothing.
    #[test]
    fn what_redis_gave_is_what_was_told_or_may_have_been() {
        let two = told(3, &[(0, 1), (1, 2)]);
        assert!(two.faults(Some(2), 0).is_empty() && two.faults(Some(3), 1).is_empty());
        for (issued, unheard) in [(1, 0), (3, 0), (1, 5), (4, 5)] {
            assert!(!two.faults(Some(issued), unheard).is_empty(), "{issued} {unheard}");
        }
    }
}
