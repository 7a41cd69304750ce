//! Decides what should be, from what was read. Pure: no I/O, no clock of its own.

use campaign::identity::CampaignId;
use campaign::log::admin::TopicState;
use campaign::stock::{StockState, Terms};
use campaign::table::CampaignRow;

use super::aims::{Aims, aims, lead_ms};
use super::doubt::{holds_back, stays};
use super::observe::{LedgerView, Observation};
use crate::api::conditions::Report;
use crate::api::{CampaignClass, ConditionType, CouponCampaign, KeyBy, Phase};
use crate::log_view::LogView;
use crate::measure::clocks::Time;
use crate::topic::{self, Claim, TopicStep};

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
}

/// One thing to do to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the campaign's row.
    Register,
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
    /// Record that the window has opened.
    RecordOpened,
}

impl Step {
    /// Whether nothing waits for it: settings of topics, which the brokers may refuse for ever.
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Topic(TopicStep::Configure { .. }))
    }
}

fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn claim(row: &CampaignRow) -> Claim {
    match row.topic_id.as_deref() {
        None => Claim::None,
        Some("") => Claim::Announced,
        Some(id) => Claim::Owned(id.to_owned()),
    }
}

/// What the spec asks for, corrected by what is fixed since the campaign opened; and what was corrected.
fn terms(
    campaign: &CouponCampaign,
    row: Option<&CampaignRow>,
    stock: Option<&StockState>,
    highest: u64,
) -> (Terms, KeyBy, Vec<Report>) {
    let spec = &campaign.spec;
    let mut refusals = Vec::new();
    let mut terms = Terms {
        total: natural(spec.total_quantity),
        limit: spec.per_user_limit.into(),
        start_ms: spec.window.start.0.as_millisecond(),
        end_ms: spec.window.end.0.as_millisecond(),
        suspended: spec.suspend,
    };
    let mut key_by = spec.key_by;
    if let Some(row) = row {
        if let Some(opened) = row.opened_start_ms.or_else(|| opened_in_redis(row, stock?))
            && opened != terms.start_ms
        {
            refusals.push(Report::yes(
                ConditionType::Stalled,
                "WindowStartFixed",
                "window.start cannot change once the campaign has opened; put the old time back, or use another couponId",
            ));
            terms.start_ms = opened;
        }
        if let Some(opened) = row.opened_key_by.as_deref().and_then(parse_key_by)
            && opened != key_by
        {
            refusals.push(Report::yes(
                ConditionType::Stalled,
                "KeyByFixed",
                "keyBy cannot change once the campaign has opened; put the old value back, or use another couponId",
            ));
            key_by = opened;
        }
        if terms.total < highest {
            refusals.push(Report::yes(
                ConditionType::Stalled,
                "QuantityBelowIssued",
                format!(
                    "totalQuantity is {}, but {highest} coupons are issued; raise it to at least {highest}",
                    terms.total
                ),
            ));
            terms.total = row.total.max(highest);
        }
    }
    (terms, key_by, refusals)
}

/// Start of a window that Redis has opened by its own clock, whether or not anybody has recorded it.
fn opened_in_redis(row: &CampaignRow, stock: &StockState) -> Option<i64> {
    let open = stock.open.as_ref().filter(|_| row.open_epoch.is_some_and(|epoch| stock.serves(epoch)))?;
    (open.terms.start_ms <= stock.now_ms).then_some(open.terms.start_ms)
}

fn parse_key_by(text: &str) -> Option<KeyBy> {
    [KeyBy::User, KeyBy::Campaign].into_iter().find(|each| each.to_string() == text)
}

