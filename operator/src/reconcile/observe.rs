//! Reads what is there: database, Redis, Kafka. Each answers for itself, so that one that is away hides nothing of the others.

use campaign::identity::CampaignId;
use campaign::log::admin::{AdminError, TopicState};
use campaign::log::tail::Range;
use campaign::stock::{self, StockError, StockKeys, StockState};
use campaign::table::{self, CampaignRow, CampaignRowId, TableError};
use sqlx::mysql::MySqlPool;

use crate::connections::Systems;
use crate::dead::{DeadBarriers, DeadRanks};
use crate::dead_held::Judge;
use crate::dead_log::DeadLog;
use crate::epoch::ranks::Ranks;
use crate::ledger_count::{Effort, LedgerCount, QUESTION};
use crate::log_view::drained::Drained;
use crate::log_view::{DeadUnread, LogView, Sighted};
use crate::measure::clocks::{Time, Witnesses};

/// Ranks of one question.
const PAGE: u32 = 10_000;

/// What the three systems say of a campaign.
pub struct Observation {
    /// The database.
    pub ledger: Result<LedgerView, TableError>,
    /// Redis.
    pub stock: Result<StockState, StockError>,
    /// Kafka.
    pub log: Result<LogView, AdminError>,
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

/// What is known from earlier passes, so that it need not be read again.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// How many rows there are.
    pub rows: LedgerCount,
    /// Up to where the log was found stored once.
    pub drained: Drained,
    /// Ranks of dead letters.
    pub dead: DeadRanks,
    /// What they are judged by.
    pub dead_barriers: DeadBarriers,
    /// Coupons that there may be beside what the campaign's row says, which may be that of a backup.
    pub most: Most,
}

/// How many coupons there may be, by others than the campaign's row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Most {
    /// As many are asked for.
    pub asked: u64,
    /// Redis had this total when it was last read.
    pub in_redis: u64,
}

impl Most {
    /// The most, with what the row says.
    fn of(self, row: &CampaignRow) -> u64 {
        self.asked.max(self.in_redis).max(row.total)
    }
}

/// Reads all three; of the consumer group its `members` only if they are asked for. Brings `known` up to date.
pub async fn observe(systems: &Systems, campaign: &CampaignId, members: bool, known: &mut Known) -> Observation {
    let Known { rows, drained, most, .. } = known;
    // Redis after the database: every row that was read had been granted before, so Redis must know its rank.
    let in_order = async {
        let ledger = ledger(systems, campaign, rows, drained, *most).await;
        let before = systems.witnesses();
        let stock = stock(systems, campaign).await;
        (ledger, stock, before.between(&systems.witnesses()))
    };
    let ((ledger, stock, heard), log) = tokio::join!(in_order, systems.log.view(campaign, members));
    let ledger = match ledger {
        Ok(view) => Ok(view),
        Err(error) => Err(systems.explained(error).await),
    };
    if let Some(open) = stock.as_ref().ok().and_then(|stock| stock.open.as_ref()) {
        known.most.in_redis = open.terms.total;
    }
    let row = ledger.as_ref().ok().and_then(|ledger| ledger.row.as_ref());
    let log = match log {
        Ok(Sighted { mut view, dead_span }) => {
            known.drained.apply(&mut view);
            if let (Some(row), Some(span)) = (row, dead_span) {
                let topic_id = match &view.topic.dead_letters {
                    TopicState::Present(topic) => topic.topic_id.as_str(),
                    TopicState::Absent => "",
                };
                let serves = |epoch: &u64| stock.as_ref().is_ok_and(|stock| stock.serves(*epoch));
                let judge = |epoch| Judge { systems, campaign, row: row.id, epoch };
                let judge = row.open_epoch.filter(serves).map(judge);
                match dead_ranks(systems, campaign, row, (topic_id, span), known, judge.as_ref()).await {
                    Ok((ranks, stranded)) => {
                        (view.dead_ranks, view.stranded) = (Some(ranks), Some(stranded));
                        view.contradicted = Some(known.dead.contradicted());
                    }
                    Err(why) => view.dead_unread = Some(why),
                }
            }
            Ok(view)
        }
        Err(error) => Err(error),
    };
    let mut seen = Observation { ledger, stock, log, heard: Some(heard) };
    // A gap may be one of counts that are some seconds old.
    if seen.gap() && known.rows.wants_closer_look() {
        recount(systems, &mut seen, known, Effort::Growing).await;
    }
    seen
}

/// Counts more of the rows, within the pass that has observed.
pub async fn recount(systems: &Systems, seen: &mut Observation, known: &mut Known, effort: Effort) {
    let Ok(LedgerView { row: Some(row), stored, highest, unpublished, .. }) = &seen.ledger else { return };
    let (row, stored, highest, unpublished) = (row.clone(), *stored, *highest, *unpublished);
    let issued = seen.issued();
    if let Err(error) = known.rows.count(&systems.sql, &row, effort).await {
        seen.ledger = Err(error);
        return;
    }
    let now = LedgerView::of(row, &mut known.rows, unpublished);
    // Redis was read before: rows of winners that it has granted since are no sign that it forgot them.
    let issued = issued.unwrap_or(0);
    seen.ledger = Ok(LedgerView { stored: now.stored.min(stored.max(issued)), highest, ..now });
}

