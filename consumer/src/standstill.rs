//! Whether the reader stands still although records wait, since when and why. Pure. What is done about it: [`crate::course`].
//!
//! A Kafka client can stop reading without a word: librdkafka leaves a partition assigned and never fetched when the group's
//! coordinator moved at the wrong moment (confluentinc/librdkafka#5586), and polls go on, empty, until the process is started
//! anew. An empty poll alone proves nothing, so the [`crate::witness`] says what waits. Nothing is held against the reader while
//! the writer has its records in hand, while it is paused, while fetched records of others queue before its own, while the group
//! shares out partitions, or while the witness knows nothing: time counts only between two checks that both saw records wait at the same place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

/// How long what is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long records may wait in a partition of ours before the reader stands still. What passes by itself passes sooner: a
    /// broker that hangs is given up after 10 s (`socket.timeout.ms`), who leads instead is known 10 s later
    /// (`topic.metadata.refresh.interval.ms`), and a member that died is out of the group after 10 s (its session).
    pub still: Duration,
    /// How long a rebalance may last. The slowest that ends by itself: a member whose poll thread hangs is out after
    /// [`crate::status::POLL_SILENCE`], and the others may begin once more.
    pub rebalance: Duration,
    /// Time between two checks.
    pub check_interval: Duration,
    /// Fresh clients in vain, one after the other, before the process ends; and replaced ones that may hang in their end.
    pub replacements: u32,
    /// How long a campaign's total may stay below ranks of its records: the operator puts a row that was put back to before a
    /// raise right within a minute, and is itself replaced within another.
    pub above_total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            still: Duration::from_secs(30),
            rebalance: Duration::from_secs(120),
            check_interval: Duration::from_secs(5),
            replacements: 3,
            above_total: Duration::from_secs(120),
        }
    }
}

/// What the reader says of a partition that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Changes whenever the partition is assigned.
    pub generation: u64,
    /// Next offset to read; `None` before the first record.
    pub next: Option<i64>,
    /// Records of it are being dealt with: whatever waits behind them, waits for the writer.
    pub in_hand: bool,
    /// Nobody wants to read it now, because of the database or the dead letter topic.
    pub paused: bool,
}

impl Held {
    /// Whether it was read since, or is about to be stored: reading works.
    fn is_read(&self, before: Option<&Self>) -> bool {
        let moved = |before: &Self| before.generation == self.generation && before.next != self.next;
        self.in_hand || before.is_some_and(moved)
    }
}

/// What the reader says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// What it holds.
    pub held: BTreeMap<i32, Held>,
    /// Its group shares out partitions, as far as it knows.
    pub unsettled: bool,
    /// How often it had taken all that was fetched. As long as this does not grow, records of a partition may be fetched and
    /// queue behind those of others.
    pub drained: u64,
}

/// What the witness says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Log {
    /// First offset.
    pub start: i64,
    /// The offset that the next record will get.
    pub end: i64,
    /// Where the group goes on; `None`: at the beginning.
    pub committed: Option<i64>,
}

impl Log {
    /// Where a reader goes on that has `read` up to some offset, or nothing yet.
    fn next(&self, read: Option<i64>) -> i64 {
        read.or(self.committed).unwrap_or(self.start).max(self.start)
    }

    fn waiting(&self, next: i64) -> u64 {
        u64::try_from(self.end - next).unwrap_or(0)
    }
}

/// What the witness says of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupView {
    /// Nobody is in it, and nobody is joining.
    pub is_empty: bool,
    /// Partitions that no member holds.
    pub nobodys: BTreeSet<i32>,
}

/// What the witness knows. What could not be read is left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// Of the partitions asked for; or, if nothing is held, of those that nobody holds.
    pub logs: BTreeMap<i32, Log>,
    /// Asked for when nothing is held.
    pub group: Option<GroupView>,
}

/// What to ask the witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// Nothing: all that is held moves, or is somebody else's turn.
    Nothing,
    /// These partitions, which did not move since the last check. `positions`: where the group is in them, too.
    Partitions { quiet: BTreeSet<i32>, positions: bool },
    /// The group, and the partitions that nobody in it holds: nothing is held here.
    Group,
}

