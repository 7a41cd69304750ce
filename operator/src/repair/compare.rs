//! Holds rows and Redis against each other by rank, some at a time and all the time: numbers fit as well where somebody has changed a score in
//! Redis, or a row, by hand. What differs is mended as all that Redis has lost: from the ledger, in which rows come first.
//!
//! Every row was granted before it was read, so Redis has its holder at its rank; a difference is believed when it is there twice.

use std::time::{Duration, Instant};

use campaign::event::CouponIssued;
use campaign::identity::CampaignId;
use campaign::stock::{self, StockKeys};
use campaign::table::{self, CampaignRow, CampaignRowId};

use crate::connections::Systems;
use crate::context::Memory;
use crate::error::ReconcileError;
use crate::ledger_count::QUESTION;
use crate::reconcile::observe::Observation;

/// Rows of one question.
const PAGE: u32 = 2_000;
/// Pages of one look, at most.
const PAGES: usize = 10;
/// How long one look may begin another page.
const TURN: Duration = Duration::from_millis(100);
/// Rounds begin this far apart, at least, unless something points to a difference.
const EVERY: Duration = Duration::from_secs(30);
/// So many of the rows of a look that differ are asked about one by one: whether somebody was forgotten.
const EXPLAINED: usize = 20;

/// Where the comparison of a campaign is. Losing it costs a round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CompareWatch {
    /// Under which epoch it began.
    epoch: u64,
    /// When this round began, and up to which rank all was compared.
    round: Option<(Instant, u64)>,
    /// The last round was gone through.
    is_over: bool,
    /// A rank that differed in the last look.
    suspect: Option<u64>,
    /// Dead letters that there were.
    letters: u64,
}

impl CompareWatch {
    /// Above which rank this pass compares, if it does. `letters`: dead letters; one more may be a winner whose place is another's.
    fn turn(&mut self, epoch: u64, letters: Option<u64>, now: Instant) -> Option<u64> {
        let more = letters.is_some_and(|letters| letters > std::mem::replace(&mut self.letters, letters));
        if epoch != self.epoch {
            // What was filled just now is as the rows say.
            *self = Self { epoch, round: Some((now, 0)), is_over: true, letters: self.letters, ..Self::default() };
            return None;
        }
        if let Some(rank) = self.suspect {
            return Some(rank - 1);
        }
        match self.round {
            Some((began, _)) if self.is_over && !more && now.saturating_duration_since(began) < EVERY => None,
            Some((_, above)) if !self.is_over && !more => Some(above),
            _ => {
                (self.round, self.is_over) = (Some((now, 0)), false);
                Some(0)
            }
        }
    }

    /// Takes in what a look found above the rank of its turn. The rank that differs, if it did so twice.
    fn take(&mut self, found: &Compared) -> Option<u64> {
        let twice = found.differs.filter(|rank| self.suspect == Some(*rank));
        self.suspect = found.differs.filter(|_| twice.is_none());
        if let (None, Some((_, above))) = (found.differs, &mut self.round) {
            *above = found.up_to;
            self.is_over = found.is_end;
        }
        twice
    }
}

/// What a look found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Compared {
    /// All rows up to this rank are in Redis what they are, but for the one that differs.
    up_to: u64,
    /// There are no rows above.
    is_end: bool,
    /// The first row that Redis has otherwise, or not at all.
    differs: Option<u64>,
}

/// Compares some more, if it is time to. A rank that Redis has otherwise than its row says, if there is one. `at_rest`: nothing is to be done
/// to the ledger.
///
/// # Errors
/// A system failed; the comparison goes on where it was.
pub async fn take_turn(
    systems: &Systems,
    campaign: &CampaignId,
    seen: &Observation,
    at_rest: bool,
    memory: &mut Memory,
) -> Result<Option<u64>, ReconcileError> {
    let (Some(epoch), Ok(ledger), Ok(stock)) = (seen.served(), &seen.ledger, &seen.stock) else { return Ok(None) };
    let (Some(row), Some(open)) = (&ledger.row, &stock.open) else { return Ok(None) };
    let letters = seen.log.as_ref().ok().and_then(|log| log.dead_letters);
    if !at_rest || ledger.highest == 0 {
        return Ok(None);
    }
    let Some(above) = memory.compare.turn(epoch, letters, Instant::now()) else { return Ok(None) };
    // What somebody wrote above every rank is another matter.
    let found = compare(systems, campaign, row, above, open.highest.min(row.total)).await?;
    Ok(memory.compare.take(&found))
}

