//! Opening an epoch, step by step (`operator/src/ledger/epoch/{mod,fence,read,merge}.rs`, `campaign/src/keys/rebuild.rs`).

use crate::issuer::kill;
use crate::model::{Model, Step, Successors};
use crate::rule::Rule;
use crate::state::{Keys, Next, Object, Operator, RANKS, Ranks, Record, State, Winner, Work};

impl Model {
    /// What an operator may do.
    pub(crate) fn operator_steps(&self, state: &State, o: usize, out: &mut Successors) {
        let operator = state.operators[o];
        let step = |text| Step::of(o, text);
        let judges = matches!(operator.next, Next::Rows | Next::Tail | Next::Dead);
        if judges && self.is_held_up(state) {
            // It gives up; the next one waits until it may allot an epoch.
            let mut next = *state;
            done(&mut next, o);
            out.push((step("operator {w}: finds a barrier that nobody made"), next));
            return;
        }
        match operator.next {
            Next::Idle => self.idle(state, o, out),
            Next::Fence => self.fence(state, o, out),
            Next::Offsets => {
                for server in self.servers(state) {
                    let mut next = *state;
                    let op = &mut next.operators[o];
                    op.identity = state.redis[server].identity;
                    op.committed = [state.log[0].committed, state.log[1].committed];
                    op.topic = state.topic;
                    op.next = Next::Ends;
                    let text = "operator {w}: captures the identity of {s}, reads the committed offsets (after-fence)";
                    out.push((step(text).on(server), next));
                }
            }
            Next::Ends => {
                let mut next = *state;
                let op = &mut next.operators[o];
                op.ends = [state.log[0].end, state.log[1].end];
                op.next = if self.has(Rule::BarrierBeforeRows) { Next::Barrier } else { Next::Rows };
                out.push((step("operator {w}: reads the ends of the log"), next));
            }
            Next::Barrier => self.barrier(state, o, out),
            Next::Rows => {
                let mut next = *state;
                self.read_rows(&mut next, o);
                out.push((step("operator {w}: reads SQL's rows (after-barrier)"), next));
            }
            Next::Tail => {
                let mut next = *state;
                self.read_tail(&mut next, o);
                out.push((step("operator {w}: reads the log from the offsets to the ends"), next));
            }
            Next::Dead => {
                let mut next = *state;
                self.read_dead(&mut next, o);
                out.push((step("operator {w}: reads the dead letters"), next));
            }
            Next::Held => {
                for server in self.servers(state) {
                    let mut next = *state;
                    self.read_held(&mut next.operators[o], state.redis[server].keys);
                    out.push((step("operator {w}: reads what {s} holds (after-read)").on(server), next));
                }
            }
            Next::Fill => self.fill(state, o, out),
            Next::Chunks => self.chunk(state, o, out),
            Next::Swap => self.swap(state, o, out),
            Next::Open => {
                let mut next = *state;
                let closed = self.has(Rule::EpochOfThisTopic) && operator.topic != state.topic;
                if state.sql.epoch == operator.epoch && !closed {
                    next.sql.open = operator.epoch;
                    done(&mut next, o);
                    if !self.has(Rule::OneShotAttempt) {
                        next.operators[o] =
                            Operator { next: Next::LateSwap, committed: [0; 2], ends: [0; 2], ..operator };
                    }
                    out.push((step("operator {w}: opens its epoch in SQL (after-swap)"), next));
                } else {
                    done(&mut next, o);
                    out.push((step("operator {w}: cannot open its epoch, it is superseded"), next));
                }
            }
            Next::LateSwap => {
                let mut next = *state;
                let redis = &mut next.redis[0];
                // "Only if the meta key's epoch is lower than mine" was the rule that one-shot attempts replace.
                if redis.identity == operator.identity && redis.keys.epoch < operator.epoch {
                    redis.keys = self.rebuilt(operator, redis.identity, operator.ledger);
                    done(&mut next, o);
                    out.push((step("operator {w}: the first of two swaps that it sent is executed, late"), next));
                }
                let mut next = *state;
                done(&mut next, o);
                out.push((step("operator {w}: the first of two swaps that it sent is lost"), next));
            }
            Next::Publish => {
                let mut next = *state;
                done(&mut next, o);
                let record = Record { epoch: state.sql.epoch, ..operator.grant };
                if next.send(record) {
                    out.push((
                        step("operator {w}: publishes {r} with its own epoch (after-republish)").record(record),
                        next,
                    ));
                }
            }
            Next::Close | Next::RemoveKeys => self.removal(state, o, out),
            Next::CloseStock | Next::PodsGone | Next::Drain | Next::Remove => self.deletion(state, o, out),
            Next::TotalThenKeys | Next::KeysThenTotal | Next::Total | Next::Keys => self.terms(state, o, out),
        }
        if self.config.restarts && operator.next != Next::Idle {
            let mut next = *state;
            done(&mut next, o);
            out.push((step("operator {w}: crashes and starts again"), next));
        }
    }

