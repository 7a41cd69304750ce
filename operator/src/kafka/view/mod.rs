//! What Kafka says of a campaign, read for many campaigns at once.
//!
//! [`reader`] gathers what passes want to know at about the same time and asks for all of it in a handful of requests.

pub(crate) mod drained;
pub(crate) mod reader;
mod silence;

use std::collections::BTreeMap;

use coupon_core::format::Newer;
use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use coupon_kafka_admin::{AdminError, Batch, ClusterState, ConfigEntry, Group, GroupState, TopicState};
use coupon_ledger::kafka::tail::Range;

use crate::kafka::topics::TopicView;
use crate::scaling::reading::{Membership, PartitionOffsets, Reading};

/// What Kafka has for a campaign.
#[derive(Debug, Clone)]
pub struct KafkaView {
    /// The topics.
    pub topic: TopicView,
    /// Records that are not stored yet; `None` when it could not be read, which is not zero.
    pub lag: Option<u64>,
    /// Where the log ends and how far the group is; `None` when either could not be read.
    pub offsets: Option<Offsets>,
    /// Why they could not be read, if they could not.
    pub unread: Option<AdminError>,
    /// Who consumes it; `None` when that was not asked for, or could not be read.
    pub group: Option<Membership>,
    /// Records in the dead-letter topic; `None` when it could not be read.
    pub dead_letters: Option<u64>,
    /// Ranks that dead letters hold and that are no rows; `None` when it could not be read.
    pub dead_ranks: Option<u64>,
    /// Those of them that nobody has given up: winners who wait for somebody to look after them.
    pub stranded: Option<u64>,
    /// Ranks that dead letters name for users for whom Redis does not hold them.
    pub contradicted: Option<u64>,
    /// Dead letters of ranks above the total.
    pub above_total: Option<u64>,
    /// Why none of these is known, if that is so though the topics could be asked about.
    pub dead_unread: Option<DeadUnread>,
}

/// Why it is not known which ranks dead letters hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadUnread {
    /// One of them can be read by a newer program only.
    Newer {
        /// Where it lies.
        at: Position,
        /// Its version.
        newer: Newer,
    },
    /// They, or what they are judged by, could not be read; in words.
    Failed(String),
}

/// Offsets of the topic of winners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets {
    /// First offset of each partition.
    pub starts: BTreeMap<i32, i64>,
    /// End of each partition.
    pub ends: BTreeMap<i32, i64>,
    /// What the group has committed; `None`: nothing yet.
    pub committed: BTreeMap<i32, Option<i64>>,
    /// Before these everything was found stored once; a partition that is missing: nothing is on record.
    pub drained: BTreeMap<i32, i64>,
}

impl Offsets {
    /// Where the group goes on in a partition: what was removed, or is on record as stored, need not be read.
    pub fn position(&self, partition: i32) -> i64 {
        let start = self.starts.get(&partition).copied().unwrap_or(0);
        self.passed(partition).unwrap_or(0).max(start)
    }

    /// Before what everything is known to be stored: by the group's commit, or by what is on record.
    fn passed(&self, partition: i32) -> Option<i64> {
        self.committed.get(&partition).copied().flatten().max(self.drained.get(&partition).copied())
    }

    /// Offsets on record which the group has forgotten.
    pub fn expired(&self) -> BTreeMap<i32, i64> {
        let forgotten = |id: &i32| self.committed.get(id).is_some_and(Option::is_none);
        self.drained.iter().filter(|(id, _)| forgotten(id)).map(|(id, offset)| (*id, *offset)).collect()
    }

    /// What is still to be read, by partition: from, to.
    pub fn unread(&self) -> Range {
        self.ends.iter().map(|(partition, end)| (*partition, (self.position(*partition), *end))).collect()
    }

    /// Records that wait.
    pub fn lag(&self) -> u64 {
        self.unread().values().map(|(from, to)| natural(to - from)).sum()
    }
}

