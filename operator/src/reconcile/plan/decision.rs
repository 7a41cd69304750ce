//! What is decided about a campaign.

use coupon_ledger::redis::Terms;

use crate::api::conditions::Report;
use crate::api::{KeyBy, Phase};
use crate::class::measure::clocks::Time;
use crate::controller::suspension::SuspensionOutcome;
use crate::kafka::topics::TopicStep;
use crate::reconcile::scaling_goals::ScalingGoals;

/// What is decided about a campaign.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do to the ledger, in order. Not empty: the pass is repeated at once afterwards.
    pub steps: Vec<Step>,
    /// Where the campaign stands.
    pub phase: Phase,
    /// What the numbers of pods aim at.
    pub goals: ScalingGoals,
    /// The ledger is not where it should be: pods stay as they are, wherever they are connected.
    pub hands_off: bool,
    /// What forbids part of what the spec asks for.
    pub refusals: Vec<Report>,
    /// What people asked for, as far as it may be.
    pub terms: Terms,
    /// What Redis goes by, if it serves.
    pub in_force: Option<Terms>,
    /// Whether the window is known to have opened: an epoch was open while Redis' clock was within it. `None` where the ledger cannot
    /// be read.
    pub has_opened: Option<bool>,
    /// The ledger of this couponId is another object's, of other terms.
    pub is_closed_out: bool,
    /// When the phase or the pods change next by themselves, milliseconds since 1970.
    pub next_ms: Option<i64>,
    /// The clock that was used: Redis', if another one stands by it.
    pub now_ms: i64,
    /// Whether it is to be believed, and why not.
    pub time: Time,
    /// The key of the records, which is fixed once the campaign has opened.
    pub key_by: KeyBy,
    /// All seems to be stored, and only a count of all rows can tell.
    pub wants_count: bool,
    /// Redis holds nothing of it on purpose, and need not.
    pub keys_removed: bool,
    /// Issuers that are to be replaced as they do not serve, by UID.
    pub replaces: Vec<String>,
}

impl Plan {
    /// Opens no epoch in this pass.
    pub fn open_nothing(&mut self) {
        self.steps.retain(|step| !matches!(step, Step::OpenEpoch { .. }));
    }

    /// Issuing was stopped without Redis, which cannot be asked.
    pub fn stopped(&mut self, stop: Option<SuspensionOutcome>) {
        if stop.is_some_and(|stop| stop.is_by_fence()) && matches!(self.phase, Phase::Open | Phase::SoldOut) {
            self.phase = Phase::Suspended;
        }
    }

    /// Whether this pass would open an epoch.
    pub fn opens_epoch(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::OpenEpoch { .. }))
    }

    /// Opens a new epoch although Redis and SQL agree: who serves does not.
    pub fn reopen(&mut self, reason: &'static str) {
        self.steps.insert(0, Step::OpenEpoch { reason });
        self.phase = Phase::Repairing;
        // It may mend them as well.
        self.replaces.clear();
    }

    /// The terms that a step brings into Redis, if they have a higher total than those there.
    pub fn raises_above(&self, in_redis: u64) -> Option<u64> {
        self.steps.iter().find_map(|step| match step {
            Step::Configure(terms) if terms.total > in_redis => Some(terms.total),
            _ => None,
        })
    }

    /// Brings in the other terms, and leaves the total in Redis as it is.
    pub fn put_raise_off(&mut self, in_redis: u64) {
        for step in &mut self.steps {
            if let Step::Configure(terms) = step {
                terms.total = terms.total.min(in_redis);
            }
        }
    }

    /// Brings a raised total in with a new epoch: Redis is filled with those of its ranks that the ledger has before anybody is given one. The
    /// database has the total first, so that consumers and the repair go by the same.
    pub fn raise_by_epoch(&mut self, reason: &'static str) {
        self.steps.retain(|step| !matches!(step, Step::Configure(_)));
        if !self.steps.iter().any(|step| matches!(step, Step::SetTotal(_))) {
            self.reopen(reason);
        }
    }
}

/// One thing to do to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the campaign's row.
    Register,
    /// Put on record that the ledger is this object's.
    Claim {
        /// Its window counts as not opened from now on.
        forget_window: bool,
    },
    /// Take it over from the cluster that has it.
    TakeOver {
        /// Its window counts as not opened from now on.
        forget_window: bool,
    },
    /// Make sure that no issuer of the cluster that had the ledger before grants any more.
    FenceOther,
    /// Put this cluster's present name on record, in place of an earlier one.
    Rename,
    /// Stop issuing in Redis, whatever else is to be done about the terms.
    Suspend,
    /// See to the topics.
    Topic(TopicStep),
    /// Bring the total in SQL to the spec's.
    SetTotal(u64),
    /// Begin a new epoch and fill Redis.
    OpenEpoch {
        /// Why.
        reason: &'static str,
    },
    /// Bring the terms in Redis to the spec's.
    Configure(Terms),
    /// Take back the time that grants may not go behind: it is ahead of a clock that others stand by.
    CorrectTime,
    /// Record that the window has opened, with these terms.
    RecordOpened(Terms),
    /// Remove the keys from Redis: the campaign is over for as long as they are kept.
    RemoveKeys,
}

impl Step {
    /// Whether it brings in what the spec asks for, so that it must not be done once that asks for something else.
    pub fn follows_the_spec(&self) -> bool {
        matches!(self, Self::SetTotal(_) | Self::Configure(_) | Self::OpenEpoch { .. })
    }

    /// Whether nothing waits for it: settings of topics, which the brokers may refuse for ever, keys that are not needed, and a name.
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Topic(TopicStep::Configure { .. }) | Self::RemoveKeys | Self::Rename)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::{Scene, terms};

    /// Wrong: a raise gives ranks away that the ledger names for somebody; or the other terms wait for it.
    #[test]
    fn a_raise_comes_with_an_epoch_or_waits_and_the_rest_does_not() {
        let raised = Terms { total: 150, ..terms() };
        let scene = || Scene::open().quantity(150);
        let both = scene().plan();
        assert_eq!(both.steps, [Step::SetTotal(150), Step::Configure(raised)]);
        assert_eq!(both.raises_above(100), Some(150));
        assert_eq!(both.raises_above(150), None, "Redis has it already");

        let mut first = both.clone();
        first.raise_by_epoch("Named");
        assert_eq!(first.steps, [Step::SetTotal(150)], "the database has it first");
        let mut then = scene().with(|s| s.row().total = 150).plan();
        assert_eq!(then.steps, [Step::Configure(raised)]);
        then.raise_by_epoch("Named");
        assert_eq!(
            (then.steps.as_slice(), then.phase),
            ([Step::OpenEpoch { reason: "Named" }].as_slice(), Phase::Repairing)
        );

        let mut waits = scene().with(|s| s.campaign.spec.suspend = true).plan();
        waits.put_raise_off(100);
        assert!(waits.steps.contains(&Step::Configure(Terms { suspended: true, ..terms() })), "{:?}", waits.steps);
    }
}
