//! Counts rows, in parts that a database answers quickly, and tells which server counted.

use sqlx::mysql::{MySqlDatabaseError, MySqlPool};

use super::error::DatabaseError;
use super::row::CampaignRowId;

/// Expressions that tell one server from another, the best first. Not every server knows every variable.
const SERVERS: [&str; 3] = [
    "CONCAT_WS('/', @@server_uuid, @@hostname, @@port, @@server_id)",
    "CONCAT_WS('/', @@hostname, @@port, @@server_id)",
    "''",
];
/// ER_UNKNOWN_SYSTEM_VARIABLE.
const UNKNOWN_VARIABLE: u16 = 1193;

/// Which question about its identity a server understands. Remember it, so that the others are asked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerQuestion(usize);

/// What [`highest_rank`] read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Highest {
    /// The highest rank stored; 0 if there is none.
    pub rank: u64,
    /// The server that answered; empty if it does not say who it is.
    pub server: String,
}

/// The highest rank that is a row, and which server says so, in one statement that reads one row of the key.
pub async fn highest_rank(
    pool: &MySqlPool,
    id: CampaignRowId,
    question: &mut ServerQuestion,
) -> Result<Highest, DatabaseError> {
    loop {
        let server = SERVERS[question.0];
        let sql = format!(
            "SELECT MAX(issue_rank), CAST({server} AS CHAR CHARACTER SET utf8mb4) FROM issued_coupon WHERE campaign_id = ?"
        );
        let read = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id.0).fetch_one(pool).await;
        match read {
            Err(error) if is_unknown_variable(&error) && question.0 + 1 < SERVERS.len() => question.0 += 1,
            Err(error) => return Err(error.into()),
            Ok(read) => {
                let (rank, server): (Option<u64>, Option<String>) = read;
                return Ok(Highest { rank: rank.unwrap_or(0), server: server.unwrap_or_default() });
            }
        }
    }
}

/// The highest rank up to `most` that is a row; 0 if there is none.
///
/// # Errors
/// The database failed.
pub async fn highest_rank_up_to(pool: &MySqlPool, id: CampaignRowId, most: u64) -> Result<u64, DatabaseError> {
    let question = "SELECT MAX(issue_rank) FROM issued_coupon WHERE campaign_id = ? AND issue_rank <= ?";
    let rank: Option<u64> = sqlx::query_scalar(question).bind(id.0).bind(most).fetch_one(pool).await?;
    Ok(rank.unwrap_or(0))
}

fn is_unknown_variable(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| error.number() == UNKNOWN_VARIABLE)
}

/// How many ranks from `from` to `up_to` are rows: a walk over that part of the primary key.
pub async fn count_between(pool: &MySqlPool, id: CampaignRowId, from: u64, up_to: u64) -> Result<u64, DatabaseError> {
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM issued_coupon WHERE campaign_id = ? AND issue_rank BETWEEN ? AND ?")
            .bind(id.0)
            .bind(from)
            .bind(up_to)
            .fetch_one(pool)
            .await?;
    Ok(count.unsigned_abs())
}
