//! Reads what is there: database, Redis, Kafka. Each answers for itself, so that one that is away hides nothing of the others.

use std::collections::BTreeMap;

use campaign::identity::CampaignId;
use campaign::log::admin::{AdminError, Batch, ConfigEntry, KafkaAdmin, TopicState};
use campaign::log::tail::Range;
use campaign::stock::{self, StockError, StockKeys, StockState};
use campaign::table::{self, CampaignRow, TableError};

use crate::connections::Systems;
use crate::dead::{DeadBarriers, DeadRanks};
use crate::topic::TopicView;

/// What the three systems say of a campaign.
pub struct Observation {
    /// The database.
    pub ledger: Result<LedgerView, TableError>,
    /// Redis.
    pub stock: Result<StockState, StockError>,
    /// Kafka.
    pub log: Result<LogView, AdminError>,
}

/// What the database has for a campaign.
#[derive(Debug, Clone)]
pub struct LedgerView {
    /// Its row; `None` before it was registered.
    pub row: Option<CampaignRow>,
    /// Coupons stored.
    pub stored: u64,
    /// Highest rank stored.
    pub highest: u64,
    /// All ranks up to this one are stored: counting starts above it the next time.
    pub complete_up_to: u64,
}

/// What Kafka has for a campaign.
#[derive(Debug, Clone)]
pub struct LogView {
    /// The topics.
    pub topic: TopicView,
    /// Records that are not stored yet; `None` when it could not be read, which is not zero.
    pub lag: Option<u64>,
    /// Where the log ends and how far the group is; `None` when either could not be read.
    pub offsets: Option<Offsets>,
    /// Records in the dead-letter topic; `None` when it could not be read.
    pub dead_letters: Option<u64>,
    /// Ranks that dead letters hold and that are no rows; `None` when it could not be read.
    pub dead_ranks: Option<u64>,
}

/// Offsets of the topic of winners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets {
    /// End of each partition.
    pub ends: BTreeMap<i32, i64>,
    /// What the group has committed; `None`: nothing yet.
    pub committed: BTreeMap<i32, Option<i64>>,
}

/// What is known from earlier passes, so that it need not be read again.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// All ranks up to this one are rows.
    pub complete_up_to: u64,
    /// Ranks of dead letters.
    pub dead: DeadRanks,
    /// What they are judged by.
    pub dead_barriers: DeadBarriers,
}

/// Reads all three. Brings `known` up to date.
pub async fn observe(systems: &Systems, campaign: &CampaignId, known: &mut Known) -> Observation {
    // Redis after the database: every row that was read had been granted before, so Redis must know its rank.
    let in_order = async { (ledger(systems, campaign, known.complete_up_to).await, stock(systems, campaign).await) };
    let ((ledger, stock), log) = tokio::join!(in_order, log(&systems.kafka, campaign));
    if let Ok(ledger) = &ledger {
        known.complete_up_to = ledger.complete_up_to;
    }
    let row = ledger.as_ref().ok().and_then(|ledger| ledger.row.as_ref());
    let log = match log {
        Ok((mut view, span)) => {
            view.dead_ranks = match (row, span) {
                (Some(row), Some(span)) => dead_ranks(systems, campaign, row, span, known).await,
                _ => None,
            };
            Ok(view)
        }
        Err(error) => Err(error),
    };
    Observation { ledger, stock, log }
}

/// How many ranks dead letters hold that are no rows.
async fn dead_ranks(
    systems: &Systems,
    campaign: &CampaignId,
    row: &CampaignRow,
    span: Range,
    known: &mut Known,
) -> Option<u64> {
    match known.dead_barriers.clone().refresh(&systems.sql, row).await {
        Ok(fresh) => known.dead_barriers = fresh,
        Err(error) => {
            tracing::warn!(%campaign, %error, "the barriers of dead letters could not be read");
            return None;
        }
    }
    let dead = &mut known.dead;
    match std::mem::take(dead).refresh(&systems.settings.operator.kafka, campaign, span, &known.dead_barriers).await {
        Ok(fresh) => *dead = fresh,
        Err(error) => {
            tracing::warn!(%campaign, %error, "dead letters could not be read");
            return None;
        }
    }
    // A rank above the total is no winner's.
    let ranks = || dead.ranks().iter().copied().take_while(|rank| *rank <= row.total);
    match table::count_rows_of(&systems.sql, row.id, ranks()).await {
        Ok(rows) => Some((ranks().count() as u64).saturating_sub(rows)),
        Err(error) => {
            tracing::warn!(%campaign, %error, "dead letters could not be compared with the rows");
            None
        }
    }
}

