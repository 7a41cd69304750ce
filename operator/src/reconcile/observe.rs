//! Reads what is there: database, Redis, Kafka. Each answers for itself, so that one that is away hides nothing of the others.

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::{AdminError, TopicState};
use coupon_ledger::database::{self, CampaignRow, CampaignRowId, DatabaseError};
use coupon_ledger::kafka::tail::Range;
use coupon_ledger::redis::{self, RedisError, RedisKeys, RedisState};
use sqlx::mysql::MySqlPool;

use super::observation_cache::{KnownTotals, ObservationCache};
use crate::class::measure::clocks::{Time, Witnesses};
use crate::class::pools::Systems;
use crate::kafka::view::drained::Drained;
use crate::kafka::view::{DeadUnread, KafkaSnapshot, KafkaView};
use crate::ledger::count::{Effort, LedgerCount, QUESTION};
use crate::ledger::dead_letters::held::Judge;
use crate::ledger::dead_letters::log::DeadLog;
use crate::ledger::epoch::ranks::Ranks;

/// Ranks of one question.
const PAGE: u32 = 10_000;

/// What the three systems say of a campaign.
pub struct Observation {
    /// The database.
    pub ledger: Result<LedgerView, DatabaseError>,
    /// Redis.
    pub redis: Result<RedisState, RedisError>,
    /// Kafka.
    pub kafka: Result<KafkaView, AdminError>,
    /// What other clocks said at the moment at which Redis said its own; `None`: nobody was asked, and Redis is believed.
    pub heard: Option<Witnesses>,
}

/// What the database has for a campaign.
#[derive(Debug, Clone)]
pub struct LedgerView {
    /// Its row; `None` before it was registered.
    pub row: Option<CampaignRow>,
    /// Coupons stored, as they were counted: rows of ranks that there may have been.
    pub stored: u64,
    /// Highest rank of these.
    pub highest: u64,
    /// Highest rank of a row above every rank that there may have been: no winner's, so it is not among those that are counted.
    pub foreign: Option<u64>,
    /// Whether all of them were counted in this pass.
    pub counted_whole: bool,
    /// How long ago the oldest of the counts was made that make up `stored`, in milliseconds.
    pub count_age_ms: i64,
    /// The most that ever were stored, as far as is known.
    pub had: u64,
    /// Whether some of them were stored past Kafka, and their records are still to be written.
    pub unpublished: bool,
}

impl LedgerView {
    /// A campaign that has no row.
    pub fn unregistered() -> Self {
        let (counted_whole, unpublished) = (true, false);
        Self { row: None, stored: 0, highest: 0, foreign: None, counted_whole, count_age_ms: 0, had: 0, unpublished }
    }

    fn of(row: CampaignRow, count: &mut LedgerCount, unpublished: bool) -> Self {
        let (count_age_ms, foreign) = (count.age_ms(), count.foreign());
        let pages = &count.pages;
        let stored = pages.stored().unwrap_or(0);
        let (highest, counted_whole, had) = (pages.highest(), pages.are_whole(), pages.had());
        Self { row: Some(row), stored, highest, foreign, counted_whole, count_age_ms, had, unpublished }
    }
}

