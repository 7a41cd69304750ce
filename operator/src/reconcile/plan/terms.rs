//! Which terms a campaign gets: what its spec asks for, corrected by what is fixed, and what of it was refused. Pure.
//!
//! Whatever is refused leaves what is in force as it is, or closes the sale; nothing that was refused ever opens one.

use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::{RedisState, Terms};
use jiff::Timestamp;

use crate::api::conditions::Report;
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, KeyBy};

/// Reason: a row has a rank that nobody gave.
pub(in crate::reconcile) const FOREIGN_ROW: &str = "ForeignRow";
/// Reason: more coupons are given than there ever were, as somebody raised the total in Redis.
pub(in crate::reconcile) const GIVEN_ABOVE_TOTAL: &str = "GivenAboveTotal";
/// Reason: the spec asks for fewer coupons than are given.
pub(in crate::reconcile) const QUANTITY_BELOW_ISSUED: &str = "QuantityBelowIssued";

/// What was asked for, as far as it may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TermsDecision {
    /// The terms to bring into force.
    pub terms: Terms,
    /// How many coupons the database is to take: all, unless Redis gave more than anybody has asked for.
    pub storable: u64,
    /// The key of the records.
    pub key_by: KeyBy,
    /// What was refused, and the way out.
    pub refusals: Vec<Report>,
    /// Start of the window that has opened.
    pub opened_ms: Option<i64>,
}

/// What is known of the ledger when terms are decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TermsInputs<'a> {
    /// Its row.
    pub row: Option<&'a CampaignRow>,
    /// The terms that Redis goes by, if Redis serves the open epoch and has forgotten nothing.
    pub in_force: Option<Terms>,
    /// Redis' clock, if Redis was read.
    pub now_ms: Option<i64>,
    /// Winners that Redis counts.
    pub issued: u64,
    /// Highest rank given.
    pub highest: u64,
    /// Rank of a row above every total that there was: somebody else wrote it.
    pub foreign: Option<u64>,
}

fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// What the spec asks for, whatever is fixed.
pub(crate) fn asked(campaign: &CouponCampaign) -> Terms {
    let spec = &campaign.spec;
    Terms {
        total: natural(spec.total_quantity),
        limit: spec.per_user_limit.into(),
        start_ms: spec.window.start.0.as_millisecond(),
        end_ms: spec.window.end.0.as_millisecond(),
        suspended: spec.suspend,
    }
}

/// A time for people.
pub(crate) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| format!("{time}"))
}

fn stalled(reason: &'static str, text: String) -> Report {
    Report::yes(ConditionType::Stalled, reason, text)
}

/// What the spec asks for, corrected by what is fixed since the window opened; and what was corrected.
pub(crate) fn decide(campaign: &CouponCampaign, ledger: &TermsInputs<'_>) -> TermsDecision {
    let (mut terms, mut key_by) = (asked(campaign), campaign.spec.key_by);
    let mut refusals = Vec::new();
    let Some(row) = ledger.row else {
        let storable = terms.total;
        return TermsDecision { terms, storable, key_by, refusals, opened_ms: None };
    };
    let opened_ms = row.opened_start_ms.or_else(|| opened_in_redis(campaign, ledger));
    if let Some(start_ms) = opened_ms.filter(|start| *start != terms.start_ms) {
        // As a whole: the old start and a new end would be a window that nobody has asked for. What is on record was asked for; what Redis says
        // anybody may have written there.
        let end_ms = row.opened_end_ms.or(ledger.in_force.map(|terms| terms.end_ms));
        let stays = match end_ms {
            Some(end_ms) => format!("the window {} to {} stays in force", time(start_ms), time(end_ms)),
            None => format!(
                "the window that began at {} stays, and as its end is not on record, issuing is suspended",
                time(start_ms)
            ),
        };
        (terms.start_ms, terms.end_ms) = (start_ms, end_ms.unwrap_or(terms.end_ms));
        terms.suspended |= end_ms.is_none();
        let text = format!(
            "window.start cannot change once the window has opened; {stays}: put window.start back; to postpone a running sale \
             set suspend: true; another sale takes another couponId"
        );
        refusals.push(stalled("WindowStartFixed", text));
    }
    if let Some(opened) = row.opened_key_by.as_deref().and_then(parse_key_by)
        && opened != key_by
    {
        let text = "keyBy cannot change once the campaign has opened; put the old value back, or use another couponId";
        refusals.push(stalled("KeyByFixed", text.to_owned()));
        key_by = opened;
    }
    if let Some(rank) = ledger.foreign {
        let most = highest_total(&terms, row, ledger.in_force);
        terms.suspended = true;
        let text = format!(
            "the database has a row of rank {rank}, but there were never more than {most} coupons, so somebody else wrote it: issuing \
             is suspended until that row is removed from issued_coupon, or until totalQuantity is {rank} or more if it is to count"
        );
        refusals.push(stalled(FOREIGN_ROW, text));
    }
    // The database has a raised total before Redis has it, so what is above both was never asked for.
    let most = terms.total.max(row.total);
    if ledger.highest > most {
        refusals.push(given_above(&mut terms, most, ledger.highest));
    } else if terms.total < ledger.highest {
        refusals.push(below_issued(&mut terms, row, ledger));
    }
    TermsDecision { storable: terms.total.min(most), terms, key_by, refusals, opened_ms }
}

