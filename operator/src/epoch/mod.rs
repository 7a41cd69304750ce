//! Opening an epoch: the one way in which Redis is filled, for a new campaign and after Redis lost its history alike.
//!
//! The order of the steps is the protocol; each exists because leaving it out loses or doubles a coupon
//! (docs/ARCHITECTURE.md, "When Redis' history changes").

mod bind;
mod fence;
pub mod fill;
pub mod join;
mod queue;
pub mod ranks;
pub(crate) mod read;
mod removal;
mod sources;
mod stop;

use std::collections::BTreeMap;
use std::time::Duration;

use campaign::format::Newer;
use campaign::identity::CampaignId;
use campaign::log::admin::{AdminError, TopicState};
use campaign::sabotage::{CrashPoint, crash_point};
use campaign::stock::rebuild::FillError;
use campaign::stock::{self, StockError, StockKeys, StockState, Terms};
use campaign::table::{self, CampaignRow, EpochCommit, Numbers, Position, TableError};

use crate::api::ConditionType;
use crate::connections::Systems;
use crate::error::{Retry, kubernetes_words, stock_reason, table_reason};

use sources::Sources;

pub(crate) use fence::pod_url;
pub use fence::{CONTROL_PORT, ISSUER_GONE_ANNOTATION, Issuers, control_url, fence};
pub use queue::{MOST_PASSES, Queue, load};
pub use removal::{Removal, remove_keys};
pub(crate) use stop::{Told, stop};

/// Why no epoch was opened. Nothing is half done: until the last step nobody grants, and the next attempt has its own epoch.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// A newer epoch was allotted, or terms were changed, meanwhile.
    #[error("another operator began a newer epoch or changed the terms; trying again")]
    Superseded,
    /// The log holds records of a newer epoch than the one that SQL allotted.
    #[error("the log holds records of epoch {newest}, which the database does not remember; trying again above it")]
    Outdated {
        /// The newest epoch found.
        newest: u64,
    },
    /// An issuer did not confirm that it stopped, and is not gone.
    #[error(
        "issuer pod {pod} on node {node} did not confirm that it stopped and is not gone yet; if its node is lost, delete the \
         Node object or mark it out-of-service; or, once you are certain that the process is dead, annotate the campaign with \
         {ISSUER_GONE_ANNOTATION}={uid}"
    )]
    RepairBlocked {
        /// The pod.
        pod: String,
        /// Its UID.
        uid: String,
        /// Its node.
        node: String,
    },
    /// The ledger came from another cluster, whose issuers may still grant.
    #[error(
        "the ledger was taken over from cluster {cluster}, and its issuers are not known to have stopped: {why}. Its operator says so by \
         itself, if it runs; if that cluster is gone for good, and no issuer of it runs any more: kubectl annotate couponcampaign {campaign} \
         --overwrite {}={cluster}",
        crate::reconcile::CLUSTER_GONE_ANNOTATION
    )]
    OwnerNotFenced {
        /// The cluster.
        cluster: String,
        /// The campaign here.
        campaign: String,
        /// Why it is not known.
        why: String,
    },
    /// Rows are lost, and neither Kafka nor Redis has them.
    #[error(
        "{} winners are lost: the database had {once} rows once, and it, Kafka and Redis have {found} winners together. Nothing is \
         issued, as their ranks would be given to others: restore a newer backup of the database; or, to give them up for good, \
         annotate the campaign with {ACCEPT_LOST_ANNOTATION}={}",
        .once.saturating_sub(*.found), .once.saturating_sub(*.found)
    )]
    WinnersLost {
        /// Winners that were found.
        found: u64,
        /// Rows that there were once.
        once: u64,
    },
    /// Redis changed its history, or the attempt was lost.
    #[error("Redis changed while it was being filled; trying again under a new epoch")]
    RedisChanged,
    /// Other campaigns are being repaired.
    #[error("waiting for the repairs of other campaigns to end; large ones are done one at a time")]
    Queued,
    /// The first request would break the epoch.
    #[error("{said}; no epoch is opened before that, as the first request would break it")]
    PodsMayNot {
        /// What Redis does not let the pods run, and what to do.
        said: String,
    },
    /// Issuer pods could not be listed or deleted.
    #[error("{}", kubernetes_words(.0))]
    Kubernetes(#[from] kube::Error),
    /// Redis failed.
    #[error(transparent)]
    Stock(#[from] StockError),
    /// The database failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Kafka failed.
    #[error(transparent)]
    Kafka(#[from] AdminError),
    /// The log could not be read to its end.
    #[error(transparent)]
    Tail(#[from] campaign::log::tail::TailError),
    /// A record that may be a winner can only be read by a newer operator.
    #[error("{topic}, partition {}, offset {}: {newer}. Nothing is issued meanwhile, as its rank would be given to somebody else; docs/RECOVERY.md tells what to do", .at.partition, .at.offset)]
    NewerRecord {
        /// The topic.
        topic: String,
        /// Where it lies.
        at: Position,
        /// Its version.
        newer: Newer,
    },
    /// A reading thread died.
    #[error("reading the log: {0}")]
    Reader(#[from] tokio::task::JoinError),
}

impl From<FillError> for EpochError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::HistoryChanged | FillError::Lost => Self::RedisChanged,
            FillError::Stock(error) => Self::Stock(error),
        }
    }
}

impl EpochError {
    pub(crate) fn condition(&self) -> ConditionType {
        match self {
            Self::Stock(_) | Self::PodsMayNot { .. } => ConditionType::RedisReady,
            Self::Table(_) => ConditionType::DatabaseReady,
            Self::Kafka(_) | Self::Tail(_) => ConditionType::KafkaReady,
            _ => ConditionType::StockReady,
        }
    }

    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Superseded => "EpochSuperseded",
            Self::Outdated { .. } => "EpochOutdated",
            Self::RepairBlocked { .. } => "RepairBlocked",
            Self::OwnerNotFenced { .. } => "OwnerNotFenced",
            Self::WinnersLost { .. } => "WinnersLost",
            Self::RedisChanged => "RedisChanged",
            Self::Queued => "RepairQueued",
            Self::Kubernetes(_) => "KubernetesError",
            Self::Stock(error) => stock_reason(error),
            Self::PodsMayNot { .. } => "RedisRightMissing",
            Self::Table(error) => table_reason(error),
            Self::Kafka(error) => error.reason(),
            Self::Tail(_) => "LogUnreadable",
            Self::NewerRecord { .. } => "NewerRecord",
            Self::Reader(_) => "InternalError",
        }
    }

    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Superseded | Self::Outdated { .. } | Self::RedisChanged => Retry::After(Duration::from_millis(200)),
            Self::RepairBlocked { .. } | Self::OwnerNotFenced { .. } | Self::Queued => {
                Retry::After(Duration::from_secs(1))
            }
            _ => Retry::Backoff,
        }
    }
}

