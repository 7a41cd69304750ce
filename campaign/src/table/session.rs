//! What the ledger relies on in a session. All of it is set when a connection is made, as what a server (or `init_connect`, or a
//! proxy) makes of new sessions is somebody else's business, and must not decide what is committed, checked or read.

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor};

/// Each setting, with what it reads as once it is in force.
///
/// `transaction_read_only` is not among them: it is how some servers say that they are no primary.
const SETTINGS: &[(&str, &str, &str)] = &[
    // Single statements are meant to be committed, and a commit ends its transaction.
    ("autocommit", "1", "1"),
    ("completion_type", "'NO_CHAIN'", "NO_CHAIN"),
    // Nothing but the keys keeps a rank, or a user's coupon, from being stored twice.
    ("unique_checks", "1", "1"),
    ("foreign_key_checks", "1", "1"),
    // A value that does not fit is refused, not cut.
    ("sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"),
    // Rows that a question leaves out look as if they were lost.
    ("sql_select_limit", "18446744073709551615", "18446744073709551615"),
    ("sql_auto_is_null", "0", "0"),
    ("sql_safe_updates", "0", "0"),
    ("sql_big_selects", "1", "1"),
    // No statement may hang for longer than a lock is worth waiting for. The second is for locks of tables, which whoever puts a
    // backup back, or changes a table, holds or waits for: by default they are waited for a day.
    ("innodb_lock_wait_timeout", "5", "5"),
    ("lock_wait_timeout", "5", "5"),
];

/// READ COMMITTED takes no gap locks, so that inserts of neighbouring ranks do not block each other.
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Sets it all, and sees that it was taken.
///
/// # Errors
/// The connection fails, the server refuses a setting, or something on the way swallows one.
pub(super) async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let pairs: Vec<String> = SETTINGS.iter().map(|(name, value, _)| format!("{name} = {value}")).collect();
    connection.execute(ISOLATION).await?;
    connection.execute(AssertSqlSafe(format!("SET SESSION {}", pairs.join(", ")))).await?;
    let names: Vec<String> = SETTINGS.iter().map(|(name, ..)| format!("@@SESSION.{name}")).collect();
    let asked = format!("SELECT CAST(CONCAT_WS('/', {}) AS CHAR CHARACTER SET utf8mb4)", names.join(", "));
    let found: String = sqlx::query_scalar(AssertSqlSafe(asked)).fetch_one(connection).await?;
    match not_taken(&found) {
        None => Ok(()),
        Some((name, found)) => Err(sqlx::Error::Configuration(
            format!("the session's {name} is {found:?} though it was set: a proxy before the server swallows it")
                .into(),
        )),
    }
}

/// The first setting that is not in force.
fn not_taken(found: &str) -> Option<(&'static str, String)> {
    let mut found = found.split('/');
    SETTINGS.iter().find_map(|(name, _, wanted)| {
        let found = found.next().unwrap_or_default();
        (normal(found) != normal(wanted)).then(|| (*name, found.to_owned()))
    })
}

/// Servers list modes in an order of their own, and MariaDB says of a switch `ON` where MySQL says `1`.
fn normal(value: &str) -> Vec<String> {
    let part = |part: &str| match part.to_uppercase().as_str() {
        "ON" => "1".to_owned(),
        "OFF" => "0".to_owned(),
        other => other.to_owned(),
    };
    let mut parts: Vec<String> = value.split(',').map(part).collect();
    parts.sort_unstable();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_was_swallowed_is_named() {
        let all: Vec<&str> = SETTINGS.iter().map(|(.., wanted)| *wanted).collect();
        assert_eq!(not_taken(&all.join("/")), None);
        let mariadb = "ON/NO_CHAIN/ON/ON/STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION/18446744073709551615/OFF/OFF/ON/5/5";
        assert_eq!(not_taken(mariadb), None);
        let modes = all
            .join("/")
            .replace("STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", "NO_ENGINE_SUBSTITUTION,STRICT_ALL_TABLES");
        assert_eq!(not_taken(&modes), None);
        let off = all.join("/").replacen('1', "0", 1);
        assert_eq!(not_taken(&off), Some(("autocommit", "0".to_owned())));
        assert_eq!(not_taken("1"), Some(("completion_type", String::new())));
    }
}
