//! Brings the tables up to date.
//!
//! Every statement of `migrations/` may run again: MariaDB and MySQL commit each change of a table by itself, so an operator that
//! dies, or lacks a right, half way leaves the rest to the next one. The bookkeeping is that of sqlx, whose own runner stops for
//! good at a migration that broke off. Checksums are written, but not compared: the text of a statement that has run may change
//! as long as what it makes does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha384};
use sqlx::mysql::{MySqlConnection, MySqlPool};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, MySql};

use super::error::{DatabaseError, number_of};

/// How long migrations may take, waiting for the lock included.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long to wait for another process that migrates. After that both go on: each statement may run twice.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The books, as sqlx keeps them.
pub(super) const BOOKS: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
                     installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
                     execution_time BIGINT NOT NULL)";

/// The files of `migrations/`: version, subject, text. A list by hand, as the macro that reads the folder would have sqlx and all
/// that it stands on compiled a second time, for the compiler.
const FILES: &[(i64, &str, &str)] = &[
    (1, "ledger", include_str!("../../../../migrations/0001_ledger.sql")),
    (2, "terms", include_str!("../../../../migrations/0002_terms.sql")),
    (3, "drained", include_str!("../../../../migrations/0003_drained.sql")),
    (4, "discarded", include_str!("../../../../migrations/0004_discarded.sql")),
    (5, "terms in force", include_str!("../../../../migrations/0005_terms_in_force.sql")),
    (6, "direct", include_str!("../../../../migrations/0006_direct.sql")),
    (7, "owner", include_str!("../../../../migrations/0007_owner.sql")),
    (8, "forgotten", include_str!("../../../../migrations/0008_forgotten.sql")),
    (9, "removed", include_str!("../../../../migrations/0009_removed.sql")),
    (10, "discarded records", include_str!("../../../../migrations/0010_discarded_records.sql")),
];

/// One migration of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its version; the highest one is the version of the schema that this program knows.
    pub version: i64,
    /// What it is about.
    pub description: String,
    /// Its statements, in order.
    pub statements: Vec<String>,
    pub(super) checksum: Vec<u8>,
}

/// The migrations of this program, in order.
pub fn migrations() -> Vec<Migration> {
    let one = |(version, description, text): &(i64, &str, &str)| Migration {
        version: *version,
        description: (*description).to_owned(),
        statements: statements(text),
        checksum: Sha384::digest(text).to_vec(),
    };
    FILES.iter().map(one).collect()
}

/// Splits a file into its statements. Comments have lines of their own, and no statement has a semicolon within.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    code.join("\n").split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

/// Runs the migrations of `migrations/` that have not run yet. Where none is missing nothing is written, and no right to change
/// tables is needed. Migrations that only a newer program knows are no obstacle, unless the database says so.
///
/// # Errors
/// [`DatabaseError::SchemaTooNew`] if these tables are for newer programs only; [`DatabaseError::Migration`] says at which migration the
/// database refused, each time anew.
pub async fn migrate(pool: &MySqlPool) -> Result<(), DatabaseError> {
    match tokio::time::timeout(DEADLINE, look_and_migrate(pool)).await {
        Ok(result) => result,
        Err(_) => Err(DatabaseError::Timeout(DEADLINE.as_secs())),
    }
}

async fn look_and_migrate(pool: &MySqlPool) -> Result<(), DatabaseError> {
    let own = migrations();
    let mut connection = pool.acquire().await?;
    if missing(&own, &mut connection).await?.is_empty() {
        return Ok(());
    }
    // The lock belongs to its connection and goes with it, however this ends.
    connection.close_on_drop();
    lock(&mut connection).await?;
    // Somebody else may have been at work meanwhile.
    let there = existing_columns(&mut connection).await?;
    if recorded(&mut connection).await?.is_none()
        && let Err(error) = sqlx::raw_sql(BOOKS).execute(&mut *connection).await.map_err(DatabaseError::from)
    {
        // Tables that somebody put there without the books, as a copy of others: nothing is left to do, and nowhere to write it down.
        if error.is_missing_right() && first_undone(&own, &there).is_none() {
            tracing::warn!(%error, "the tables are there, their books are not; `coupon-operator migrations print` makes them");
            return Ok(());
        }
        return Err(error);
    }
    let missing = missing(&own, &mut connection).await?;
    run(missing, &there, &mut connection).await
}