/// Reads all three; of the consumer group its `members` only if they are asked for. Brings `cache` up to date.
pub async fn observe(
    systems: &Systems,
    campaign: &CampaignId,
    members: bool,
    cache: &mut ObservationCache,
) -> Observation {
    let ObservationCache { rows, drained, totals, .. } = cache;
    // Redis after the database: every row that was read had been granted before, so Redis must know its rank.
    let in_order = async {
        let ledger = ledger(systems, campaign, rows, drained, *totals).await;
        let before = systems.witnesses();
        let redis = redis(systems, campaign).await;
        (ledger, redis, before.between(&systems.witnesses()))
    };
    let ((ledger, redis, heard), kafka) = tokio::join!(in_order, systems.kafka_reader.view(campaign, members));
    let ledger = match ledger {
        Ok(view) => Ok(view),
        Err(error) => Err(systems.explained(error).await),
    };
    if let Some(open) = redis.as_ref().ok().and_then(|redis| redis.open.as_ref()) {
        cache.totals.in_redis = open.terms.total;
    }
    let row = ledger.as_ref().ok().and_then(|ledger| ledger.row.as_ref());
    let kafka = match kafka {
        Ok(KafkaSnapshot { mut view, dead_span }) => {
            cache.drained.apply(&mut view);
            if let (Some(row), Some(span)) = (row, dead_span) {
                let topic_id = match &view.topic.dead_letters {
                    TopicState::Present(topic) => topic.topic_id.as_str(),
                    TopicState::Absent => "",
                };
                let serves = |epoch: &u64| redis.as_ref().is_ok_and(|redis| redis.serves(*epoch));
                let judge = |epoch| Judge { systems, campaign, row: row.id, epoch };
                let judge = row.open_epoch.filter(serves).map(judge);
                match dead_ranks(systems, campaign, row, (topic_id, span), cache, judge.as_ref()).await {
                    Ok((ranks, stranded)) => {
                        (view.dead_ranks, view.stranded) = (Some(ranks), Some(stranded));
                        view.contradicted = Some(cache.dead.contradicted());
                        view.above_total = Some(cache.dead.above_total());
                    }
                    Err(why) => view.dead_unread = Some(why),
                }
            }
            Ok(view)
        }
        Err(error) => Err(error),
    };
    let mut seen = Observation { ledger, redis, kafka, heard: Some(heard) };
    // A gap may be one of counts that are some seconds old.
    if seen.gap() && cache.rows.wants_closer_look() {
        recount(systems, &mut seen, cache, Effort::Growing).await;
    }
    seen
}

/// Counts more of the rows, within the pass that has observed.
pub async fn recount(systems: &Systems, seen: &mut Observation, cache: &mut ObservationCache, effort: Effort) {
    let Ok(LedgerView { row: Some(row), stored, highest, unpublished, .. }) = &seen.ledger else { return };
    let (row, stored, highest, unpublished) = (row.clone(), *stored, *highest, *unpublished);
    let issued = seen.issued();
    if let Err(error) = cache.rows.count(&systems.sql, &row, effort).await {
        seen.ledger = Err(error);
        return;
    }
    let now = LedgerView::of(row, &mut cache.rows, unpublished);
    // Redis was read before: rows of winners that it has granted since are no sign that it forgot them.
    let issued = issued.unwrap_or(0);
    seen.ledger = Ok(LedgerView { stored: now.stored.min(stored.max(issued)), highest, ..now });
}

impl Observation {
    /// Since when Redis holds nothing of the campaign on purpose, as it was over: milliseconds since 1970.
    pub fn keys_removed_ms(&self) -> Option<i64> {
        let row = self.ledger.as_ref().ok()?.row.as_ref()?;
        row.keys_removed_ms.filter(|_| self.redis.as_ref().is_ok_and(is_empty))
    }

    /// Winners, as Redis counts them, or counted them when its keys were removed. `None`: not known, also where Redis is empty and
    /// nobody can say whether it should be.
    pub fn issued(&self) -> Option<u64> {
        let redis = self.redis.as_ref().ok()?;
        match &self.ledger {
            Ok(LedgerView { row: Some(row), .. }) if self.keys_removed_ms().is_some() => Some(row.issued_count),
            // Nor where there is no row: it may be another realm's Redis, or another database.
            Ok(LedgerView { row: None, .. }) | Err(_) if is_empty(redis) => None,
            _ => Some(redis.issued),
        }
    }

    /// How many have coupons, at least: winners in Redis, or rows.
    pub(crate) fn winners(&self) -> Option<u64> {
        let in_redis = self.redis.as_ref().ok().map(|redis| redis.issued);
        in_redis.max(self.ledger.as_ref().ok().map(|ledger| ledger.stored))
    }

    /// The epoch that database and Redis serve.
    pub(crate) fn served(&self) -> Option<u64> {
        let (Ok(ledger), Ok(redis)) = (&self.ledger, &self.redis) else { return None };
        ledger.row.as_ref()?.open_epoch.filter(|epoch| redis.serves(*epoch))
    }

    /// The time that a pass goes by. `clock_ms`: the operator's own, where nobody else was asked.
    pub fn time(&self, clock_ms: i64) -> Time {
        match (&self.heard, &self.redis) {
            (Some(heard), Ok(redis)) => Time::judge_grants(redis.now_ms, redis.clock_ms, heard),
            (Some(heard), Err(_)) => Time::compare(None, heard),
            (None, Ok(redis)) => Time::agreed(redis.now_ms),
            (None, Err(_)) => Time::agreed(clock_ms),
        }
    }

