//! What Redis, database and log are said to hold, held against each other. Pure.

use campaign::identity::CampaignId;
use campaign::table::Position;
use jiff::Timestamp;

use super::Facts;
use super::topic::unread_text;
use crate::api::conditions::Report;
use crate::api::{ConditionType, Phase};
use crate::log_view::{DeadUnread, LogView};
use crate::reconcile::observe::LedgerView;
use crate::reconcile::plan::{LEDGER_MOVED, Work};
use crate::reconcile::terms::{FOREIGN_ROW, time};
use crate::reconcile::unserved::Unserved;
use crate::repair::scan::Looked;

/// What was counted longer ago than this, in milliseconds, is not known any more.
const COUNTED_LATELY_MS: i64 = 600_000;

/// What the condition `StockReady` says.
pub(super) fn stock(facts: &Facts<'_>) -> Report {
    use ConditionType::StockReady;
    let (Ok(stock), Ok(ledger)) = (&facts.seen.stock, &facts.seen.ledger) else {
        return Report::unknown(StockReady, "Unreadable", "Redis and the database could not be compared");
    };
    if ledger.row.is_none() && facts.campaign.status.as_ref().is_some_and(|status| status.epoch.is_some()) {
        let text = "the campaign's row is not in this database, so what Redis should hold is not known";
        return Report::unknown(StockReady, LEDGER_MOVED, text);
    }
    if let Some(misfit) = stock.open.as_ref().and_then(|open| open.misfit.as_ref()) {
        let text = format!("the campaign's keys in Redis do not fit together: {misfit}");
        return Report::no(StockReady, "RedisDamaged", text);
    }
    if let (true, Some(at_ms)) = (facts.plan.keys_removed, facts.seen.keys_removed_ms()) {
        let text = format!(
            "the keys in Redis were removed at {}, retainForHours after the window; every winner is a row; Redis is filled from the rows \
             again where the window or retainForHours is longer, or retainForHours is left out",
            time(at_ms)
        );
        return Report::yes(StockReady, "KeysRemoved", text);
    }
    if let Some(epoch) = facts.seen.served() {
        let text = format!("Redis holds the ledger of epoch {epoch}");
        // After the window, and long before it, nobody is given a coupon that could prove it, and nobody asks for one who could break it.
        let nobody_asks =
            facts.plan.aims.are_dormant() || matches!(facts.plan.phase, Phase::Draining | Phase::Completed);
        return match facts.epochs.doubt(true).filter(|_| !nobody_asks) {
            None => Report::yes(StockReady, "StockFilled", text),
            Some(doubt) => Report::unknown(StockReady, "EpochsInVain", format!("{text}; {doubt}")),
        };
    }
    let (reason, text) = match ledger.row.as_ref().filter(|row| row.open_epoch.is_some()) {
        Some(row) => {
            let why = Unserved::of(row, stock);
            (why.reason(), why.text())
        }
        None => ("NoOpenEpoch", "Redis is not filled yet"),
    };
    match facts.epochs.doubt(false) {
        None => Report::no(StockReady, reason, text),
        Some(doubt) => Report::no(StockReady, reason, format!("{text}; {doubt}")),
    }
}

/// Rows are lost that nothing brings back by itself. Other differences pass, this one waits for people.
pub(super) const ROWS_MISSING: &str = "RowsMissing";
/// Winners are dead letters and no rows. It waits for people, too.
pub(crate) const DEAD_LETTERS: &str = "DeadLetters";

/// What the condition `LedgerConsistent` says.
pub(super) fn consistency(facts: &Facts<'_>) -> Report {
    let mut report = of_winners(facts);
    if let Some(rank) = facts.seen.ledger.as_ref().ok().and_then(|ledger| ledger.foreign) {
        let foreign =
            format!("a row of rank {rank} is no winner's: there were never so many coupons, so somebody else wrote it");
        report = match report.status {
            // What is wrong with winners comes first.
            Some(false) => Report { message: format!("{}; {foreign}", report.message), ..report },
            _ => {
                let text = format!("{foreign}. It is not counted; of the others: {}", report.message);
                Report::no(ConditionType::LedgerConsistent, FOREIGN_ROW, text)
            }
        };
    }
    if let Some(text) = facts.seen.log.as_ref().ok().and_then(contradicted) {
        report.message = format!("{}; {text}", report.message);
    }
    report
}

