//! Issuers, and the script that they call (`issuer/src/{gate,gatekeeper,batcher,delivery,opener}.rs`, `lua/issue.lua`).

use crate::model::{Model, Step, Successors};
use crate::rule::Rule;
use crate::state::{Issuer, Object, RANKS, Record, Redis, State, Winner, Work, put};
use crate::table::Verdict;

/// What the script says to one request.
enum Reply {
    /// The rank, granted or repeated.
    Rank(Record),
    /// Sold out, or beyond the user's limit.
    No,
    /// Nothing is granted under this epoch here.
    Refused,
}

impl Model {
    /// What an issuer may do.
    pub(crate) fn issuer_steps(&self, state: &State, i: usize, out: &mut Successors) {
        let issuer = state.issuers[i];
        if matches!(state.object, Object::Applied | Object::Deleting) {
            self.opener(state, i, out);
        }
        match issuer.work {
            Work::Idle => self.requests(state, i, out),
            Work::Called => self.call(state, i, out),
            Work::Granted => {
                let mut next = *state;
                next.issuers[i].work = Work::Produced;
                if next.send(issuer.record) {
                    out.push((Step::of(i, "issuer {w}: produces {r} (after-produce)").record(issuer.record), next));
                }
                // Who asks again and is a row by then needs no further record.
                if state.sql.rows[usize::from(issuer.record.rank) - 1].winner.same(issuer.record.winner) {
                    let mut next = *state;
                    next.issuers[i].work = Work::Durable;
                    out.push((Step::of(i, "issuer {w}: finds that {r} is a row").record(issuer.record), next));
                }
            }
            Work::Produced => self.give_up(state, i, out),
            Work::Inserting => self.direct_insert(state, i, out),
            Work::Durable => {
                let mut next = *state;
                next.issuers[i] = Issuer { work: Work::Idle, record: Record::NONE, ..issuer };
                next.answered[issuer.record.winner.place()] = issuer.record.rank;
                out.push((Step::of(i, "issuer {w}: answers {r}").record(issuer.record), next));
                self.give_up(state, i, out);
            }
        }
        if state.left.crashes > 0 && issuer != Issuer::default() {
            let mut next = *state;
            next.left.crashes -= 1;
            kill(&mut next, i);
            out.push((Step::of(i, "issuer {w}: crashes and starts again"), next));
        }
    }

    /// Takes the open epoch from SQL while nothing is served.
    fn opener(&self, state: &State, i: usize, out: &mut Successors) {
        let issuer = state.issuers[i];
        if issuer.epoch > 0 {
            return;
        }
        if issuer.read > 0 {
            let mut next = *state;
            next.issuers[i].read = 0;
            if issuer.read >= issuer.floor {
                next.issuers[i].epoch = issuer.read;
            }
            out.push((Step::of(i, "issuer {w}: applies the epoch that it read"), next));
        } else if state.sql.open >= issuer.floor && state.sql.open > 0 {
            let mut next = *state;
            next.issuers[i].read = state.sql.open;
            out.push((Step::of(i, "issuer {w}: reads the open epoch from SQL"), next));
        }
        if !self.has(Rule::PullEpoch) {
            for epoch in (1..=state.sql.epoch).filter(|epoch| *epoch >= issuer.floor && *epoch != state.sql.open) {
                let mut next = *state;
                next.issuers[i].epoch = epoch;
                next.issuers[i].read = 0;
                out.push((Step::of(i, "issuer {w}: an older epoch is handed to it, late"), next));
            }
        }
    }

    /// A user asks, or asks again.
    fn requests(&self, state: &State, i: usize, out: &mut Successors) {
        let issuer = state.issuers[i];
        if issuer.epoch == 0 {
            return;
        }
        for user in 0..self.config.users.min(state.asked + 1) {
            let key = state.wishes_answered(user);
            if key < self.config.limit {
                let mut next = *state;
                next.asked = state.asked.max(user + 1);
                let record = Record { rank: 0, winner: Winner::new(user, 0, key), epoch: issuer.epoch };
                next.issuers[i] = Issuer { work: Work::Called, record, ..issuer };
                out.push((Step::of(i, "issuer {w}: calls the script for {r}").record(record), next));
            }
        }
    }

