//! Conditions about what Redis, the database and the topic hold, compared with each other. Pure.

use coupon_core::identity::CampaignId;
use coupon_core::position::Position;
use jiff::Timestamp;

use super::Facts;
use super::topic::unread_text;
use crate::api::conditions::Report;
use crate::api::{ConditionType, Phase};
use crate::error::ReconcileError;
use crate::kafka::view::{DeadUnread, KafkaView};
use crate::ledger::epoch::EpochError;
use crate::ledger::repair::scan::ScanResult;
use crate::reconcile::observe::LedgerView;
use crate::reconcile::plan::terms::{FOREIGN_ROW, time};
use crate::reconcile::plan::{LEDGER_MOVED, RemainingWork};
use crate::reconcile::unserved::Unserved;

/// What was counted longer ago than this, in milliseconds, is not known any more.
const COUNTED_LATELY_MS: i64 = 600_000;

/// What the condition `RedisKeysReady` says.
pub(super) fn redis(facts: &Facts<'_>) -> Report {
    use ConditionType::RedisKeysReady;
    let (Ok(redis), Ok(ledger)) = (&facts.seen.redis, &facts.seen.ledger) else {
        return Report::unknown(RedisKeysReady, "Unreadable", "Redis and the database could not be compared");
    };
    if ledger.row.is_none() && facts.campaign.status.as_ref().is_some_and(|status| status.epoch.is_some()) {
        let text = "the campaign's row is not in this database, so what Redis should hold is not known";
        return Report::unknown(RedisKeysReady, LEDGER_MOVED, text);
    }
    if let Some(misfit) = redis.open.as_ref().and_then(|open| open.misfit.as_ref()) {
        let text = format!("the campaign's keys in Redis do not fit together: {misfit}");
        return Report::no(RedisKeysReady, "RedisDamaged", text);
    }
    if let (true, Some(at_ms)) = (facts.plan.keys_removed, facts.seen.keys_removed_ms()) {
        let text = format!(
            "the keys in Redis were removed at {}, retainForHours after the window; every winner is a row; Redis is filled from the rows \
             again where the window or retainForHours is longer, or retainForHours is left out",
            time(at_ms)
        );
        return Report::yes(RedisKeysReady, "KeysRemoved", text);
    }
    if let Some(epoch) = facts.seen.served() {
        let text = format!("Redis holds the ledger of epoch {epoch}");
        // After the window, and long before it, nobody is given a coupon that could prove it, and nobody asks for one who could break it.
        let nobody_asks =
            facts.plan.goals.are_dormant() || matches!(facts.plan.phase, Phase::Draining | Phase::Completed);
        return match facts.epochs.doubt(true).filter(|_| !nobody_asks) {
            None => Report::yes(RedisKeysReady, "RedisKeysFilled", text),
            Some(doubt) => Report::unknown(RedisKeysReady, "EpochsInVain", format!("{text}; {doubt}")),
        };
    }
    let (reason, text) = match ledger.row.as_ref().filter(|row| row.open_epoch.is_some()) {
        Some(row) => {
            let why = Unserved::of(row, redis);
            (why.reason(), why.text())
        }
        None => ("NoOpenEpoch", "Redis is not filled yet"),
    };
    match facts.epochs.doubt(false) {
        None => Report::no(RedisKeysReady, reason, text),
        Some(doubt) => Report::no(RedisKeysReady, reason, format!("{text}; {doubt}")),
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
    let kafka = facts.seen.kafka.as_ref().ok();
    for text in [kafka.and_then(contradicted), kafka.and_then(above_total)].into_iter().flatten() {
        report.message = format!("{}; {text}", report.message);
    }
    report
}

/// The same where every winner seems to be a row.
fn all_stored(facts: &Facts<'_>) -> Report {
    use ConditionType::LedgerConsistent;
    let ledger = facts.seen.ledger.as_ref().ok();
    if ledger.is_some_and(|ledger| ledger.count_age_ms > COUNTED_LATELY_MS) {
        let text = "some rows were not counted for ten minutes and more";
        return Report::unknown(LedgerConsistent, "NotCounted", text);
    }
    if let Some(rank) = facts.compared.suspect {
        let text = format!("rank {rank} is not the same in the rows and in Redis; it is looked at again");
        return Report::unknown(LedgerConsistent, "NotCompared", text);
    }
    // Where Redis holds nothing any more, all was compared before it was removed.
    if !facts.compared.proves && !facts.plan.keys_removed {
        let text = "there are as many rows as winners; they are being compared, rank by rank";
        return Report::yes(LedgerConsistent, "AllCounted", text);
    }
    if facts.plan.phase == Phase::Draining && ledger.is_some_and(|ledger| ledger.unpublished) {
        let text = "every winner is a row; the records of some, which were stored while Kafka was away, are still to be written";
        return Report::yes(LedgerConsistent, "RecordsOutstanding", text);
    }
    let letters = facts.seen.kafka.as_ref().ok().and_then(|kafka| kafka.dead_letters).unwrap_or(0);
    let text = match letters {
        0 => "every winner is a row".to_owned(),
        letters => {
            format!("every winner is a row, or given up; none waits in the {letters} records of the dead-letter topic")
        }
    };
    Report::yes(LedgerConsistent, "AllStored", text)
}

/// The same as far as it is about winners.
fn of_winners(facts: &Facts<'_>) -> Report {
    use ConditionType::LedgerConsistent;
    let ledger = facts.seen.ledger.as_ref().ok();
    let issued = facts.seen.issued();
    let in_redis = facts.seen.redis.as_ref().ok().map(|redis| redis.issued);
    let kafka = facts.seen.kafka.as_ref().ok();
    let work = RemainingWork::of(ledger, kafka, issued);
    if let Some(ReconcileError::Epoch(error @ EpochError::WinnersLost { .. })) = facts.failure {
        return Report::no(LedgerConsistent, error.reason(), error.to_string());
    }
    // A repair looks for them where they may still be, and says itself if they are nowhere.
    let repairs = facts.plan.phase == Phase::Repairing;
    if repairs && ledger.is_some_and(|ledger| ledger.had > ledger.stored) {
        let text = "the database has fewer rows than it had; whether Redis or the topic has those that are missing, the repair will say";
        return Report::unknown(LedgerConsistent, "Repairing", text);
    }
    if let Some(text) = rows_missing(ledger, kafka, in_redis).filter(|_| !repairs) {
        return Report::no(LedgerConsistent, ROWS_MISSING, text);
    }
    if let Some(text) = stranded(kafka) {
        return Report::no(LedgerConsistent, DEAD_LETTERS, text);
    }
    if let (
        ScanResult { missing, published, oldest_ms: Some(oldest_ms), .. },
        RemainingWork::Lag(_) | RemainingWork::Gap(_),
    ) = (facts.scan, work)
    {
        let oldest = Timestamp::from_millisecond(*oldest_ms).unwrap_or_default();
        let text = format!(
            "{missing} winners were in Redis only, the oldest granted at {oldest:.0}; {published} of them are published again"
        );
        return Report::no(LedgerConsistent, "WinnersMissing", text);
    }
    if let Some((reason, text)) = kafka.and_then(|kafka| dead_unread(facts.id, kafka)) {
        return Report::unknown(LedgerConsistent, reason, text);
    }
    // Enough rows for all winners prove nothing about records that nobody could look at.
    let unread = match (&facts.seen.kafka, &work) {
        (Ok(kafka), RemainingWork::None | RemainingWork::Unknown) => kafka.unread.as_ref(),
        (Err(error), RemainingWork::None) => Some(error),
        _ => None,
    };
    if let Some(error) = unread {
        return Report::unknown(LedgerConsistent, "NotCompared", unread_text(error));
    }
    match work {
        RemainingWork::None => all_stored(facts),
        RemainingWork::Lag(lag) => match vanished(ledger, kafka, issued, lag) {
            Some(text) => Report::no(LedgerConsistent, "RowsVanished", text),
            // Whoever asks again is written again.
            None if issued.is_some_and(|issued| ledger.is_some_and(|ledger| ledger.stored >= issued)) => Report::yes(
                LedgerConsistent,
                "InTheLog",
                "there are as many rows as winners; records that wait in the log repeat some of them, most likely",
            ),
            None => Report::yes(LedgerConsistent, "InTheLog", "winners that are no rows yet wait in the log"),
        },
        RemainingWork::Gap(_) => Report::no(
            LedgerConsistent,
            "Unconfirmed",
            "Redis has winners that are neither in the log nor in the database; those that stay so are published again",
        ),
        RemainingWork::Unknown => {
            Report::unknown(LedgerConsistent, "Unreadable", "Redis, Kafka and database could not be compared")
        }
    }
}

/// Why it is not known which ranks dead letters hold, as a reason and in words.
pub(in crate::reconcile) fn dead_unread(campaign: &CampaignId, kafka: &KafkaView) -> Option<(&'static str, String)> {
    Some(match kafka.dead_unread.as_ref()? {
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
fn stranded(kafka: Option<&KafkaView>) -> Option<String> {
    let (kafka, count) = (kafka?, kafka?.stranded.filter(|count| *count > 0)?);
    let letters = kafka.dead_letters.map_or_else(String::new, |letters| format!(", in {letters} dead letters"));
    Some(format!(
        "{count} winners were told a rank and are no rows{letters}, as the database refused them; `coupon-consumer dead-letters list` \
         says why, and puts them back once the cause is gone"
    ))
}

/// What is to be said of dead letters that are no winners' by what Redis holds.
pub(in crate::reconcile) fn contradicted(kafka: &KafkaView) -> Option<String> {
    let count = kafka.contradicted.filter(|count| *count > 0)?;
    Some(format!(
        "dead letters name {count} ranks for users for whom Redis does not hold them, and count as no winners: either somebody else wrote \
         these records, and nobody was told, or another row was written into the place by hand, and that row stands; `coupon-consumer \
         dead-letters list` says which, and `replay --trim --discard` removes them"
    ))
}

/// What is to be said of dead letters of more coupons than there are.
pub(in crate::reconcile) fn above_total(kafka: &KafkaView) -> Option<String> {
    let count = kafka.above_total.filter(|count| *count > 0)?;
    Some(format!(
        "{count} dead letters name ranks above the total, and count as no winners: either their users were told while somebody had raised the total \
         in Redis, or somebody else wrote these records; raise totalQuantity to the highest of them and put them back if they are to count, \
         otherwise tell their users and discard them (`coupon-consumer dead-letters list`)"
    ))
}

/// What is to be said of rows that the database has lost and that Redis holds, while `lag` records wait: those are not all that is missing.
fn vanished(ledger: Option<&LedgerView>, kafka: Option<&KafkaView>, issued: Option<u64>, lag: u64) -> Option<String> {
    let (ledger, issued, dead) = (ledger?, issued?, kafka?.dead_ranks.unwrap_or(0));
    let missing = issued.saturating_sub(ledger.stored + dead + lag);
    (ledger.had > ledger.stored && missing > 0).then(|| {
        format!(
            "the database has {} rows and had {}: somebody has deleted some, or put a backup back; {missing} winners are in Redis only, and are \
             published again",
            ledger.stored, ledger.had
        )
    })
}

/// What is to be said of rows that the database has lost and that Redis does not hold either.
fn rows_missing(ledger: Option<&LedgerView>, kafka: Option<&KafkaView>, issued: Option<u64>) -> Option<String> {
    let (ledger, issued, dead) = (ledger?, issued?, kafka?.dead_ranks?);
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