impl KafkaView {
    /// As the policies of scaling take it; `None` while the lag is not known. `at_ms`: by a clock that never jumps.
    pub fn reading(&self, at_ms: i64) -> Option<Reading> {
        let offsets = self.offsets.as_ref()?;
        let partition = |(id, end): (&i32, &i64)| {
            let start = offsets.starts.get(id).copied().unwrap_or(0);
            (*id, PartitionOffsets { start, end: *end, committed: offsets.passed(*id) })
        };
        Some(Reading { at_ms, partitions: offsets.ends.iter().map(partition).collect(), group: self.group })
    }
}

/// A view, and the part of the dead-letter topic that is there; `None` when that could not be read.
#[derive(Debug, Clone)]
pub struct KafkaSnapshot {
    /// The view. Its `dead_ranks` are not read yet.
    pub view: KafkaView,
    /// First offset and end of each partition of dead letters.
    pub dead_span: Option<Range>,
}

/// What a group has committed, by partition.
type Committed = Result<BTreeMap<i32, Option<i64>>, AdminError>;

/// What Kafka answered about many campaigns.
struct KafkaAnswers {
    cluster: ClusterState,
    topics: Batch<String, TopicState>,
    configs: Batch<String, BTreeMap<String, ConfigEntry>>,
    starts: Batch<(String, i32), i64>,
    ends: Batch<(String, i32), i64>,
    /// By topic.
    committed: BTreeMap<String, Committed>,
    groups: Batch<String, Group>,
}

impl KafkaAnswers {
    fn topic(&self, name: &str) -> Result<TopicState, AdminError> {
        self.topics.get(name).cloned().unwrap_or(Ok(TopicState::Absent))
    }

    fn config(&self, name: &str) -> Result<BTreeMap<String, ConfigEntry>, AdminError> {
        self.configs.get(name).cloned().unwrap_or_else(|| Ok(BTreeMap::new()))
    }

    /// First offset and end of each partition of a topic.
    fn span(&self, name: &str, state: &TopicState) -> Option<Range> {
        let offset = |all: &Batch<(String, i32), i64>, partition: i32| {
            all.get(&(name.to_owned(), partition)).and_then(|each| each.as_ref().ok()).copied()
        };
        (0..partition_count(state)).map(|id| Some((id, (offset(&self.starts, id)?, offset(&self.ends, id)?)))).collect()
    }

    /// What kept a topic's offsets, or what its group has committed, from being read.
    fn unread(&self, name: &str) -> Option<AdminError> {
        let committed = self.committed.get(name).and_then(|each| each.as_ref().err());
        let mut failed = self.starts.iter().chain(&self.ends).filter(|((topic, _), _)| topic == name);
        committed.or_else(|| failed.find_map(|(_, each)| each.as_ref().err())).cloned()
    }

