//! Compares rows and Redis rank by rank, some ranks in each pass: counts agree even where somebody has changed a score in Redis, or a row,
//! by hand. A difference is repaired like everything that Redis has lost: from the ledger, in which rows come first.
//!
//! Every row was granted before it was read, so Redis has its holder at its rank; a difference is believed when it is there twice. And only
//! rows that were found to be what Redis holds prove that all winners are stored.

use std::time::{Duration, Instant};

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRow, CampaignRowId};
use coupon_ledger::redis::{self, Held, RedisError, RedisKeys};

pub(crate) use super::compare_watch::{CompareWatch, ComparisonResult};
pub use super::compare_watch::{ComparisonStatus, Difference, Holder};
use crate::class::pools::Systems;
use crate::error::ReconcileError;
use crate::ledger::count::QUESTION;
use crate::reconcile::memory::Memory;
use crate::reconcile::observe::Observation;

/// Rows of one question.
const PAGE: u32 = 2_000;
/// Pages of one look, at most.
const PAGES: usize = 10;
/// How long one look may begin another page.
const TURN: Duration = Duration::from_millis(100);
/// So many of the rows of a look that differ are asked about one by one: whether somebody was forgotten.
const EXPLAINED: usize = 20;

/// Compares some more, if it is time to. A row that Redis does not have as it is, if there is one. `at_rest`: nothing is to be done to the
/// ledger.
///
/// # Errors
/// A system failed; the comparison goes on where it was.
pub async fn take_turn(
    systems: &Systems,
    campaign: &CampaignId,
    seen: &Observation,
    at_rest: bool,
    memory: &mut Memory,
) -> Result<Option<Difference>, ReconcileError> {
    let (Some(epoch), Ok(ledger), Ok(redis)) = (seen.served(), &seen.ledger, &seen.redis) else { return Ok(None) };
    let (Some(row), Some(open)) = (&ledger.row, &redis.open) else { return Ok(None) };
    let kafka = seen.kafka.as_ref().ok();
    if !at_rest || ledger.highest == 0 {
        return Ok(None);
    }
    let counted = ledger.stored.saturating_add(kafka.and_then(|kafka| kafka.dead_ranks).unwrap_or(0));
    let unproven = counted >= redis.issued && !memory.compare.status(seen).proves;
    let letters = kafka.and_then(|kafka| kafka.dead_letters);
    let Some(above) = memory.compare.turn(epoch, letters, unproven, Instant::now()) else { return Ok(None) };
    // What somebody wrote above every rank is another matter.
    let found = compare(systems, campaign, row, above, open.highest.min(row.total)).await?;
    Ok(memory.compare.record(&found))
}

async fn compare(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    above: u64,
    highest: u64,
) -> Result<ComparisonResult, ReconcileError> {
    let begun = Instant::now();
    let mut found = ComparisonResult { up_to: above, ..ComparisonResult::default() };
    for _ in 0..PAGES {
        let reading = database::read_rows(&systems.sql, campaign, row.id, found.up_to, PAGE);
        let mut rows = database::within(QUESTION, reading).await?;
        let is_last = rows.len() < PAGE as usize;
        rows.retain(|row| row.rank <= highest);
        let Some(last) = rows.last().map(|row| row.rank) else {
            found.is_end = true;
            break;
        };
        if let Some(differs) = first_difference(systems, campaign, row.id, &rows).await? {
            found.differs = Some(differs);
            break;
        }
        (found.up_to, found.is_end) = (last, is_last);
        found.rows += rows.len() as u64;
        if is_last || begun.elapsed() > TURN {
            break;
        }
    }
    Ok(found)
}