async fn ledger(systems: &Systems, campaign: &CampaignId, complete_up_to: u64) -> Result<LedgerView, TableError> {
    systems.migrate().await?;
    let Some(row) = table::find(&systems.sql, campaign).await? else {
        return Ok(LedgerView { row: None, stored: 0, highest: 0, complete_up_to: 0 });
    };
    let (above, highest) = table::count_stored(&systems.sql, row.id, complete_up_to).await?;
    let stored = complete_up_to + above;
    let complete_up_to = if stored == highest { highest } else { complete_up_to };
    Ok(LedgerView { row: Some(row), stored, highest, complete_up_to })
}

async fn stock(systems: &Systems, campaign: &CampaignId) -> Result<StockState, StockError> {
    let mut connection = systems.redis().await?;
    let state = stock::observe(&mut connection, &StockKeys::of(campaign)).await;
    if state.is_err() {
        systems.forget_redis().await;
    }
    state
}

/// The log, and the part of the dead-letter topic that is there.
async fn log(kafka: &KafkaAdmin, campaign: &CampaignId) -> Result<(LogView, Option<Range>), AdminError> {
    let (name, dlt) = (campaign.topic(), campaign.dead_letter_topic());
    let names = [&name, &dlt];
    let (cluster, topics) = tokio::join!(kafka.describe_cluster(), kafka.describe_topics(&names));
    let (cluster, mut topics) = (cluster?, topics?);
    let mut state = |name: &str| topics.remove(name).unwrap_or(Ok(TopicState::Absent));
    let (events, dead_letters) = (state(&name)?, state(&dlt)?);
    let config = async |name: &str, state: &TopicState| match state {
        TopicState::Present(_) => kafka.topic_config(name).await,
        TopicState::Absent => Ok(BTreeMap::<String, ConfigEntry>::new()),
    };
    let (events_config, dead_letters_config) = tokio::join!(config(&name, &events), config(&dlt, &dead_letters));
    let mut partitions = partitions(&name, &events);
    partitions.extend(self::partitions(&dlt, &dead_letters));
    let count = partition_count(&events);
    let group = campaign.group();
    let (starts, ends, committed) = tokio::join!(
        kafka.start_offsets(&partitions),
        kafka.end_offsets(&partitions),
        kafka.committed_offsets(&group, &name, count)
    );
    let (starts, ends) = (starts?, ends?);
    let offset = |all: &Batch<(String, i32), i64>, topic: &str, partition: i32| {
        all.get(&(topic.to_owned(), partition)).and_then(|each| each.as_ref().ok()).copied()
    };
    let span = |topic: &str, state: &TopicState, from: &dyn Fn(i32) -> Option<i64>| -> Option<u64> {
        let mut sum = 0;
        for partition in 0..partition_count(state) {
            let (start, end) = (offset(&starts, topic, partition)?, offset(&ends, topic, partition)?);
            sum += (end - start.max(from(partition)?)).max(0).unsigned_abs();
        }
        Some(sum)
    };
    let committed = committed.ok();
    let lag = span(&name, &events, &|partition| {
        // A group that has not committed yet starts at the beginning.
        committed.as_ref()?.get(&partition).map(|offset| offset.unwrap_or(0))
    });
    let dead_span: Option<Range> = (0..partition_count(&dead_letters))
        .map(|id| Some((id, (offset(&starts, &dlt, id)?, offset(&ends, &dlt, id)?))))
        .collect();
    let dead_letter_count = span(&dlt, &dead_letters, &|_| Some(0));
    let log_ends: Option<BTreeMap<i32, i64>> =
        (0..count).map(|partition| Some((partition, offset(&ends, &name, partition)?))).collect();
    let offsets = log_ends.zip(committed).map(|(ends, committed)| Offsets { ends, committed });
    let used = match &events {
        TopicState::Absent => None,
        TopicState::Present(_) => Some((0..count).any(|partition| offset(&ends, &name, partition) != Some(0))),
    };
    let view = LogView {
        topic: TopicView {
            cluster_id: cluster.cluster_id,
            brokers: cluster.brokers.len(),
            events,
            dead_letters,
            events_config: events_config?,
            dead_letters_config: dead_letters_config?,
            used,
        },
        lag,
        offsets,
        dead_letters: dead_letter_count,
        dead_ranks: None,
    };
    Ok((view, dead_span))
}

fn partition_count(state: &TopicState) -> i32 {
    match state {
        TopicState::Present(topic) => i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        TopicState::Absent => 0,
    }
}

fn partitions(name: &str, state: &TopicState) -> Vec<(String, i32)> {
    (0..partition_count(state)).map(|partition| (name.to_owned(), partition)).collect()
}
