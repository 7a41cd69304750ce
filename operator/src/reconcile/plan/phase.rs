//! Where a campaign stands. Pure.

use coupon_ledger::redis::{RedisState, Terms};

use super::inputs::PlanInputs;
use super::terms;
use super::work::RemainingWork;
use crate::api::{CouponCampaign, Phase};
use crate::reconcile::doubt::stays;

/// How far a campaign is prepared.
pub(super) struct Readiness {
    /// Redis has to be brought back to what the ledger says.
    pub repairing: bool,
    /// It is prepared: what comes of it depends on time and winners only.
    pub usable: bool,
    /// Its row is not in this database.
    pub moved: bool,
}

impl Readiness {
    /// `repairing`: as the steps on the ledger say. `keys_removed`: Redis holds nothing of it on purpose, and need not.
    pub(super) fn of(
        inputs: &PlanInputs<'_>,
        campaign: &CouponCampaign,
        repairing: bool,
        keys_removed: bool,
        moved: bool,
    ) -> Self {
        let PlanInputs { redis, row, before, .. } = *inputs;
        if inputs.ledger.is_some() {
            let usable = row.is_some_and(|row| row.open_epoch.is_some() || keys_removed);
            return Self { repairing, usable, moved };
        }
        // Issuing goes on without the database, and so does the clock. That Redis is another one shows even so.
        let is_lost = |redis: &RedisState| redis.open.as_ref().is_none_or(|open| open.history != redis.history);
        let usable = match before {
            Phase::Pending => false,
            // The repair has come to its end, and only that cannot be read any more.
            Phase::Repairing => redis.is_some_and(|redis| !is_lost(redis)),
            _ => true,
        };
        let was_removed = campaign.status.as_ref().is_some_and(|status| status.redis_keys_removed.is_some());
        Self { repairing: usable && !was_removed && redis.is_some_and(is_lost), usable, moved }
    }

    /// The terms that users meet, which are not yet those that are asked for. `terms`: those to bring into force.
    pub(super) fn standing(
        &self,
        inputs: &PlanInputs<'_>,
        campaign: &CouponCampaign,
        asked: &Terms,
        terms: &Terms,
    ) -> Terms {
        // Where the row is somewhere else, the Redis that answers may be another as well.
        let is_unknown = inputs.redis.is_none() || self.moved;
        let last_known = || terms::last_known(campaign.status.as_ref()).filter(|_| is_unknown);
        let standing = inputs.in_force.or_else(last_known).unwrap_or(*terms);
        // What is held back for a wrong clock, nobody has suspended.
        let suspended = if inputs.time.doubt.is_some() { asked.suspended } else { standing.suspended };
        Terms { suspended, ..standing }
    }

    /// Where the campaign stands under these terms.
    pub(super) fn phase(&self, inputs: &PlanInputs<'_>, terms: &Terms) -> Phase {
        let PlanInputs { before, issued, ref time, ref work, .. } = *inputs;
        match (self.repairing, self.usable) {
            (true, _) => Phase::Repairing,
            // Its window goes by, whatever can be read.
            (false, false) if self.moved && !matches!(before, Phase::Pending | Phase::Repairing) => {
                prepared(before, terms, time.now_ms, None, &RemainingWork::Unknown, false)
            }
            (false, false) => before,
            (false, true) => {
                let all_rows = inputs.ledger.zip(issued).is_some_and(|(ledger, issued)| ledger.stored >= issued);
                match stays(before, terms, issued).filter(|_| time.frozen) {
                    Some(phase) => phase,
                    None => prepared(before, terms, time.now_ms, issued, work, all_rows),
                }
            }
        }
    }
}

/// The phase to say and to act upon, and whether all rows have to be counted first: a sale is over once every row was counted after it seemed
/// so, and every winner has a record: nobody reads the topic any further once it is over.
pub(super) fn settled(inputs: &PlanInputs<'_>, phase: Phase) -> (Phase, bool) {
    if phase != Phase::Completed || inputs.before == Phase::Completed {
        return (phase, false);
    }
    let wants_count = inputs.ledger.is_some_and(|ledger| !ledger.counted_whole);
    let unpublished = inputs.ledger.is_some_and(|ledger| ledger.unpublished);
    (if wants_count || unpublished { Phase::Draining } else { phase }, wants_count)
}

/// Where a campaign stands that is prepared. `all_rows`: there are as many rows as winners.
fn prepared(
    before: Phase,
    terms: &Terms,
    now_ms: i64,
    issued: Option<u64>,
    work: &RemainingWork,
    all_rows: bool,
) -> Phase {
    if now_ms >= terms.end_ms {
        return match work {
            RemainingWork::None => Phase::Completed,
            // Committed offsets expire after days, and then the whole topic looks like lag.
            RemainingWork::Lag(_) if before == Phase::Completed && all_rows => Phase::Completed,
            RemainingWork::Unknown if before == Phase::Completed => Phase::Completed,
            _ => Phase::Draining,
        };
    }
    if terms.suspended {
        return Phase::Suspended;
    }
    if now_ms < terms.start_ms {
        return Phase::Scheduled;
    }
    match issued {
        Some(issued) if issued >= terms.total => Phase::SoldOut,
        Some(_) => Phase::Open,
        None if matches!(before, Phase::Open | Phase::SoldOut) => before,
        None => Phase::Open,
    }
}
