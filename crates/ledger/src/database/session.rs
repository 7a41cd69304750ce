//! Session settings that the ledger relies on. Each new connection sets all of them: the defaults of a server, its `init_connect` or
//! a proxy may differ, and they must not decide what is committed, checked or read.

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor};

/// The settings, each a name and a value.
///
/// `transaction_read_only` must not be set: some servers use it to say that they are not the primary.
const SETTINGS: &[(&str, &str)] = &[
    // Single statements commit at once, and a commit does not begin another transaction.
    ("autocommit", "1"),
    ("completion_type", "'NO_CHAIN'"),
    // Only the unique keys prevent that a rank, or a user's n-th coupon, is stored twice.
    ("unique_checks", "1"),
    ("foreign_key_checks", "1"),
    // A value that does not fit into its column is an error. It is not shortened.
    ("sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"),
    // No limit on the rows of a SELECT: rows that were left out would be taken for lost.
    ("sql_select_limit", "18446744073709551615"),
    ("sql_auto_is_null", "0"),
    ("sql_safe_updates", "0"),
    ("sql_big_selects", "1"),
    // How long a statement waits for locks. The second setting is for table locks, which a restore or an `ALTER TABLE` holds or
    // waits for; by default a statement waits for those for a day.
    ("innodb_lock_wait_timeout", "5"),
    ("lock_wait_timeout", "5"),
];

/// The settings that decide what is committed, with the values that they read as. They are read back after they are set: a proxy may
/// drop a `SET`, and then writes would be lost without an error.
const COMMITS: [(&str, &str); 2] = [("autocommit", "1"), ("completion_type", "NO_CHAIN")];

/// READ COMMITTED takes no gap locks, so that inserts of neighbouring ranks do not block each other.
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Applies all settings and verifies those in [`COMMITS`].
///
/// # Errors
/// The connection fails, the server refuses a setting, or a setting had no effect, as a proxy dropped it.
pub(super) async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let pairs: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    connection.execute(ISOLATION).await?;
    connection.execute(AssertSqlSafe(format!("SET SESSION {}", pairs.join(", ")))).await?;
    let names = COMMITS.map(|(name, _)| format!("@@SESSION.{name}")).join(", ");
    let asked = format!("SELECT CAST(CONCAT_WS('/', {names}) AS CHAR CHARACTER SET utf8mb4)");
    let found: String = sqlx::query_scalar(AssertSqlSafe(asked)).fetch_one(connection).await?;
    match not_taken(&found) {
        None => Ok(()),
        Some((name, found)) => Err(sqlx::Error::Configuration(
            format!("the session's {name} is {found:?} though it was set: a proxy before the server swallows it")
                .into(),
        )),
    }
}

/// The first of [`COMMITS`] that is not in force.
fn not_taken(found: &str) -> Option<(&'static str, String)> {
    let mut found = found.split('/');
    COMMITS.into_iter().find_map(|(name, wanted)| {
        let found = found.next().unwrap_or_default();
        // For a boolean MariaDB returns `ON` here, and MySQL `1`.
        let is_on = wanted == "1" && found.eq_ignore_ascii_case("on");
        (!is_on && !found.eq_ignore_ascii_case(wanted)).then(|| (name, found.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_was_swallowed_is_named() {
        for (found, named) in [
            ("ON/NO_CHAIN", None),
            ("1/NO_CHAIN", None),
            ("0/NO_CHAIN", Some(("autocommit", "0".to_owned()))),
            ("OFF/NO_CHAIN", Some(("autocommit", "OFF".to_owned()))),
            ("ON/CHAIN", Some(("completion_type", "CHAIN".to_owned()))),
            ("1", Some(("completion_type", String::new()))),
        ] {
            assert_eq!(not_taken(found), named, "{found}");
        }
    }
}
