//! Decides what should be, from what was read. Pure: no I/O, no clock of its own.

use campaign::identity::CampaignId;
use campaign::log::admin::TopicState;
use campaign::stock::{StockState, Terms};
use campaign::table::CampaignRow;
use kube::ResourceExt;

use super::aims::{Aims, aims, lead_ms};
use super::cluster::Cluster;
pub use super::decided::{Plan, Step};
use super::doubt::{holds_back, stays};
use super::observe::{LedgerView, Observation};
use super::owner::{self, Closed, Owner};
use super::retention;
use super::terms::{self, Decided};
use super::unserved::Unserved;
pub use super::work::Work;
use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign, Phase};
use crate::limits::{self, InForce};
use crate::log_view::LogView;
use crate::topic::{self, Claim, TopicStep};

fn claim(row: &CampaignRow) -> Claim {
    match row.topic_id.as_deref() {
        None => Claim::None,
        Some("") => Claim::Announced,
        Some(id) => Claim::Owned(id.to_owned()),
    }
}

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
    let ledger = seen.ledger.as_ref().ok();
    let stock = seen.stock.as_ref().ok();
    let log = seen.log.as_ref().ok();
    let row = ledger.and_then(|ledger| ledger.row.as_ref());
    let before = campaign.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
    let time = seen.time(clock_ms);
    let now_ms = time.now_ms;
    let in_redis = stock.and_then(|stock| stock.open.as_ref());
    let most = row.map_or(0, |row| terms::most(&terms::asked(campaign), row, in_redis.map(|open| open.terms)));
    let foreign = ledger
        .map(|ledger| ledger.foreign.unwrap_or(ledger.highest))
        .filter(|highest| row.is_some() && *highest > most);
    let believed = ledger.filter(|ledger| row.is_none() || ledger.highest <= most);
    let in_rows = believed.map_or(0, |ledger| ledger.highest);
    let highest = in_redis.map_or(0, |open| open.highest).max(in_rows);
    // Rows that Redis does not remember: it was set back without changing its identity.
    let set_back = believed.zip(stock).is_some_and(|(ledger, stock)| {
        stock.open.as_ref().is_some_and(|open| open.highest < in_rows || stock.issued < ledger.stored)
    });
    let issued = seen.issued();
    let work = Work::of(ledger, log, issued);
    let in_force = stock.filter(|_| !set_back).and_then(|stock| terms::in_force(row, stock));
    let partitions = log.and_then(|log| match &log.topic.events {
        TopicState::Present(topic) => Some(topic.partitions.len()),
        TopicState::Absent => None,
    });
    let opened = in_force.or_else(|| row.and_then(terms::recorded));
    let has = InForce::in_status(campaign.status.as_ref()).in_ledger(row, opened.as_ref(), partitions);
    // From here on nobody meets what the class does not allow.
    let (campaign, exceeded) = limits::hold(campaign, &class.spec.limits, &has);
    let campaign = &campaign;
    let known = terms::Ledger {
        row,
        in_force,
        // A window that only a wrong clock has opened has not opened.
        now_ms: stock.filter(|_| time.doubt.is_none()).map(|stock| stock.now_ms),
        issued: issued.unwrap_or(0),
        highest,
        foreign,
    };
    let Decided { terms: asked, key_by, mut refusals, opened_ms } = terms::decide(campaign, &known);
    refusals.extend(limits::refusal(&class.name_any(), &limits::settled(exceeded, &asked)));
    let terms = Terms { suspended: asked.suspended || holds_back(&time, before, &asked), ..asked };

    let mut steps = Vec::new();
    // Settings of topics come last and hold nothing up: suspending a sale must not wait for a policy of the brokers.
    let mut settings = Vec::new();
    let mut hands_off = false;
    let claimed = claimed(ledger, campaign.status.as_ref().is_some_and(|status| status.epoch.is_some()));
    match claimed {
        Some(Claimed::Unregistered) => steps.push(Step::Register),
        Some(Claimed::Moved) => {
            hands_off = true;
            let text = format!(
                "the campaign has a ledger, but no row in this database for realm `{}`: point the class back to where it was (host and name of \
                 the database, realm), or restore the database; until then pods stay as they are, and nobody repairs, suspends or closes it",
                id.realm()
            );
            refusals.push(Report::yes(ConditionType::Stalled, LEDGER_MOVED, text));
        }
        Some(Claimed::By(row)) => match owner::owner(campaign, row, cluster) {
            Owner::This => {}
            Owner::Claims { forget_window: false } => steps.push(Step::Claim { forget_window: false }),
            // What else is to be done depends on the window, which is forgotten by then.
            Owner::Claims { forget_window: true } => {
                return owner::closed(seen, time, row, terms, key_by, Closed::Adopted);
            }
            Owner::Differs(report) => return owner::closed(seen, time, row, terms, key_by, Closed::Out(report)),
            Owner::Elsewhere(report) => {
                return owner::closed(seen, time, row, terms, key_by, Closed::Elsewhere(report));
            }
            Owner::TakesOver { forget_window } => {
                return owner::closed(seen, time, row, terms, key_by, Closed::TakesOver { forget_window });
            }
            Owner::Unfenced => return owner::closed(seen, time, row, terms, key_by, Closed::Unfenced),
        },
        None => {}
    }
    let topic_ready = match topic_steps(campaign, class, id, claimed.as_ref(), log) {
        Ok(Some(found)) => {
            let later = |step: &TopicStep| matches!(step, TopicStep::Configure { .. });
            let (last, first): (Vec<_>, Vec<_>) = found.into_iter().partition(later);
            settings = last;
            let ready = first.is_empty();
            steps.extend(first.into_iter().map(Step::Topic));
            ready
        }
        Ok(None) => false,
        Err(conflict) => {
            hands_off = true;
            refusals.push(Report::yes(ConditionType::Stalled, conflict.reason(), conflict.to_string()));
            refusals.push(Report::no(ConditionType::TopicReady, conflict.reason(), conflict.to_string()));
            if conflict.reason() != LEDGER_MOVED {
                let message = conflict.to_string();
                refusals.push(Report::yes(ConditionType::ResourceConflict, conflict.reason(), message));
            }
            false
        }
    };
    let keys_removed =
        seen.keys_removed_ms().is_some() && retention::stays_removed(campaign, terms.end_ms, &time, &work);
    let mut repairing = false;
    if let (Some(ledger), Some(stock)) = (ledger, stock) {
        match &ledger.row {
            None => {}
            Some(row) => {
                let (raise, lower) = (terms.total > row.total, terms.total < row.total);
                if raise {
                    steps.push(Step::SetTotal(terms.total));
                }
                let open = row.open_epoch.filter(|epoch| stock.serves(*epoch) && !set_back);
                match (open, &stock.open) {
                    // To Redis even if it is right already: whoever was overtaken must find the newer change there too.
                    (Some(_), Some(open)) if open.terms != terms || raise || lower => {
                        steps.push(Step::Configure(terms))
                    }
                    (Some(_), Some(_)) => {}
                    _ if keys_removed => {}
                    // Its first window would open, or not, on the word of a clock that nobody believes.
                    _ if row.epoch == 0 && time.doubt.is_some() => {}
                    _ if topic_ready && steps.is_empty() => {
                        repairing = row.epoch > 0 && !never_opened(before, ledger, stock);
                        let reason = if repairing { Unserved::of(row, stock) } else { Unserved::New }.reason();
                        steps.push(Step::OpenEpoch { reason });
                    }
                    _ => repairing = row.epoch > 0 && !never_opened(before, ledger, stock),
                }
                if open.is_some() && time.left_ahead {
                    steps.push(Step::CorrectTime);
                }
                if open.is_some() {
                    // Lowered in Redis first: no rank above the new total can be given any more.
                    if lower {
                        steps.push(Step::SetTotal(terms.total));
                    }
                    let opened = opened_ms.and(in_force).filter(|terms| time.doubt.is_none() && !on_record(row, terms));
                    steps.extend(opened.map(Step::RecordOpened));
                }
            }
        }
    }
    steps.extend(settings.into_iter().map(Step::Topic));
    let usable = match ledger {
        Some(_) => row.is_some_and(|row| row.open_epoch.is_some() || keys_removed),
        // Issuing goes on without the database, and so does the clock. That Redis is another one shows even so.
        None => {
            let is_filled =
                || stock.is_some_and(|stock| stock.open.as_ref().is_some_and(|o| o.history == stock.history));
            let prepared = match before {
                Phase::Pending => false,
                // The repair has come to its end, and only that cannot be read any more.
                Phase::Repairing => is_filled(),
                _ => true,
            };
            let was_removed = campaign.status.as_ref().is_some_and(|status| status.redis_keys_removed.is_some());
            let is_lost = |stock: &StockState| stock.open.as_ref().is_none_or(|open| open.history != stock.history);
            repairing = prepared && !was_removed && stock.is_some_and(is_lost);
            prepared
        }
    };
    // What users meet, which is not yet what people ask for. Where the row is somewhere else, the Redis that answers may be another as well.
    let moved = matches!(claimed, Some(Claimed::Moved));
    let last_known = || terms::last_known(campaign.status.as_ref()).filter(|_| stock.is_none() || moved);
    let standing = in_force.or_else(last_known).unwrap_or(terms);
    // What is held back for a wrong clock, nobody has suspended.
    let standing =
        Terms { suspended: if time.doubt.is_some() { asked.suspended } else { standing.suspended }, ..standing };
    let phase_under = |terms: &Terms| match (repairing, usable) {
        (true, _) => Phase::Repairing,
        // Its window goes by, whoever can be read.
        (false, false) if moved && !matches!(before, Phase::Pending | Phase::Repairing) => {
            phase(before, terms, now_ms, None, &Work::Unknown, false)
        }
        (false, false) => before,
        (false, true) => {
            let all_rows = ledger.zip(issued).is_some_and(|(ledger, issued)| ledger.stored >= issued);
            match stays(before, terms, issued).filter(|_| time.frozen) {
                Some(phase) => phase,
                None => phase(before, terms, now_ms, issued, &work, all_rows),
            }
        }
    };
    let phase = phase_under(&standing);
    let uncounted = ledger.is_some_and(|ledger| !ledger.counted_whole);
    let wants_count = phase == Phase::Completed && before != Phase::Completed && uncounted;
    // Said, and acted upon, only when every row was counted after it seemed so.
    // Nor before every winner has a record: who reads the topic looks no further once it is over.
    let unpublished = before != Phase::Completed && ledger.is_some_and(|ledger| ledger.unpublished);
    let phase = if wants_count || (phase == Phase::Completed && unpublished) { Phase::Draining } else { phase };
    let lead_ms = lead_ms(campaign, class, &standing);
    let aims = match time.frozen {
        true if time.doubt.is_some() => Aims::held("the clocks do not agree"),
        true => Aims::held("neither Redis nor the database says what time it is"),
        // Pods are for what this pass brings about, not for what somebody else wrote into Redis.
        false if steps.iter().any(|step| matches!(step, Step::Configure(_))) => {
            let next = Terms { suspended: asked.suspended, ..terms };
            aims(campaign, phase_under(&next), &next, now_ms, self::lead_ms(campaign, class, &next), &work)
        }
        false => aims(campaign, phase, &standing, now_ms, lead_ms, &work),
    };
    let next_ms = [lead_ms, standing.start_ms, standing.end_ms].into_iter().filter(|at| *at > now_ms).min();
    let is_closed_out = false;
    let mut plan = Plan {
        steps,
        phase,
        aims,
        hands_off,
        refusals,
        terms,
        in_force,
        has_opened: row.map(|_| opened_ms.is_some()),
        is_closed_out,
        next_ms,
        now_ms,
        time,
        key_by,
        wants_count,
        keys_removed,
        replaces: Vec::new(),
    };
    if retention::may_go(campaign, before, &plan, seen) {
        plan.steps.push(Step::RemoveKeys);
    }
    let rename = row.and_then(|row| cluster.renames(row, &plan));
    plan.steps.extend(rename);
    plan
}