/// The first of these rows that Redis has otherwise.
async fn first_difference(
    systems: &Systems,
    campaign: &CampaignId,
    id: CampaignRowId,
    rows: &[CouponIssued],
) -> Result<Option<Difference>, ReconcileError> {
    let keys = RedisKeys::of(campaign);
    let ranks = systems.with_redis(async |redis| redis::ranks_of(redis, &keys, rows).await).await?;
    let differing: Vec<&CouponIssued> =
        rows.iter().zip(ranks).filter(|(row, rank)| *rank != Some(row.rank)).map(|(row, _)| row).collect();
    let Some(first) = differing.first().copied() else { return Ok(None) };
    let at = async |rank: u64| {
        let reading = systems.with_redis(async |redis| redis::read_winners(redis, &keys, rank, 1).await).await;
        Ok::<_, RedisError>(reading?.into_iter().find(|held| held.rank == rank))
    };
    let differs = |rank, held: Option<&Held>| {
        let held = held.map_or(Holder::Nobody, |_| Holder::Another);
        Ok(Some(Difference { rank, held }))
    };
    if database::within(QUESTION, database::forgotten_number(&systems.sql, id)).await? == 0 {
        return differs(first.rank, at(first.rank).await?.as_ref());
    }
    // A person who is being forgotten has a pseudonym in the rows before Redis has it.
    let asked = differing.iter().take(EXPLAINED).map(|row| row.rank);
    let known = database::within(QUESTION, database::pseudonyms(&systems.sql, id, asked)).await?;
    for row in &differing {
        let held = at(row.rank).await?;
        let is_named = |held: &Held| held.n == row.n && known.of(row.rank, &held.user) == Some(&row.user_id);
        if !held.as_ref().is_some_and(is_named) {
            return differs(row.rank, held.as_ref());
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;

    const BEGIN: ComparisonResult = ComparisonResult { up_to: 0, rows: 0, is_end: false, differs: None };

    fn differs(up_to: u64, rank: u64) -> ComparisonResult {
        ComparisonResult { up_to, differs: Some(Difference { rank, held: Holder::Nobody }), ..BEGIN }
    }

    /// Wrong: rows are compared in every pass, or never to the end; or what passes within a moment is a repair.
    #[test]
    fn rows_are_compared_in_rounds_and_a_difference_counts_when_it_stays() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut watch = CompareWatch::default();
        assert_eq!(watch.turn(1, Some(0), false, at(0)), Some(0), "an epoch was opened, or this process has begun");
        assert_eq!(watch.record(&ComparisonResult { is_end: true, ..BEGIN }), None);
        assert_eq!(watch.turn(1, Some(0), false, at(29)), None);
        assert_eq!(watch.turn(1, Some(0), false, at(30)), Some(0));
        assert_eq!(watch.record(&ComparisonResult { up_to: 20_000, ..BEGIN }), None);
        assert_eq!(watch.turn(1, None, false, at(32)), Some(20_000), "it goes on behind what was compared");
        assert_eq!(watch.record(&ComparisonResult { up_to: 20_005, is_end: true, ..BEGIN }), None);
        assert_eq!(watch.turn(1, Some(0), false, at(59)), None);
        assert_eq!(
            watch.turn(1, Some(1), false, at(59)),
            Some(0),
            "a dead letter may be a winner whose place is taken"
        );
        assert_eq!(watch.record(&differs(8_000, 8_007)), None, "once");
        assert_eq!(watch.turn(1, Some(1), false, at(60)), Some(8_006));
        assert_eq!(watch.record(&ComparisonResult { up_to: 8_100, is_end: false, ..BEGIN }), None, "it has passed");
        assert_eq!(watch.turn(1, Some(1), false, at(62)), Some(8_100));
        assert_eq!(watch.record(&differs(8_100, 8_107)), None);
        assert_eq!(watch.turn(1, Some(1), false, at(64)), Some(8_106));
        assert_eq!(watch.record(&differs(8_106, 8_107)).map(|found| found.rank), Some(8_107), "it stays");
        assert_eq!(watch.turn(2, Some(1), false, at(66)), Some(0), "another epoch was opened, from the rows");
    }

    /// Wrong: as many rows as winners pass for the winners' rows, though one is nobody's and one is missing.
    #[test]
    fn only_rows_that_were_compared_prove_that_all_are_stored() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let seen = |issued| Scene::open().issued(issued).stored(issued).observation();
        let mut watch = CompareWatch::default();
        assert!(!watch.status(&seen(3)).proves, "nothing was compared");
        watch.turn(1, Some(0), true, at(0));
        watch.record(&ComparisonResult { up_to: 2, rows: 2, is_end: false, ..BEGIN });
        assert!(!watch.status(&seen(3)).proves, "half a round");
        watch.turn(1, Some(0), true, at(2));
        watch.record(&ComparisonResult { up_to: 3, rows: 1, is_end: true, ..BEGIN });
        assert!(watch.status(&seen(3)).proves);
        assert!(!watch.status(&seen(4)).proves, "one more was given since");
        let letter = Scene::open().issued(4).stored(3).dead_letters(1).observation();
        assert!(watch.status(&letter).proves, "it is a dead letter");

        assert_eq!(watch.turn(1, Some(0), true, at(4)), None);
        assert_eq!(watch.turn(1, Some(0), true, at(5)), Some(0), "it is wanted, and not waited for");
        watch.record(&differs(0, 2));
        assert_eq!(watch.status(&seen(3)), ComparisonStatus { proves: true, suspect: Some(2) });
        watch.turn(1, Some(0), true, at(7));
        watch.record(&differs(1, 2));
        assert_eq!(watch.status(&seen(3)), ComparisonStatus::default(), "what was compared before is not so any more");
    }
}
