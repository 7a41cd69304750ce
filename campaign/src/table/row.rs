//! A campaign's row.

use sqlx::mysql::MySqlRow;
use sqlx::{FromRow, Row};

/// Number of a campaign's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CampaignRowId(pub u64);

/// The row of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignRow {
    /// Its number.
    pub id: CampaignRowId,
    /// Coupons in all; no row of a higher rank can be stored.
    pub total: u64,
    /// Number of the newest change of terms.
    pub terms_number: u64,
    /// Highest epoch ever allotted; 0 before the first.
    pub epoch: u64,
    /// The epoch under which issuers may grant; `None` while closed.
    pub open_epoch: Option<u64>,
    /// Id of the topic that we created; `Some("")` while a creation is under way, `None` before.
    pub topic_id: Option<String>,
    /// The Kafka cluster that the topic is in.
    pub kafka_cluster_id: Option<String>,
    /// Start of the window that opened, milliseconds since 1970; `None` before one did.
    pub opened_start_ms: Option<i64>,
    /// Its end, as last in force; `None` as well where an older version recorded the start.
    pub opened_end_ms: Option<i64>,
    /// Coupons one user may hold, as last in force; `None` like the end.
    pub opened_user_limit: Option<u32>,
    /// `keyBy` when the window opened.
    pub opened_key_by: Option<String>,
    /// UID of the object in Kubernetes that the ledger belongs to; `None` where only older versions have worked.
    pub object_uid: Option<String>,
    /// Which cluster it belongs to.
    pub custody: Custody,
    /// Coupons issued, as of some seconds ago.
    pub issued_count: u64,
    /// Since when Redis holds nothing of it on purpose, milliseconds since 1970: it was over, and every winner was a row. `None` as
    /// well once a later epoch has begun.
    pub keys_removed_ms: Option<i64>,
}

/// Whose a ledger is. A cluster is named by the UID of its namespace `kube-system`, or by what people call it (`clusterId`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Custody {
    /// The cluster whose operator works on it; `None`: nobody's.
    pub owner: Option<String>,
    /// How often it came to another one.
    pub changes: u64,
    /// The owner before, while its issuers are not known to have stopped.
    pub unfenced: Option<Unfenced>,
}

/// A cluster whose issuers may still grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfenced {
    /// The cluster.
    pub cluster: String,
    /// The epoch that they may grant under, if that is known.
    pub epoch: Option<u64>,
    /// Redis grants nothing under it any more.
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

/// What [`CampaignRow`] is read of.
pub(super) const COLUMNS: &str = "id, total_quantity, terms_number, epoch, open_epoch, topic_id, kafka_cluster_id, opened_start_ms, \
                       opened_end_ms, opened_user_limit, opened_key_by, object_uid, owner_cluster, owner_changes, unfenced_cluster, \
                       unfenced_epoch, unfenced_closed, issued_count, keys_removed_ms, keys_removed_epoch";