/// Everything that is to be decided, from everything that was read. `clock_ms` is the operator's own clock, used only where no
/// clock was heard.
pub fn plan(
    campaign: &CouponCampaign,
    class: &CampaignClass,
    id: &CampaignId,
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
    let highest_issued = stock.and_then(|s| s.open.as_ref()).map_or(0, |open| open.highest);
    let highest = highest_issued.max(ledger.map_or(0, |ledger| ledger.highest));
    // A window that only a wrong clock has opened has not opened.
    let believed = stock.filter(|_| time.doubt.is_none());
    let (asked, key_by, mut refusals) = terms(campaign, row, believed, highest);
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
            refusals.push(Report::yes(
                ConditionType::Stalled,
                "LedgerMoved",
                "the campaign has a ledger, but not in this database; point the class back, or restore the database",
            ));
        }
        Some(Claimed::By(_)) | None => {}
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
            if conflict.reason() != "LedgerMoved" {
                let message = conflict.to_string();
                refusals.push(Report::yes(ConditionType::ResourceConflict, conflict.reason(), message));
            }
            false
        }
    };
    let mut repairing = false;
    if let (Some(ledger), Some(stock)) = (ledger, stock) {
        match &ledger.row {
            None => {}
            Some(row) => {
                let (raise, lower) = (terms.total > row.total, terms.total < row.total);
                if raise {
                    steps.push(Step::SetTotal(terms.total));
                }
                // Rows that Redis does not remember: it was set back without changing its identity.
                let set_back = stock
                    .open
                    .as_ref()
                    .is_some_and(|open| open.highest < ledger.highest || stock.issued < ledger.stored);
                let open = row.open_epoch.filter(|epoch| stock.serves(*epoch) && !set_back);
                match (open, &stock.open) {
                    // To Redis even if it is right already: whoever was overtaken must find the newer change there too.
                    (Some(_), Some(open)) if open.terms != terms || raise || lower => {
                        steps.push(Step::Configure(terms))
                    }
                    (Some(_), Some(_)) => {}
                    // Its first window would open, or not, on the word of a clock that nobody believes.
                    _ if row.epoch == 0 && time.doubt.is_some() => {}
                    _ if topic_ready && steps.is_empty() => {
                        repairing = row.epoch > 0;
                        steps.push(Step::OpenEpoch { reason: why_open(row, stock) });
                    }
                    _ => repairing = row.epoch > 0,
                }
                if open.is_some() {
                    // Lowered in Redis first: no rank above the new total can be given any more.
                    if lower {
                        steps.push(Step::SetTotal(terms.total));
                    }
                    let has_begun = |ms: i64| ms >= terms.start_ms;
                    if row.opened_start_ms.is_none()
                        && !time.frozen
                        && has_begun(now_ms)
                        && time.redis_ms.is_some_and(has_begun)
                    {
                        steps.push(Step::RecordOpened);
                    }
                }
            }
        }
    }
    steps.extend(settings.into_iter().map(Step::Topic));
    let issued = stock.map(|stock| stock.issued);
    let work = Work::of(ledger, log, issued);
    let usable = match ledger {
        Some(_) => row.is_some_and(|row| row.open_epoch.is_some()),
        // Issuing goes on without the database, and so does the clock. That Redis is another one shows even so.
        None => {
            let prepared = !matches!(before, Phase::Pending | Phase::Repairing);
            repairing =
                prepared && stock.is_some_and(|stock| stock.open.as_ref().is_none_or(|o| o.history != stock.history));
            prepared
        }
    };
    let phase = match (repairing, usable) {
        (true, _) => Phase::Repairing,
        (false, false) => before,
        (false, true) => {
            let all_rows = ledger.zip(issued).is_some_and(|(ledger, issued)| ledger.stored >= issued);
            match stays(before, &asked, issued).filter(|_| time.frozen) {
                Some(phase) => phase,
                None => phase(before, &asked, now_ms, issued, &work, all_rows),
            }
        }
    };
    let uncounted = ledger.is_some_and(|ledger| !ledger.counted_whole);
    let wants_count = phase == Phase::Completed && before != Phase::Completed && uncounted;
    // Said, and acted upon, only when every row was counted after it seemed so.
    let phase = if wants_count { Phase::Draining } else { phase };
    let lead_ms = lead_ms(campaign, class, &terms);
    let aims = match time.frozen {
        true => Aims::held("the clocks do not agree"),
        false => aims(campaign, phase, &asked, now_ms, lead_ms, &work),
    };
    let next_ms = [lead_ms, terms.start_ms, terms.end_ms].into_iter().filter(|at| *at > now_ms).min();
    Plan { steps, phase, aims, hands_off, refusals, terms, next_ms, now_ms, time, key_by, wants_count }
}

fn why_open(row: &CampaignRow, stock: &StockState) -> &'static str {
    match (&stock.open, row.epoch) {
        (_, 0) => "NewCampaign",
        (None, _) => "RedisEmpty",
        (Some(open), _) if open.history != stock.history => "HistoryChanged",
        (Some(_), _) if row.open_epoch.is_none() => "EpochClosed",
        (Some(open), _) if row.open_epoch != Some(open.epoch) => "EpochMismatch",
        (Some(_), _) => "SetBack",
    }
}

impl Plan {
    /// Opens no epoch in this pass.
    pub(super) fn open_nothing(&mut self) {
        self.steps.retain(|step| !matches!(step, Step::OpenEpoch { .. }));
    }

    /// Opens a new epoch although Redis and SQL agree: who serves does not.
    pub(super) fn reopen(&mut self, reason: &'static str) {
        self.steps.insert(0, Step::OpenEpoch { reason });
        self.phase = Phase::Repairing;
    }
}

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
    let steps = topic::plan(id, &class.spec.kafka, campaign.spec.partitions, &claim, recorded, &log.topic)?;
    let leaders = [&log.topic.events, &log.topic.dead_letters]
        .into_iter()
        .all(|state| matches!(state, TopicState::Present(topic) if topic.has_leaders()));
    Ok(if steps.is_empty() && !leaders { None } else { Some(steps) })
}

/// What is left to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Nothing: every winner is a row or a dead letter.
    None,
    /// Records wait in the log.
    Lag(u64),
    /// The log is empty, but Redis has winners that are neither rows nor dead letters.
    Gap(u64),
    /// Not known, which is not nothing.
    Unknown,
}

impl Work {
    /// What three systems say together; `None`: that one could not be read.
    pub fn of(ledger: Option<&LedgerView>, log: Option<&LogView>, issued: Option<u64>) -> Self {
        let lag = log.and_then(|log| log.lag);
        let (Some(ledger), Some(issued)) = (ledger, issued) else { return Self::Unknown };
        // Complete rows need no offsets to be read.
        if ledger.stored >= issued && ledger.row.is_some() && issued > 0 && lag.is_none_or(|lag| lag == 0) {
            return Self::None;
        }
        match (lag, log.and_then(|log| log.dead_ranks)) {
            (Some(0), Some(dead)) => match issued.saturating_sub(ledger.stored + dead) {
                0 => Self::None,
                gap => Self::Gap(gap),
            },
            (Some(lag), _) if lag > 0 => Self::Lag(lag),
            _ => Self::Unknown,
        }
    }
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
