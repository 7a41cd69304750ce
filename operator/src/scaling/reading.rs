//! What Kafka says of a campaign's topic and consumer group at one moment, as the policies take it.

use std::collections::BTreeMap;

/// What Kafka says of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// Its first offset.
    pub start: i64,
    /// Its end.
    pub end: i64,
    /// What the group has committed; `None`: nothing yet, so it starts at the beginning.
    pub committed: Option<i64>,
}

impl PartitionOffsets {
    /// Where the group goes on. What the brokers have removed cannot be read any more.
    pub fn position(&self) -> i64 {
        self.committed.unwrap_or(self.start).max(self.start)
    }

    /// Records that wait.
    pub fn lag(&self) -> u64 {
        u64::try_from(self.end - self.position()).unwrap_or(0)
    }
}

/// The members of a consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// All of them have their partitions, and nobody is joining or leaving.
    pub stable: bool,
    /// How many hold partitions.
    pub holders: i32,
}

/// All partitions at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// When, in milliseconds of a clock that never jumps.
    pub at_ms: i64,
    /// By their ids.
    pub partitions: BTreeMap<i32, PartitionOffsets>,
    /// Who reads them; `None` when that could not be read, which is not "nobody".
    pub group: Option<Membership>,
}

impl Reading {
    /// Records that wait, in all partitions.
    pub fn lag(&self) -> u64 {
        self.partitions.values().map(PartitionOffsets::lag).sum()
    }

    /// How many of so many ready pods are at work; none while the group is sharing out partitions, or cannot be read. A pod is
    /// ready once it has joined, and may get its first partition only in the next rebalance.
    pub fn at_work(&self, ready: i32) -> i32 {
        match self.group {
            Some(Membership { stable: true, holders }) if usize::try_from(holders) == Ok(self.partitions.len()) => {
                ready
            }
            Some(Membership { stable: true, holders }) => holders.min(ready),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_what_can_still_be_read() {
        let lag = |start, end, committed| PartitionOffsets { start, end, committed }.lag();
        assert_eq!(lag(0, 10, Some(4)), 6);
        assert_eq!(lag(0, 10, None), 10, "a group that never committed starts at the beginning");
        assert_eq!(lag(7, 10, None), 3, "and not before what is there");
        assert_eq!(lag(7, 10, Some(2)), 3, "what was removed cannot be read");
        assert_eq!(lag(0, 10, Some(12)), 0, "the end was read before the commit");
    }

    #[test]
    fn pods_are_at_work_once_they_hold_partitions() {
        let partition = PartitionOffsets { start: 0, end: 0, committed: None };
        let at_work = |group, ready| {
            Reading { at_ms: 0, partitions: (0..4).map(|id| (id, partition)).collect(), group }.at_work(ready)
        };
        let group = |stable, holders| Some(Membership { stable, holders });
        assert_eq!(at_work(group(true, 3), 3), 3);
        assert_eq!(at_work(group(true, 2), 3), 2, "one is in the group without a partition");
        assert_eq!(at_work(group(true, 3), 2), 2, "one is in the group and not ready any more");
        assert_eq!(at_work(group(true, 4), 5), 5, "nobody waits for a partition that there is not");
        assert_eq!(at_work(group(false, 3), 3), 0, "partitions are shared out");
        assert_eq!(at_work(None, 3), 0, "what cannot be read is not taken for work");
    }
}
