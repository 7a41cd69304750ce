//! Migrations: broken off, repeated, of other versions, and without the rights that they need.

use std::collections::BTreeSet;
use std::time::Duration;

use coupon_core::connections::Login;
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, DatabaseError, Fault};
use sqlx::mysql::MySqlPool;

use super::server::{Server, execute};

/// The migrations of release 0.1.0, as it ran them.
const RELEASED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/released/0.1.0");

/// Creates nothing that is there already.
const BOOKS: &str = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
                     installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
                     checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)";

/// Tables and columns, which is what a migration is about.
async fn columns(pool: &MySqlPool) -> BTreeSet<(String, String, String)> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT CONVERT(table_name USING utf8mb4), CONVERT(column_name USING utf8mb4), CONVERT(column_type USING utf8mb4) \
         FROM information_schema.columns WHERE table_schema = DATABASE()",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().collect()
}

async fn is_recorded(pool: &MySqlPool) {
    let rows: Vec<(i64, bool)> =
        sqlx::query_as("SELECT version, success FROM _sqlx_migrations ORDER BY version").fetch_all(pool).await.unwrap();
    let expected: Vec<(i64, bool)> = database::migrations().iter().map(|migration| (migration.version, true)).collect();
    assert_eq!(rows, expected);
}

async fn works(pool: &MySqlPool) {
    let campaign =
        CampaignId::with_default_names("test", "migrate", &format!("c{:016x}", rand::random::<u64>())).unwrap();
    let row = database::register(pool, &campaign, 7).await.unwrap();
    assert_eq!((row.total, row.terms_number), (7, 0));
}

/// Wrong: an operator that is killed, or loses the database, half way leaves tables that nobody can migrate any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_broke_off_anywhere_is_finished_by_the_next_one() {
    let server = Server::start().await;
    let whole = server.database("coupons_whole").await;
    database::migrate(&whole).await.unwrap();
    let wanted = columns(&whole).await;
    let mut number = 0;
    for migration in database::migrations() {
        for done in 0..=migration.statements.len() {
            // Killed before the row of the migration was written, and after; with the row kept by the books, and lost with them.
            for dirty in [false, true] {
                number += 1;
                let pool = server.database(&format!("coupons_broken_{number}")).await;
                execute(&pool, BOOKS).await;
                for earlier in database::migrations().iter().take_while(|each| each.version < migration.version) {
                    for statement in &earlier.statements {
                        execute(&pool, statement).await;
                    }
                    record(&pool, earlier.version, true).await;
                }
                if dirty {
                    record(&pool, migration.version, false).await;
                }
                for statement in &migration.statements[..done] {
                    execute(&pool, statement).await;
                }
                let place = format!("migration {}, {done} statements, dirty {dirty}", migration.version);
                database::migrate(&pool).await.unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_eq!(columns(&pool).await, wanted, "{place}");
                is_recorded(&pool).await;
                works(&pool).await;
                database::migrate(&pool).await.unwrap();
                pool.close().await;
            }
        }
    }
    assert!(number > 8, "{number}");
    // Made by hand, without any books.
    execute(&whole, "DROP TABLE _sqlx_migrations").await;
    database::migrate(&whole).await.unwrap();
    assert_eq!(columns(&whole).await, wanted);
    is_recorded(&whole).await;
}

/// Wrong: a table that somebody has dropped stays away for good, as the books say that it was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_or_column_that_somebody_dropped_is_made_anew() {
    let server = Server::start().await;
    let whole = server.database("coupons_all").await;
    database::migrate(&whole).await.unwrap();
    let expected = columns(&whole).await;
    for (number, drop) in [
        "DROP TABLE drained",
        "DROP TABLE issued_coupon",
        "SET FOREIGN_KEY_CHECKS = 0; DROP TABLE campaign",
        "ALTER TABLE campaign DROP COLUMN object_uid",
    ]
    .into_iter()
    .enumerate()
    {
        let pool = server.database(&format!("coupons_dropped_{number}")).await;
        database::migrate(&pool).await.unwrap();
        execute(&pool, drop).await;
        assert_ne!(columns(&pool).await, expected, "{drop}");
        database::migrate(&pool).await.unwrap();
        assert_eq!(columns(&pool).await, expected, "{drop}");
        is_recorded(&pool).await;
        works(&pool).await;
    }
}

async fn record(pool: &MySqlPool, version: i64, success: bool) {
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (?, '', ?, '', -1)";
    sqlx::query(sql).bind(version).bind(success).execute(pool).await.unwrap();
}