    /// Whether fewer rows and dead letters were counted than there are winners, though nothing waits in the log.
    fn gap(&self) -> bool {
        let (Ok(ledger), Ok(kafka), Some(issued)) = (&self.ledger, &self.kafka, self.issued()) else { return false };
        let found = kafka.dead_ranks.map(|dead| ledger.stored + dead);
        ledger.row.is_some() && kafka.lag == Some(0) && found.is_some_and(|found| found < issued)
    }
}

fn is_empty(redis: &RedisState) -> bool {
    redis.open.is_none() && redis.issued == 0
}

/// How many ranks dead letters hold, or grants that are given up, that are no rows; and how many without those that are given up.
async fn dead_ranks(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    (topic_id, span): (&str, Range),
    cache: &mut ObservationCache,
    judge: Option<&Judge<'_>>,
) -> Result<(u64, u64), DeadUnread> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        tracing::warn!(%campaign, %error, "{what}");
        DeadUnread::Failed(format!("{what}: {error}"))
    };
    match cache.dead_barriers.clone().refresh(&systems.sql, row).await {
        Ok(fresh) => cache.dead_barriers = fresh,
        Err(error) => return Err(failed("the barriers of dead letters could not be read", &error)),
    }
    let dead_log = match DeadLog::of(&systems.sql, row.id, topic_id, span).await {
        Ok(dead_log) => dead_log,
        Err(error) => return Err(failed("letters that are given up could not be read", &error)),
    };
    let dead = &mut cache.dead;
    let kafka = &systems.settings.operator.kafka;
    match dead.clone().refresh(kafka, campaign, dead_log, &cache.dead_barriers, row.total, judge).await {
        Ok(fresh) => *dead = fresh,
        Err(error) => return Err(failed("dead letters could not be read", &error)),
    }
    // After the topic: a dead letter that is given up is recorded before it is removed.
    match discarded(&systems.sql, row.id, row.total).await {
        Ok(discarded) => *dead = std::mem::take(dead).and_discarded(discarded),
        Err(error) => return Err(failed("grants that are given up could not be read", &error)),
    }
    if let Some((at, newer)) = dead.newer().cloned() {
        return Err(DeadUnread::Newer { at, newer });
    }
    let without_row = async |ranks: &Ranks| {
        let rows = match ranks.count() {
            0 => 0,
            _ => database::count_rows_of(&systems.sql, row.id, ranks.iter()).await?,
        };
        Ok::<u64, DatabaseError>(ranks.count().saturating_sub(rows))
    };
    let counted = async {
        let all = without_row(dead.ranks()).await?;
        Ok::<_, DatabaseError>((all, all.saturating_sub(without_row(dead.discarded()).await?)))
    };
    counted.await.map_err(|error| failed("dead letters could not be compared with the rows", &error))
}

/// Ranks of grants that are given up. One above the total is no winner's.
async fn discarded(sql: &MySqlPool, row: CampaignRowId, total: u64) -> Result<Ranks, DatabaseError> {
    let (mut all, mut above) = (Ranks::default(), 0);
    loop {
        let page = database::discarded_ranks(sql, row, above, PAGE).await?;
        let Some(last) = page.last().copied() else { return Ok(all) };
        page.into_iter().filter(|rank| *rank <= total).for_each(|rank| all.insert(rank));
        if last >= total {
            return Ok(all);
        }
        above = last;
    }
}

async fn ledger(
    systems: &Systems,
    campaign: &CampaignId,
    rows: &mut LedgerCount,
    drained: &mut Drained,
    totals: KnownTotals,
) -> Result<LedgerView, DatabaseError> {
    systems.migrate().await?;
    let found = database::within(QUESTION, database::find(&systems.sql, campaign)).await?;
    let Some(row) = found else { return Ok(LedgerView::unregistered()) };
    rows.refresh(&systems.sql, &row, totals.highest(&row)).await?;
    database::within(QUESTION, drained.refresh(&systems.sql, &row, rows.pages.generation())).await?;
    let unpublished = database::within(QUESTION, database::has_unpublished(&systems.sql, row.id)).await?;
    Ok(LedgerView::of(row, rows, unpublished))
}

async fn redis(systems: &Systems, campaign: &CampaignId) -> Result<RedisState, RedisError> {
    let mut connection = systems.redis().await?;
    let state = redis::observe(&mut connection, &RedisKeys::of(campaign)).await;
    if state.is_err() {
        systems.forget_redis().await;
    }
    state
}
