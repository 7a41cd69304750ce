//! SQL, the log and the consumers (`campaign/src/table/{store,barrier}.rs`, `consumer/src/{writer,frontier}.rs`).

use crate::model::{Model, Step, Successors};
use crate::rule::{Conflict, Rule};
use crate::state::{Object, Partition, RANKS, Record, State, Work, take};

/// What became of a winner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is stored, now or before.
    Stored,
    /// Void: of an epoch that ended before it arrived.
    Void,
    /// Another row stands in its way.
    Conflict,
    /// Its rank is above the total.
    AboveTotal,
}

impl Model {
    /// Whether barriers decide nothing, as somebody has written one.
    pub(crate) fn is_held_up(&self, state: &State) -> bool {
        self.has(Rule::AllottedBarriers) && state.sql.forged > state.sql.epoch
    }

    /// The barrier rule.
    pub(crate) fn void(&self, state: &State, record: Record, partition: usize, offset: u8) -> bool {
        let all = state.sql.barriers.len();
        let followed = if self.has(Rule::AllottedBarriers) { usize::from(state.sql.epoch) + 1 } else { all };
        let newer = (usize::from(record.epoch) + 1)..followed;
        self.has(Rule::BarrierRule)
            && newer.into_iter().any(|epoch| {
                let barrier = state.sql.barriers[epoch][partition];
                barrier > 0 && state.sql.topics[epoch] == state.topic && offset + 1 >= barrier
            })
    }

    /// Stores a record of the log.
    pub(crate) fn store_logged(&self, state: &mut State, record: Record, partition: usize, offset: u8) -> Verdict {
        if self.void(state, record, partition, offset) {
            return Verdict::Void;
        }
        self.store(state, record)
    }

    /// Stores a winner without the log.
    pub(crate) fn insert_directly(&self, state: &mut State, record: Record) -> Verdict {
        if self.has(Rule::ConditionalInsert) && record.epoch != state.sql.epoch {
            return Verdict::Void;
        }
        self.store(state, record)
    }

    fn store(&self, state: &mut State, record: Record) -> Verdict {
        if record.rank > state.sql.total {
            return Verdict::AboveTotal;
        }
        let rank = usize::from(record.rank) - 1;
        let rows = &mut state.sql.rows;
        let elsewhere = (0..RANKS).find(|other| *other != rank && rows[*other].winner.same(record.winner));
        let there = rows[rank];
        if there.is_none() && elsewhere.is_none() {
            rows[rank] = record;
            return Verdict::Stored;
        }
        if there.winner.same(record.winner) {
            if self.conflict == Conflict::NewerRaisesEpoch {
                rows[rank].epoch = rows[rank].epoch.max(record.epoch);
            }
            return Verdict::Stored;
        }
        let newer = record.epoch > there.epoch && elsewhere.is_none_or(|other| record.epoch > rows[other].epoch);
        match self.conflict {
            Conflict::FirstRowStands => Verdict::Conflict,
            Conflict::NewerByRank if record.epoch > there.epoch && elsewhere.is_none() => {
                rows[rank] = record;
                Verdict::Stored
            }
            // One statement touches one row: that of the rank, or else that of the user. Another unique key may forbid it.
            Conflict::OnDuplicateKeyUpdate if there.is_none() && newer => {
                if let Some(other) = elsewhere {
                    rows[other] = Record::NONE;
                }
                rows[rank] = record;
                Verdict::Stored
            }
            Conflict::OnDuplicateKeyUpdate if record.epoch > there.epoch && elsewhere.is_none() => {
                rows[rank] = record;
                Verdict::Stored
            }
            Conflict::NewerKeepsEpoch | Conflict::NewerRaisesEpoch if newer => {
                if let Some(other) = elsewhere {
                    rows[other] = Record::NONE;
                }
                rows[rank] = record;
                Verdict::Stored
            }
            _ => Verdict::Conflict,
        }
    }

