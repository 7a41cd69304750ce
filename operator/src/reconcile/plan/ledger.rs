//! Which steps bring total, terms and epoch to what they should be. Pure.

use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::{RedisState, Terms};

use super::decision::Step;
use super::inputs::PlanInputs;
use crate::api::Phase;
use crate::reconcile::observe::LedgerView;
use crate::reconcile::unserved::Unserved;

/// What the steps on the ledger depend on besides what was read.
pub(super) struct LedgerInputs {
    /// The terms to bring into force.
    pub terms: Terms,
    /// How many coupons the database is to take.
    pub storable: u64,
    /// When the window has opened, if it has.
    pub opened_ms: Option<i64>,
    /// The topics are as an epoch needs them.
    pub topics_ready: bool,
    /// Redis holds nothing of the campaign on purpose, and need not.
    pub keys_removed: bool,
}

/// Adds the steps on total, terms and epoch to those that come before. Answers whether Redis has to be brought back to what the ledger says.
pub(super) fn push_steps(inputs: &PlanInputs<'_>, wanted: &LedgerInputs, steps: &mut Vec<Step>) -> bool {
    let LedgerInputs { terms, storable, opened_ms, topics_ready, keys_removed } = *wanted;
    let (Some(ledger), Some(redis), Some(row)) = (inputs.ledger, inputs.redis, inputs.row) else { return false };
    let (raise, lower) = (storable > row.total, storable < row.total);
    if raise {
        steps.push(Step::SetTotal(storable));
    }
    let is_as_written = !inputs.set_back && !inputs.foreign_number;
    let open = row.open_epoch.filter(|epoch| redis.serves(*epoch) && is_as_written);
    let is_lost = row.epoch > 0 && !never_opened(inputs.before, ledger, redis);
    let mut repairing = false;
    match (open, &redis.open) {
        // To Redis even if it is right already: a change that was overtaken must find the newer one there too.
        (Some(_), Some(open)) if open.terms != terms || raise || lower => steps.push(Step::Configure(terms)),
        (Some(_), Some(_)) => {}
        _ if keys_removed => {}
        // Its first window would open, or not, on the word of a clock that nobody believes.
        _ if row.epoch == 0 && inputs.time.doubt.is_some() => {}
        _ if topics_ready && steps.is_empty() => {
            repairing = is_lost;
            let reason = if repairing { Unserved::of(row, redis) } else { Unserved::New }.reason();
            steps.push(Step::OpenEpoch { reason });
        }
        _ => repairing = is_lost,
    }
    if open.is_none() {
        return repairing;
    }
    if inputs.time.left_ahead {
        steps.push(Step::CorrectTime);
    }
    // Lowered in Redis first: no rank above the new total can be given any more.
    if lower {
        steps.push(Step::SetTotal(storable));
    }
    let opened = opened_ms.and(inputs.in_force).filter(|_| inputs.time.doubt.is_none());
    // What differs from what is decided is not in force yet, or somebody wrote it into Redis.
    let opened = opened.filter(|in_force| of_window(in_force) == of_window(&terms));
    steps.extend(opened.filter(|terms| !is_on_record(row, terms)).map(Step::RecordOpened));
    repairing
}

/// What is put on record of terms when their window has opened.
fn of_window(terms: &Terms) -> (i64, i64, u32) {
    (terms.start_ms, terms.end_ms, terms.limit)
}

/// Whether these terms of an opened window are on record.
fn is_on_record(row: &CampaignRow, terms: &Terms) -> bool {
    let recorded = (row.opened_start_ms.is_some(), row.opened_end_ms, row.opened_user_limit);
    recorded == (true, Some(terms.end_ms), Some(terms.limit))
}

/// Whether the campaign has an epoch that was allotted at most: there is nothing that would have to be brought back.
fn never_opened(before: Phase, ledger: &LedgerView, redis: &RedisState) -> bool {
    let was_opened = ledger.row.as_ref().is_some_and(|row| row.open_epoch.is_some() || row.opened_start_ms.is_some());
    before == Phase::Pending && !was_opened && ledger.highest == 0 && redis.issued == 0 && redis.open.is_none()
}
