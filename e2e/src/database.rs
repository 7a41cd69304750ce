//! What the database says, asked with SQL of its own.

use anyhow::{Context, Result, ensure};
use sqlx::MySqlPool;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use stack::Connections;

/// Rows of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Rank and user, by rank.
    pub winners: Vec<(u64, String)>,
}

impl Rows {
    /// How many rows repeat a rank or a user's place; the table's keys should make that impossible.
    pub fn duplicates(&self) -> usize {
        let ranks: std::collections::HashSet<u64> = self.winners.iter().map(|(rank, _)| *rank).collect();
        self.winners.len() - ranks.len()
    }
}

/// A connection of the tests' own.
pub async fn connect(connections: &Connections) -> Result<MySqlPool> {
    let url = connections.database.as_deref().context("the stack has no database")?;
    let mut options: MySqlConnectOptions = url.parse()?;
    if let Some(authority) = connections.authority() {
        options = options.ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca(authority.trusted());
    }
    Ok(MySqlPoolOptions::new().max_connections(4).connect_with(options).await?)
}

/// All rows of a campaign.
pub async fn rows(pool: &MySqlPool, realm: &str, namespace: &str, coupon_id: &str) -> Result<Rows> {
    rows_above(pool, realm, namespace, coupon_id, 0).await
}

/// Its rows of ranks above this one.
pub async fn rows_above(pool: &MySqlPool, realm: &str, namespace: &str, coupon_id: &str, above: u64) -> Result<Rows> {
    let rows: Vec<(u64, Vec<u8>)> = sqlx::query_as(
        "SELECT i.issue_rank, i.user_id FROM issued_coupon i JOIN campaign c ON c.id = i.campaign_id \
         WHERE c.realm = ? AND c.namespace = ? AND c.coupon_id = ? AND i.issue_rank > ? ORDER BY i.issue_rank",
    )
    .bind(realm.as_bytes())
    .bind(namespace.as_bytes())
    .bind(coupon_id.as_bytes())
    .bind(above)
    .fetch_all(pool)
    .await?;
    let text = |(rank, user): (u64, Vec<u8>)| Ok((rank, String::from_utf8(user)?));
    Ok(Rows { winners: rows.into_iter().map(text).collect::<Result<_>>()? })
}

/// Moves a campaign's ledger to another namespace, where nobody looks for it.
pub async fn hide(pool: &MySqlPool, realm: &str, from: &str, coupon_id: &str, to: &str) -> Result<()> {
    let moved = sqlx::query("UPDATE campaign SET namespace = ? WHERE realm = ? AND namespace = ? AND coupon_id = ?")
        .bind(to.as_bytes())
        .bind(realm.as_bytes())
        .bind(from.as_bytes())
        .bind(coupon_id.as_bytes())
        .execute(pool)
        .await?;
    ensure!(moved.rows_affected() == 1, "there is no ledger of {from}/{coupon_id}");
    Ok(())
}

/// The issued count in the campaign's row.
pub async fn issued_count(pool: &MySqlPool, realm: &str, namespace: &str, coupon_id: &str) -> Result<u64> {
    Ok(sqlx::query_scalar("SELECT issued_count FROM campaign WHERE realm = ? AND namespace = ? AND coupon_id = ?")
        .bind(realm.as_bytes())
        .bind(namespace.as_bytes())
        .bind(coupon_id.as_bytes())
        .fetch_one(pool)
        .await?)
}

/// The epoch under which issuers may grant; none while issuing is closed.
pub async fn open_epoch(pool: &MySqlPool, realm: &str, namespace: &str, coupon_id: &str) -> Result<Option<u64>> {
    Ok(sqlx::query_scalar("SELECT open_epoch FROM campaign WHERE realm = ? AND namespace = ? AND coupon_id = ?")
        .bind(realm.as_bytes())
        .bind(namespace.as_bytes())
        .bind(coupon_id.as_bytes())
        .fetch_one(pool)
        .await?)
}

/// Removes the first winner's row, which the product never does: for tests that must notice.
pub async fn remove_first(pool: &MySqlPool, realm: &str, namespace: &str, coupon_id: &str) -> Result<()> {
    sqlx::query(
        "DELETE i FROM issued_coupon i JOIN campaign c ON c.id = i.campaign_id \
         WHERE c.realm = ? AND c.namespace = ? AND c.coupon_id = ? AND i.issue_rank = 1",
    )
    .bind(realm.as_bytes())
    .bind(namespace.as_bytes())
    .bind(coupon_id.as_bytes())
    .execute(pool)
    .await?;
    Ok(())
}
