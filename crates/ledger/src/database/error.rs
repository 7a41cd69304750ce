//! What a failed statement means, decided in one table.

use sqlx::mysql::MySqlDatabaseError;

/// What to do about a failed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The database is away, or will not work for now: wait, however long it takes. Never the record's fault.
    Away,
    /// Lost a race for a lock: the same transaction may succeed at once.
    Contention,
    /// User, password or rights are wrong: somebody must change something.
    Denied,
    /// The database or a table is not there, or not as expected.
    Schema,
    /// These rows cannot be stored.
    Rejected,
}

impl std::fmt::Display for Fault {
    /// In words for people, before the server's own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Away => "the database is away, or takes nothing for now",
            Self::Contention => "the database is held up by locks",
            Self::Denied => "the database refuses this user",
            Self::Schema => "the database, or a table of it, is not as expected",
            Self::Rejected => "the database refuses rows",
        })
    }
}

/// A failed statement.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database or the way to it failed.
    #[error("database: {0}")]
    Sql(sqlx::Error),
    /// The database refused a migration; the next try goes on there.
    #[error("database migration {version}: {source}")]
    Migration {
        /// Its version.
        version: i64,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The tables were made for newer programs than this one.
    #[error(
        "the tables need a program that knows at least schema {minimum}, this one knows schema {known}: upgrade the operator to a \
         version that knows schema {minimum}"
    )]
    SchemaTooNew {
        /// The newest schema version that this program knows.
        known: i64,
        /// The lowest one that the tables ask for.
        minimum: i64,
    },
    /// No answer within the deadline, in seconds.
    #[error("the database did not answer within {0} s")]
    Timeout(u64),
    /// No connection was free for so many seconds, though the server takes new ones.
    #[error("every connection of this process to the database was in use for {0} s")]
    Busy(u64),
    /// The server wants the password in the clear, which is for connections that are encrypted.
    #[error(
        "the server takes the password of this user over TLS only (caching_sha2_password, sha256_password): set database.tls in the \
         CampaignClass to VerifyIdentity or Required"
    )]
    PasswordNeedsTls,
    /// A number of the campaign's row is so high that there is none above it.
    #[error(
        "column {column} of the campaign's row in table campaign is {number}, and no number is above it: somebody wrote it there; write back \
         the one that it had, or, if nobody knows it, the highest epoch in issued_coupon (for terms_number: 1)"
    )]
    NumbersUsedUp {
        /// The column.
        column: &'static str,
        /// What stands there.
        number: u64,
    },
    /// There is a barrier of an epoch that was never allotted.
    #[error(
        "table epoch_barrier has a row of epoch {epoch} for campaign_id {campaign}, and the newest epoch that was allotted is {newest} (column \
         epoch of table campaign). Nothing is stored from the topic and no epoch is opened meanwhile, as winners would be void. If somebody wrote \
         that row: DELETE FROM epoch_barrier WHERE campaign_id = {campaign} AND epoch > {newest}; if the row of campaign is that of an older backup: \
         UPDATE campaign SET epoch = {epoch} WHERE id = {campaign}; it goes on by itself (docs/RECOVERY.md)"
    )]
    BarrierAhead {
        /// The number of the campaign's row.
        campaign: u64,
        /// The lowest such epoch.
        epoch: u64,
        /// The newest epoch that was allotted.
        newest: u64,
    },
    /// What was committed is not to be seen on another connection, after so many seconds.
    #[error(
        "what was committed is not to be seen on another connection after {0} s: the server, or a proxy before it, keeps transactions open, \
         or lets others read from a replica that is behind; let database in the CampaignClass lead to the primary alone"
    )]
    NotSeen(u64),
    /// There is no row for this campaign.
    #[error("the database has no campaign {0}; the operator creates it")]
    NoCampaign(String),
}

/// Gives work up after `deadline`, which the database does not do by itself when it, or the way to it, falls silent. Whether a
/// statement that was given up did anything is not known.
///
/// # Errors
/// [`DatabaseError::Timeout`], or what the work came to.
pub async fn within<T>(
    deadline: std::time::Duration,
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(DatabaseError::Timeout(deadline.as_secs())),
    }
}