/// Why the reader stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandstillCause {
    /// A partition of ours is not read.
    Unread { partition: i32, next: i64, waiting: u64 },
    /// The group has no members at all.
    OutOfGroup { waiting: u64 },
    /// Partitions are never shared out.
    Unshared { waiting: u64 },
}

impl StandstillCause {
    /// All names.
    pub(crate) const NAMES: [&str; 3] = ["not_read", "not_in_group", "not_shared_out"];

    /// A stable name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unread { .. } => Self::NAMES[0],
            Self::OutOfGroup { .. } => Self::NAMES[1],
            Self::Unshared { .. } => Self::NAMES[2],
        }
    }
}

/// The reader stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standstill {
    pub cause: StandstillCause,
    /// Since records were first seen to wait.
    pub lasted: Duration,
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lasted.as_secs();
        match self.cause {
            StandstillCause::Unread { partition, next, waiting } => {
                write!(
                    f,
                    "partition {partition} was not read for {seconds} s: {waiting} records wait from offset {next} on"
                )
            }
            StandstillCause::OutOfGroup { waiting } => {
                write!(f, "the consumer group has had no member for {seconds} s: {waiting} records wait for one")
            }
            StandstillCause::Unshared { waiting } => {
                write!(f, "the consumer group did not share out its partitions for {seconds} s: {waiting} records wait")
            }
        }
    }
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What there is to read is read.
    Calm,
    /// Not known, or too early to say.
    Unclear,
    /// It stands still.
    Still(Standstill),
}

/// Records wait at one place.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    since: Instant,
    /// For how long the witness saw it.
    witnessed: Duration,
    /// The last check, if it saw it.
    seen: Option<Instant>,
}

impl Suspicion {
    fn renewed(suspicion: Option<Self>, now: Instant) -> Self {
        let mut all = suspicion.unwrap_or(Self { since: now, witnessed: Duration::ZERO, seen: None });
        all.witnessed += all.seen.map_or(Duration::ZERO, |seen| now.saturating_duration_since(seen));
        all.seen = Some(now);
        all
    }
}

/// What was seen so far.
#[derive(Debug)]
pub(crate) struct Watch {
    patience: Patience,
    held: BTreeMap<i32, Held>,
    drained: u64,
    /// All that is not quiet is read.
    rest_is_read: bool,
    suspicions: BTreeMap<i32, Suspicion>,
    /// While nothing is held: where the group was in the partitions that nobody holds.
    unheld: Option<(BTreeMap<i32, i64>, Suspicion)>,
    unsettled_since: Option<Instant>,
}

impl Watch {
    /// Nothing was seen yet.
    pub(crate) fn new(patience: Patience) -> Self {
        let (held, suspicions) = (BTreeMap::new(), BTreeMap::new());
        Self { patience, held, drained: 0, rest_is_read: false, suspicions, unheld: None, unsettled_since: None }
    }

    /// Takes in what the reader says. What moved since the last check is not suspected.
    pub(crate) fn observe(&mut self, reader: Reader, now: Instant) -> Question {
        let Reader { held, unsettled, drained } = reader;
        let drained = std::mem::replace(&mut self.drained, drained) != drained;
        let before = std::mem::replace(&mut self.held, held);
        let since = unsettled.then(|| self.unsettled_since.unwrap_or(now));
        self.unsettled_since = since;
        if self.held.is_empty() {
            self.suspicions.clear();
            return Question::Group;
        }
        self.unheld = None;
        if self.is_unsettled(now) {
            self.suspicions.clear();
            return Question::Nothing;
        }
        let (mut quiet, mut rest_is_read) = (BTreeSet::new(), true);
        for (id, held) in &self.held {
            let before = before.get(id);
            if before == Some(held) && !held.in_hand && !held.paused {
                quiet.insert(*id);
            } else {
                rest_is_read &= held.is_read(before);
            }
        }
        self.rest_is_read = rest_is_read;
        self.suspicions.retain(|id, _| quiet.contains(id));
        if quiet.is_empty() {
            return Question::Nothing;
        }
        if !drained {
            self.rest_is_read = false;
            self.suspicions.values_mut().for_each(|suspicion| suspicion.seen = None);
            return Question::Nothing;
        }
        let positions = quiet.iter().any(|id| self.held.get(id).is_some_and(|held| held.next.is_none()));
        Question::Partitions { quiet, positions }
    }