    fn idle(&self, state: &State, o: usize, out: &mut Successors) {
        let raised = state.spec.max(highest(state)) <= state.sql.total;
        let epochs_left = state.sql.epoch < self.config.epochs && raised && !self.is_held_up(state);
        if epochs_left && state.object == Object::Applied && (self.config.needless || self.needed(state)) {
            let mut next = *state;
            self.allot(&mut next, o);
            out.push((Step::of(o, "operator {w}: allots the next epoch (after-allot)"), next));
        }
        self.repair_loop(state, o, out);
        self.idle_people(state, o, out);
    }

    /// Whether a Redis that somebody can reach does not serve the open epoch, or was set back.
    pub(crate) fn needed(&self, state: &State) -> bool {
        let highest = (0..RANKS).rev().find(|rank| !state.sql.rows[*rank].is_none()).map_or(0, |rank| rank as u8 + 1);
        let wrong = |server: usize| {
            let redis = state.redis[server];
            redis.keys.epoch != state.sql.open || redis.keys.history != redis.identity || redis.keys.highest < highest
        };
        state.sql.open == 0 || self.servers(state).any(wrong)
    }

    /// What is in Redis and not in SQL is published again. It may be on its way already: that is harmless.
    fn repair_loop(&self, state: &State, o: usize, out: &mut Successors) {
        if state.left.republished == 0 {
            return;
        }
        for server in self.servers(state) {
            let redis = state.redis[server];
            if redis.keys.epoch == 0 || redis.keys.history != redis.identity {
                continue;
            }
            for rank in (0..RANKS).filter(|rank| !redis.keys.issued[*rank].is_none() && state.sql.rows[*rank].is_none())
            {
                let record = Record { rank: rank as u8 + 1, winner: redis.keys.issued[rank], epoch: redis.keys.epoch };
                let mut next = *state;
                next.left.republished -= 1;
                if !self.has(Rule::EpochReadWithGrant) {
                    next.operators[o].grant = Record { epoch: 0, ..record };
                    next.operators[o].next = Next::Publish;
                    out.push((
                        Step::of(o, "operator {w}: the repair loop reads {r} in {s}").record(record).on(server),
                        next,
                    ));
                } else if next.send(record) {
                    let text = "operator {w}: the repair loop reads {r} in {s} and publishes it (after-republish)";
                    out.push((Step::of(o, text).record(record).on(server), next));
                }
            }
        }
    }

    /// Tells each issuer; one that does not confirm is deleted and waited for.
    fn fence(&self, state: &State, o: usize, out: &mut Successors) {
        let operator = state.operators[o];
        for i in (0..self.config.issuers).filter(|i| operator.fenced & (1 << i) == 0) {
            let mut fenced = *state;
            let issuer = &mut fenced.issuers[i];
            if self.has(Rule::Floor) {
                issuer.floor = issuer.floor.max(operator.epoch);
            }
            if issuer.epoch < operator.epoch {
                issuer.epoch = 0;
            }
            let drained = issuer.work == Work::Idle || issuer.record.epoch >= operator.epoch;
            if fenced != *state && !drained {
                out.push((Step::of(i, "issuer {w}: is fenced, and still has something under way"), fenced));
            }
            if drained || !self.has(Rule::DrainBeforeConfirm) {
                self.confirm(&mut fenced, o, i);
                out.push((Step::of(i, "issuer {w}: confirms the fence"), fenced));
            }
            if !drained {
                let mut next = *state;
                kill(&mut next, i);
                self.confirm(&mut next, o, i);
                out.push((Step::of(i, "issuer {w}: does not confirm, is deleted, and is gone"), next));
            }
        }
    }

    fn confirm(&self, state: &mut State, o: usize, i: usize) {
        let op = &mut state.operators[o];
        op.fenced |= 1 << i;
        if op.fenced == (1 << self.config.issuers) - 1 {
            op.fenced = 0;
            op.next = match *op {
                Operator { deleting: true, .. } => Next::CloseStock,
                Operator { removing: true, .. } => Next::RemoveKeys,
                _ => self.first_reading(),
            };
        }
    }

    /// Allots the next epoch in SQL and closes the open one.
    pub(crate) fn allot(&self, state: &mut State, o: usize) {
        state.sql.epoch += 1;
        state.sql.open = 0;
        let next = if self.has(Rule::Fence) { Next::Fence } else { self.first_reading() };
        let deleting = state.operators[o].deleting;
        // The epoch brings terms to Redis: it is a change like others, and whoever has an older one in hand is late.
        if self.has(Rule::TermsNumbered) && self.has(Rule::EpochTakesNumber) {
            state.sql.terms += 1;
        }
        let (total, terms) = (state.spec.max(highest(state)), state.sql.terms);
        state.operators[o] = Operator { next, epoch: state.sql.epoch, total, terms, deleting, ..Operator::default() };
    }