    /// What a partition's consumer may do.
    pub(crate) fn consumer_steps(&self, state: &State, p: usize, out: &mut Successors) {
        let partition = state.log[p];
        let mut push = |text, record, next| out.push((Step::of(p, text).record(record), next));
        if partition.at < partition.end && !self.is_held_up(state) {
            let record = partition.records[usize::from(partition.at)];
            if partition.giving_up {
                if state.dead[0].0.is_none() {
                    let mut next = *state;
                    next.dead[0] = (record, partition.at);
                    next.dead.sort_unstable();
                    next.log[p].giving_up = false;
                    next.log[p].at += 1;
                    push("consumer {w}: writes the dead letter {r} (after-dead-letter)", record, next);
                }
            } else {
                let mut next = *state;
                next.log[p].at += 1;
                let verdict = self.store_logged(&mut next, record, p, partition.at);
                let text = match verdict {
                    Verdict::Stored => "consumer {w}: the row of {r} is there (after-commit)",
                    Verdict::Void => "consumer {w}: skips {r}, which is void",
                    Verdict::Conflict => "consumer {w}: {r} conflicts with a row",
                    Verdict::AboveTotal => "consumer {w}: {r} is above the total",
                };
                push(text, record, next);
                if state.left.dead_letters > 0 && verdict == Verdict::Stored {
                    let mut next = *state;
                    next.left.dead_letters -= 1;
                    next.log[p].giving_up = true;
                    push("consumer {w}: SQL refuses the row of {r}", record, next);
                }
            }
        }
        if partition.committed < partition.at {
            let mut next = *state;
            next.log[p].committed = partition.at;
            push("consumer {w}: commits its offset", Record::NONE, next);
            if self.config.redelivery {
                let mut next = *state;
                next.log[p] = Partition { at: partition.committed, giving_up: false, ..partition };
                push("consumer {w}: starts again at the committed offset", Record::NONE, next);
            }
        }
        if !self.has(Rule::FrontierCommit) && partition.at < partition.end {
            let mut next = *state;
            next.log[p].at += 1;
            next.log[p].committed = next.log[p].at;
            push(
                "consumer {w}: commits its offset, and crashes before the row of {r} is there",
                partition.records[usize::from(partition.at)],
                next,
            );
        }
    }

    /// Records arrive, are lost, or are replayed.
    pub(crate) fn log_steps(&self, state: &State, out: &mut Successors) {
        // There is no topic.
        if state.object == Object::Gone {
            return;
        }
        for index in 0..state.flights.len() {
            let record = state.flights[index];
            if record.is_none() || index > 0 && record == state.flights[index - 1] {
                continue;
            }
            for p in 0..self.config.partitions {
                let mut next = *state;
                take(&mut next.flights, index);
                if next.log[p].end < self.config.log {
                    append(&mut next, p, record);
                    out.push((Step::of(p, "Kafka: partition {w} has {r}").record(record), next));
                }
            }
            if state.left.losses > 0 {
                let mut next = *state;
                next.left.losses -= 1;
                take(&mut next.flights, index);
                out.push((Step::of(0, "Kafka: {r} is lost on its way").record(record), next));
            }
        }
        for (record, _) in state.dead.into_iter().filter(|(record, _)| state.left.replays > 0 && !record.is_none()) {
            let mut next = *state;
            next.left.replays -= 1;
            if let Some(record) = self.replayed(state, record)
                && next.send(record)
            {
                out.push((Step::of(0, "replay: {r} is put back").record(record), next));
            }
        }
    }

    /// A dead letter stamped anew by the current Redis, which must hold its grant.
    pub(crate) fn replayed(&self, state: &State, record: Record) -> Option<Record> {
        let redis = state.redis[0];
        let holds = redis.keys.issued[usize::from(record.rank) - 1].same(record.winner);
        (redis.keys.epoch > 0 && redis.keys.history == redis.identity && holds)
            .then_some(Record { epoch: redis.keys.epoch, ..record })
    }

    /// Direct inserts that nobody waits for commit late, or never.
    pub(crate) fn table_steps(&self, state: &State, out: &mut Successors) {
        for index in 0..state.inserts.len() {
            if !state.inserts[index].is_none() {
                let mut next = *state;
                let record = take(&mut next.inserts, index);
                out.push((Step::of(0, "SQL: the direct insert of {r} never happens").record(record), next));
                if self.insert_directly(&mut next, record) == Verdict::Stored {
                    out.push((Step::of(0, "SQL: the direct insert of {r} commits, late").record(record), next));
                }
            }
        }
    }
}

/// A record is in the log, with all in-sync replicas: who waits for just that may answer.
pub(crate) fn append(state: &mut State, p: usize, record: Record) {
    let partition = &mut state.log[p];
    partition.records[usize::from(partition.end)] = record;
    partition.end += 1;
    for issuer in &mut state.issuers {
        if issuer.work == Work::Produced && issuer.record == record {
            issuer.work = Work::Durable;
        }
    }
}