impl Observation {
    /// Since when Redis holds nothing of the campaign on purpose, as it was over: milliseconds since 1970.
    pub fn keys_removed_ms(&self) -> Option<i64> {
        let row = self.ledger.as_ref().ok()?.row.as_ref()?;
        row.keys_removed_ms.filter(|_| self.stock.as_ref().is_ok_and(is_empty))
    }

    /// Winners, as Redis counts them, or counted them when its keys were removed. `None`: not known, also where Redis is empty and
    /// nobody can say whether it should be.
    pub fn issued(&self) -> Option<u64> {
        let stock = self.stock.as_ref().ok()?;
        match &self.ledger {
            Ok(LedgerView { row: Some(row), .. }) if self.keys_removed_ms().is_some() => Some(row.issued_count),
            // Nor where there is no row: it may be another realm's Redis, or another database.
            Ok(LedgerView { row: None, .. }) | Err(_) if is_empty(stock) => None,
            _ => Some(stock.issued),
        }
    }

    /// How many have coupons, at least: winners in Redis, or rows.
    pub(crate) fn given(&self) -> Option<u64> {
        let in_redis = self.stock.as_ref().ok().map(|stock| stock.issued);
        in_redis.max(self.ledger.as_ref().ok().map(|ledger| ledger.stored))
    }

    /// The epoch that database and Redis serve.
    pub(crate) fn served(&self) -> Option<u64> {
        let (Ok(ledger), Ok(stock)) = (&self.ledger, &self.stock) else { return None };
        ledger.row.as_ref()?.open_epoch.filter(|epoch| stock.serves(*epoch))
    }

    /// The time that a pass goes by. `clock_ms`: the operator's own, where nobody else was asked.
    pub fn time(&self, clock_ms: i64) -> Time {
        match (&self.heard, &self.stock) {
            (Some(heard), Ok(stock)) => Time::judge_grants(stock.now_ms, stock.clock_ms, heard),
            (Some(heard), Err(_)) => Time::judge(None, heard),
            (None, Ok(stock)) => Time::agreed(stock.now_ms),
            (None, Err(_)) => Time::agreed(clock_ms),
        }
    }

    /// Whether fewer rows and dead letters were counted than there are winners, though nothing waits in the log.
    fn gap(&self) -> bool {
        let (Ok(ledger), Ok(log), Some(issued)) = (&self.ledger, &self.log, self.issued()) else { return false };
        let found = log.dead_ranks.map(|dead| ledger.stored + dead);
        ledger.row.is_some() && log.lag == Some(0) && found.is_some_and(|found| found < issued)
    }
}

fn is_empty(stock: &StockState) -> bool {
    stock.open.is_none() && stock.issued == 0
}

/// How many ranks dead letters hold, or grants that are given up, that are no rows; and how many without those that are given up.
async fn dead_ranks(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    (topic_id, span): (&str, Range),
    known: &mut Known,
    judge: Option<&Judge<'_>>,
) -> Result<(u64, u64), DeadUnread> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        tracing::warn!(%campaign, %error, "{what}");
        DeadUnread::Failed(format!("{what}: {error}"))
    };
    match known.dead_barriers.clone().refresh(&systems.sql, row).await {
        Ok(fresh) => known.dead_barriers = fresh,
        Err(error) => return Err(failed("the barriers of dead letters could not be read", &error)),
    }
    let log = match DeadLog::of(&systems.sql, row.id, topic_id, span).await {
        Ok(log) => log,
        Err(error) => return Err(failed("letters that are given up could not be read", &error)),
    };
    let dead = &mut known.dead;
    let kafka = &systems.settings.operator.kafka;
    match dead.clone().refresh(kafka, campaign, log, &known.dead_barriers, row.total, judge).await {
        Ok(fresh) => *dead = fresh,
        Err(error) => return Err(failed("dead letters could not be read", &error)),
    }
    // After the topic: whoever gives up a letter records it before removing it.
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
            _ => table::count_rows_of(&systems.sql, row.id, ranks.iter()).await?,
        };
        Ok::<u64, TableError>(ranks.count().saturating_sub(rows))
    };
    let counted = async {
        let all = without_row(dead.ranks()).await?;
        Ok::<_, TableError>((all, all.saturating_sub(without_row(dead.discarded()).await?)))
    };
    counted.await.map_err(|error| failed("dead letters could not be compared with the rows", &error))
}

/// Ranks of grants that are given up. One above the total is no winner's.
async fn discarded(sql: &MySqlPool, row: CampaignRowId, total: u64) -> Result<Ranks, TableError> {
    let (mut all, mut above) = (Ranks::default(), 0);
    loop {
        let page = table::discarded_ranks(sql, row, above, PAGE).await?;
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
    most: Most,
) -> Result<LedgerView, TableError> {
    systems.migrate().await?;
    let found = table::within(QUESTION, table::find(&systems.sql, campaign)).await?;
    let Some(row) = found else { return Ok(LedgerView::unregistered()) };
    rows.refresh(&systems.sql, &row, most.of(&row)).await?;
    table::within(QUESTION, drained.refresh(&systems.sql, &row, rows.pages.generation())).await?;
    let unpublished = table::within(QUESTION, table::has_unpublished(&systems.sql, row.id)).await?;
    Ok(LedgerView::of(row, rows, unpublished))
}

async fn stock(systems: &Systems, campaign: &CampaignId) -> Result<StockState, StockError> {
    let mut connection = systems.redis().await?;
    let state = stock::observe(&mut connection, &StockKeys::of(campaign)).await;
    if state.is_err() {
        systems.forget_redis().await;
    }
    state
}
