//! How far each partition has been dealt with: the contiguous frontier that may be committed. Pure.
//!
//! Records are handed out in offset order and finish in any order. What may be committed is the offset after the last
//! record before which nothing is left. A partition that comes back after a revocation starts a new generation, and
//! whatever still happens to records of an older one is ignored: a commit below the group's offset would rewind it.

use std::collections::{BTreeMap, VecDeque};

use coupon_core::failpoints::{Safeguard, is_disabled};

/// A record that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    generation: u64,
}

#[derive(Debug)]
struct PartitionState {
    generation: u64,
    revoked: bool,
    /// Records handed out and not yet behind the frontier, in offset order: offset, and whether it is done.
    handed_out: VecDeque<(i64, bool)>,
    /// Records that wait in the queue.
    queued: usize,
    /// Records that are being worked on.
    in_hand: usize,
    /// The next offset to read if everything before it is done; `None` until something is.
    next: Option<i64>,
    /// What Kafka is known to have.
    committed: Option<i64>,
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Changes whenever it is assigned.
    pub generation: u64,
    /// The offset after the last record that was handed out; `None` before the first.
    pub next: Option<i64>,
    /// Records that wait or that somebody works on.
    pub unfinished: usize,
}

/// The frontiers of all assigned partitions.
#[derive(Debug, Default)]
pub struct Frontiers {
    partitions: BTreeMap<i32, PartitionState>,
    last_generation: u64,
}

impl Frontiers {
    /// A partition was assigned: it starts afresh.
    pub fn assign(&mut self, partition: i32) {
        self.last_generation += 1;
        let generation = self.last_generation;
        let fresh = PartitionState {
            generation,
            revoked: false,
            handed_out: VecDeque::new(),
            queued: 0,
            in_hand: 0,
            next: None,
            committed: None,
        };
        self.partitions.insert(partition, fresh);
    }

    /// A partition is being revoked: its queued records are to be dropped; those that are being worked on may still finish.
    pub fn revoke(&mut self, partition: i32) {
        if let Some(entry) = self.partitions.get_mut(&partition) {
            entry.revoked = true;
        }
    }

