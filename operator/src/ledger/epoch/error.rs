//! Why no epoch was opened.

use coupon_core::format::Newer;
use coupon_core::position::Position;
use coupon_kafka_admin::AdminError;
use coupon_ledger::database::DatabaseError;
use coupon_ledger::redis::RedisError;
use coupon_ledger::redis::rebuild::FillError;

use super::fence::ISSUER_GONE_ANNOTATION;
use crate::api::ConditionType;
use crate::api::annotations::ACCEPT_LOST_ANNOTATION;
use crate::error::{Retry, kubernetes_words, redis_reason, table_reason};
use std::time::Duration;

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
         annotate the campaign with {ACCEPT_LOST_ANNOTATION}={lost}, or {lost}-2 and so on where that was said before, as each text is taken once",
        .once.saturating_sub(*.found), lost = .once.saturating_sub(*.found)
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
    Redis(#[from] RedisError),
    /// The database failed.
    #[error(transparent)]
    Table(#[from] DatabaseError),
    /// Kafka failed.
    #[error(transparent)]
    Kafka(#[from] AdminError),
    /// The log could not be read to its end.
    #[error(transparent)]
    Tail(#[from] coupon_ledger::kafka::tail::TailError),
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
            FillError::Redis(error) => Self::Redis(error),
        }
    }
}

impl EpochError {
    pub(crate) fn condition(&self) -> ConditionType {
        match self {
            Self::Redis(_) | Self::PodsMayNot { .. } => ConditionType::RedisReady,
            Self::Table(_) => ConditionType::DatabaseReady,
            Self::Kafka(_) | Self::Tail(_) => ConditionType::KafkaReady,
            _ => ConditionType::RedisKeysReady,
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
            Self::Redis(error) => redis_reason(error),
            Self::PodsMayNot { .. } => "RedisRightMissing",
            Self::Table(error) => table_reason(error),
            Self::Kafka(error) => error.reason(),
            Self::Tail(_) => "TopicUnreadable",
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
