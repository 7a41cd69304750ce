//! What SQL, Kafka and Redis say about who has won, read some at a time.

use std::collections::BTreeMap;

use ::redis::aio::MultiplexedConnection;
use coupon_core::event::{CouponIssued, is_believable};
use coupon_core::failpoints::{CrashPoint, crash_point};
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRow, CampaignRowId, DatabaseError};
use coupon_ledger::kafka::tail::Range;
use coupon_ledger::redis::rebuild::{Attempt, Totals};
use coupon_ledger::redis::{self, Held, NumberedTerms, RedisKeys};
use rand::RngExt;

use super::fill::{self, Filling, from_event, from_held};
use super::join::{Join, Next};
use super::read::{self, Records};
use super::{EpochError, Once, Opened, described, ends};
use crate::class::pools::Systems;
use crate::ledger::dead_letters::log::DeadLog;

/// Rows, or members, of one call.
const PAGE: u32 = 2_000;

/// The sources of one repair, after its barrier was committed.
pub(super) struct Sources<'a> {
    pub systems: &'a Systems,
    pub campaign: &'a CampaignId,
    pub id: CampaignRowId,
    pub epoch: u64,
    /// The epoch that SQL knew before the repair began: what it may have forgotten is measured from there. Measured from the repair's own epoch,
    /// records that somebody wrote, each a thousand epochs above the last, would outdate one attempt after the other.
    pub known: u64,
    pub topic_id: String,
    /// From the committed offsets to the barrier.
    pub unread: Range,
    /// Ranks above it are left out.
    pub total: u64,
    /// Winners that there were once.
    pub once: Once,
    /// How often somebody had been forgotten before anything was read.
    pub forgotten: u64,
}

type Begin<'a> = Box<dyn FnOnce() -> Records<CouponIssued> + Send + 'a>;

/// What the log has that counts: unread records, then dead letters. (The unread records are those up to the barrier, whenever
/// they are read; so they may come first here, as their authority wants it.)
pub(super) struct Log<'a> {
    reading: Records<CouponIssued>,
    /// Then the dead letters. A reader that was begun already would only take somebody's turn.
    then: Option<Begin<'a>>,
    sources: &'a Sources<'a>,
    /// The newest epoch of a record that a restored database may have forgotten; ours must be above it.
    newest: u64,
}

impl Log<'_> {
    /// The next ones; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<CouponIssued>>, EpochError> {
        let some = loop {
            match (self.reading.next().await?, self.then.take()) {
                (None, Some(begin)) => self.reading = begin(),
                (some, then) => {
                    self.then = then;
                    break some;
                }
            }
        };
        // Consumers go by SQL's epoch, which is ours now: what they would make a row of is a winner here too.
        let Sources { epoch, known, .. } = *self.sources;
        let some = some.map(|records| {
            let (counted, absurd): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|event| is_believable(event.epoch, epoch));
            for event in absurd {
                tracing::warn!(
                    rank = event.rank,
                    epoch = event.epoch,
                    "a record of an epoch that nobody allotted is void"
                );
            }
            counted
        });
        let epochs = some.iter().flatten().map(|event| event.epoch);
        self.newest = epochs.filter(|epoch| is_believable(*epoch, known)).fold(self.newest, u64::max);
        if some.is_none() && self.newest > epoch {
            return Err(EpochError::Outdated { newest: self.newest });
        }
        match some {
            Some(records) => Ok(Some(self.sources.renamed(records).await?)),
            None => Ok(None),
        }
    }
}

/// What is made of a Redis that names somebody who was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// It is no whole ledger.
    MayNotBeNamed,
    /// It counts for what it is under the pseudonym.
    MayBeNamed,
}

/// How the rows and what Redis holds compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// All of both was read.
    Same,
    /// A row or a member of Redis up to this rank is another there, or not there.
    Differs { near: u64 },
    /// Redis names somebody who was forgotten.
    NamesForgotten,
}

