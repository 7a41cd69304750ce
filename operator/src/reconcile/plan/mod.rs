//! Decides what should be, from what was read. Pure: no I/O, no clock of its own.

mod claimed;
mod decision;
mod inputs;
mod ledger;
mod outlook;
mod phase;
pub(super) mod terms;
mod topics;
mod work;

use coupon_core::identity::CampaignId;
use coupon_ledger::redis::Terms;
use kube::ResourceExt;

use self::claimed::claimed;
use self::inputs::PlanInputs;
use self::ledger::LedgerInputs;
use self::outlook::Outlook;
use self::phase::Readiness;
use self::terms::TermsDecision;
use super::cluster::Cluster;
use super::doubt::holds_back;
use super::observe::Observation;
use super::owner;
use super::retention;
use crate::api::{CampaignClass, CouponCampaign};
use crate::class::limits;

pub(super) use self::claimed::LEDGER_MOVED;
pub use self::decision::{Plan, Step};
pub use self::work::RemainingWork;

/// Everything that is to be decided, from everything that was read. `clock_ms` is the operator's own clock, used only where no
/// clock was heard. `cluster`: the one that this operator is in.
pub fn plan(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    id: &CampaignId,
    cluster: &Cluster,
    seen: &Observation,
    clock_ms: i64,
) -> Plan {
    let inputs = PlanInputs::of(campaign, seen, clock_ms);
    // From here on nobody meets what the class does not allow.
    let (campaign, exceeded) = limits::hold(campaign, &class.spec.limits, &inputs.has(campaign));
    let campaign = &campaign;
    let TermsDecision { terms: asked, storable, key_by, mut refusals, opened_ms } =
        terms::decide(campaign, &inputs.of_terms());
    refusals.extend(limits::refusal(&class.name_any(), &limits::settled(exceeded, &asked)));
    let terms = Terms { suspended: asked.suspended || holds_back(&inputs.time, inputs.before, &asked), ..asked };

    let claimed = claimed(inputs.ledger, campaign);
    let (mut steps, moved) = match claimed::claim(claimed, campaign, id, cluster) {
        Ok(found) => found,
        Err(why) => return owner::closed(seen, inputs.time, inputs.row.and_then(terms::recorded), terms, key_by, why),
    };
    let is_moved = moved.is_some();
    let topics = topics::plan(campaign, class, id, claimed.as_ref(), inputs.kafka);
    steps.extend(topics.steps.into_iter().map(Step::Topic));
    refusals.extend(moved.into_iter().chain(topics.refusals));

    let keys_removed = seen.keys_removed_ms().is_some()
        && retention::stays_removed(campaign, terms.end_ms, &inputs.time, &inputs.work);
    let wanted = LedgerInputs { terms, storable, opened_ms, topics_ready: topics.are_ready, keys_removed };
    let repairing = ledger::push_steps(&inputs, &wanted, &mut steps);
    steps.extend(topics.settings.into_iter().map(Step::Topic));

    let readiness = Readiness::of(&inputs, campaign, repairing, keys_removed, is_moved);
    // Pods are for what this pass brings about, not for what somebody else wrote into Redis.
    let configures = steps.iter().any(|step| matches!(step, Step::Configure(_)));
    let next = configures.then_some(Terms { suspended: asked.suspended, ..terms });
    let standing = readiness.standing(&inputs, campaign, &asked, &terms);
    let Outlook { phase, wants_count, goals, next_ms } =
        Outlook::of(campaign, class, &inputs, &readiness, &standing, next.as_ref());
    let mut plan = Plan {
        steps,
        phase,
        goals,
        hands_off: is_moved || topics.hands_off,
        refusals,
        terms,
        in_force: inputs.in_force,
        has_opened: inputs.row.map(|_| opened_ms.is_some()),
        is_closed_out: false,
        next_ms,
        now_ms: inputs.time.now_ms,
        time: inputs.time.clone(),
        key_by,
        wants_count,
        keys_removed,
        replaces: Vec::new(),
    };
    add_last_steps(&mut plan, campaign, &inputs, cluster);
    plan
}

/// Adds what is done only where all else is as it should be.
fn add_last_steps(plan: &mut Plan, campaign: &CouponCampaign, inputs: &PlanInputs<'_>, cluster: &Cluster) {
    if retention::may_remove_keys(campaign, inputs.before, plan, inputs.seen) {
        plan.steps.push(Step::RemoveKeys);
    }
    let rename = inputs.row.and_then(|row| cluster.renames(row, plan));
    plan.steps.extend(rename);
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