async fn compare(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    above: u64,
    highest: u64,
) -> Result<Compared, ReconcileError> {
    let begun = Instant::now();
    let mut found = Compared { up_to: above, ..Compared::default() };
    for _ in 0..PAGES {
        let reading = table::read_rows(&systems.sql, campaign, row.id, found.up_to, PAGE);
        let mut rows = table::within(QUESTION, reading).await?;
        let is_last = rows.len() < PAGE as usize;
        rows.retain(|row| row.rank <= highest);
        let Some(last) = rows.last().map(|row| row.rank) else {
            found.is_end = true;
            break;
        };
        if let Some(rank) = first_difference(systems, campaign, row.id, &rows).await? {
            found.differs = Some(rank);
            break;
        }
        (found.up_to, found.is_end) = (last, is_last);
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
) -> Result<Option<u64>, ReconcileError> {
    let keys = StockKeys::of(campaign);
    let ranks = systems.with_redis(async |redis| stock::ranks_of(redis, &keys, rows).await).await?;
    let differing: Vec<&CouponIssued> =
        rows.iter().zip(ranks).filter(|(row, rank)| *rank != Some(row.rank)).map(|(row, _)| row).collect();
    if differing.is_empty() || table::within(QUESTION, table::forgotten_number(&systems.sql, id)).await? == 0 {
        return Ok(differing.first().map(|row| row.rank));
    }
    // Whoever is being forgotten has a pseudonym in the rows first.
    let asked = differing.iter().take(EXPLAINED).map(|row| row.rank);
    let known = table::within(QUESTION, table::pseudonyms(&systems.sql, id, asked)).await?;
    for row in &differing {
        let at = async |redis: &mut _| stock::read_winners(redis, &keys, row.rank, 1).await;
        let held = systems.with_redis(at).await?.into_iter().find(|held| held.rank == row.rank);
        if !held.is_some_and(|held| held.n == row.n && known.of(row.rank, &held.user) == Some(&row.user_id)) {
            return Ok(Some(row.rank));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Compared = Compared { up_to: 0, is_end: false, differs: None };

    /// Wrong: rows are compared in every pass, or never to the end; or what passes within a moment is a repair.
    #[test]
    fn rows_are_compared_in_rounds_and_a_difference_counts_when_it_stays() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut watch = CompareWatch::default();
        assert_eq!(watch.turn(1, Some(0), at(0)), None, "an epoch was opened");
        assert_eq!(watch.turn(1, Some(0), at(29)), None);
        assert_eq!(watch.turn(1, Some(0), at(30)), Some(0));
        assert_eq!(watch.take(&Compared { up_to: 20_000, ..BEGIN }), None);
        assert_eq!(watch.turn(1, None, at(32)), Some(20_000), "it goes on behind what was compared");
        assert_eq!(watch.take(&Compared { up_to: 20_005, is_end: true, ..BEGIN }), None);
        assert_eq!(watch.turn(1, Some(0), at(59)), None);
        assert_eq!(watch.turn(1, Some(1), at(59)), Some(0), "a dead letter may be a winner whose place is taken");
        assert_eq!(watch.take(&Compared { up_to: 8_000, differs: Some(8_007), ..BEGIN }), None, "once");
        assert_eq!(watch.turn(1, Some(1), at(60)), Some(8_006));
        assert_eq!(watch.take(&Compared { up_to: 8_100, is_end: false, ..BEGIN }), None, "it has passed");
        assert_eq!(watch.turn(1, Some(1), at(62)), Some(8_100));
        assert_eq!(watch.take(&Compared { up_to: 8_100, differs: Some(8_107), ..BEGIN }), None);
        assert_eq!(watch.turn(1, Some(1), at(64)), Some(8_106));
        assert_eq!(watch.take(&Compared { up_to: 8_106, differs: Some(8_107), ..BEGIN }), Some(8_107), "it stays");
        assert_eq!(watch.turn(2, Some(1), at(66)), None, "another epoch was opened, from the rows");
    }
}