/// Whether these terms of an opened window are on record.
fn on_record(row: &CampaignRow, terms: &Terms) -> bool {
    let recorded = (row.opened_start_ms.is_some(), row.opened_end_ms, row.opened_user_limit);
    recorded == (true, Some(terms.end_ms), Some(terms.limit))
}

/// Whether the campaign has an epoch that was allotted at most: there is nothing that would have to be brought back.
fn never_opened(before: Phase, ledger: &LedgerView, stock: &StockState) -> bool {
    let was_opened = ledger.row.as_ref().is_some_and(|row| row.open_epoch.is_some() || row.opened_start_ms.is_some());
    before == Phase::Pending && !was_opened && ledger.highest == 0 && stock.issued == 0 && stock.open.is_none()
}

/// Reason: the ledger is not where the class says.
pub(super) const LEDGER_MOVED: &str = "LedgerMoved";

type TopicSteps = Result<Option<Vec<TopicStep>>, topic::TopicConflict>;

/// What the database has of a campaign.
#[derive(Debug, Clone, Copy)]
enum Claimed<'a> {
    /// Nothing yet.
    Unregistered,
    /// Nothing, though the campaign has had an epoch.
    Moved,
    /// Its row.
    By(&'a CampaignRow),
}

/// `None`: it could not be read.
fn claimed(ledger: Option<&LedgerView>, has_had_epoch: bool) -> Option<Claimed<'_>> {
    Some(match (&ledger?.row, has_had_epoch) {
        (Some(row), _) => Claimed::By(row),
        (None, true) => Claimed::Moved,
        (None, false) => Claimed::Unregistered,
    })
}