    /// The script runs. What is lost of its reply counts as a timeout.
    fn call(&self, state: &State, i: usize, out: &mut Successors) {
        let issuer = state.issuers[i];
        for server in self.servers(state) {
            let mut next = *state;
            let seen = if issuer.seen_under == issuer.record.epoch { issuer.seen } else { 0 };
            let reply = self.script(&mut next.redis[server], issuer.record, seen);
            match reply {
                Reply::Rank(record) => {
                    next.issuers[i].work = Work::Granted;
                    next.issuers[i].record = record;
                    if self.config.budget.resumes > 0 && record.epoch >= issuer.seen_under {
                        next.issuers[i].seen = seen.max(next.redis[server].keys.highest);
                        next.issuers[i].seen_under = record.epoch;
                    }
                    let step = Step::of(i, "issuer {w}: {s} gives {r} (after-script)").record(record).on(server);
                    out.push((step, next));
                    if state.left.timeouts > 0 {
                        next.left.timeouts -= 1;
                        next.issuers[i] = Issuer { work: Work::Idle, record: Record::NONE, ..issuer };
                        let step =
                            Step::of(i, "issuer {w}: {s} gives {r}, the reply is lost").record(record).on(server);
                        out.push((step, next));
                    }
                }
                Reply::No => {
                    next.issuers[i] = Issuer { work: Work::Idle, record: Record::NONE, ..issuer };
                    out.push((Step::of(i, "issuer {w}: {s} grants nothing").on(server), next));
                }
                Reply::Refused => {
                    let epoch = if issuer.epoch == issuer.record.epoch { 0 } else { issuer.epoch };
                    next.issuers[i] = Issuer { epoch, work: Work::Idle, record: Record::NONE, ..issuer };
                    out.push((Step::of(i, "issuer {w}: {s} refuses the epoch").on(server), next));
                }
            }
        }
    }

    /// `lua/issue.lua` for one request.
    fn script(&self, redis: &mut Redis, request: Record, seen: u8) -> Reply {
        let keys = &mut redis.keys;
        let foreign = keys.history != redis.identity && self.has(Rule::HistoryCheck);
        if keys.epoch == 0 || keys.epoch != request.epoch || foreign {
            return Reply::Refused;
        }
        if keys.highest < seen && self.has(Rule::Behind) {
            keys.epoch = 0;
            return Reply::Refused;
        }
        let (user, key) = (request.winner.user(), request.winner.key());
        let mine = |winner: &Winner| !winner.is_none() && winner.user() == user;
        for (rank, winner) in keys.issued.iter().enumerate().filter(|(_, winner)| mine(winner)) {
            if self.config.limit == 1 || winner.key() == key {
                return Reply::Rank(Record { rank: rank as u8 + 1, winner: *winner, epoch: keys.epoch });
            }
        }
        let held: Vec<usize> = keys.issued.iter().filter(|w| mine(w)).map(|w| w.place() % 2).collect();
        let Some(n) = (0..self.config.limit).find(|n| !held.contains(&usize::from(*n))) else { return Reply::No };
        if keys.issued.iter().filter(|winner| !winner.is_none()).count() >= usize::from(keys.total) {
            return Reply::No;
        }
        // Ranks that were lost first, then the next one.
        let Some(rank) = (0..RANKS).find(|rank| keys.issued[*rank].is_none()) else { return Reply::No };
        if rank >= usize::from(keys.highest.max(keys.total)) {
            return Reply::No;
        }
        keys.issued[rank] = Winner::new(user, n, key);
        keys.highest = keys.highest.max(rank as u8 + 1);
        Reply::Rank(Record { rank: rank as u8 + 1, winner: keys.issued[rank], epoch: keys.epoch })
    }

    /// Kafka does not answer in time: 503, or the direct insert.
    fn give_up(&self, state: &State, i: usize, out: &mut Successors) {
        if state.left.timeouts == 0 {
            return;
        }
        let issuer = state.issuers[i];
        let mut next = *state;
        next.left.timeouts -= 1;
        next.issuers[i] = Issuer { work: Work::Idle, record: Record::NONE, ..issuer };
        out.push((Step::of(i, "issuer {w}: waits no longer for {r}").record(issuer.record), next));
        if self.config.direct && issuer.work == Work::Produced {
            next.issuers[i] = Issuer { work: Work::Inserting, ..issuer };
            out.push((Step::of(i, "issuer {w}: Kafka is away, inserts {r} directly").record(issuer.record), next));
        }
    }

    /// The direct insert commits, or nobody waits for it any longer and it commits late or never.
    fn direct_insert(&self, state: &State, i: usize, out: &mut Successors) {
        let issuer = state.issuers[i];
        let mut next = *state;
        if self.insert_directly(&mut next, issuer.record) == Verdict::Stored {
            next.issuers[i].work = Work::Durable;
            out.push((Step::of(i, "issuer {w}: the direct insert of {r} commits").record(issuer.record), next));
        } else {
            next.issuers[i] = Issuer { work: Work::Idle, record: Record::NONE, ..issuer };
            out.push((Step::of(i, "issuer {w}: the direct insert of {r} is refused").record(issuer.record), next));
        }
        if state.left.timeouts > 0 {
            let mut next = *state;
            next.left.timeouts -= 1;
            next.issuers[i] = Issuer { work: Work::Idle, record: Record::NONE, ..issuer };
            if put(&mut next.inserts, issuer.record) {
                let text = "issuer {w}: waits no longer for the insert of {r}, which may still commit";
                out.push((Step::of(i, text).record(issuer.record), next));
            }
        }
    }
}

/// The process ends; another one starts, knowing nothing. What it has sent is still on its way.
pub(crate) fn kill(state: &mut State, i: usize) {
    let issuer = std::mem::take(&mut state.issuers[i]);
    if issuer.work == Work::Inserting {
        put(&mut state.inserts, issuer.record);
    }
}
