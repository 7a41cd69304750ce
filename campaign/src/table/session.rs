//! What the ledger relies on in a session. All of it is set when a connection is made, as what a server (or `init_connect`, or a
//! proxy) makes of new sessions is somebody else's business, and must not decide what is committed, checked or read.

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor};

/// Each setting.
///
/// `transaction_read_only` is not among them: it is how some servers say that they are no primary.
const SETTINGS: &[(&str, &str)] = &[
    // Single statements are meant to be committed, and a commit ends its transaction.
    ("autocommit", "1"),
    ("completion_type", "'NO_CHAIN'"),
    // Nothing but the keys keeps a rank, or a user's coupon, from being stored twice.
    ("unique_checks", "1"),
    ("foreign_key_checks", "1"),
    // A value that does not fit is refused, not cut.
    ("sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"),
    // Rows that a question leaves out look as if they were lost.
    ("sql_select_limit", "18446744073709551615"),
    ("sql_auto_is_null", "0"),
    ("sql_safe_updates", "0"),
    ("sql_big_selects", "1"),
    // No statement may hang for longer than a lock is worth waiting for. The second is for locks of tables, which whoever puts a
    // backup back, or changes a table, holds or waits for: by default they are waited for a day.
    ("innodb_lock_wait_timeout", "5"),
    ("lock_wait_timeout", "5"),
];

/// Those that decide what is committed, with what they read as. Of these it is seen that they were taken: a proxy may swallow them, and
/// what is not committed is lost without an error.
const COMMITS: [(&str, &str); 2] = [("autocommit", "1"), ("completion_type", "NO_CHAIN")];

/// READ COMMITTED takes no gap locks, so that inserts of neighbouring ranks do not block each other.
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Sets it all, and sees that commits are as they should be.
///
/// # Errors
/// The connection fails, the server refuses a setting, or something on the way swallows one.
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
        // MariaDB says `ON` of a switch here, MySQL `1`.
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
