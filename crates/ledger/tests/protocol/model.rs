//! The model: bounds, rules, and one list of all steps that may come next.

use std::fmt;

use crate::budget::{Budget, NOTHING};
use crate::rule::{Conflict, Rule, Rules};
use crate::state::{Issuer, Keys, Record, Redis, State};

/// A step that was taken, in words. `{w}` is who took it, `{s}` the Redis server, `{r}` the record.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// The words.
    pub text: &'static str,
    /// Number of the issuer, operator or partition.
    pub who: usize,
    /// 0: the primary; 1: the old primary.
    pub server: usize,
    /// The record.
    pub record: Record,
}

impl Step {
    /// A step of somebody.
    pub(crate) fn of(who: usize, text: &'static str) -> Self {
        Self { text, who, server: 0, record: Record::NONE }
    }

    /// Concerning a record.
    pub(crate) fn record(self, record: Record) -> Self {
        Self { record, ..self }
    }

    /// On one of the Redis servers.
    pub(crate) fn on(self, server: usize) -> Self {
        Self { server, ..self }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = if self.server == 0 { "the primary" } else { "the old primary" };
        let record = if self.record.is_none() { String::new() } else { self.record.to_string() };
        let text = self.text.replace("{w}", &self.who.to_string()).replace("{s}", server).replace("{r}", &record);
        f.write_str(&text)
    }
}

/// A configuration: what there is, and how much may happen.
#[derive(Clone, Copy)]
pub(crate) struct Config {
    /// Issuers, 1 or 2.
    pub issuers: usize,
    /// Operators, 1 or 2; with 2, either may be a zombie.
    pub operators: usize,
    /// Users with requests.
    pub users: u8,
    /// Coupons of a user.
    pub limit: u8,
    /// Coupons.
    pub total: u8,
    /// Epochs are allotted up to this one. The first is open at the start.
    pub epochs: u8,
    /// Partitions, 1 or 2; with 2, each record may go to either.
    pub partitions: usize,
    /// Records of a partition.
    pub log: u8,
    /// After a failover the old primary goes on serving whoever reaches it.
    pub old_primary: bool,
    /// Issuers insert directly when Kafka does not answer.
    pub direct: bool,
    /// Redis is written in chunks, under temporary keys; else in one step.
    pub chunks: bool,
    /// Redis that lost nothing is bound to the new epoch.
    pub rebind: bool,
    /// Consumers lose their place and read again from the committed offset.
    pub redelivery: bool,
    /// An operator may end anywhere and start afresh. A zombie is the same at the places where it matters.
    pub restarts: bool,
    /// A repair may begin although nothing shows that it is needed.
    pub needless: bool,
    /// What may go wrong.
    pub budget: Budget,
}

/// What most configurations have in common: one of everything, one coupon, and nothing goes wrong.
pub(crate) const CALM: Config = Config {
    issuers: 1,
    operators: 1,
    users: 2,
    limit: 1,
    total: 1,
    epochs: 2,
    partitions: 1,
    log: 4,
    old_primary: false,
    direct: false,
    chunks: false,
    rebind: false,
    redelivery: false,
    restarts: false,
    needless: false,
    budget: NOTHING,
};

/// A configuration under some rules.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    /// What there is.
    pub config: Config,
    /// The rules in force.
    pub rules: Rules,
    /// What happens to winners that meet another row.
    pub conflict: Conflict,
}

/// Steps and the states that they lead to.
pub(crate) type Successors = Vec<(Step, State)>;

impl Model {
    /// Every rule is in force.
    pub(crate) fn sound(config: Config) -> Self {
        Self { config, rules: Rules::ALL, conflict: Conflict::FirstRowStands }
    }

    /// The same without some rules.
    pub(crate) fn without(config: Config, rules: &[Rule]) -> Self {
        Self { rules: Rules::without(rules), ..Self::sound(config) }
    }

    /// Whether a rule is in force.
    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    /// Epoch 1 is open, and every issuer serves it.
    pub(crate) fn start(&self) -> State {
        let mut state = State { identities: 1, spec: self.config.total, left: self.config.budget, ..State::default() };
        let keys = Keys { epoch: 1, history: 1, total: self.config.total, ..Keys::default() };
        state.redis[0] = Redis { identity: 1, keys, temporary: [0; 2] };
        state.replica = if self.config.budget.failovers + self.config.budget.resumes > 0 {
            state.redis[0]
        } else {
            Redis::default()
        };
        for issuer in &mut state.issuers[..self.config.issuers] {
            *issuer = Issuer { epoch: 1, ..Issuer::default() };
        }
        state.sql.epoch = 1;
        state.sql.open = 1;
        state.sql.total = self.config.total;
        state.sql.barriers[1] = [1; 2];
        state
    }

    /// Everything that may happen next.
    pub(crate) fn successors(&self, state: &State, out: &mut Successors) {
        for issuer in 0..self.config.issuers {
            self.issuer_steps(state, issuer, out);
        }
        for operator in 0..self.config.operators {
            self.operator_steps(state, operator, out);
        }
        for partition in 0..self.config.partitions {
            self.consumer_steps(state, partition, out);
        }
        self.log_steps(state, out);
        self.table_steps(state, out);
        self.redis_steps(state, out);
        self.people_steps(state, out);
    }

    /// Redis servers that can be reached.
    pub(crate) fn servers(&self, state: &State) -> impl Iterator<Item = usize> + use<> {
        let old = state.redis[1].identity > 0;
        (0..2).filter(move |server| *server == 0 || old)
    }

    /// What befalls Redis.
    fn redis_steps(&self, state: &State, out: &mut Successors) {
        let primary = state.redis[0];
        let copied = state.left.failovers + state.left.resumes > 0;
        if copied && state.replica != primary {
            out.push((Step::of(0, "the replica catches up"), State { replica: primary, ..*state }));
        }
        if state.left.failovers > 0 {
            let mut next = *state;
            next.left.failovers -= 1;
            next.identities += 1;
            next.redis[0] = Redis { identity: next.identities, ..state.replica };
            next.redis[1] = if self.config.old_primary { primary } else { Redis::default() };
            let copied = next.left.failovers + next.left.resumes > 0;
            next.replica = if copied { next.redis[0] } else { Redis::default() };
            out.push((Step::of(0, "failover: the replica is the primary"), next));
        }
        if state.left.resumes > 0 && state.replica.keys != primary.keys {
            let mut next = *state;
            next.left.resumes -= 1;
            next.redis[0] = Redis { identity: primary.identity, ..state.replica };
            if next.left.failovers + next.left.resumes == 0 {
                next.replica = Redis::default();
            }
            out.push((Step::of(0, "the primary is resumed from an older memory snapshot"), next));
        }
        if state.left.flushes > 0 {
            let mut next = *state;
            next.left.flushes -= 1;
            next.redis[0] = Redis { identity: primary.identity, ..Redis::default() };
            out.push((Step::of(0, "FLUSHALL"), next));
        }
    }
}
