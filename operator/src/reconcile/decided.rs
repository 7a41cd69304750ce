//! What is decided about a campaign.

use super::aims::Aims;
use crate::api::conditions::Report;
use crate::api::{KeyBy, Phase};
use crate::measure::clocks::Time;
use crate::stop::Stop;
use crate::topic::TopicStep;
use campaign::stock::Terms;

/// What is decided about a campaign.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do to the ledger, in order. Not empty: the pass is repeated at once afterwards.
    pub steps: Vec<Step>,
    /// Where the campaign stands.
    pub phase: Phase,
    /// What the numbers of pods aim at.
    pub aims: Aims,
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
    pub fn stopped(&mut self, stop: Option<Stop>) {
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
    /// Whether nothing waits for it: settings of topics, which the brokers may refuse for ever, keys that are not needed, and a name.
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Topic(TopicStep::Configure { .. }) | Self::RemoveKeys | Self::Rename)
    }
}