    fn first_reading(&self) -> Next {
        if self.has(Rule::ReadingOrder) { Next::Offsets } else { Next::Rows }
    }

    fn barrier(&self, state: &State, o: usize, out: &mut Successors) {
        let operator = state.operators[o];
        let mut next = *state;
        if state.sql.epoch == operator.epoch {
            next.sql.barriers[usize::from(operator.epoch)] = operator.ends.map(|end| end + 1);
            next.sql.topics[usize::from(operator.epoch)] = operator.topic;
            if next.sql.forged == operator.epoch {
                next.sql.forged = 0;
            }
            let op = &mut next.operators[o];
            let rows_are_read = !self.has(Rule::ReadingOrder) || !self.has(Rule::BarrierBeforeRows);
            op.next = if rows_are_read { Next::Tail } else { Next::Rows };
            out.push((Step::of(o, "operator {w}: commits the barrier"), next));
        } else {
            done(&mut next, o);
            out.push((Step::of(o, "operator {w}: commits no barrier, it is superseded"), next));
        }
    }

    /// Rows. In the right order the rest of the log adds nothing that could change meanwhile, so it is the same step.
    pub(crate) fn read_rows(&self, state: &mut State, o: usize) {
        let rows = state.sql.rows;
        let op = &mut state.operators[o];
        rows.into_iter().for_each(|row| take(&mut op.ledger, row));
        if !self.has(Rule::ReadingOrder) {
            op.next = Next::Offsets;
        } else if !self.has(Rule::BarrierBeforeRows) {
            op.next = Next::Barrier;
        } else {
            self.read_tail(state, o);
        }
    }

    fn read_tail(&self, state: &mut State, o: usize) {
        let mut op = state.operators[o];
        for p in 0..self.config.partitions {
            for offset in op.committed[p]..op.ends[p].min(state.log[p].end) {
                let record = state.log[p].records[usize::from(offset)];
                if !self.void(state, record, p, offset) && record.rank <= state.sql.total.max(op.total) {
                    take(&mut op.ledger, record);
                }
            }
        }
        op.committed = [0; 2];
        op.ends = [0; 2];
        op.next = Next::Dead;
        state.operators[o] = op;
        if self.config.budget.dead_letters == 0 {
            self.read_dead(state, o);
        }
    }

    fn read_dead(&self, state: &mut State, o: usize) {
        let mut op = state.operators[o];
        for (record, offset) in state.dead.into_iter().filter(|(record, _)| !record.is_none()) {
            let void = self.has(Rule::DeadLettersVoid) && self.void(state, record, 0, offset);
            if self.has(Rule::DeadLettersRead) && !void {
                take(&mut op.ledger, record);
            }
        }
        op.next = Next::Held;
        state.operators[o] = op;
    }

    fn read_held(&self, op: &mut Operator, keys: Keys) {
        let covers = op.ledger.iter().zip(keys.issued).all(|(durable, held)| durable.is_none() || durable.same(held));
        op.rebind = if self.config.rebind && covers { keys.epoch } else { 0 };
        for (rank, winner) in keys.issued.into_iter().enumerate() {
            take(&mut op.ledger, Record { rank: rank as u8 + 1, winner, epoch: 0 });
        }
        op.next = Next::Fill;
    }
}

/// `Book::take` of `operator/src/ledger/epoch/merge.rs`: whoever comes first stands.
fn take(ledger: &mut Ranks, record: Record) {
    let free = |winner: &Winner| winner.is_none() || !winner.same(record.winner);
    if !record.is_none() && ledger[usize::from(record.rank) - 1].is_none() && ledger.iter().all(free) {
        ledger[usize::from(record.rank) - 1] = record.winner;
    }
}

/// The highest rank that SQL or the primary knows.
pub(crate) fn highest(state: &State) -> u8 {
    let row = (0..RANKS).rev().find(|rank| !state.sql.rows[*rank].is_none()).map_or(0, |rank| rank as u8 + 1);
    let keys = state.redis[0].keys;
    row.max(if keys.epoch > 0 { keys.highest } else { 0 })
}

/// Nothing is under way any more. Temporary keys vanish by themselves, and nobody else looks at them.
pub(crate) fn done(state: &mut State, o: usize) {
    state.operators[o] = Operator::default();
    for redis in state.redis.iter_mut().chain([&mut state.replica]) {
        redis.temporary[o] = 0;
    }
}
