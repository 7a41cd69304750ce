//! What a database is and whether a user may do there what the programs do: asked and tried, on a connection of its own, so that
//! the cause of a failure is the server's and not a pool's.

use std::time::Duration;

use coupon_core::connections::Database;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::error::{DatabaseError, number_of};
use super::options::options;
use super::session;

/// Whose rights are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Issuers and consumers.
    Workload,
    /// The operator.
    Operator,
    /// Whoever forgets people: the pods' login, for [`super::forget`].
    Forget,
    /// Whoever gives dead letters up: the pods' login, for [`super::discard`].
    Discard,
}

/// What is done to each table, in SQL that changes nothing. `_` stands for the table; the column is one that it has.
const TABLES: [(&str, &str); 9] = [
    ("campaign", "issued_count"),
    ("issued_coupon", "epoch"),
    ("epoch_barrier", "end_offset"),
    ("drained", "end_offset"),
    ("discarded_coupon", "epoch"),
    ("discarded_record", "record_offset"),
    ("direct_coupon", "published"),
    ("forgotten_coupon", "issue_rank"),
    ("schema_compatibility", "minimum_reader"),
];

/// The unique keys that the ledger relies on: no rank, and no user's n-th coupon, is stored twice.
const KEYS: [(&str, &str); 3] = [
    ("campaign", "realm, namespace, coupon_id"),
    ("issued_coupon", "campaign_id, issue_rank"),
    ("issued_coupon", "campaign_id, user_id, user_nth"),
];

/// What somebody does to a table beside reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    Nothing,
    Updates,
    Inserts,
    UpdatesAndInserts,
}

impl Writes {
    fn updates(self) -> bool {
        matches!(self, Self::Updates | Self::UpdatesAndInserts)
    }

    fn inserts(self) -> bool {
        matches!(self, Self::Inserts | Self::UpdatesAndInserts)
    }
}

/// What is done to each of [`TABLES`].
fn writes(role: Role, table: &str) -> Writes {
    use Writes::{Inserts, Nothing, Updates, UpdatesAndInserts};
    match (role, table) {
        (Role::Operator, "schema_compatibility") => Nothing,
        (Role::Operator, _) => UpdatesAndInserts,
        // Who replays dead letters gives some of them up, who stores past Kafka notes it, and who forgets people writes pseudonyms.
        (Role::Workload, "issued_coupon" | "discarded_coupon" | "direct_coupon" | "forgotten_coupon") => {
            UpdatesAndInserts
        }
        (Role::Workload | Role::Discard, "discarded_record") => Inserts,
        (Role::Forget, "campaign" | "issued_coupon" | "discarded_coupon") => Updates,
        (Role::Forget, "forgotten_coupon") | (Role::Discard, "discarded_coupon") => UpdatesAndInserts,
        (Role::Workload | Role::Forget | Role::Discard, _) => Nothing,
    }
}

fn statements(role: Role) -> Vec<(&'static str, String)> {
    // MySQL takes the lock from nobody who may not update the table.
    let mut all = vec![("campaign", "SELECT id FROM campaign WHERE 1 = 0 LOCK IN SHARE MODE".to_owned())];
    for (table, column) in TABLES {
        all.push((table, format!("SELECT {column} FROM {table} LIMIT 0")));
        let writes = writes(role, table);
        if writes.updates() {
            // A sale changes no row of `issued_coupon`, but `ON DUPLICATE KEY UPDATE` asks for the right to.
            all.push((table, format!("UPDATE {table} SET {column} = {column} WHERE 1 = 0")));
        }
        if writes.inserts() {
            all.push((table, format!("INSERT INTO {table} SELECT * FROM {table} WHERE 1 = 0")));
        }
    }
    all
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// `VERSION()`.
    pub version: String,
    /// The setting that makes it take no writes, if one does.
    pub read_only: Option<&'static str>,
    /// How statements are written to the binary log, if there is one.
    pub binlog_format: Option<String>,
    /// Servers of a Galera cluster.
    pub galera: Option<u32>,
    /// Whether a commit waits for a replica.
    pub semi_sync: bool,
    /// Whether a commit is on disk when it is confirmed.
    pub flushes: bool,
}

