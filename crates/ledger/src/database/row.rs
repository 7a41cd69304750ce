//! The row of a campaign in the table `campaign`.

use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, Row};

/// Primary key of a campaign's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CampaignRowId(pub u64);

/// The row of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignRow {
    /// Its primary key.
    pub id: CampaignRowId,
    /// Total number of coupons. Rows with a higher rank are refused.
    pub total: u64,
    /// Number of the newest change of terms.
    pub terms_number: u64,
    /// Highest epoch ever allotted; 0 before the first.
    pub epoch: u64,
    /// The epoch under which issuers may grant; `None` while closed.
    pub open_epoch: Option<u64>,
    /// Kafka's id of the topic that the operator created. Empty: the operator has announced that it creates one, and has not recorded
    /// its id yet. `None`: nothing was announced. Use [`CampaignRow::topic_claim`] to read it.
    pub topic_id: Option<String>,
    /// Id of the Kafka cluster that has the topic.
    pub kafka_cluster_id: Option<String>,
    /// Start of the window that has opened, in milliseconds since 1970; `None` until one opens.
    pub opened_start_ms: Option<i64>,
    /// Its end, as last in force. Also `None` if an older version, which had no such column, recorded the start.
    pub opened_end_ms: Option<i64>,
    /// How many coupons one user may hold, as last in force; `None` in the same cases as the end.
    pub opened_user_limit: Option<u32>,
    /// `keyBy` when the window opened.
    pub opened_key_by: Option<String>,
    /// UID of the Kubernetes object that the ledger belongs to; `None` if only older versions have written the row.
    pub object_uid: Option<String>,
    /// Which cluster owns the ledger.
    pub custody: Custody,
    /// Number of coupons issued. Some seconds old.
    pub issued_count: u64,
    /// When the operator removed the keys of the campaign from Redis, in milliseconds since 1970; it does so after the sale, once
    /// every winner is a row. `None` again once a later epoch has begun.
    pub keys_removed_ms: Option<i64>,
}

/// The topic that the row says is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicClaim {
    /// There is none yet.
    None,
    /// The operator has announced that it creates the topic, and may or may not have done so.
    Announced,
    /// The topic with this id.
    Owned(String),
}

impl CampaignRow {
    /// The topic that the row says is ours.
    pub fn topic_claim(&self) -> TopicClaim {
        match self.topic_id.as_deref() {
            None => TopicClaim::None,
            Some(ANNOUNCED) => TopicClaim::Announced,
            Some(id) => TopicClaim::Owned(id.to_owned()),
        }
    }
}

/// Stands in place of a topic's id once its creation has been announced. No topic has an empty id.
pub(super) const ANNOUNCED: &str = "";

/// Which cluster owns a ledger. The name of a cluster is its `clusterId` if one is configured, else the UID of its namespace
/// `kube-system`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Custody {
    /// The cluster whose operator works on the ledger; `None` if no cluster owns it.
    pub owner: Option<String>,
    /// How often the ledger has changed its owner.
    pub changes: u64,
    /// The previous owner, until it is certain that its issuers have stopped.
    pub unfenced: Option<Unfenced>,
}

/// A cluster whose issuers may still grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfenced {
    /// Name of the cluster.
    pub cluster: String,
    /// The epoch that its issuers may still grant under, if it is known.
    pub epoch: Option<u64>,
    /// Whether Redis has been closed, so that it grants nothing under that epoch any more.
    pub closed: bool,
}

impl<'r> FromRow<'r, MySqlRow> for CampaignRow {
    fn from_row(row: &'r MySqlRow) -> Result<Self, sqlx::Error> {
        let text = |column: &str| -> Result<Option<String>, sqlx::Error> {
            let bytes: Option<Vec<u8>> = row.try_get(column)?;
            bytes.map(String::from_utf8).transpose().map_err(|e| sqlx::Error::Decode(Box::new(e)))
        };
        Ok(Self {
            id: CampaignRowId(row.try_get("id")?),
            total: row.try_get("total_quantity")?,
            terms_number: row.try_get("terms_number")?,
            epoch: row.try_get("epoch")?,
            open_epoch: row.try_get("open_epoch")?,
            topic_id: text("topic_id")?,
            kafka_cluster_id: text("kafka_cluster_id")?,
            opened_start_ms: row.try_get("opened_start_ms")?,
            opened_end_ms: row.try_get("opened_end_ms")?,
            opened_user_limit: row.try_get("opened_user_limit")?,
            opened_key_by: text("opened_key_by")?,
            object_uid: text("object_uid")?,
            custody: Custody {
                owner: text("owner_cluster")?,
                changes: row.try_get("owner_changes")?,
                unfenced: match text("unfenced_cluster")? {
                    Some(cluster) => Some(Unfenced {
                        cluster,
                        epoch: row.try_get("unfenced_epoch")?,
                        closed: row.try_get("unfenced_closed")?,
                    }),
                    None => None,
                },
            },
            issued_count: row.try_get("issued_count")?,
            keys_removed_ms: match row.try_get::<Option<u64>, _>("keys_removed_epoch")? {
                Some(at) if at == row.try_get::<u64, _>("epoch")? => row.try_get("keys_removed_ms")?,
                _ => None,
            },
        })
    }
}

/// The columns that [`CampaignRow`] is read from.
pub(super) const COLUMNS: &str = "id, total_quantity, terms_number, epoch, open_epoch, topic_id, kafka_cluster_id, opened_start_ms, \
                       opened_end_ms, opened_user_limit, opened_key_by, object_uid, owner_cluster, owner_changes, unfenced_cluster, \
                       unfenced_epoch, unfenced_closed, issued_count, keys_removed_ms, keys_removed_epoch";
