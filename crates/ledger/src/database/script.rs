//! The migrations as one SQL script, for who keeps changes of tables to themselves.

use std::fmt::Write;

use super::migrate::{BOOKS, Migration, added_column, migrations};

/// Makes the views for reports, anew if they are there. No program needs them, and none makes them: that takes `CREATE VIEW`, a right that no
/// login of ours has.
pub const VIEWS: &str = include_str!("../../../../migrations/views/user_coupons.sql");

/// Makes the tables of `migrations/` from version `from` on, and the books by which an operator finds that nothing is left to do. It may be
/// run again, on MariaDB and on MySQL, also after it broke off. `None` if there is no such version.
pub fn script(from: i64) -> Option<String> {
    let all = migrations();
    let newest = all.last()?.version;
    if !(1..=newest).contains(&from) {
        return None;
    }
    let mut text = format!(
        "-- Tables of coupon-operator: schema versions {from} to {newest}. Run it in the database that the CampaignClass names, as a user who\n\
         -- may CREATE, ALTER, REFERENCES, SELECT, INSERT and UPDATE there; the operator then needs SELECT, INSERT and UPDATE only.\n\
         -- It may be run again.\n\n\
         SET NAMES utf8mb4;\n\
         SET SESSION autocommit = 1;\n\n\
         {BOOKS};\n"
    );
    for migration in all.iter().filter(|migration| migration.version >= from) {
        write_one(&mut text, migration);
    }
    Some(text)
}

fn write_one(text: &mut String, migration: &Migration) {
    let Migration { version, description, statements, checksum } = migration;
    text.push_str(&format!("\n-- {version}: {description}\n"));
    for statement in statements {
        match added_column(statement) {
            None => text.push_str(&format!("{statement};\n")),
            Some((table, column)) => text.push_str(&unless_there(statement, table, column)),
        }
    }
    let mut sum = String::new();
    for byte in checksum {
        // Writing into a string does not fail.
        let _ = write!(sum, "{byte:02x}");
    }
    text.push_str(&format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)\n    \
         VALUES ({version}, '{description}', TRUE, X'{sum}', -1) ON DUPLICATE KEY UPDATE success = TRUE, checksum = X'{sum}';\n"
    ));
}

/// MySQL has no `ADD COLUMN IF NOT EXISTS`.
fn unless_there(statement: &str, table: &str, column: &str) -> String {
    let quoted = statement.replace('\'', "''");
    format!(
        "SET @step = (SELECT IF(COUNT(*) = 0, '{quoted}', 'DO 0')\n    \
         FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '{table}' AND column_name = '{column}');\n\
         PREPARE step FROM @step;\n\
         EXECUTE step;\n\
         DEALLOCATE PREPARE step;\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_begins_where_it_is_asked_to() {
        let all = script(1).unwrap();
        for migration in migrations() {
            assert!(all.contains(&format!("-- {}: {}\n", migration.version, migration.description)));
        }
        let newest = migrations().pop().unwrap();
        let last = script(newest.version).unwrap();
        assert!(last.contains(&format!("-- {}: {}\n", newest.version, newest.description)), "{last}");
        assert!(!last.contains("-- 1: ledger"), "{last}");
        let newest = newest.version;
        assert_eq!((script(0), script(newest + 1)), (None, None));
        assert!(all.lines().all(|line| !line.starts_with("ALTER")), "what cannot run twice is asked for first");
    }
}