    /// What they say of one campaign.
    fn of(&self, campaign: &CampaignId) -> Result<KafkaSnapshot, AdminError> {
        let (name, dlt) = (campaign.topic(), campaign.dead_letter_topic());
        let (events, dead_letters) = (self.topic(&name)?, self.topic(&dlt)?);
        let (events_config, dead_letters_config) = (self.config(&name)?, self.config(&dlt)?);
        let (span, dead_span) = (self.span(&name, &events), self.span(&dlt, &dead_letters));
        let committed = self.committed.get(&name).and_then(|each| each.as_ref().ok()).cloned();
        let lag = span.as_ref().zip(committed.as_ref()).and_then(|(span, committed)| lag(span, committed));
        // What could not be read may hold anything.
        let used = |state: &TopicState, span: &Option<Range>| match state {
            TopicState::Absent => None,
            TopicState::Present(_) => Some(span.as_ref().is_none_or(|span| span.values().any(|(_, end)| *end != 0))),
        };
        let (used, dead_letters_used) = (used(&events, &span), used(&dead_letters, &dead_span));
        let offsets = span.zip(committed).map(|(span, committed)| Offsets {
            starts: span.iter().map(|(id, (start, _))| (*id, *start)).collect(),
            ends: span.iter().map(|(id, (_, end))| (*id, *end)).collect(),
            committed,
            drained: BTreeMap::new(),
        });
        let view = KafkaView {
            unread: self.unread(&name),
            topic: TopicView {
                cluster_id: self.cluster.cluster_id.clone(),
                brokers: self.cluster.brokers.len(),
                events,
                dead_letters,
                events_config,
                dead_letters_config,
                used,
                dead_letters_used,
            },
            lag,
            offsets,
            group: self.groups.get(&campaign.group()).and_then(|each| each.as_ref().ok()).map(membership),
            dead_letters: dead_span.as_ref().map(|span| span.values().map(|(from, to)| natural(to - from)).sum()),
            dead_ranks: None,
            stranded: None,
            contradicted: None,
            above_total: None,
            dead_unread: None,
        };
        Ok(KafkaSnapshot { view, dead_span })
    }
}

fn membership(group: &Group) -> Membership {
    let holders = group.members.iter().filter(|member| !member.assignment.is_empty()).count();
    Membership { stable: group.state == GroupState::Stable, holders: i32::try_from(holders).unwrap_or(i32::MAX) }
}

/// Records that wait. A group that has not committed yet starts at the beginning.
fn lag(span: &Range, committed: &BTreeMap<i32, Option<i64>>) -> Option<u64> {
    let each = |(id, (start, end)): (&i32, &(i64, i64))| {
        committed.get(id).map(|offset| natural(end - offset.unwrap_or(0).max(*start)))
    };
    span.iter().map(each).sum()
}

fn natural(records: i64) -> u64 {
    u64::try_from(records).unwrap_or(0)
}

fn partition_count(state: &TopicState) -> i32 {
    match state {
        TopicState::Present(topic) => i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        TopicState::Absent => 0,
    }
}

fn partitions(name: &str, state: &TopicState) -> Vec<(String, i32)> {
    (0..partition_count(state)).map(|partition| (name.to_owned(), partition)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Wrong: records that were removed, or that were stored before the commits expired, are waited for without end.
        #[test]
        fn a_position_is_never_below_what_is_gone_or_on_record(
            start in 0..20i64, length in 0..20i64, committed in proptest::option::of(0..50i64),
            drained in proptest::option::of(0..50i64),
        ) {
            let end = start + length;
            let offsets = Offsets {
                starts: BTreeMap::from([(0, start)]),
                ends: BTreeMap::from([(0, end)]),
                committed: BTreeMap::from([(0, committed)]),
                drained: drained.into_iter().map(|offset| (0, offset)).collect(),
            };
            let position = offsets.position(0);
            let known = [Some(start), committed, drained];
            proptest::prop_assert_eq!(Some(position), known.into_iter().flatten().max());
            proptest::prop_assert_eq!(offsets.lag() == 0, position >= end);
            proptest::prop_assert_eq!(offsets.lag(), u64::try_from((end - position).max(0)).unwrap());
        }
    }

    #[test]
    fn lag_counts_from_the_commit_or_the_first_record_and_is_unknown_with_a_part_of_it() {
        let span = BTreeMap::from([(0, (0, 10)), (1, (5, 9))]);
        let lag = |zero, one| lag(&span, &BTreeMap::from([(0, zero), (1, one)]));
        assert_eq!(lag(Some(4), Some(9)), Some(6));
        assert_eq!(lag(None, None), Some(14), "nothing committed: from the beginning");
        assert_eq!(lag(Some(12), Some(2)), Some(4), "the end was read first; removed records cannot be read");
        assert_eq!(super::lag(&span, &BTreeMap::from([(0, Some(4))])), None, "half a lag is no lag");
    }
}
