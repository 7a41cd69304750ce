//! Writing Redis afresh, or binding it (`campaign/src/keys/rebuild.rs`, `lua/rebuild_*.lua`).

use crate::model::{Model, Step, Successors};
use crate::operator::done;
use crate::rule::Rule;
use crate::state::{Keys, Next, Operator, RANKS, Ranks, State};

impl Model {
    /// The short cut, the temporary keys, or all in one step where chunks are not looked at.
    pub(crate) fn fill(&self, state: &State, o: usize, out: &mut Successors) {
        let operator = state.operators[o];
        for server in self.servers(state) {
            let redis = state.redis[server];
            let known = redis.identity == operator.identity || !self.has(Rule::IdentityInEveryScript);
            let mut next = *state;
            if !known {
                done(&mut next, o);
                out.push((Step::of(o, "operator {w}: {s} is another Redis, starts over").on(server), next));
                continue;
            }
            if operator.rebind > 0 {
                let keys = &mut next.redis[server].keys;
                let highest =
                    (0..RANKS).rev().find(|rank| !operator.ledger[*rank].is_none()).map_or(0, |rank| rank + 1);
                let read = keys.epoch == operator.rebind
                    && keys.issued == operator.ledger
                    && usize::from(keys.highest) == highest;
                if read || !self.has(Rule::RebindUnchanged) {
                    keys.epoch = operator.epoch;
                    keys.history = redis.identity;
                    keys.total = operator.total;
                    keys.terms = operator.terms;
                    next.operators[o] = to_open(operator);
                    out.push((Step::of(o, "operator {w}: binds {s} to its epoch (after-swap)").on(server), next));
                } else {
                    done(&mut next, o);
                    out.push((Step::of(o, "operator {w}: {s} is not what it read, starts over").on(server), next));
                }
            } else if self.config.chunks {
                next.redis[server].temporary[o] = 1;
                next.operators[o].next = Next::Chunks;
                self.skip_chunks(&mut next.operators[o]);
                out.push((Step::of(o, "operator {w}: begins an attempt in {s}").on(server), next));
            } else {
                next.redis[server].keys = self.rebuilt(operator, redis.identity, operator.ledger);
                next.operators[o] = self.swapped(operator);
                out.push((Step::of(o, "operator {w}: writes {s} afresh (after-swap)").on(server), next));
            }
        }
    }

    /// After the last winner comes the swap.
    fn skip_chunks(&self, op: &mut Operator) {
        while usize::from(op.chunks) < RANKS && op.ledger[usize::from(op.chunks)].is_none() {
            op.chunks += 1;
        }
        if usize::from(op.chunks) == RANKS {
            op.next = Next::Swap;
        }
    }

    /// `lua/rebuild_write.lua`.
    pub(crate) fn chunk(&self, state: &State, o: usize, out: &mut Successors) {
        let operator = state.operators[o];
        for server in self.servers(state) {
            let mut next = *state;
            let redis = &mut next.redis[server];
            let known = redis.identity == operator.identity || !self.has(Rule::IdentityInEveryScript);
            if known && redis.temporary[o] > 0 {
                redis.temporary[o] |= 2 << operator.chunks;
                let op = &mut next.operators[o];
                op.chunks += 1;
                self.skip_chunks(op);
                out.push((Step::of(o, "operator {w}: writes a chunk into {s} (after-chunk)").on(server), next));
            } else {
                done(&mut next, o);
                out.push((Step::of(o, "operator {w}: its attempt is not in {s}, starts over").on(server), next));
            }
        }
    }

    /// `lua/rebuild_swap.lua`.
    pub(crate) fn swap(&self, state: &State, o: usize, out: &mut Successors) {
        let operator = state.operators[o];
        for server in self.servers(state) {
            let mut next = *state;
            let redis = &mut next.redis[server];
            let known = redis.identity == operator.identity || !self.has(Rule::IdentityInEveryScript);
            let mut arrived: Ranks = Ranks::default();
            for rank in (0..RANKS).filter(|rank| redis.temporary[o] & (2 << rank) > 0) {
                arrived[rank] = operator.ledger[rank];
            }
            let counted = arrived == operator.ledger || !self.has(Rule::CountsBeforeSwap);
            if known && redis.temporary[o] > 0 && counted {
                redis.keys = self.rebuilt(operator, redis.identity, arrived);
                redis.temporary[o] = 0;
                next.operators[o] = self.swapped(operator);
                out.push((Step::of(o, "operator {w}: swaps its keys in, in {s} (before-swap)").on(server), next));
            } else {
                done(&mut next, o);
                out.push((Step::of(o, "operator {w}: cannot swap in {s}, starts over").on(server), next));
            }
        }
    }

    /// What an attempt makes of the keys.
    pub(crate) fn rebuilt(&self, op: Operator, identity: u8, issued: Ranks) -> Keys {
        let highest = (0..RANKS).rev().find(|rank| !op.ledger[*rank].is_none()).map_or(0, |rank| rank as u8 + 1);
        Keys { epoch: op.epoch, history: identity, total: op.total, terms: op.terms, highest, issued }
    }

    fn swapped(&self, op: Operator) -> Operator {
        if self.has(Rule::OneShotAttempt) { to_open(op) } else { Operator { next: Next::Open, ..op } }
    }
}

/// What `Next::Open` still needs.
fn to_open(op: Operator) -> Operator {
    Operator { next: Next::Open, epoch: op.epoch, topic: op.topic, ..Operator::default() }
}