/// Annotation of a campaign whose winners are lost for good: so many of them are given up, and their ranks given to others.
pub const ACCEPT_LOST_ANNOTATION: &str = "coupon-operator.io/accept-lost-winners";

/// How many winners there were, as far as is remembered where neither Redis nor the rows are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Once {
    /// Rows, at most: as many winners there must be again.
    pub stored: u64,
    /// But for so many, who are given up.
    pub given_up: u64,
    /// Ranks given, at least. Some of them nobody may have heard of, so they may be missing; but they are looked for.
    pub issued: u64,
}

impl Once {
    /// How many winners there must be at least.
    pub fn must_be(&self) -> u64 {
        self.stored.saturating_sub(self.given_up)
    }

    /// Whether there were more than these winners, and than these ranks that are kept for grants which people have given up: those were
    /// given, and are no rows.
    fn misses(&self, winners: u64, kept: u64) -> bool {
        winners < self.stored || winners + kept < self.issued
    }
}

/// What is remembered beside the ledger's own systems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The highest epoch that anybody knows.
    pub epoch: u64,
    /// Winners that there were once.
    pub once: Once,
}

/// What an opened epoch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The new epoch.
    pub epoch: u64,
    /// Winners that the ledger holds.
    pub winners: u64,
    /// Ranks that are handed out again.
    pub free: u64,
    /// Winners that were in Redis only: not durable yet.
    pub redis_only: u64,
    /// Redis held all of it and was bound anew instead of being filled.
    pub rebound: bool,
}

/// Whether all that a repair reads can be read now. Asked before an epoch is allotted: while, say, offsets cannot be read, none
/// is used up. What is read here decides nothing.
///
/// # Errors
/// What cannot be read.
async fn ready(systems: &Systems, campaign: &CampaignId, row: &CampaignRow) -> Result<(), EpochError> {
    let log = async {
        let (_, partitions) = topic(systems, campaign).await?;
        systems.kafka.committed_offsets(&campaign.group(), &campaign.topic(), partitions).await?;
        ends(systems, &campaign.topic(), partitions).await?;
        let dead = campaign.dead_letter_topic();
        ends(systems, &dead, self::partitions(systems, &dead).await?).await?;
        Ok::<_, EpochError>(())
    };
    let stock = async {
        let mut redis = systems.redis().await?;
        stock::observe(&mut redis, &StockKeys::of(campaign)).await?;
        // A server that answers may take no writes all the same: a replica, a full memory, too few replicas.
        stock::probe::probe(&mut redis, campaign.realm(), stock::probe::Role::Operator).await?;
        Ok::<_, EpochError>(())
    };
    let ledger = async { Ok::<_, EpochError>(table::read_ranks(&systems.sql, row.id, 1, row.total, 1).await?) };
    tokio::try_join!(log, stock, ledger)?;
    Ok(())
}

