//! Connects to the database.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Connection, Executor};

use super::error::TableError;
use super::moved;
use super::probe::Probe;
use crate::settings::{Database, DatabaseTls};

/// How long to wait for a free or new connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to look for the cause when there was none.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may take to answer when it is given back.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the database is, and with which login.
pub(super) fn options(settings: &Database) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new()
        .host(&settings.host)
        .port(settings.port)
        .database(&settings.name)
        .username(&settings.login.username)
        .password(&settings.login.password)
        .charset("utf8mb4")
        .ssl_mode(match settings.tls {
            DatabaseTls::Disabled => MySqlSslMode::Disabled,
            DatabaseTls::Required => MySqlSslMode::Required,
            DatabaseTls::VerifyIdentity => MySqlSslMode::VerifyIdentity,
        })
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(2));
    match &settings.ca_pem {
        Some(pem) => options.ssl_ca_from_pem(pem.clone().into_bytes()),
        None => options,
    }
}

/// A pool that gave no connection hides why: it tries until its time is over and drops the last cause. Connects once more, outside
/// of it, and gives that cause; any other error as it is.
pub async fn explained(settings: &Database, error: TableError) -> TableError {
    if !matches!(error, TableError::Sql(sqlx::Error::PoolTimedOut)) {
        return error;
    }
    match Probe::connect(settings, EXPLAIN_TIMEOUT).await {
        Err(cause) => cause,
        Ok(probe) => {
            probe.close().await;
            TableError::Busy(ACQUIRE_TIMEOUT.as_secs())
        }
    }
}

/// A pool of at most `connections` connections, opened when first needed: building it cannot fail and needs no database.
pub fn connect(settings: &Database, connections: u32) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(Duration::from_secs(120))
        .max_lifetime(Duration::from_secs(1800))
        .after_connect(|connection, _| {
            Box::pin(async move {
                // READ COMMITTED takes no gap locks, so that inserts of neighbouring ranks do not block each other; no
                // statement may hang for longer than a lock is worth waiting for.
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                connection.execute("SET SESSION innodb_lock_wait_timeout = 5").await?;
                // The same for locks of tables, which whoever puts a backup back, or changes a table, holds or waits for: by default
                // they are waited for a day.
                connection.execute("SET SESSION lock_wait_timeout = 5").await?;
                // Single statements are meant to be committed, whatever the server makes of new sessions.
                connection.execute("SET SESSION autocommit = 1, completion_type = 'NO_CHAIN'").await?;
                Ok(())
            })
        })
        // Given back before its error was seen, or idle since before the failover, or the backup.
        .before_acquire(|_, about| Box::pin(async move { Ok(!moved::is_suspect(about.age)) }))
        .after_release(|connection, about| {
            Box::pin(async move {
                if moved::is_suspect(about.age) {
                    return Ok(false);
                }
                // A statement that was given up may hang for minutes (a dead peer). The pool itself would wait for it
                // without end, and run out of connections just when the database is back.
                match tokio::time::timeout(RELEASE_TIMEOUT, connection.ping()).await {
                    Ok(answer) => answer.map(|()| true),
                    Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
                }
            })
        })
        .connect_lazy_with(options(settings))
}
