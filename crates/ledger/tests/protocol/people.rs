//! What people ask for: another quantity, deletion, a new application (`operator/src/reconcile/{plan,apply,deletion}.rs`).

use crate::issuer::kill;
use crate::model::{Model, Step, Successors};
use crate::operator::{done, highest};
use crate::rule::Rule;
use crate::state::{Keys, Next, Object, Operator, Partition, State};

/// Terms get numbers up to this one, those of epochs included; else operators could race for ever.
const MOST_TERMS: u8 = 6;

impl Model {
    /// Edits of the campaign's object.
    pub(crate) fn people_steps(&self, state: &State, out: &mut Successors) {
        if state.left.changes > 0 {
            let mut next = *state;
            next.left.changes -= 1;
            next.spec = if state.spec == 1 { 2 } else { 1 };
            out.push((Step::of(0, "people: change the quantity in the spec"), next));
        }
        if state.left.forged > 0 {
            let mut next = *state;
            next.left.forged -= 1;
            let epoch = state.sql.epoch + 1;
            (next.sql.barriers[usize::from(epoch)], next.sql.topics[usize::from(epoch)]) = ([1; 2], state.topic);
            next.sql.forged = epoch;
            out.push((Step::of(0, "people: write the barrier of an epoch that was never allotted"), next));
        }
        if self.is_held_up(state) {
            let mut next = *state;
            remove_forged(&mut next);
            out.push((Step::of(0, "people: remove the barrier that somebody wrote"), next));
        }
        if state.left.deletions > 0 && state.object == Object::Applied {
            let mut next = *state;
            next.left.deletions -= 1;
            next.object = Object::Deleting;
            out.push((Step::of(0, "people: delete the campaign"), next));
        }
        if state.object == Object::Gone {
            let mut next = *state;
            next.object = Object::Applied;
            if self.has(Rule::EpochOfThisTopic) {
                next.sql.open = 0;
            }
            out.push((Step::of(0, "people: apply the campaign again; it has a new topic"), next));
        }
    }

    /// What an idle operator does about the object.
    pub(crate) fn idle_people(&self, state: &State, o: usize, out: &mut Successors) {
        if matches!(state.object, Object::Deleting | Object::NoPods) {
            let mut next = *state;
            next.operators[o].deleting = true;
            let open = state.sql.open > 0 || state.redis[0].keys.epoch > 0;
            if open || self.has(Rule::CloseAlwaysAllots) {
                if state.sql.epoch < self.config.epochs && !self.is_held_up(state) {
                    self.allot(&mut next, o);
                    out.push((Step::of(o, "operator {w}: allots an epoch to close issuing"), next));
                }
            } else {
                next.operators[o].next = Next::PodsGone;
                out.push((Step::of(o, "operator {w}: finds issuing closed already"), next));
            }
        }
        self.plan_removal(state, o, out);
        self.plan_terms(state, o, out);
    }

    /// The campaign is over: the pods go, and the winners in Redis are compared with the rows (`operator/src/ledger/epoch/removal.rs`).
    fn plan_removal(&self, state: &State, o: usize, out: &mut Successors) {
        if state.left.removals == 0 || state.object != Object::Applied {
            return;
        }
        for server in self.servers(state) {
            let redis = state.redis[server];
            let keys = redis.keys;
            let serves = state.sql.open > 0 && keys.epoch == state.sql.open && keys.history == redis.identity;
            let are_rows = keys.issued.iter().zip(state.sql.rows).all(|(held, row)| held.same(row.winner));
            if !serves || !are_rows {
                continue;
            }
            let mut next = *state;
            next.left.removals -= 1;
            (0..self.config.issuers).for_each(|i| kill(&mut next, i));
            let (epoch, identity, rebind, ledger) = (state.sql.epoch, redis.identity, keys.epoch, keys.issued);
            next.operators[o] =
                Operator { next: Next::Close, epoch, identity, rebind, ledger, removing: true, ..Operator::default() };
            out.push((Step::of(o, "operator {w}: takes the pods away; {s} holds what is stored").on(server), next));
        }
    }

    /// Removal of the keys after the comparison.
    pub(crate) fn removal(&self, state: &State, o: usize, out: &mut Successors) {
        let operator = state.operators[o];
        let mut next = *state;
        if operator.next == Next::Close {
            if self.is_held_up(state) {
                return;
            }
            if state.sql.epoch == operator.epoch && state.sql.epoch < self.config.epochs {
                self.allot(&mut next, o);
                let Operator { epoch, next: then, .. } = next.operators[o];
                next.operators[o] = Operator { epoch, next: then, ..operator };
                out.push((Step::of(o, "operator {w}: allots an epoch that stays closed"), next));
            } else {
                done(&mut next, o);
                out.push((Step::of(o, "operator {w}: does not remove the keys, another epoch is there"), next));
            }
            return;
        }
        for server in self.servers(state) {
            let mut next = *state;
            done(&mut next, o);
            let redis = state.redis[server];
            let compared = (operator.identity, operator.rebind, operator.ledger);
            let text = if (redis.identity, redis.keys.epoch, redis.keys.issued) == compared {
                next.redis[server].keys = Keys::default();
                "operator {w}: removes the keys in {s}"
            } else {
                "operator {w}: {s} is not what it compared, leaves it"
            };
            out.push((Step::of(o, text).on(server), next));
        }
    }