/// Opens a new epoch. `known` is what anybody else remembers; `about_to_allot` is called once all that is to be
/// read was seen to be readable.
///
/// # Errors
/// The epoch was not opened. Unless `about_to_allot` was called, none was allotted.
pub async fn open(
    systems: &Systems,
    issuers: &Issuers,
    campaign: &CampaignId,
    row: &CampaignRow,
    terms: &Terms,
    known: Remembered,
    about_to_allot: impl FnOnce(),
) -> Result<Opened, EpochError> {
    let id = row.id;
    ready(systems, campaign, row).await?;
    about_to_allot();
    // 1. New epoch, fence: from here on nobody may begin to grant below it, and whoever did has finished. The terms were decided
    // from `row`: if somebody has changed them since, the total could be above SQL's.
    let begun = table::begin_epoch(&systems.sql, row, known.epoch).await?;
    let Numbers { epoch, terms: number, .. } = begun.ok_or(EpochError::Superseded)?;
    let terms = &terms.numbered(number);
    crash_point(CrashPoint::AfterAllot);
    fence(issuers, epoch).await?;
    crash_point(CrashPoint::AfterFence);

    // 2. Read the ledger, in this order: offsets first, or a record stored in between would be in neither.
    let mut redis = systems.redis().await?;
    let cleared = stock::clear_unreadable(&mut redis, &StockKeys::of(campaign)).await?;
    if !cleared.is_empty() {
        tracing::warn!(campaign = %campaign, keys = cleared.join(" "), "keys that nobody can read are removed");
    }
    let StockState { history, open: before, issued, .. } = stock::observe(&mut redis, &StockKeys::of(campaign)).await?;
    let (topic_id, partitions) = topic(systems, campaign).await?;
    let committed = systems.kafka.committed_offsets(&campaign.group(), &campaign.topic(), partitions).await?;
    let ends = ends(systems, &campaign.topic(), partitions).await?;
    match table::commit_barrier(&systems.sql, id, epoch, &topic_id, &ends).await? {
        EpochCommit::Done => {}
        EpochCommit::Superseded => return Err(EpochError::Superseded),
    }
    crash_point(CrashPoint::AfterBarrier);
    let forgotten = table::forgotten_number(&systems.sql, id).await?;
    let sources = Sources {
        systems,
        campaign,
        id,
        epoch,
        topic_id,
        unread: read::range(&committed, &ends),
        total: terms.terms.total.max(row.total),
        once: known.once,
        forgotten,
    };

    // 3. If Redis lost nothing, bind it to the new epoch; else write it afresh, under keys of an attempt that nobody used before.
    let bound = match before {
        Some(before) => bind::bind(&sources, &mut redis, &history, &before, issued, terms).await?,
        None => None,
    };
    let opened = match bound {
        Some(opened) => opened,
        None => sources.fill(&mut redis, &history, terms).await?,
    };
    crash_point(CrashPoint::AfterSwap);
    // Whoever was forgotten after the rows were read may stand in Redis under the former id, and nobody would look for it any more.
    if table::forgotten_number(&systems.sql, id).await? != forgotten {
        return Err(EpochError::Superseded);
    }

    // 5. Open: issuers take it from SQL.
    match table::open_epoch(&systems.sql, id, epoch).await? {
        EpochCommit::Done => {}
        EpochCommit::Superseded => return Err(EpochError::Superseded),
    }
    Ok(opened)
}

async fn topic(systems: &Systems, campaign: &CampaignId) -> Result<(String, i32), EpochError> {
    let name = campaign.topic();
    described(systems, &name).await?.ok_or_else(|| AdminError::UnknownTopic { topic: name }.into())
}

/// Id and partitions of a topic; `None` when it is absent.
async fn described(systems: &Systems, topic: &str) -> Result<Option<(String, i32)>, AdminError> {
    let mut found = systems.kafka.describe_topics(&[topic]).await?;
    Ok(match found.remove(topic).unwrap_or(Ok(TopicState::Absent))? {
        TopicState::Present(topic) => {
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            Some((topic.topic_id, partitions))
        }
        TopicState::Absent => None,
    })
}

/// Partitions of a topic; 0 when it is absent.
pub async fn partitions(systems: &Systems, topic: &str) -> Result<i32, AdminError> {
    Ok(described(systems, topic).await?.map_or(0, |(_, partitions)| partitions))
}

/// End offset of each partition; an error if one cannot be read.
pub async fn ends(systems: &Systems, topic: &str, partitions: i32) -> Result<BTreeMap<i32, i64>, AdminError> {
    let wanted: Vec<(&str, i32)> = (0..partitions).map(|partition| (topic, partition)).collect();
    let found = systems.kafka.end_offsets(&wanted).await?;
    found.into_iter().map(|((_, partition), offset)| Ok((partition, offset?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: all records are read, with each repair, as a grant that people gave up is taken for a winner who is missing; or winners
    /// who are missing are not looked for.
    #[test]
    fn a_grant_that_was_given_up_is_no_winner_who_is_missing() {
        let once = Once { stored: 8, given_up: 0, issued: 10 };
        for (winners, kept, misses) in [(10, 0, false), (9, 0, true), (8, 2, false), (7, 3, true), (8, 1, true)] {
            assert_eq!(once.misses(winners, kept), misses, "{winners} and {kept}");
        }
    }
}
