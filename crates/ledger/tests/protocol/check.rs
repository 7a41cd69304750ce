//! What must hold in every state, and once everything is quiet.

use crate::model::{Config, Model, Step, Successors};
use crate::people::remove_forged;
use crate::rule::{Conflict, Invariant, Rule};
use crate::state::{LOG, Next, Object, Operator, RANKS, Record, Redis, State, USERS, Winner, Work};
use crate::table::append;

impl Model {
    /// The invariant that a state breaks, if any.
    pub(crate) fn broken(&self, state: &State) -> Option<Invariant> {
        let rows = &state.sql.rows;
        if rows.iter().any(|row| row.rank > state.sql.total)
            || (0..RANKS).any(|a| (0..a).any(|b| !rows[a].is_none() && rows[a].winner.same(rows[b].winner)))
        {
            return Some(Invariant::I2);
        }
        let replaced = self.conflict != Conflict::FirstRowStands;
        let mut displaced = None;
        for (place, rank) in state.answered.into_iter().enumerate().filter(|(_, rank)| *rank > 0) {
            let (user, n) = (place as u8 / 2, place as u8 % 2);
            let winner = Winner::new(user, n, 0);
            let row = rows[usize::from(rank) - 1];
            if row.winner.same(winner) {
                continue;
            }
            if !self.pending(state, Record { rank, winner, epoch: 0 }) {
                return Some(Invariant::I1);
            }
            let elsewhere = rows.iter().any(|row| row.winner.same(winner));
            if !row.is_none() || elsewhere {
                // Where no row is ever replaced, the record that is still to come cannot be stored any more.
                displaced = Some(if replaced { Invariant::I4 } else { Invariant::I1 });
            }
        }
        displaced
    }

    /// Whether the winner is where a consumer, a replay or a repair will still find it.
    fn pending(&self, state: &State, wanted: Record) -> bool {
        let is = |record: Record| record.rank == wanted.rank && record.winner.same(wanted.winner);
        let logged = (0..self.config.partitions).any(|p| {
            let partition = state.log[p];
            (partition.committed..partition.end).any(|offset| {
                let record = partition.records[usize::from(offset)];
                is(record) && !self.void(state, record, p, offset)
            })
        });
        logged || state.dead.iter().any(|(record, _)| is(*record))
    }

    /// Lets everything that is on its way arrive, nothing go wrong any more, and enough users come. What is then broken?
    /// `None` where this cannot be told: the log has no room for it, or the campaign is away, or its quantity is in question.
    pub(crate) fn broken_when_quiet(&self, state: &State) -> Option<Option<Invariant>> {
        let mut quiet = *state;
        let coming = state.flights.iter().chain(state.dead.iter().map(|(record, _)| record));
        let coming = coming.filter(|record| !record.is_none()).count() + 2 * RANKS;
        let room = state.log.iter().all(|partition| usize::from(partition.end) + coming <= LOG);
        if !room || state.object != Object::Applied || self.config.budget.changes > 0 {
            return None;
        }
        for record in std::mem::take(&mut quiet.flights).into_iter().filter(|record| !record.is_none()) {
            append(&mut quiet, 0, record);
        }
        for record in std::mem::take(&mut quiet.inserts).into_iter().filter(|record| !record.is_none()) {
            self.insert_directly(&mut quiet, record);
        }
        quiet.operators = Default::default();
        quiet.issuers = Default::default();
        quiet.redis[1] = Redis::default();
        quiet.left = Default::default();
        if self.is_held_up(&quiet) {
            remove_forged(&mut quiet);
        }
        self.consume(&mut quiet);
        if self.needed(&quiet) {
            self.repair(&mut quiet);
        }
        let patient = Self { config: Config { users: USERS as u8, log: LOG as u8, ..self.config }, ..*self };
        patient.sell_out(&mut quiet);
        if self.has(Rule::RepairLoop) {
            let (redis, rows) = (quiet.redis[0], quiet.sql.rows);
            for rank in (0..RANKS).filter(|rank| rows[*rank].is_none() && !redis.keys.issued[*rank].is_none()) {
                let record = Record { rank: rank as u8 + 1, winner: redis.keys.issued[rank], epoch: redis.keys.epoch };
                append(&mut quiet, 0, record);
            }
            for (record, _) in quiet.dead.into_iter().filter(|(record, _)| !record.is_none()) {
                if let Some(record) = self.replayed(&quiet, record) {
                    append(&mut quiet, 0, record);
                }
            }
            self.consume(&mut quiet);
        }
        let stored = quiet.sql.rows.iter().filter(|row| !row.is_none()).count();
        Some(self.broken(&quiet).or((stored != usize::from(quiet.sql.total)).then_some(Invariant::I3)))
    }

    fn consume(&self, state: &mut State) {
        for p in 0..self.config.partitions {
            for offset in state.log[p].at..state.log[p].end {
                let record = state.log[p].records[usize::from(offset)];
                self.store_logged(state, record, p, offset);
            }
            state.log[p].giving_up = false;
            state.log[p].at = state.log[p].end;
            state.log[p].committed = state.log[p].end;
        }
    }

    /// One undisturbed repair, by the very steps of the model.
    fn repair(&self, state: &mut State) {
        self.allot(state, 0);
        let mut steps = Successors::new();
        while !matches!(state.operators[0].next, Next::Idle | Next::LateSwap) {
            steps.clear();
            let undisturbed = Self { config: Config { restarts: false, ..self.config }, ..*self };
            undisturbed.operator_steps(state, 0, &mut steps);
            let Some((_, next)) = steps.first() else { break };
            *state = *next;
        }
        state.operators[0] = Operator::default();
    }

    /// Users who hold nothing come one after the other; who holds a rank in Redis has left and never asks again.
    fn sell_out(&self, state: &mut State) {
        let mut steps: Vec<(Step, State)> = Vec::new();
        state.issuers[0].epoch = state.sql.open;
        state.asked = USERS as u8;
        for user in (0..USERS as u8).rev() {
            if state.redis[0].keys.issued.iter().any(|winner| !winner.is_none() && winner.user() == user) {
                continue;
            }
            let request =
                Record { rank: 0, winner: Winner::new(user, 0, state.wishes_answered(user)), epoch: state.sql.open };
            state.issuers[0].work = Work::Called;
            state.issuers[0].record = request;
            while state.issuers[0].work != Work::Idle {
                steps.clear();
                match state.issuers[0].work {
                    Work::Produced => {
                        let record = state.issuers[0].record;
                        state.flights = Default::default();
                        append(state, 0, record);
                        self.consume(state);
                    }
                    _ => {
                        self.issuer_steps(state, 0, &mut steps);
                        let Some((_, next)) = steps.first() else { return };
                        *state = *next;
                    }
                }
            }
        }
    }
}