impl DatabaseError {
    /// What to do about it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Timeout(_) | Self::Busy(_) | Self::NotSeen(_) => Fault::Away,
            Self::PasswordNeedsTls => Fault::Denied,
            Self::NoCampaign(_) | Self::SchemaTooNew { .. } | Self::BarrierAhead { .. } => Fault::Schema,
            Self::NumbersUsedUp { .. } => Fault::Rejected,
            Self::Sql(error) | Self::Migration { source: error, .. } => sql_fault(error),
        }
    }

    /// Whether the server said that it takes no writes: it is no primary (any more), and the primary is to be looked for.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Sql(error) | Self::Migration { source: error, .. } => is_read_only(error),
            _ => false,
        }
    }

    /// Whether the server knows the user, but does not let it do this: a right is missing.
    pub fn is_missing_right(&self) -> bool {
        // For a command on a table or column, for an administrative privilege.
        matches!(self.number(), Some(1142 | 1143 | 1227))
    }

    /// Whether the right to make or change tables is missing.
    pub fn is_missing_right_to_change_tables(&self) -> bool {
        match self {
            Self::Migration { .. } => self.is_missing_right(),
            Self::Sql(sqlx::Error::Database(error)) => self.is_missing_right() && changes_tables(error.message()),
            _ => false,
        }
    }

    /// Whether a table is not there.
    pub fn is_missing_table(&self) -> bool {
        // ER_NO_SUCH_TABLE, and the same in the engine.
        matches!(self.number(), Some(1146 | 1932))
    }

    /// Whether the session is not as it was set.
    pub fn is_unset_session(&self) -> bool {
        matches!(self, Self::NotSeen(_) | Self::Sql(sqlx::Error::Configuration(_)))
    }

    /// Whether a setting of the server forbids what the ledger needs: no right and no retry helps.
    pub fn is_setting(&self) -> bool {
        // ER_BINLOG_STMT_MODE_AND_ROW_ENGINE and the like: the format of the binary log.
        matches!(self.number(), Some(1661..=1667 | 1598))
    }

    /// Whether the server, or this user's limit, has no connection left.
    pub fn is_out_of_connections(&self) -> bool {
        // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED.
        matches!(self.number(), Some(1040 | 1203 | 1226))
    }

    /// Whether the server has no room for more rows.
    pub fn is_full(&self) -> bool {
        // ER_DISK_FULL, ER_RECORD_FILE_FULL.
        matches!(self.number(), Some(1021 | 1114))
    }

    /// The server's number of the error; `None` if no server said it.
    fn number(&self) -> Option<u16> {
        match self {
            Self::Sql(error) | Self::Migration { source: error, .. } => number_of(error),
            _ => None,
        }
    }

    /// The database refused this migration.
    pub(super) fn migration(version: i64, source: sqlx::Error) -> Self {
        notice(&source);
        Self::Migration { version, source }
    }

    /// Whether a unique key stood in the way.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

impl From<sqlx::Error> for DatabaseError {
    /// Every failed statement comes by here, so here it is noticed that connections are not to be used again.
    fn from(error: sqlx::Error) -> Self {
        notice(&error);
        match error {
            // sqlx is compiled without RSA, by which it would go unencrypted: RUSTSEC-2023-0071.
            sqlx::Error::Configuration(said) if said.to_string().contains("RSA auth backend") => Self::PasswordNeedsTls,
            error => Self::Sql(error),
        }
    }
}

fn notice(error: &sqlx::Error) {
    if is_read_only(error) || number_of(error).is_some_and(misses_a_name) {
        super::moved::note(std::time::Instant::now());
    }
}

/// The server's number of an error; `None` if no server said it.
pub(super) fn number_of(error: &sqlx::Error) -> Option<u16> {
    match error {
        sqlx::Error::Database(error) => error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number),
        _ => None,
    }
}

fn is_read_only(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(said) = error else { return false };
    number_of(error).is_some_and(|number| says_read_only(number, said.message()))
}

/// The table of servers that take no writes. Source: MariaDB and MySQL error references; proxies have no number of their own.
fn says_read_only(number: u16, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let named = text.contains("read-only") || text.contains("read only") || text.contains("read_only");
    match number {
        // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE, ER_INNODB_READ_ONLY, ER_OPEN_AS_READONLY (a table).
        1792 | 1836 | 1874 | 1036 => true,
        // ER_SERVER_OFFLINE_MODE; ER_RUN_HOOK_ERROR: a member of a replication group that has no majority.
        3032 | 3100 => true,
        // ER_UNKNOWN_COM_ERROR, with which a Galera node answers that has lost its cluster.
        1047 => text.contains("wsrep"),
        // ER_OPTION_PREVENTS_STATEMENT, which other options than read_only say too; ER_UNKNOWN_ERROR, which proxies use.
        1290 | 1105 => named,
        _ => false,
    }
}

fn sql_fault(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Database(_) => number_of(error).map_or(Fault::Rejected, number_fault),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => Fault::Schema,
        sqlx::Error::Encode(_) => Fault::Rejected,
        // Everything else is about the connection or the pool.
        _ => Fault::Away,
    }
}