    /// Decides who is told of another quantity, in which order, from what is there now.
    fn plan_terms(&self, state: &State, o: usize, out: &mut Successors) {
        let keys = state.redis[0].keys;
        let serves = keys.epoch == state.sql.open && keys.history == state.redis[0].identity;
        if self.config.budget.changes == 0 || state.object != Object::Applied {
            return;
        }
        let serves = state.sql.open > 0 && serves;
        let issued = highest(state);
        let total = if state.spec < issued { state.sql.total.max(issued) } else { state.spec };
        let (raise, lower) = (total > state.sql.total, total < state.sql.total);
        let ordered = self.has(Rule::TotalInOrder);
        // Whoever is late must find the newer number on both sides.
        let differs = keys.total != total || self.has(Rule::TermsNumbered) && (raise || lower);
        let steps = match (raise, differs, lower) {
            (true, true, _) if ordered => Next::TotalThenKeys,
            (true, true, _) => Next::KeysThenTotal,
            (_, true, true) if ordered => Next::KeysThenTotal,
            (_, true, true) => Next::TotalThenKeys,
            (true, false, _) | (_, false, true) => Next::Total,
            (_, true, _) => Next::Keys,
            _ => return,
        };
        // While nothing is open the total is only raised, in SQL; the next epoch brings it to Redis.
        let steps = if serves {
            steps
        } else if raise {
            Next::Total
        } else {
            return;
        };
        let mut next = *state;
        if self.has(Rule::TermsNumbered) {
            if state.sql.terms >= MOST_TERMS {
                return;
            }
            next.sql.terms += 1;
        }
        let (epoch, terms) = (state.sql.open, next.sql.terms);
        next.operators[o] = Operator { next: steps, epoch, total, terms, ..Operator::default() };
        out.push((Step::of(o, "operator {w}: sees another quantity in the spec"), next));
    }

    /// Brings the quantity to SQL or Redis.
    pub(crate) fn terms(&self, state: &State, o: usize, out: &mut Successors) {
        let operator = state.operators[o];
        if matches!(operator.next, Next::TotalThenKeys | Next::Total) {
            let mut next = *state;
            let row_above = state.sql.rows.iter().any(|row| row.rank > operator.total);
            let newest = state.sql.terms == operator.terms || !self.has(Rule::TermsNumbered);
            let taken = !row_above && newest;
            if taken {
                next.sql.total = operator.total;
            }
            // A refusal does not keep today's operator from the next step.
            let goes_on = taken || !self.has(Rule::TermsNumbered);
            if operator.next == Next::TotalThenKeys && goes_on {
                next.operators[o].next = Next::Keys;
            } else {
                done(&mut next, o);
            }
            out.push((Step::of(o, "operator {w}: brings its quantity to SQL"), next));
            return;
        }
        for server in self.servers(state) {
            let mut next = *state;
            let redis = &mut next.redis[server];
            let keys = &mut redis.keys;
            let newest = keys.terms < operator.terms || !self.has(Rule::TermsNumbered);
            let bound = keys.epoch == operator.epoch && keys.history == redis.identity;
            if bound && newest && operator.total >= keys.highest {
                keys.total = operator.total;
                keys.terms = operator.terms;
                if operator.next == Next::KeysThenTotal {
                    next.operators[o].next = Next::Total;
                } else {
                    done(&mut next, o);
                }
                out.push((Step::of(o, "operator {w}: brings its quantity to {s}").on(server), next));
            } else {
                done(&mut next, o);
                out.push((Step::of(o, "operator {w}: {s} does not take the quantity").on(server), next));
            }
        }
    }

    /// Deletion after the fence.
    pub(crate) fn deletion(&self, state: &State, o: usize, out: &mut Successors) {
        if state.operators[o].next == Next::Drain && self.is_held_up(state) {
            return;
        }
        let mut next = *state;
        let text = match state.operators[o].next {
            Next::CloseStock => {
                next.redis[0].keys.epoch = 0;
                next.operators[o] = Operator { next: Next::PodsGone, deleting: true, ..Operator::default() };
                "operator {w}: removes the meta key"
            }
            Next::PodsGone => {
                (0..self.config.issuers).for_each(|i| kill(&mut next, i));
                next.object = Object::NoPods;
                next.operators[o].next = Next::Drain;
                "operator {w}: removes the pods"
            }
            Next::Drain => {
                for p in 0..self.config.partitions {
                    for offset in state.log[p].committed..state.log[p].end {
                        let record = state.log[p].records[usize::from(offset)];
                        self.store_logged(&mut next, record, p, offset);
                    }
                    next.log[p].committed = state.log[p].end;
                    next.log[p].at = state.log[p].end;
                }
                next.operators[o].next = Next::Remove;
                "operator {w}: stores what is left in the log"
            }
            _ => {
                next.redis[0].keys = Keys::default();
                next.log = [Partition::default(); 2];
                next.topic += 1;
                next.object = Object::Gone;
                if !self.has(Rule::EpochOutlivesDeletion) {
                    next.sql.epoch = 0;
                    next.sql.open = 0;
                    next.sql.barriers = Default::default();
                }
                done(&mut next, o);
                "operator {w}: removes keys, group and topic"
            }
        };
        // Another operator may have finished the deletion meanwhile: the object is let go once.
        if matches!(state.object, Object::Deleting | Object::NoPods) {
            out.push((Step::of(o, text), next));
        } else {
            let mut next = *state;
            done(&mut next, o);
            out.push((Step::of(o, "operator {w}: finds the object gone"), next));
        }
    }
}

/// Somebody removes the barrier that was written by hand.
pub(crate) fn remove_forged(state: &mut State) {
    state.sql.barriers[usize::from(state.sql.forged)] = [0; 2];
    state.sql.topics[usize::from(state.sql.forged)] = 0;
    state.sql.forged = 0;
}