impl ServerFacts {
    fn of(version: String, variables: &[(String, String)]) -> Self {
        let value = |name: &str| {
            let found = variables.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_ascii_uppercase())
        };
        let is_on = |name: &str| value(name).is_some_and(|value| value == "ON" || value == "1");
        let read_only = ["super_read_only", "read_only", "innodb_read_only", "transaction_read_only", "tx_read_only"];
        Self {
            version,
            read_only: read_only.into_iter().find(|name| {
                // MariaDB 12 and newer say how strict it is.
                value(name).is_some_and(|value| !matches!(value.as_str(), "OFF" | "0"))
            }),
            binlog_format: value("binlog_format").filter(|_| is_on("log_bin")),
            galera: value("wsrep_cluster_size").filter(|_| is_on("wsrep_on")).and_then(|size| size.parse().ok()),
            semi_sync: is_on("rpl_semi_sync_master_enabled") || is_on("rpl_semi_sync_source_enabled"),
            flushes: value("innodb_flush_log_at_trx_commit").is_none_or(|value| value == "1"),
        }
    }

    /// Whether the first two numbers of the version are those of a MariaDB or MySQL that the tests know, or newer.
    pub fn is_recent(&self) -> bool {
        let mut numbers = self.version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        found >= if self.version.contains("MariaDB") { (10, 6) } else { (8, 0) }
    }
}

/// One connection, and what was learned on it.
#[derive(Debug)]
pub struct Probe {
    connection: MySqlConnection,
    timeout: Duration,
}