/// Whether the command that was refused, by which the server's sentence begins, makes or changes tables.
fn changes_tables(said: &str) -> bool {
    let command = said.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    matches!(command.as_str(), "CREATE" | "ALTER" | "DROP" | "INDEX" | "REFERENCES")
}

/// Whether the server misses a table or column: unknown column, another number of columns, no such table, here or in the engine.
fn misses_a_name(number: u16) -> bool {
    matches!(number, 1054 | 1136 | 1146 | 1932)
}

/// The table. Source: MariaDB and MySQL server error references.
fn number_fault(number: u16) -> Fault {
    match number {
        // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_CHECKREAD (MariaDB: record has changed since last read), and the same two
        // as a transaction that was rolled back for them.
        1205 | 1213 | 1020 | 1613 | 1614 => Fault::Contention,
        // Access denied: to server, database, table, column, by privilege, by account lock, without TLS.
        1044 | 1045 | 1142 | 1143 | 1227 | 1698 | 3118 | 3159 | 4151 => Fault::Denied,
        // Unknown database, table, column; missing table in engine; a column that somebody added and that has no default.
        1049 | 1054 | 1136 | 1146 | 1364 | 1932 => Fault::Schema,
        // About the rows themselves: duplicate, null, out of range, wrong value, wrong string, too long, missing parent,
        // check constraint, a trigger's own refusal, a packet too large, no partition of the table for the value.
        1048 | 1062 | 1153 | 1169 | 1216 | 1264 | 1265 | 1292 | 1366 | 1406 | 1452 | 1526 | 1586 | 1644 | 1690
        | 3819 | 4025 => Fault::Rejected,
        // Whatever else a server says (full disk, read-only, shutdown, too many connections, a statement killed) may pass,
        // and a winner that was answered must not become a dead letter because of it.
        _ => Fault::Away,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_and_a_lost_connection_are_outages() {
        assert_eq!(DatabaseError::Timeout(5).fault(), Fault::Away);
        for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, std::io::Error::other("gone").into()] {
            assert_eq!(sql_fault(&error), Fault::Away, "{error}");
        }
    }

    #[test]
    fn which_rights_are_about_tables_themselves() {
        for (said, expected) in [
            ("CREATE command denied to user 'op'@'%' for table `led`.`_sqlx_migrations`", true),
            ("ALTER command denied to user 'op'@'%' for table 'campaign'", true),
            ("INSERT command denied to user 'op'@'%' for table 'campaign'", false),
            ("", false),
        ] {
            assert_eq!(changes_tables(said), expected, "{said}");
        }
    }

    /// Wrong: a connection to a server that became a replica stays in use for as long as it lives.
    #[test]
    fn the_table_of_servers_that_take_no_writes() {
        let option = "The MariaDB server is running with the --read-only option so it cannot execute this statement";
        for (number, text, expected) in [
            (1290, option, true),
            (1290, "The MySQL server is running with the --super-read-only option", true),
            (1290, "The MySQL server is running with the --secure-file-priv option", false),
            (1792, "Cannot execute statement in a READ ONLY transaction", true),
            (1836, "Running in read-only mode", true),
            (1105, "primary is read only, try again", true),
            (1105, "target: coupons.-.replica: vttablet: Read-Only", true),
            (1105, "unknown error", false),
            (1874, "InnoDB is in read only mode.", true),
            (1036, "Table 'issued_coupon' is read only", true),
            (3032, "The server is currently in offline mode", true),
            (3100, "Error on observer while running replication hook 'before_commit'.", true),
            (1047, "WSREP has not yet prepared node for application use", true),
            (1047, "Unknown command", false),
            (1062, "Duplicate entry 'read-only' for key 'PRIMARY'", false),
        ] {
            assert_eq!(says_read_only(number, text), expected, "{number} {text}");
            assert!(!expected || number_fault(number) == Fault::Away, "{number} is no fault of the record's");
        }
    }

    #[test]
    fn the_server_error_table() {
        for (number, expected) in [
            (1213, Fault::Contention),
            (1205, Fault::Contention),
            (1614, Fault::Contention),
            (1045, Fault::Denied),
            (1364, Fault::Schema),
            (1049, Fault::Schema),
            (1146, Fault::Schema),
            (1040, Fault::Away),
            (1053, Fault::Away),
            (1290, Fault::Away),
            (1317, Fault::Away),
            (1114, Fault::Away),
            (9999, Fault::Away),
            (1406, Fault::Rejected),
            (1644, Fault::Rejected),
            (4025, Fault::Rejected),
            (1062, Fault::Rejected),
        ] {
            assert_eq!(number_fault(number), expected, "error {number}");
        }
    }
}
