//! Brings the tables up to date.

use std::time::Duration;

use sqlx::mysql::MySqlPool;

use super::error::TableError;

/// How long migrations may take, waiting for the lock included.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs the migrations of `migrations/` that have not run yet, under a lock of the database: two processes do not collide.
pub async fn migrate(pool: &MySqlPool) -> Result<(), TableError> {
    match tokio::time::timeout(DEADLINE, migrate_locked(pool)).await {
        Ok(result) => result,
        Err(_) => Err(TableError::Timeout(DEADLINE.as_secs())),
    }
}

async fn migrate_locked(pool: &MySqlPool) -> Result<(), TableError> {
    let mut migrations = sqlx::migrate!("../migrations");
    // sqlx waits for its own lock with a negative timeout, which MariaDB answers with NULL, at once and without a lock.
    migrations.set_locking(false);
    let mut lock = pool.acquire().await?;
    // The lock belongs to its connection and goes with it, however this ends.
    lock.close_on_drop();
    let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('coupon-migrations-', MD5(DATABASE())), ?)")
        .bind(DEADLINE.as_secs())
        .fetch_one(&mut *lock)
        .await?;
    if locked != Some(1) {
        return Err(TableError::Timeout(DEADLINE.as_secs()));
    }
    // `run` would want a second connection, which a small pool may not have, or a lifetime that the compiler cannot prove.
    Ok(migrations.run_direct(None, &mut *lock, false).await?)
}