/// `None` while database or Kafka could not be read, or a partition has no leader yet.
fn topic_steps(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    id: &CampaignId,
    claimed: Option<&Claimed<'_>>,
    log: Option<&LogView>,
) -> TopicSteps {
    let (claim, recorded) = match claimed {
        None | Some(Claimed::Moved) => return Ok(None),
        Some(Claimed::Unregistered) => (Claim::None, None),
        Some(Claimed::By(row)) => (claim(row), row.kafka_cluster_id.as_deref()),
    };
    let Some(log) = log else { return Ok(None) };
    let adopt = campaign.annotations().get(topic::ADOPT_ANNOTATION).map(|id| id.trim());
    let steps = topic::plan(id, &class.spec.kafka, campaign.spec.partitions, &claim, recorded, &log.topic, adopt)?;
    let leaders = [&log.topic.events, &log.topic.dead_letters]
        .into_iter()
        .all(|state| matches!(state, TopicState::Present(topic) if topic.has_leaders()));
    Ok(if steps.is_empty() && !leaders { None } else { Some(steps) })
}

/// Where a campaign stands that is prepared. `all_rows`: there are as many rows as winners.
fn phase(before: Phase, terms: &Terms, now_ms: i64, issued: Option<u64>, work: &Work, all_rows: bool) -> Phase {
    if now_ms >= terms.end_ms {
        return match work {
            Work::None => Phase::Completed,
            // Committed offsets expire after days, and then the whole topic looks like lag.
            Work::Lag(_) if before == Phase::Completed && all_rows => Phase::Completed,
            Work::Unknown if before == Phase::Completed => Phase::Completed,
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

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "plan_properties.rs"]
mod properties;