impl Probe {
    /// Connects. Each step may take `timeout`.
    ///
    /// # Errors
    /// The cause, as the network or the server tells it.
    pub async fn connect(settings: &Database, timeout: Duration) -> Result<Self, DatabaseError> {
        let opened = async { Ok(options(settings).connect().await?) };
        let mut connection = within(timeout, opened).await?;
        within(timeout, async { Ok(session::prepare(&mut connection).await?) }).await?;
        Ok(Self { connection, timeout })
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn facts(&mut self) -> Result<ServerFacts, DatabaseError> {
        let timeout = self.timeout;
        let asking = async {
            let version: String = sqlx::query_scalar("SELECT CAST(VERSION() AS CHAR CHARACTER SET utf8mb4)")
                .fetch_one(&mut self.connection)
                .await?;
            // Variables that a server does not know are left out of the answer, and are no error.
            let names = "'super_read_only', 'read_only', 'innodb_read_only', 'transaction_read_only', 'tx_read_only', 'log_bin', \
                         'binlog_format', 'wsrep_on', 'rpl_semi_sync_master_enabled', 'rpl_semi_sync_source_enabled', \
                         'innodb_flush_log_at_trx_commit'";
            let mut found = self.shown(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")).await?;
            found.extend(self.shown("SHOW GLOBAL STATUS WHERE Variable_name = 'wsrep_cluster_size'").await?);
            Ok(ServerFacts::of(version, &found))
        };
        within(timeout, asking).await
    }

    async fn shown(&mut self, statement: &str) -> Result<Vec<(String, String)>, DatabaseError> {
        Ok(sqlx::query_as(AssertSqlSafe(statement.to_owned())).fetch_all(&mut self.connection).await?)
    }

    /// The server's clock, milliseconds since 1970. In UTC, so that no change of summer time is a wrong clock.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn clock(&mut self) -> Result<i64, DatabaseError> {
        let timeout = self.timeout;
        let asked = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))";
        let asking = async { Ok(sqlx::query_scalar::<_, i64>(asked).fetch_one(&mut self.connection).await? / 1000) };
        within(timeout, asking).await
    }

    /// Tries every right that `role` needs, table by table, with statements that touch no row. Gives the server's words for each
    /// that is missing, which name user, right and table.
    ///
    /// # Errors
    /// Anything else than a missing right.
    pub async fn missing_rights(&mut self, role: Role) -> Result<Vec<DatabaseError>, DatabaseError> {
        let timeout = self.timeout;
        let trying = async {
            let mut missing = Vec::new();
            for (_, statement) in statements(role) {
                let tried = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.connection).await;
                match tried.map_err(DatabaseError::from) {
                    Ok(_) => {}
                    Err(error) if error.is_missing_right() => missing.push(error),
                    Err(error) => return Err(error),
                }
            }
            Ok(missing)
        };
        within(timeout, trying).await
    }

    /// The unique keys that tables lack which somebody has changed: `table (columns)`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn missing_keys(&mut self) -> Result<Vec<String>, DatabaseError> {
        let timeout = self.timeout;
        let asking = async {
            let found = self
                .shown(
                    "SELECT CONVERT(LOWER(table_name) USING utf8mb4), \
                     CONVERT(GROUP_CONCAT(LOWER(column_name) ORDER BY seq_in_index SEPARATOR ', ') USING utf8mb4) \
                     FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0 \
                     GROUP BY table_name, index_name",
                )
                .await?;
            let is_missing =
                |(table, columns): &&(&str, &str)| !found.iter().any(|(of, key)| of == table && key == columns);
            Ok(KEYS.iter().filter(is_missing).map(|(table, columns)| format!("{table} ({columns})")).collect())
        };
        within(timeout, asking).await
    }

    /// Stores a winner of no campaign and takes it back.
    ///
    /// # Errors
    /// Why it could not be stored.
    pub async fn insert_and_roll_back(&mut self) -> Result<(), DatabaseError> {
        // Two that try at the same time do not meet.
        let timeout = self.timeout;
        let rank = i64::from(rand::random::<u32>()) + 1;
        let trying = async {
            // The row is no campaign's. A server that does not let us say so refuses it for that, after all else.
            let _ = self.connection.execute("SET SESSION foreign_key_checks = 0").await;
            let mut transaction = self.connection.begin().await?;
            let insert = "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms) \
                          VALUES (0, ?, ?, 1, 'probe', 0, 0) ON DUPLICATE KEY UPDATE issue_rank = issue_rank";
            let stored = sqlx::query(insert).bind(rank).bind(format!("probe-{rank}")).execute(&mut *transaction).await;
            transaction.rollback().await?;
            match stored {
                Ok(_) => Ok(()),
                Err(error) if number_of(&error) == Some(1452) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        within(timeout, trying).await
    }

    /// Says goodbye.
    pub async fn close(self) {
        // Nothing is lost with it; the server notices a connection that is gone as well.
        let _ = tokio::time::timeout(self.timeout, self.connection.close()).await;
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(DatabaseError::Timeout(timeout.as_secs().max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_of_themselves() {
        let variables = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let facts = |pairs: &[(&str, &str)]| ServerFacts::of("10.11.6-MariaDB".to_owned(), &variables(pairs));
        for (pairs, expected) in [
            (&[("read_only", "OFF"), ("super_read_only", "OFF")][..], None),
            (&[("read_only", "ON")], Some("read_only")),
            (&[("read_only", "NO_LOCK_NO_ADMIN")], Some("read_only")),
            (&[("read_only", "ON"), ("super_read_only", "ON")], Some("super_read_only")),
            (&[("innodb_read_only", "1")], Some("innodb_read_only")),
        ] {
            assert_eq!(facts(pairs).read_only, expected, "{pairs:?}");
        }
        assert_eq!(facts(&[("log_bin", "OFF"), ("binlog_format", "STATEMENT")]).binlog_format, None);
        assert_eq!(facts(&[("log_bin", "ON"), ("binlog_format", "statement")]).binlog_format.unwrap(), "STATEMENT");
        assert_eq!(facts(&[("wsrep_on", "ON"), ("wsrep_cluster_size", "3")]).galera, Some(3));
        assert_eq!(facts(&[("wsrep_on", "OFF"), ("wsrep_cluster_size", "0")]).galera, None);
        assert!(facts(&[("rpl_semi_sync_source_enabled", "ON")]).semi_sync && !facts(&[]).semi_sync);
        assert!(!facts(&[("innodb_flush_log_at_trx_commit", "2")]).flushes && facts(&[]).flushes);
    }

    #[test]
    fn versions() {
        for (version, recent) in [
            ("10.11.6-MariaDB-0+deb12u1", true),
            ("10.2.11-MariaDB", false),
            ("11.4.5-MariaDB", true),
            ("8.0.36", true),
            ("5.7.44-log", false),
            ("8.4.0", true),
            ("nonsense", false),
        ] {
            let facts = ServerFacts { version: version.to_owned(), ..ServerFacts::default() };
            assert_eq!(facts.is_recent(), recent, "{version}");
        }
    }

    #[test]
    fn the_pods_only_read_what_the_operator_writes() {
        let all = |role| statements(role).into_iter().map(|(_, statement)| statement).collect::<Vec<_>>();
        assert!(all(Role::Operator).iter().any(|each| each.starts_with("INSERT INTO campaign")));
        assert!(!all(Role::Workload).iter().any(|each| each.starts_with("INSERT INTO campaign")));
        assert!(all(Role::Workload).iter().any(|each| each.starts_with("INSERT INTO issued_coupon")));
        assert!(all(Role::Workload).iter().filter(|each| each.contains("LIMIT 0")).count() == TABLES.len());
        let written = |role| {
            let writes = |each: &String| each.starts_with("UPDATE") || each.starts_with("INSERT");
            all(role)
                .iter()
                .filter(|each| writes(each))
                .map(|each| each.split(' ').take(3).collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            written(Role::Discard),
            ["UPDATE discarded_coupon SET", "INSERT INTO discarded_coupon", "INSERT INTO discarded_record"]
        );
        assert_eq!(
            written(Role::Forget),
            [
                "UPDATE campaign SET",
                "UPDATE issued_coupon SET",
                "UPDATE discarded_coupon SET",
                "UPDATE forgotten_coupon SET",
                "INSERT INTO forgotten_coupon"
            ]
        );
    }
}