/// How many coupons there may have been, by whatever is known.
pub(crate) fn highest_total(asked: &Terms, row: &CampaignRow, in_redis: Option<Terms>) -> u64 {
    asked.total.max(row.total).max(in_redis.map_or(0, |terms| terms.total))
}

/// More ranks than there ever were coupons: nobody is given another, and the database keeps to what was asked for.
fn given_above(terms: &mut Terms, most: u64, highest: u64) -> Report {
    (terms.total, terms.suspended) = (highest, true);
    let text = format!(
        "Redis has given rank {highest}, but there were never more than {most} coupons, so somebody raised the total in Redis: issuing is \
         suspended, and the database refuses the ranks above {most}, which become dead letters; set totalQuantity to {highest} or more if \
         they are to count, otherwise tell their winners and discard the dead letters"
    );
    stalled(GIVEN_ABOVE_TOTAL, text)
}

/// Fewer coupons than ranks are given: the sale is closed at those. First it is suspended, as more may be given at any moment;
/// then the total comes down to what was given, and what is free below that stays free.
fn below_issued(terms: &mut Terms, row: &CampaignRow, ledger: &TermsInputs<'_>) -> Report {
    let (asked, highest) = (terms.total, ledger.highest);
    let closed = ledger.in_force.is_some_and(|terms| terms.suspended || terms.total <= highest);
    if closed {
        terms.total = highest;
        terms.suspended |= ledger.issued < highest;
    } else {
        terms.total = row.total.max(highest);
        terms.suspended = true;
    }
    let text = format!(
        "totalQuantity is {asked}, but {highest} coupons are issued, which nobody takes back: the sale is closed at what is \
         issued; raise it to at least {highest}"
    );
    stalled(QUANTITY_BELOW_ISSUED, text)
}

/// Start of a window that Redis has opened by its own clock, whether or not anybody has recorded it: its clock is within it, or
/// was, and somebody has won. Not one that the spec does not say and that was never seen in force: somebody moved it there in Redis, and it is put
/// back. (A spec that says another start was changed since, at the moment at which the window opened.)
fn opened_in_redis(campaign: &CouponCampaign, ledger: &TermsInputs<'_>) -> Option<i64> {
    let (terms, now_ms) = (ledger.in_force?, ledger.now_ms?);
    let opened = now_ms >= terms.start_ms && (now_ms < terms.end_ms || ledger.highest > 0);
    let was_seen = || last_known(campaign.status.as_ref()).is_none_or(|seen| seen.start_ms == terms.start_ms);
    let was_asked_for = terms.start_ms == asked(campaign).start_ms || was_seen();
    (opened && was_asked_for).then_some(terms.start_ms)
}

fn parse_key_by(text: &str) -> Option<KeyBy> {
    [KeyBy::User, KeyBy::Campaign].into_iter().find(|each| each.to_string() == text)
}

/// The terms that users meet: those of Redis if it serves. While Redis is away, those that status has seen in force.
pub(crate) fn in_force(row: Option<&CampaignRow>, redis: &RedisState) -> Option<Terms> {
    let open = redis.open.as_ref()?;
    let epoch = row.map_or(Some(open.epoch), |row| row.open_epoch)?;
    redis.serves(epoch).then_some(open.terms)
}

/// Those on record of a window that has opened: nobody is given anything under them.
pub(in crate::reconcile) fn recorded(row: &CampaignRow) -> Option<Terms> {
    Some(Terms {
        total: row.total,
        limit: row.opened_user_limit?,
        start_ms: row.opened_start_ms?,
        end_ms: row.opened_end_ms?,
        suspended: true,
    })
}

/// Those that status has seen in force.
pub(crate) fn last_known(status: Option<&CouponCampaignStatus>) -> Option<Terms> {
    let terms = status?.terms.as_ref()?;
    Some(Terms {
        total: natural(terms.total_quantity),
        limit: u32::try_from(terms.per_user_limit).ok()?,
        start_ms: terms.window.start.as_millisecond(),
        end_ms: terms.window.end.as_millisecond(),
        suspended: terms.suspended,
    })
}

#[cfg(test)]
mod tests;
