//! Connects to the database.

use std::time::Duration;

use coupon_core::connections::Database;
use sqlx::Connection;
use sqlx::mysql::{MySqlConnection, MySqlPool, MySqlPoolOptions};

use super::error::DatabaseError;
use super::options::options;
use super::probe::Probe;
use super::{moved, session};

/// How long to wait for a free or new connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to look for the cause when there was none.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may take to answer when it is given back, and when it is used again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// For how many seconds a connection is used. An old primary that is up, and takes writes or is only read, says nothing that would tell
/// that DNS or the proxy leads elsewhere by now: only a new connection follows. Each pool has a figure of its own in between, so that
/// pods that were started together do not all connect at once.
const LIFETIME: std::ops::Range<f64> = 20.0..25.0;

/// A pool that gave no connection hides why: it tries until its time is over and drops the last cause. Connects once more, outside
/// of it, and gives that cause; any other error as it is.
pub async fn explained(settings: &Database, error: DatabaseError) -> DatabaseError {
    if !matches!(error, DatabaseError::Sql(sqlx::Error::PoolTimedOut)) {
        return error;
    }
    match Probe::connect(settings, EXPLAIN_TIMEOUT).await {
        Err(cause) => cause,
        Ok(probe) => {
            probe.close().await;
            DatabaseError::Busy(ACQUIRE_TIMEOUT.as_secs())
        }
    }
}

/// A pool of at most `connections` connections, opened when first needed: building it cannot fail and needs no database.
pub fn connect(settings: &Database, connections: u32) -> MySqlPool {
    let lifetime = Duration::from_secs_f64(rand::random_range(LIFETIME));
    MySqlPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(lifetime)
        .after_connect(|connection, _| Box::pin(session::prepare(connection)))
        // The pool's own ping has no deadline: a server that fell silent would take all of the time that there is for a connection.
        .test_before_acquire(false)
        .before_acquire(move |connection, about| {
            Box::pin(async move {
                // Given back before its error was seen, or idle since before the failover, or the backup.
                if moved::is_suspect(about.age) || about.age > lifetime {
                    return Ok(false);
                }
                answers(connection).await
            })
        })
        .after_release(|connection, about| {
            Box::pin(async move {
                if moved::is_suspect(about.age) {
                    return Ok(false);
                }
                // A statement that was given up may hang for minutes (a dead peer). The pool itself would wait for it
                // without end, and run out of connections just when the database is back.
                answers(connection).await
            })
        })
        .connect_lazy_with(options(settings))
}

/// Whether it does, within the time for that.
async fn answers(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(ANSWER_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}
