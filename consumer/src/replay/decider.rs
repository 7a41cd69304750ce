//! Finds the facts about dead letters, in SQL and in Redis, and decides by them.

use std::collections::BTreeSet;
use std::time::Duration;

use coupon_core::event::CouponIssued;
use coupon_core::position::Position;
use coupon_ledger::database::{self, Barriers, CampaignRow};
use coupon_ledger::redis::{self, Grants, Held, MAX_BATCH, RedisKeys, Refusal};
use coupon_sink::rows::within_deadline;

use super::dead_letters::DeadLetter;
use super::decide::{Facts, InRedis, Verdict, decide};
use super::{ReplayError, ReplayService};

/// Letters that are decided in one call.
pub(super) const BATCH: usize = MAX_BATCH;
/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// Decides about the dead letters of one campaign.
pub(super) struct Decider<'a> {
    service: &'a ReplayService,
    row: &'a CampaignRow,
    barriers: Barriers,
    discarded: BTreeSet<Position>,
}

impl<'a> Decider<'a> {
    /// Reads the campaign's barriers, and which letters of the topic with this id are given up.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn new(
        service: &'a ReplayService,
        row: &'a CampaignRow,
        dead_topic: &str,
    ) -> Result<Self, ReplayError> {
        let topic_id = row.topic_id.as_deref().unwrap_or_default();
        let barriers = within_deadline(database::barriers(&service.pool, row.id, topic_id)).await?;
        let discarded = within_deadline(database::discarded_records(&service.pool, row.id, dead_topic)).await?;
        Ok(Self { service, row, barriers, discarded })
    }

    /// One verdict per letter, at most [`BATCH`] of them. Redis is asked only about those that are no rows.
    ///
    /// # Errors
    /// A system failed.
    pub(super) async fn verdicts(&mut self, letters: &[&DeadLetter]) -> Result<Vec<Verdict>, ReplayError> {
        let rows = rows(self.service, self.row, letters).await?;
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
        let given_up = are_discarded(self.service, self.row, letters, &self.discarded).await?;
        let verdicts = letters.iter().zip(given_up).map(|(letter, discarded)| {
            let (of_rank, of_place) = letter.event.as_ref().map_or((None, None), of);
            let redis = match &grants {
                Grants::Refused(Refusal::Closed) if self.row.keys_removed_ms.is_some() => InRedis::Removed,
                Grants::Refused(refusal) => InRedis::Refused(*refusal),
                Grants::Found { epoch, held, .. } => {
                    InRedis::Found { epoch: *epoch, held: holder(letter, &ranks, held) }
                }
            };
            let void = self.was_void(letter);
            let facts = Facts { total: self.row.total, of_rank, of_place, discarded, void, redis };
            decide(&letter.event, &facts)
        });
        Ok(verdicts.collect())
    }

    async fn grants(&self, ranks: &[u64]) -> Result<Grants, ReplayError> {
        if ranks.is_empty() {
            return Ok(Grants::Found { epoch: 0, issued: 0, held: Vec::new() });
        }
        let mut redis = redis::connect::connect(&self.service.connections.redis, REDIS_TIMEOUT).await?;
        Ok(redis::grants(&mut redis, &RedisKeys::of(&self.service.campaign), ranks).await?)
    }

    fn was_void(&self, letter: &DeadLetter) -> bool {
        let (Some(origin), Ok(event)) = (letter.origin, &letter.event) else { return false };
        self.barriers.voids(event.epoch, origin.partition, origin.offset)
    }
}

/// Who holds the letter's rank; `ranks` are sorted, and `held` is in step with them.
fn holder<'a>(letter: &DeadLetter, ranks: &[u64], held: &'a [Option<Held>]) -> Option<&'a Held> {
    let index = ranks.binary_search(&letter.event.as_ref().ok()?.rank).ok()?;
    held.get(index)?.as_ref()
}

/// The rows that stand where these letters' would.
pub(super) async fn rows(
    service: &ReplayService,
    row: &CampaignRow,
    letters: &[&DeadLetter],
) -> Result<Vec<CouponIssued>, ReplayError> {
    let events: Vec<&CouponIssued> = letters.iter().filter_map(|letter| letter.event.as_ref().ok()).collect();
    Ok(within_deadline(database::rows_in_the_way(&service.pool, &service.campaign, row.id, &events)).await?)
}

/// For each letter whether it is a row.
pub(super) async fn are_rows(
    service: &ReplayService,
    row: &CampaignRow,
    letters: &[&DeadLetter],
) -> Result<Vec<bool>, ReplayError> {
    let rows = rows(service, row, letters).await?;
    let is_row =
        |letter: &&DeadLetter| letter.event.as_ref().is_ok_and(|event| rows.iter().any(|row| row.same_grant(event)));
    Ok(letters.iter().map(is_row).collect())
}

/// For each letter whether people have given it up before: by its place, of which these are, or by its grant.
pub(super) async fn are_discarded(
    service: &ReplayService,
    row: &CampaignRow,
    letters: &[&DeadLetter],
    places: &BTreeSet<Position>,
) -> Result<Vec<bool>, ReplayError> {
    let events: Vec<&CouponIssued> = letters.iter().filter_map(|letter| letter.event.as_ref().ok()).collect();
    let grants = within_deadline(database::discarded_among(&service.pool, &service.campaign, row.id, &events)).await?;
    let is_meant = |event: &CouponIssued| grants.iter().any(|grant| grant.same_grant(event));
    let is_discarded =
        |letter: &&DeadLetter| places.contains(&letter.position) || letter.event.as_ref().is_ok_and(is_meant);
    Ok(letters.iter().map(is_discarded).collect())
}
