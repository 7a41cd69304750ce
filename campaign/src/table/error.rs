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

/// A failed statement.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The database or the way to it failed.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// A migration failed.
    #[error("database migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// No answer within the deadline, in seconds.
    #[error("the database did not answer within {0} s")]
    Timeout(u64),
    /// There is no row for this campaign.
    #[error("the database has no campaign {0}; the operator creates it")]
    NoCampaign(String),
}

impl TableError {
    /// What to do about it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Timeout(_) => Fault::Away,
            Self::NoCampaign(_) => Fault::Schema,
            Self::Sql(error) | Self::Migrate(sqlx::migrate::MigrateError::Execute(error)) => sql_fault(error),
            Self::Migrate(_) => Fault::Schema,
        }
    }

    /// Whether a unique key stood in the way.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

fn sql_fault(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<MySqlDatabaseError>() {
            Some(error) => number_fault(error.number()),
            None => Fault::Rejected,
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => Fault::Schema,
        sqlx::Error::Encode(_) => Fault::Rejected,
        // Everything else is about the connection or the pool.
        _ => Fault::Away,
    }
}

/// The table. Source: MariaDB and MySQL server error references.
fn number_fault(number: u16) -> Fault {
    match number {
        // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_CHECKREAD (MariaDB: record has changed since last read), and the same two
        // as a transaction that was rolled back for them.
        1205 | 1213 | 1020 | 1613 | 1614 => Fault::Contention,
        // Access denied: to server, database, table, column, by privilege, by account lock.
        1044 | 1045 | 1142 | 1143 | 1227 | 1698 | 3118 | 4151 => Fault::Denied,
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
        assert_eq!(TableError::Timeout(5).fault(), Fault::Away);
        for error in [sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed, std::io::Error::other("gone").into()] {
            assert_eq!(sql_fault(&error), Fault::Away, "{error}");
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