    /// A partition is gone: nothing of it can be committed any more.
    pub fn forget(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// Hands out a record. `None` when its partition is not ours.
    pub fn hand_out(&mut self, partition: i32, offset: i64) -> Option<Ticket> {
        let known = self.partitions.get(&partition).filter(|entry| !entry.revoked)?;
        // Offsets only fall when the log itself was cut or made anew: what was handed out before means nothing now.
        let last = known.handed_out.back().map(|(last, _)| *last).or(known.next.map(|next| next - 1));
        if last.is_some_and(|last| offset <= last) {
            self.assign(partition);
        }
        let entry = self.partitions.get_mut(&partition)?;
        entry.handed_out.push_back((offset, false));
        entry.queued += 1;
        if is_disabled(Safeguard::FrontierCommit) {
            // As a consumer with automatic commits does it: read is as good as done.
            entry.next = Some(offset + 1);
        }
        Some(Ticket { partition, offset, generation: entry.generation })
    }

    /// Work on a queued record begins. False when its partition is not ours any more: drop the record.
    pub fn begin(&mut self, ticket: Ticket) -> bool {
        let wanted = self.is_wanted(ticket);
        if let Some(entry) = self.current(ticket).filter(|_| wanted) {
            entry.queued = entry.queued.saturating_sub(1);
            entry.in_hand += 1;
        }
        wanted
    }

    /// Whether the record's partition is still ours.
    pub fn is_wanted(&self, ticket: Ticket) -> bool {
        self.partitions.get(&ticket.partition).is_some_and(|p| p.generation == ticket.generation && !p.revoked)
    }

    /// A record that was begun is stored, void or in the dead letter topic.
    pub fn complete(&mut self, ticket: Ticket) {
        let Some(entry) = self.current(ticket) else { return };
        entry.in_hand = entry.in_hand.saturating_sub(1);
        if let Ok(index) = entry.handed_out.binary_search_by_key(&ticket.offset, |(offset, _)| *offset) {
            entry.handed_out[index].1 = true;
        }
        while let Some((offset, true)) = entry.handed_out.front() {
            entry.next = Some(offset + 1);
            entry.handed_out.pop_front();
        }
    }

    /// All records before `next` were handed out, and what lies behind the last of them is none: the end of a transaction.
    pub fn pass_over(&mut self, partition: i32, next: i64) {
        let Some(entry) = self.partitions.get_mut(&partition).filter(|entry| !entry.revoked) else { return };
        match entry.handed_out.back() {
            Some((last, _)) if last + 1 < next => entry.handed_out.push_back((next - 1, true)),
            None if entry.next.is_none_or(|known| known < next) => entry.next = Some(next),
            _ => {}
        }
    }

    /// A record was dropped without being dealt with, `begun` or not: the frontier stays before it.
    pub fn release(&mut self, ticket: Ticket, begun: bool) {
        if let Some(entry) = self.current(ticket) {
            let count = if begun { &mut entry.in_hand } else { &mut entry.queued };
            *count = count.saturating_sub(1);
        }
    }

    /// Records of these partitions that somebody works on.
    pub fn in_hand(&self, wanted: impl Fn(i32) -> bool) -> usize {
        self.partitions.iter().filter(|(partition, _)| wanted(**partition)).map(|(_, entry)| entry.in_hand).sum()
    }

    /// Records that wait or that somebody works on.
    pub fn unfinished(&self) -> usize {
        self.partitions.values().map(|entry| entry.queued + entry.in_hand).sum()
    }

    /// Whether everything that was handed out is done.
    pub fn all_done(&self) -> bool {
        self.partitions.values().all(|entry| entry.handed_out.is_empty())
    }

    /// Next offset of each of these partitions, where Kafka does not have it yet.
    pub fn to_commit(&self, wanted: impl Fn(i32) -> bool) -> BTreeMap<i32, i64> {
        let moved =
            |entry: &PartitionState| entry.next.filter(|next| entry.committed.is_none_or(|known| known < *next));
        self.partitions
            .iter()
            .filter(|(partition, _)| wanted(**partition))
            .filter_map(|(partition, entry)| Some((*partition, moved(entry)?)))
            .collect()
    }

    /// Kafka has committed this next offset. False when the partition is not ours.
    pub fn confirm(&mut self, partition: i32, next: i64) -> bool {
        let Some(entry) = self.partitions.get_mut(&partition) else { return false };
        entry.committed = entry.committed.max(Some(next));
        true
    }

    /// Next offset of each partition in which something is done.
    pub fn next_offsets(&self) -> BTreeMap<i32, i64> {
        self.partitions.iter().filter_map(|(partition, entry)| Some((*partition, entry.next?))).collect()
    }

    /// The partitions that are ours.
    pub fn assigned(&self) -> Vec<i32> {
        self.partitions.iter().filter(|(_, entry)| !entry.revoked).map(|(partition, _)| *partition).collect()
    }

    /// Where each partition that is ours stands.
    pub fn standing(&self) -> BTreeMap<i32, Standing> {
        let at = |entry: &PartitionState| Standing {
            generation: entry.generation,
            next: entry.handed_out.back().map(|(last, _)| last + 1).or(entry.next),
            unfinished: entry.queued + entry.in_hand,
        };
        let ours = self.partitions.iter().filter(|(_, entry)| !entry.revoked);
        ours.map(|(partition, entry)| (*partition, at(entry))).collect()
    }

    fn current(&mut self, ticket: Ticket) -> Option<&mut PartitionState> {
        self.partitions.get_mut(&ticket.partition).filter(|entry| entry.generation == ticket.generation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn all(_: i32) -> bool {
        true
    }

    fn hand_out(frontiers: &mut Frontiers, offsets: impl IntoIterator<Item = i64>) -> Vec<Ticket> {
        let tickets: Vec<_> = offsets.into_iter().map(|offset| frontiers.hand_out(0, offset).unwrap()).collect();
        assert!(tickets.iter().all(|ticket| !frontiers.is_wanted(*ticket) || frontiers.begin(*ticket)));
        tickets
    }

    #[test]
    fn the_frontier_waits_for_the_first_gap() {
        let mut frontiers = Frontiers::default();
        frontiers.assign(0);
        // Offset 12 holds no record (a transaction marker).
        let tickets = hand_out(&mut frontiers, [10, 11, 13]);
        frontiers.complete(tickets[1]);
        assert!(frontiers.to_commit(all).is_empty(), "10 is not done");
        frontiers.complete(tickets[0]);
        assert_eq!(frontiers.to_commit(all), BTreeMap::from([(0, 12)]));
        frontiers.confirm(0, 12);
        assert!(frontiers.to_commit(all).is_empty(), "Kafka has it already");
        frontiers.complete(tickets[2]);
        assert_eq!(frontiers.to_commit(all), BTreeMap::from([(0, 14)]));
        assert_eq!((frontiers.in_hand(all), frontiers.unfinished()), (0, 0));
    }

    /// Wrong: what a stranger's transaction leaves at the end counts as lag for ever; or a record before it is passed over.
    #[test]
    fn offsets_without_a_record_are_passed_when_all_before_them_is_done() {
        let mut frontiers = Frontiers::default();
        frontiers.pass_over(0, 7);
        frontiers.assign(0);
        let tickets = hand_out(&mut frontiers, [10, 11]);
        // As far as the last record: nothing lies between.
        frontiers.pass_over(0, 12);
        frontiers.pass_over(0, 14);
        assert_eq!(frontiers.standing()[&0].next, Some(14));
        frontiers.complete(tickets[1]);
        assert!(frontiers.to_commit(all).is_empty(), "10 is not done");
        frontiers.complete(tickets[0]);
        assert_eq!(frontiers.to_commit(all), BTreeMap::from([(0, 14)]));
        assert!(frontiers.all_done());
        frontiers.pass_over(0, 15);
        frontiers.pass_over(0, 13);
        assert_eq!(frontiers.next_offsets(), BTreeMap::from([(0, 15)]), "it never goes back");
        let behind = hand_out(&mut frontiers, [15]);
        frontiers.complete(behind[0]);
        assert_eq!(frontiers.next_offsets(), BTreeMap::from([(0, 16)]));

        // Nothing was read but the end of a transaction.
        frontiers.assign(1);
        frontiers.pass_over(1, 3);
        assert_eq!(frontiers.to_commit(|partition| partition == 1), BTreeMap::from([(1, 3)]));
        frontiers.revoke(1);
        frontiers.pass_over(1, 9);
        assert_eq!(frontiers.next_offsets()[&1], 3, "it is somebody else's");
    }

    #[test]
    fn a_dropped_record_holds_the_frontier() {
        let mut frontiers = Frontiers::default();
        frontiers.assign(0);
        let tickets = hand_out(&mut frontiers, [0, 1]);
        frontiers.release(tickets[0], true);
        frontiers.complete(tickets[1]);
        assert!(frontiers.to_commit(all).is_empty());
        assert_eq!(frontiers.in_hand(all), 0);
    }

    #[test]
    fn work_of_an_earlier_assignment_moves_nothing() {
        let mut frontiers = Frontiers::default();
        frontiers.assign(0);
        let old = hand_out(&mut frontiers, [5]);
        frontiers.forget(0);
        assert!(!frontiers.is_wanted(old[0]));
        frontiers.assign(0);
        let new = hand_out(&mut frontiers, [90]);
        frontiers.complete(old[0]);
        assert!(frontiers.to_commit(all).is_empty(), "committing 6 would rewind the group");
        frontiers.complete(new[0]);
        assert_eq!(frontiers.to_commit(all), BTreeMap::from([(0, 91)]));
    }

    #[test]
    fn a_revoked_partition_finishes_what_is_in_hand_and_takes_nothing_new() {
        let mut frontiers = Frontiers::default();
        frontiers.assign(0);
        frontiers.assign(1);
        let tickets = hand_out(&mut frontiers, [0, 1]);
        let queued = frontiers.hand_out(0, 2).unwrap();
        frontiers.revoke(0);
        assert!(!frontiers.is_wanted(tickets[1]));
        assert!(!frontiers.begin(queued), "what was not begun is dropped");
        assert_eq!(frontiers.hand_out(0, 3), None);
        assert_eq!(frontiers.in_hand(|partition| partition == 0), 2);
        frontiers.complete(tickets[0]);
        frontiers.release(tickets[1], true);
        assert_eq!((frontiers.in_hand(|partition| partition == 0), frontiers.unfinished()), (0, 1));
        frontiers.release(queued, false);
        assert_eq!(frontiers.unfinished(), 0);
        assert_eq!(frontiers.to_commit(|partition| partition == 0), BTreeMap::from([(0, 1)]));
        assert_eq!(frontiers.assigned(), [1]);
    }

    #[test]
    fn a_log_that_starts_again_starts_a_new_frontier() {
        let mut frontiers = Frontiers::default();
        frontiers.assign(0);
        let old = hand_out(&mut frontiers, [100, 101]);
        let new = hand_out(&mut frontiers, [0]);
        frontiers.complete(old[0]);
        frontiers.complete(old[1]);
        assert!(frontiers.to_commit(all).is_empty());
        frontiers.complete(new[0]);
        assert_eq!(frontiers.to_commit(all), BTreeMap::from([(0, 1)]));
    }

    proptest! {
        /// If it were wrong, a crash would lose records (frontier too far) or never finish (not far enough).
        #[test]
        fn the_frontier_is_the_first_unfinished_record(
            gaps in proptest::collection::vec(1i64..4, 1..40),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let mut frontiers = Frontiers::default();
            frontiers.assign(0);
            let offsets: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let tickets = hand_out(&mut frontiers, offsets.iter().copied());
            let mut done = BTreeSet::new();
            for index in order {
                let index = index.index(tickets.len());
                if done.insert(index) {
                    frontiers.complete(tickets[index]);
                }
                let first_open = (0..tickets.len()).find(|i| !done.contains(i)).unwrap_or(tickets.len());
                let expected = first_open.checked_sub(1).map(|last| offsets[last] + 1);
                prop_assert_eq!(frontiers.next_offsets().get(&0).copied(), expected);
                prop_assert_eq!(frontiers.in_hand(all), tickets.len() - done.len());
            }
        }
    }
}
