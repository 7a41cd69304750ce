//! Finds the facts about letters and has them judged.

use std::collections::BTreeSet;
use std::time::Duration;

use campaign::event::CouponIssued;
use campaign::stock::{self, Grants, Held, MAX_BATCH, Refusal, StockKeys};
use campaign::table::{self, Barriers, CampaignRow, Position};

use super::decide::{Facts, Stock, Verdict, decide};
use super::letters::Letter;
use super::{Office, ReplayError};
use crate::ledger::in_time;

/// Letters that are judged at once.
pub const BATCH: usize = MAX_BATCH;
/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// Judges letters of one campaign.
pub struct Judge<'a> {
    office: &'a Office,
    row: &'a CampaignRow,
    barriers: Barriers,
    discarded: BTreeSet<Position>,
}

impl<'a> Judge<'a> {
    /// Reads the campaign's barriers, and which letters of the topic with this id are given up.
    ///
    /// # Errors
    /// The database failed.
    pub async fn new(office: &'a Office, row: &'a CampaignRow, dead_topic: &str) -> Result<Self, ReplayError> {
        let topic_id = row.topic_id.as_deref().unwrap_or_default();
        let barriers = in_time(table::barriers(&office.pool, row.id, topic_id)).await?;
        let discarded = in_time(table::discarded_records(&office.pool, row.id, dead_topic)).await?;
        Ok(Self { office, row, barriers, discarded })
    }

    /// One verdict per letter, at most [`BATCH`] of them. Redis is asked only about those that are no rows.
    ///
    /// # Errors
    /// A system failed.
    pub async fn verdicts(&mut self, letters: &[&Letter]) -> Result<Vec<Verdict>, ReplayError> {
        let rows = rows(self.office, self.row, letters).await?;
        let of = |event: &CouponIssued| {
            let of_rank = rows.iter().find(|row| row.rank == event.rank);
            let of_place = rows.iter().find(|row| row.user_id == event.user_id && row.n == event.n);
            (of_rank, of_place)
        };
        let mut ranks: Vec<u64> = letters
            .iter()
            .filter_map(|letter| letter.event.as_ref().ok())
            .filter(|event| of(event) == (None, None))
            .map(|event| event.rank)
            .collect();
        ranks.sort_unstable();
        ranks.dedup();
        let grants = self.grants(&ranks).await?;
        let given_up = are_discarded(self.office, self.row, letters, &self.discarded).await?;
        let verdicts = letters.iter().zip(given_up).map(|(letter, discarded)| {
            let (of_rank, of_place) = letter.event.as_ref().map_or((None, None), of);
            let stock = match &grants {
                Grants::Refused(Refusal::Closed) if self.row.keys_removed_ms.is_some() => Stock::Removed,
                Grants::Refused(refusal) => Stock::Refused(*refusal),
                Grants::Found { epoch, held, .. } => Stock::Found { epoch: *epoch, held: holder(letter, &ranks, held) },
            };
            let void = self.was_void(letter);
            let facts = Facts { total: self.row.total, of_rank, of_place, discarded, void, stock };
            decide(&letter.event, &facts)
        });
        Ok(verdicts.collect())
    }

    async fn grants(&self, ranks: &[u64]) -> Result<Grants, ReplayError> {
        if ranks.is_empty() {
            return Ok(Grants::Found { epoch: 0, issued: 0, held: Vec::new() });
        }
        let mut redis = stock::connect::connect(&self.office.connections.redis, REDIS_TIMEOUT).await?;
        Ok(stock::grants(&mut redis, &StockKeys::of(&self.office.campaign), ranks).await?)
    }

    fn was_void(&self, letter: &Letter) -> bool {
        let (Some(origin), Ok(event)) = (letter.origin, &letter.event) else { return false };
        self.barriers.voids(event.epoch, origin.partition, origin.offset)
    }
}

/// Who holds the letter's rank; `ranks` are sorted, and `held` is in step with them.
fn holder<'a>(letter: &Letter, ranks: &[u64], held: &'a [Option<Held>]) -> Option<&'a Held> {
    let index = ranks.binary_search(&letter.event.as_ref().ok()?.rank).ok()?;
    held.get(index)?.as_ref()
}

/// The rows that stand where these letters' would.
pub async fn rows(office: &Office, row: &CampaignRow, letters: &[&Letter]) -> Result<Vec<CouponIssued>, ReplayError> {
    let events: Vec<&CouponIssued> = letters.iter().filter_map(|letter| letter.event.as_ref().ok()).collect();
    Ok(in_time(table::rows_in_the_way(&office.pool, &office.campaign, row.id, &events)).await?)
}

/// For each letter whether it is a row.
pub async fn are_rows(office: &Office, row: &CampaignRow, letters: &[&Letter]) -> Result<Vec<bool>, ReplayError> {
    let rows = rows(office, row, letters).await?;
    let is_row =
        |letter: &&Letter| letter.event.as_ref().is_ok_and(|event| rows.iter().any(|row| row.same_grant(event)));
    Ok(letters.iter().map(is_row).collect())
}

/// For each letter whether people have given it up before: by its place, of which these are, or by its grant.
pub async fn are_discarded(
    office: &Office,
    row: &CampaignRow,
    letters: &[&Letter],
    places: &BTreeSet<Position>,
) -> Result<Vec<bool>, ReplayError> {
    let events: Vec<&CouponIssued> = letters.iter().filter_map(|letter| letter.event.as_ref().ok()).collect();
    let grants = in_time(table::discarded_among(&office.pool, &office.campaign, row.id, &events)).await?;
    let is_meant = |event: &CouponIssued| grants.iter().any(|grant| grant.same_grant(event));
    let is_discarded =
        |letter: &&Letter| places.contains(&letter.position) || letter.event.as_ref().is_ok_and(is_meant);
    Ok(letters.iter().map(is_discarded).collect())
}