/// The migrations that are to run.
async fn missing<'a>(
    own: &'a [Migration],
    connection: &mut MySqlConnection,
) -> Result<Vec<&'a Migration>, DatabaseError> {
    let known = own.last().map_or(0, |migration| migration.version);
    if let Some(minimum) = minimum_reader(connection).await?.filter(|minimum| *minimum > known) {
        return Err(DatabaseError::SchemaTooNew { known, minimum });
    }
    let Some(mut recorded) = recorded(connection).await? else { return Ok(own.iter().collect()) };
    if let Some(first) = first_undone(own, &existing_columns(connection).await?) {
        if was_made(&recorded, first) {
            tracing::warn!(version = first, "tables or columns are missing that were made once: they are made anew");
        }
        recorded.retain(|version, _| *version < first);
    }
    Ok(not_done(own, &recorded))
}

/// Tables and columns of this database, as (table, column), in lower case.
async fn existing_columns(connection: &mut MySqlConnection) -> Result<BTreeSet<(String, String)>, DatabaseError> {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT CONVERT(LOWER(table_name) USING utf8mb4), CONVERT(LOWER(column_name) USING utf8mb4) \
         FROM information_schema.columns WHERE table_schema = DATABASE()",
    )
    .fetch_all(connection)
    .await?;
    Ok(columns.into_iter().collect())
}

/// The first migration whose table or column is not there, whatever the books say: somebody has dropped it. Those after it may have
/// changed the same table.
fn first_undone(own: &[Migration], there: &BTreeSet<(String, String)>) -> Option<i64> {
    let is_there = |statement: &String| made(statement).is_none_or(|made| made.is_in(there));
    own.iter().find(|migration| !migration.statements.iter().all(is_there)).map(|migration| migration.version)
}

/// Whether the books say that this migration, or a later one, was finished once. Of an empty database, and of a new release, they do not.
fn was_made(recorded: &BTreeMap<i64, bool>, first: i64) -> bool {
    recorded.range(first..).any(|(_, finished)| *finished)
}

/// What a statement makes.
enum Made<'a> {
    Table(&'a str),
    Column(&'a str, &'a str),
}

impl Made<'_> {
    fn is_in(&self, there: &BTreeSet<(String, String)>) -> bool {
        match self {
            Self::Table(table) => there.iter().any(|(name, _)| name.eq_ignore_ascii_case(table)),
            Self::Column(table, column) => there.contains(&(table.to_lowercase(), column.to_lowercase())),
        }
    }
}

/// `None` for one that only writes.
fn made(statement: &str) -> Option<Made<'_>> {
    let words: Vec<&str> = statement.split_whitespace().take(6).collect();
    let begins = |with: &[&str]| with.iter().zip(&words).all(|(wanted, word)| wanted.eq_ignore_ascii_case(word));
    match words.as_slice() {
        [.., table] if words.len() == 6 && begins(&["create", "table", "if", "not", "exists"]) => {
            Some(Made::Table(table))
        }
        [_, _, table, _, _, column] if begins(&["alter", "table", table, "add", "column"]) => {
            Some(Made::Column(table, column))
        }
        _ => None,
    }
}

/// Table and column, if the statement adds one.
pub(super) fn added_column(statement: &str) -> Option<(&str, &str)> {
    match made(statement)? {
        Made::Column(table, column) => Some((table, column)),
        Made::Table(_) => None,
    }
}

fn not_done<'a>(own: &'a [Migration], recorded: &BTreeMap<i64, bool>) -> Vec<&'a Migration> {
    own.iter().filter(|migration| recorded.get(&migration.version) != Some(&true)).collect()
}