/// The same as far as it is about winners.
fn of_winners(facts: &Facts<'_>) -> Report {
    use ConditionType::LedgerConsistent;
    let ledger = facts.seen.ledger.as_ref().ok();
    let issued = facts.seen.issued();
    let in_redis = facts.seen.stock.as_ref().ok().map(|stock| stock.issued);
    let log = facts.seen.log.as_ref().ok();
    let work = Work::of(ledger, log, issued);
    // A repair looks for them where they may still be, and says itself if they are nowhere.
    let repairs = facts.plan.phase == Phase::Repairing;
    if let Some(text) = rows_missing(ledger, log, in_redis).filter(|_| !repairs) {
        return Report::no(LedgerConsistent, ROWS_MISSING, text);
    }
    if let Some(text) = stranded(log) {
        return Report::no(LedgerConsistent, DEAD_LETTERS, text);
    }
    if let (Looked { missing, published, oldest_ms: Some(oldest_ms), .. }, Work::Lag(_) | Work::Gap(_)) =
        (facts.looked, work)
    {
        let oldest = Timestamp::from_millisecond(*oldest_ms).unwrap_or_default();
        let text = format!(
            "{missing} winners were in Redis only, the oldest granted at {oldest:.0}; {published} of them are published again"
        );
        return Report::no(LedgerConsistent, "WinnersMissing", text);
    }
    if let Some((reason, text)) = log.and_then(|log| dead_unread(facts.id, log)) {
        return Report::unknown(LedgerConsistent, reason, text);
    }
    // Enough rows for all winners prove nothing about records that nobody could look at.
    let unread = match (&facts.seen.log, &work) {
        (Ok(log), Work::None | Work::Unknown) => log.unread.as_ref(),
        (Err(error), Work::None) => Some(error),
        _ => None,
    };
    if let Some(error) = unread {
        return Report::unknown(LedgerConsistent, "NotCompared", unread_text(error));
    }
    match work {
        Work::None if ledger.is_some_and(|ledger| ledger.count_age_ms > COUNTED_LATELY_MS) => {
            Report::unknown(LedgerConsistent, "NotCounted", "some rows were not counted for ten minutes and more")
        }
        Work::None if facts.compared.suspect.is_some() => {
            let rank = facts.compared.suspect.unwrap_or_default();
            let text = format!("rank {rank} is not the same in the rows and in Redis; it is looked at again");
            Report::unknown(LedgerConsistent, "NotCompared", text)
        }
        // Where Redis holds nothing any more, all was compared before it was removed.
        Work::None if !facts.compared.proves && !facts.plan.keys_removed => Report::yes(
            LedgerConsistent,
            "AllCounted",
            "there are as many rows as winners; they are being compared, rank by rank",
        ),
        Work::None if facts.plan.phase == Phase::Draining && ledger.is_some_and(|ledger| ledger.unpublished) => {
            Report::yes(
                LedgerConsistent,
                "RecordsOutstanding",
                "every winner is a row; the records of some, which were stored while Kafka was away, are still to be written",
            )
        }
        Work::None => match log.and_then(|log| log.dead_letters).unwrap_or(0) {
            0 => Report::yes(LedgerConsistent, "AllStored", "every winner is a row"),
            letters => Report::yes(
                LedgerConsistent,
                "AllStored",
                format!(
                    "every winner is a row, or given up; none waits in the {letters} records of the dead-letter topic"
                ),
            ),
        },
        Work::Lag(_) => Report::yes(LedgerConsistent, "InTheLog", "winners that are no rows yet wait in the log"),
        Work::Gap(_) => Report::no(
            LedgerConsistent,
            "Unconfirmed",
            "Redis has winners that are neither in the log nor in the database; those that stay so are published again",
        ),
        Work::Unknown => {
            Report::unknown(LedgerConsistent, "Unreadable", "Redis, Kafka and database could not be compared")
        }
    }
}

/// Why it is not known which ranks dead letters hold, as a reason and in words.
pub(in crate::reconcile) fn dead_unread(campaign: &CampaignId, log: &LogView) -> Option<(&'static str, String)> {
    Some(match log.dead_unread.as_ref()? {
        DeadUnread::Newer { at: Position { partition, offset }, newer } => {
            let topic = campaign.dead_letter_topic();
            let text = format!(
                "{topic}, partition {partition}, offset {offset}: {newer}. It may hold a rank, so as long as it is there a Redis that was \
                 restarted, or has lost something, is not filled again, and nothing is issued then. If there never was a newer version, \
                 somebody else wrote it: `coupon-consumer dead-letters replay --trim --discard {partition}:{offset}`"
            );
            (NEWER_RECORD, text)
        }
        DeadUnread::Failed(said) => {
            ("DeadLettersUnread", format!("which ranks dead letters hold is not known: {said}"))
        }
    })
}

/// A dead letter is of a later version. Nothing is wrong yet, and the next repair will not succeed.
pub(in crate::reconcile) const NEWER_RECORD: &str = "NewerRecord";

/// What is to be said of winners that only people can make rows now.
fn stranded(log: Option<&LogView>) -> Option<String> {
    let (log, count) = (log?, log?.stranded.filter(|count| *count > 0)?);
    let letters = log.dead_letters.map_or_else(String::new, |letters| format!(", in {letters} dead letters"));
    Some(format!(
        "{count} winners were told a rank and are no rows{letters}, as the database refused them; `coupon-consumer dead-letters list` \
         says why, and puts them back once the cause is gone"
    ))
}

/// What is to be said of dead letters that are no winners' by what Redis holds.
pub(in crate::reconcile) fn contradicted(log: &LogView) -> Option<String> {
    let count = log.contradicted.filter(|count| *count > 0)?;
    Some(format!(
        "dead letters name {count} ranks for users for whom Redis does not hold them, and count as no winners: either somebody else wrote \
         these records, and nobody was told, or another row was written into the place by hand, and that row stands; `coupon-consumer \
         dead-letters list` says which, and `replay --trim --discard` removes them"
    ))
}

/// What is to be said of rows that the database has lost and that Redis does not hold either.
fn rows_missing(ledger: Option<&LedgerView>, log: Option<&LogView>, issued: Option<u64>) -> Option<String> {
    let (ledger, issued, dead) = (ledger?, issued?, log?.dead_ranks?);
    let known = issued.max(ledger.stored + dead);
    let lost = ledger.had.saturating_sub(known);
    (lost > 0 && ledger.row.is_some()).then(|| {
        format!(
            "the database has {} rows and once had {}; Redis knows {issued} winners, so {lost} rows are missing that nothing \
             here can bring back: restore a newer backup of the database",
            ledger.stored, ledger.had
        )
    })
}
