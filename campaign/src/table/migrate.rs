//! Brings the tables up to date.

use std::time::Duration;

use sqlx::mysql::MySqlPool;

use super::error::TableError;

/// How long migrations may take, waiting for the lock included.
const DEADLINE: Duration = Duration::from_secs(120);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Runs the migrations of `migrations/` that have not run yet, under a lock of the database: two processes do not collide.
pub async fn migrate(pool: &MySqlPool) -> Result<(), TableError> {
    match tokio::time::timeout(DEADLINE, MIGRATIONS.run(pool)).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(TableError::Timeout(DEADLINE.as_secs())),
    }
}