/// Wrong: the upgrade stops because the text of an old migration changed, or loses what is stored.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_the_last_release_made_are_taken_over() {
    let server = Server::start().await;
    let (fresh, old) = (server.database("coupons_fresh").await, server.database("coupons_old").await);
    database::migrate(&fresh).await.unwrap();
    let mut connection = old.acquire().await.unwrap();
    let released = sqlx::migrate::Migrator::new(std::path::Path::new(RELEASED)).await.unwrap();
    let mut released = released.iter().cloned().collect::<Vec<_>>();
    released.sort_by_key(|migration| migration.version);
    let mut released = sqlx::migrate::Migrator::with_migrations(released);
    released.set_locking(false);
    released.run_direct(None, &mut *connection, false).await.unwrap();
    drop(connection);
    let campaign = CampaignId::with_default_names("test", "migrate", "kept").unwrap();
    // As that release did it, which knew no other columns.
    let insert =
        "INSERT INTO campaign (realm, namespace, coupon_id, total_quantity) VALUES ('test', 'migrate', 'kept', 9)";
    execute(&old, insert).await;

    database::migrate(&old).await.unwrap();
    assert_eq!(columns(&old).await, columns(&fresh).await);
    let after = database::find(&old, &campaign).await.unwrap().unwrap();
    assert_eq!((after.total, after.terms_number, after.opened_start_ms, after.object_uid), (9, 0, None, None));
    is_recorded(&old).await;
}

/// Wrong: the second look hides which right is missing, the right that was granted does not help, or an operator whose tables are
/// up to date cannot start because it may not make any.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_each_time_and_granting_it_is_enough() {
    let server = Server::start().await;
    server.as_root("CREATE DATABASE coupons_rights").await;
    let pool = server.stranger("coupons_rights").await;
    server.as_root("GRANT SELECT ON coupons_rights.* TO 'stranger'@'%'").await;
    for right in ["CREATE", "INSERT, UPDATE", "ALTER"] {
        // Each look names the same; connections learn of rights when they are made.
        for look in 1..=2 {
            let error = database::migrate(&pool).await.unwrap_err();
            let text = error.to_string();
            assert!(error.is_missing_right() && error.fault() == Fault::Denied, "{right}, look {look}: {text}");
            assert!(
                text.contains(&format!("{right} command denied to user 'stranger'")),
                "{right}, look {look}: {text}"
            );
            assert!(text.contains("for table"), "{text}");
        }
        server.as_root(&format!("GRANT {right} ON coupons_rights.* TO 'stranger'@'%'")).await;
    }
    database::migrate(&pool).await.unwrap();
    is_recorded(&pool).await;

    server.as_root("REVOKE CREATE, ALTER ON coupons_rights.* FROM 'stranger'@'%'").await;
    pool.close().await;
    let mut settings = server.settings("coupons_rights");
    settings.login = Login { username: "stranger".to_owned(), password: "strange".to_owned() };
    let later = database::connect(&settings, 1);
    database::migrate(&later).await.unwrap();
    works(&later).await;
}

/// Wrong: after an upgrade that was taken back no campaign is looked after; or an old program writes into tables that it does not
/// understand.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_works_with_newer_tables_unless_they_forbid_it() {
    let server = Server::start().await;
    let pool = server.database("coupons_newer").await;
    database::migrate(&pool).await.unwrap();
    execute(&pool, "ALTER TABLE campaign ADD COLUMN of_the_future INT NOT NULL DEFAULT 3").await;
    record(&pool, 9_999, true).await;
    database::migrate(&pool).await.unwrap();
    works(&pool).await;

    execute(&pool, "UPDATE schema_compatibility SET minimum_reader = 9999").await;
    let known = database::migrations().last().unwrap().version;
    let error = database::migrate(&pool).await.unwrap_err();
    assert!(matches!(error, DatabaseError::SchemaTooNew { known: own, minimum: 9_999 } if own == known), "{error}");
    assert!(error.to_string().contains("upgrade the operator to a version that knows schema 9999"), "{error}");
    execute(&pool, &format!("UPDATE schema_compatibility SET minimum_reader = {known}")).await;
    database::migrate(&pool).await.unwrap();

    // Running migrations again does not let older programs in.
    execute(&pool, "DELETE FROM _sqlx_migrations WHERE version = 4").await;
    database::migrate(&pool).await.unwrap();
    let minimum: i64 =
        sqlx::query_scalar("SELECT minimum_reader FROM schema_compatibility").fetch_one(&pool).await.unwrap();
    assert_eq!(minimum, known);
}

/// Wrong: a machine that died with the lock in hand keeps every other operator from starting for hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_never_free_holds_nothing_up_for_long() {
    let server = Server::start().await;
    let pool = server.database("coupons_locked").await;
    let mut holder = pool.acquire().await.unwrap();
    let locked: i64 = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('coupon-migrations-', MD5(DATABASE())), 0)")
        .fetch_one(&mut *holder)
        .await
        .unwrap();
    assert_eq!(locked, 1);
    tokio::time::timeout(Duration::from_secs(60), database::migrate(&pool)).await.unwrap().unwrap();
    is_recorded(&pool).await;
}