/// The versions in the books, each with whether it was finished; `None` if there are no books yet.
async fn recorded(connection: &mut MySqlConnection) -> Result<Option<BTreeMap<i64, bool>>, DatabaseError> {
    let rows: Result<Vec<(i64, bool)>, sqlx::Error> =
        sqlx::query_as("SELECT version, success FROM _sqlx_migrations").fetch_all(connection).await;
    if_there(rows.map(|rows| rows.into_iter().collect()))
}

/// The lowest schema version that a program must know; `None` where no migration has said it yet.
async fn minimum_reader(connection: &mut MySqlConnection) -> Result<Option<i64>, DatabaseError> {
    let found: Result<Option<i64>, sqlx::Error> =
        sqlx::query_scalar("SELECT MAX(minimum_reader) FROM schema_compatibility").fetch_one(connection).await;
    Ok(if_there(found)?.flatten())
}

/// `None` instead of an error about a table that is not there.
fn if_there<T>(result: Result<T, sqlx::Error>) -> Result<Option<T>, DatabaseError> {
    match result {
        Ok(value) => Ok(Some(value)),
        // ER_NO_SUCH_TABLE
        Err(error) if number_of(&error) == Some(1146) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes the lock of this database's migrations, if the server knows such locks. They only spare the second process an error
/// line in the server's log: some clusters and proxies refuse `GET_LOCK`, and a holder whose machine died keeps it for hours.
async fn lock(connection: &mut PoolConnection<MySql>) -> Result<(), DatabaseError> {
    let asked = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('coupon-migrations-', MD5(DATABASE())), ?)")
        .bind(LOCK_WAIT.as_secs())
        .fetch_one(&mut **connection)
        .await;
    match asked {
        Ok(Some(1_i64)) => {}
        Ok(Some(_)) => tracing::warn!(
            seconds = LOCK_WAIT.as_secs(),
            "another process holds the lock of the migrations; going on without it, which is safe"
        ),
        Ok(None) => tracing::warn!("the database gives no lock for migrations; going on without it, which is safe"),
        Err(error) if number_of(&error).is_some() => {
            tracing::warn!(%error, "the database refuses a lock for migrations; going on without it, which is safe");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn run(
    missing: Vec<&Migration>,
    there: &BTreeSet<(String, String)>,
    connection: &mut MySqlConnection,
) -> Result<(), DatabaseError> {
    for migration in missing {
        run_one(migration, there, connection)
            .await
            .map_err(|source| DatabaseError::migration(migration.version, source))?;
        tracing::info!(version = migration.version, migration.description, "the tables were migrated");
    }
    Ok(())
}

async fn run_one(
    migration: &Migration,
    there: &BTreeSet<(String, String)>,
    connection: &mut MySqlConnection,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (?, ?, FALSE, ?, -1) \
         ON DUPLICATE KEY UPDATE checksum = VALUES(checksum)",
    )
    .bind(migration.version)
    .bind(&migration.description)
    .bind(&migration.checksum)
    .execute(&mut *connection)
    .await?;
    for statement in &migration.statements {
        match sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut *connection).await {
            Ok(_) => {}
            // MySQL has no ADD COLUMN IF NOT EXISTS.
            Err(error) if number_of(&error).is_some_and(is_done_already) => {}
            // A server refuses this also where it would change nothing: an administrator has done it.
            Err(error) if number_of(&error) == Some(1142) && made(statement).is_some_and(|made| made.is_in(there)) => {}
            Err(error) => return Err(error),
        }
    }
    sqlx::query("UPDATE _sqlx_migrations SET success = TRUE WHERE version = ?")
        .bind(migration.version)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether the error says that an earlier try has done the same: ER_DUP_FIELDNAME, ER_DUP_KEYNAME.
fn is_done_already(number: u16) -> bool {
    matches!(number, 1060 | 1061)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_split_into_statements_without_comments() {
        let text =
            "-- One; two.\nCREATE TABLE a (\n    -- What; for.\n    b INT\n);\n\nALTER TABLE a ADD COLUMN c INT;\n";
        assert_eq!(statements(text), ["CREATE TABLE a (\n    b INT\n)", "ALTER TABLE a ADD COLUMN c INT"]);
    }

    /// Wrong: an empty database, or the first migration of a new release, is told as tables that somebody has dropped.
    #[test]
    fn only_what_was_made_once_is_made_anew() {
        let books = |all: &[(i64, bool)]| all.iter().copied().collect::<BTreeMap<_, _>>();
        for (what, recorded, first, expected) in [
            ("an empty database", books(&[]), 1, false),
            ("a new release", books(&[(1, true), (2, true)]), 3, false),
            ("one that broke off", books(&[(1, true), (2, false)]), 2, false),
            ("somebody dropped it", books(&[(1, true), (2, true)]), 2, true),
            ("and it broke off, and later ones were finished", books(&[(1, false), (2, true)]), 1, true),
        ] {
            assert_eq!(was_made(&recorded, first), expected, "{what}");
        }
    }

    #[test]
    fn a_table_or_column_that_somebody_dropped_is_found() {
        let own = migrations();
        let mut all = BTreeSet::new();
        for statement in own.iter().flat_map(|migration| &migration.statements) {
            let words: Vec<String> = statement.split_whitespace().map(str::to_lowercase).collect();
            match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["create", "table", "if", "not", "exists", table, ..] => {
                    all.insert(((*table).to_owned(), "x".to_owned()))
                }
                ["alter", "table", table, "add", "column", column, ..] => {
                    all.insert(((*table).to_owned(), (*column).to_owned()))
                }
                _ => false,
            };
        }
        assert_eq!(first_undone(&own, &all), None);
        let without = |table: &str| all.iter().filter(|(name, _)| name != table).cloned().collect();
        assert_eq!(first_undone(&own, &without("drained")), Some(3));
        assert_eq!(first_undone(&own, &without("issued_coupon")), Some(1));
        let column = |(_, name): &&(String, String)| name != "terms_number";
        assert!(first_undone(&own, &all.iter().filter(column).cloned().collect()).is_none_or(|version| version > 1));
    }

    /// Wrong: a migration that nobody runs.
    #[test]
    fn every_file_is_in_the_list() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = names.filter(|name| name.ends_with(".sql")).collect();
        files.sort();
        let listed: Vec<String> = FILES
            .iter()
            .map(|(version, subject, _)| format!("{version:04}_{}.sql", subject.replace(' ', "_")))
            .collect();
        assert_eq!(files, listed);
    }

    /// Wrong: an operator that dies half way leaves tables that no operator can migrate any more.
    #[test]
    fn every_statement_may_run_again_on_mariadb_and_mysql() {
        let repeatable = |statement: &str| {
            let words: Vec<String> = statement.split_whitespace().map(str::to_uppercase).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["CREATE", "TABLE", "IF", "NOT", "EXISTS", ..] => true,
                // One column each: of two, the first being there would keep the second away. IF is MariaDB's only.
                ["ALTER", "TABLE", _, "ADD", "COLUMN", next, rest @ ..] => *next != "IF" && !rest.contains(&"ADD"),
                ["INSERT", ..] => statement.contains("ON DUPLICATE KEY UPDATE"),
                _ => false,
            }
        };
        let all = migrations();
        assert!(all.windows(2).all(|pair| pair[0].version < pair[1].version));
        for migration in &all {
            assert!(!migration.statements.is_empty(), "{}", migration.version);
            for statement in &migration.statements {
                assert!(repeatable(statement), "migration {}: {statement}", migration.version);
            }
        }
        assert!(!repeatable("ALTER TABLE a ADD COLUMN b INT, ADD COLUMN c INT"));
        assert!(!repeatable("CREATE TABLE a (b INT)"));
    }
}