    /// A rebalance goes on that may still end by itself.
    fn is_unsettled(&self, now: Instant) -> bool {
        self.unsettled_since.is_some_and(|since| now.saturating_duration_since(since) < self.patience.rebalance)
    }

    /// Takes in what the witness answered to `question`.
    pub(crate) fn evaluate(&mut self, question: &Question, evidence: &Evidence, now: Instant) -> Verdict {
        match question {
            Question::Nothing if self.rest_is_read && !self.is_unsettled(now) => Verdict::Calm,
            Question::Nothing => Verdict::Unclear,
            Question::Partitions { quiet, .. } => self.evaluate_partitions(quiet, &evidence.logs, now),
            Question::Group => self.evaluate_group(evidence, now),
        }
    }

    fn evaluate_partitions(&mut self, quiet: &BTreeSet<i32>, logs: &BTreeMap<i32, Log>, now: Instant) -> Verdict {
        let (mut clear, mut worst) = (self.rest_is_read, None::<Standstill>);
        for id in quiet {
            let (Some(held), Some(log)) = (self.held.get(id), logs.get(id)) else {
                clear = false;
                if let Some(suspicion) = self.suspicions.get_mut(id) {
                    suspicion.seen = None;
                }
                continue;
            };
            let next = log.next(held.next);
            let waiting = log.waiting(next);
            if waiting == 0 {
                self.suspicions.remove(id);
                continue;
            }
            clear = false;
            let suspicion = Suspicion::renewed(self.suspicions.remove(id), now);
            self.suspicions.insert(*id, suspicion);
            let lasted = now.saturating_duration_since(suspicion.since);
            if suspicion.witnessed >= self.patience.still && worst.is_none_or(|worst| worst.lasted < lasted) {
                worst = Some(Standstill { cause: StandstillCause::Unread { partition: *id, next, waiting }, lasted });
            }
        }
        match worst {
            Some(standstill) => Verdict::Still(standstill),
            None if clear => Verdict::Calm,
            None => Verdict::Unclear,
        }
    }

    /// Nothing is held: the others have it all, or this group does not get to share it out.
    fn evaluate_group(&mut self, evidence: &Evidence, now: Instant) -> Verdict {
        let known = |group: &&GroupView| group.nobodys.iter().all(|id| evidence.logs.contains_key(id));
        let Some(group) = evidence.group.as_ref().filter(known) else {
            if let Some((_, suspicion)) = &mut self.unheld {
                suspicion.seen = None;
            }
            return Verdict::Unclear;
        };
        let (mut at, mut waiting) = (BTreeMap::new(), 0);
        for (id, log) in evidence.logs.iter().filter(|(id, _)| group.nobodys.contains(id)) {
            let next = log.next(None);
            if log.waiting(next) > 0 {
                at.insert(*id, next);
                waiting += log.waiting(next);
            }
        }
        // A group without a member is broken also while nothing waits: the first winner of a sale should not be the one who finds that out.
        if at.is_empty() && !group.is_empty {
            self.unheld = None;
            return Verdict::Calm;
        }
        let before = self.unheld.take().filter(|(before, _)| *before == at).map(|(_, suspicion)| suspicion);
        let suspicion = Suspicion::renewed(before, now);
        self.unheld = Some((at, suspicion));
        let (cause, patience) = match group.is_empty {
            true => (StandstillCause::OutOfGroup { waiting }, self.patience.still),
            false => (StandstillCause::Unshared { waiting }, self.patience.rebalance),
        };
        if suspicion.witnessed < patience {
            return Verdict::Unclear;
        }
        Verdict::Still(Standstill { cause, lasted: now.saturating_duration_since(suspicion.since) })
    }

    /// Another reader found nothing there either: offsets without records, as transactions leave them.
    pub(crate) fn clear(&mut self, partition: i32) {
        self.suspicions.remove(&partition);
    }

    /// The client was replaced: the next one is judged by what it does.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self::new(self.patience);
    }
}

#[cfg(test)]
mod tests;