impl<'a> Sources<'a> {
    /// Those of no repair: of the epoch and the total in a campaign's row, with nothing of the topic to read yet.
    pub(super) fn of_row(systems: &'a Systems, campaign: &'a CampaignId, row: &CampaignRow) -> Self {
        Self {
            systems,
            campaign,
            id: row.id,
            epoch: row.epoch,
            known: row.epoch,
            topic_id: row.topic_id.clone().unwrap_or_default(),
            unread: BTreeMap::new(),
            total: row.total,
            once: Once::default(),
            forgotten: 0,
        }
    }
}

impl Sources<'_> {
    /// Reads rows and Redis side by side, up to the first difference. (Nobody is granted anything meanwhile: a rank that is read before a
    /// row above it is the same as after.)
    pub(super) async fn compare(
        &self,
        redis: &mut MultiplexedConnection,
        join: &mut Join,
        forgotten: Forgotten,
    ) -> Result<Comparison, EpochError> {
        let (mut above, mut from) = (0, 0);
        loop {
            match join.compare() {
                Next::Rows => {
                    let page = self.rows(above).await?;
                    above = page.last().map_or(above, |row| row.rank);
                    join.push_rows(page);
                }
                Next::Held => {
                    let (page, renamed) = self.held(redis, from).await?;
                    if renamed && forgotten == Forgotten::MayNotBeNamed {
                        return Ok(Comparison::NamesForgotten);
                    }
                    from = page.last().map_or(from, |held| held.rank + 1);
                    join.push_held(page);
                }
                Next::Differs => return Ok(Comparison::Differs { near: above.max(from.saturating_sub(1)) }),
                Next::Finished => return Ok(Comparison::Same),
            }
        }
    }

    pub(super) async fn rows(&self, above: u64) -> Result<Vec<CouponIssued>, DatabaseError> {
        database::read_rows(&self.systems.sql, self.campaign, self.id, above, PAGE).await
    }

    /// What Redis holds, a page, by rank; under their pseudonyms where people were forgotten. True: this Redis did not know of one.
    pub(super) async fn held(
        &self,
        redis: &mut MultiplexedConnection,
        from: u64,
    ) -> Result<(Vec<Held>, bool), EpochError> {
        let mut page = redis::read_winners(redis, &RedisKeys::of(self.campaign), from, PAGE as usize).await?;
        let mut renamed = false;
        if self.forgotten > 0 {
            let known = database::pseudonyms(&self.systems.sql, self.id, page.iter().map(|held| held.rank)).await?;
            for held in &mut page {
                if let Some(pseudonym) = known.of(held.rank, &held.user) {
                    let key = database::key_of_pseudonym(pseudonym);
                    held.granted = held.granted.take().map(|(granted_ms, _)| (granted_ms, key));
                    held.user = pseudonym.clone();
                    renamed = true;
                }
            }
        }
        Ok((page, renamed))
    }

    /// The same for records: they are not rewritten when somebody is forgotten.
    async fn renamed(&self, mut records: Vec<CouponIssued>) -> Result<Vec<CouponIssued>, DatabaseError> {
        if self.forgotten > 0 {
            let known =
                database::pseudonyms(&self.systems.sql, self.id, records.iter().map(|event| event.rank)).await?;
            records.iter_mut().for_each(|event| known.rename(event));
        }
        Ok(records)
    }

    /// Grants that people have given up: each keeps its rank, so that nobody gets it again. A page, by rank.
    pub(super) async fn discarded(&self, above: u64) -> Result<Vec<CouponIssued>, DatabaseError> {
        database::discarded(&self.systems.sql, self.campaign, self.id, above, PAGE).await
    }

    /// The dead-letter topic as it is now. To be asked for after the rows were read.
    pub(super) async fn dead_log(&self) -> Result<DeadLog, EpochError> {
        let topic = self.campaign.dead_letter_topic();
        let Some((topic_id, partitions)) = described(self.systems, &topic).await? else {
            return Ok(DeadLog::default());
        };
        let range = read::range(&BTreeMap::new(), &ends(self.systems, &topic, partitions).await?);
        Ok(DeadLog::of(&self.systems.sql, self.id, &topic_id, range).await?)
    }

    /// The unread records, and the letters of `dead`.
    pub(super) async fn log(&self, dead: DeadLog) -> Result<Log<'_>, EpochError> {
        let (kafka, campaign, sql) = (&self.systems.settings.operator.kafka, self.campaign, &self.systems.sql);
        let dead_barriers = database::barriers_of_dead_letters(sql, self.id, &self.topic_id).await?;
        let barriers = database::barriers(sql, self.id, &self.topic_id).await?;
        Ok(Log {
            reading: read::tail(kafka, campaign, self.unread.clone(), barriers),
            then: Some(Box::new(move || read::dead_winners(kafka, campaign, dead, dead_barriers))),
            sources: self,
            newest: 0,
        })
    }

    /// All records that the topic still has, whatever was committed.
    async fn all_records(&self) -> Result<Records<CouponIssued>, EpochError> {
        let range = self.unread.iter().map(|(partition, (_, end))| (*partition, (0, *end))).collect();
        let barriers = database::barriers(&self.systems.sql, self.id, &self.topic_id).await?;
        Ok(read::tail(&self.systems.settings.operator.kafka, self.campaign, range, barriers))
    }

    /// Writes Redis afresh: rows, then records, then what Redis still holds; the first entry for a rank stays. Nothing is opened with
    /// fewer winners than were stored once: their ranks would be given to others.
    pub(super) async fn fill(
        &self,
        redis: &mut MultiplexedConnection,
        history: &str,
        terms: &NumberedTerms,
    ) -> Result<Opened, EpochError> {
        let name = format!("{}-{:016x}", self.epoch, rand::rng().random::<u64>());
        let attempt = Attempt::begin(redis, self.campaign, &name, history).await?;
        let mut filling = Filling::new(attempt, self.total);
        let mut rows = self.rows(0).await?;
        while let Some(last) = rows.last() {
            let next = self.rows(last.rank);
            let (next, taken) = tokio::join!(next, filling.add(rows.into_iter().map(from_event).collect()));
            taken?;
            rows = next?;
        }
        let mut log = self.log(self.dead_log().await?).await?;
        while let Some(some) = log.next().await? {
            filling.add(some.into_iter().map(from_event).collect()).await?;
        }
        let mut redis_only = 0;
        let (mut held, _) = self.held(redis, 0).await?;
        while let Some(last) = held.last() {
            let from = last.rank + 1;
            redis_only += filling.add(held.into_iter().map(from_held).collect()).await?;
            (held, _) = self.held(redis, from).await?;
        }
        let mut winners = filling.winners();
        let mut kept = 0;
        let mut given_up = self.discarded(0).await?;
        while let Some(last) = given_up.last().map(|event| event.rank) {
            kept += filling.add(given_up.into_iter().map(fill::kept).collect()).await?;
            given_up = self.discarded(last).await?;
        }
        // What a group has committed is proof of a row only while the database keeps its rows, and nobody else commits.
        if self.once.misses(winners, kept) {
            tracing::warn!(campaign = %self.campaign, winners, once = ?self.once, "winners are missing: all records are read");
            let mut records = self.all_records().await?;
            while let Some(some) = records.next().await? {
                let some = self.renamed(some).await?;
                winners += filling.add(some.into_iter().map(from_event).collect()).await?;
            }
        }
        if winners < self.once.must_be() {
            return Err(EpochError::WinnersLost { found: winners, once: self.once.stored });
        }
        crash_point(CrashPoint::AfterRead);
        let Totals { winners, free, .. } = filling.finish(self.epoch, terms).await?;
        let given_before = self.once.given;
        Ok(Opened { epoch: self.epoch, winners, free, redis_only, rebound: false, given_before })
    }
}
