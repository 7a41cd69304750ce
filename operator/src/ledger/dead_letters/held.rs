//! Whether Redis holds what dead letters say. A letter proves nothing by itself: anybody who may write to the topic can write one. A winner is
//! told what Redis gave him, and a record comes after the grant; so what Redis does not hold when its letter is read was told to nobody,
//! or is overruled by a row, and rows stand.

use std::collections::HashSet;

use coupon_core::event::CouponIssued;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRowId, DatabaseError};
use coupon_ledger::redis::{self, RedisError, RedisKeys};

use crate::class::pools::Systems;
use crate::ledger::count::QUESTION;

/// Asks Redis, which serves this epoch.
pub struct Judge<'a> {
    /// The three systems.
    pub systems: &'a Systems,
    /// The campaign.
    pub campaign: &'a CampaignId,
    /// Its row.
    pub row: CampaignRowId,
    /// The epoch. Under the next one Redis may hold something else.
    pub epoch: u64,
}

/// Why it could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NotJudged {
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The database failed, which knows the pseudonyms of people who were forgotten.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Judge<'_> {
    /// Places in the list of those that Redis holds, each for its user and at its rank.
    ///
    /// # Errors
    /// Redis, or the database, failed.
    pub async fn held(&self, letters: &[CouponIssued]) -> Result<HashSet<usize>, NotJudged> {
        let all: Vec<usize> = (0..letters.len()).collect();
        let mut held = self.ask(letters, &all).await?;
        let others: Vec<usize> = all.into_iter().filter(|place| !held.contains(place)).collect();
        let sql = &self.systems.sql;
        if others.is_empty() || database::within(QUESTION, database::forgotten_number(sql, self.row)).await? == 0 {
            return Ok(held);
        }
        // Redis holds people who were forgotten under a pseudonym, and letters are not rewritten.
        let mut renamed: Vec<CouponIssued> = others.iter().map(|place| letters[*place].clone()).collect();
        let ranks = renamed.iter().map(|letter| letter.rank).collect::<Vec<_>>();
        let known = database::within(QUESTION, database::pseudonyms(sql, self.row, ranks)).await?;
        renamed.iter_mut().for_each(|letter| known.rename(letter));
        held.extend(self.ask(&renamed, &others).await?);
        Ok(held)
    }

    /// Which of these Redis holds, by the places that go with them.
    async fn ask(&self, letters: &[CouponIssued], places: &[usize]) -> Result<HashSet<usize>, RedisError> {
        let keys = RedisKeys::of(self.campaign);
        let ranks = self.systems.with_redis(async |redis| redis::ranks_of(redis, &keys, letters).await).await?;
        let asked = letters.iter().zip(places).zip(ranks);
        Ok(asked.filter(|((letter, _), rank)| *rank == Some(letter.rank)).map(|((_, place), _)| *place).collect())
    }
}
