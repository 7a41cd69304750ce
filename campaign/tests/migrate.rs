//! Migrations against real databases of their own: what broke off goes on, what is missing is named, and programs of different
//! versions live with the same tables.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use campaign::identity::CampaignId;
use campaign::settings::{Database, DatabaseTls, Login};
use campaign::table::{self, Fault, TableError};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, raw_sql};
use stack::services::MariaDb;

/// The migrations of release 0.1.0, as it ran them.
const RELEASED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/released/0.1.0");
/// Creates nothing that is there already.
const BOOKS: &str = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
                     installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
                     checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)";

struct Server {
    mariadb: MariaDb,
    root: MySqlPool,
}

impl Server {
    async fn start() -> Self {
        let mariadb = tokio::task::spawn_blocking(MariaDb::start).await.unwrap().unwrap();
        let options = MySqlConnectOptions::new().socket(mariadb.socket()).username("root");
        let root = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(options);
        Self { mariadb, root }
    }

    async fn as_root(&self, sql: &str) {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.root).await.unwrap();
    }

    fn settings(&self, database: &str) -> Database {
        let url = self.mariadb.url();
        let (login, place) = url.strip_prefix("mysql://").unwrap().split_once('@').unwrap();
        let (username, password) = login.split_once(':').unwrap();
        let (host, port) = place.split_once('/').unwrap().0.split_once(':').unwrap();
        Database {
            host: host.to_owned(),
            port: port.parse().unwrap(),
            name: database.to_owned(),
            login: Login { username: username.to_owned(), password: password.to_owned() },
            tls: DatabaseTls::Disabled,
            ca_pem: None,
        }
    }

    /// An empty database, reached as the operator reaches it.
    async fn database(&self, name: &str) -> MySqlPool {
        self.as_root(&format!("CREATE DATABASE {name}")).await;
        table::connect(&self.settings(name), 2)
    }

    /// The same as a user who may not do anything yet.
    async fn stranger(&self, name: &str) -> MySqlPool {
        self.as_root("CREATE USER 'stranger'@'%' IDENTIFIED BY 'strange'").await;
        let mut settings = self.settings(name);
        settings.login = Login { username: "stranger".to_owned(), password: "strange".to_owned() };
        table::connect(&settings, 2)
    }
}

async fn execute(pool: &MySqlPool, sql: &str) {
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
}

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
    let expected: Vec<(i64, bool)> = table::migrations().iter().map(|migration| (migration.version, true)).collect();
    assert_eq!(rows, expected);
}

async fn works(pool: &MySqlPool) {
    let campaign =
        CampaignId::with_default_names("test", "migrate", &format!("c{:016x}", rand::random::<u64>())).unwrap();
    let row = table::register(pool, &campaign, 7).await.unwrap();
    assert_eq!((row.total, row.terms_number), (7, 0));
}

/// Wrong: an operator that is killed, or loses the database, half way leaves tables that nobody can migrate any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_broke_off_anywhere_is_finished_by_the_next_one() {
    let server = Server::start().await;
    let whole = server.database("coupons_whole").await;
    table::migrate(&whole).await.unwrap();
    let wanted = columns(&whole).await;
    let mut number = 0;
    for migration in table::migrations() {
        for done in 0..=migration.statements.len() {
            // Killed before the row of the migration was written, and after; with the row kept by the books, and lost with them.
            for dirty in [false, true] {
                number += 1;
                let pool = server.database(&format!("coupons_broken_{number}")).await;
                execute(&pool, BOOKS).await;
                for earlier in table::migrations().iter().take_while(|each| each.version < migration.version) {
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
                table::migrate(&pool).await.unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_eq!(columns(&pool).await, wanted, "{place}");
                is_recorded(&pool).await;
                works(&pool).await;
                table::migrate(&pool).await.unwrap();
                pool.close().await;
            }
        }
    }
    assert!(number > 8, "{number}");
    // Made by hand, without any books.
    execute(&whole, "DROP TABLE _sqlx_migrations").await;
    table::migrate(&whole).await.unwrap();
    assert_eq!(columns(&whole).await, wanted);
    is_recorded(&whole).await;
}

/// Wrong: a table that somebody has dropped stays away for good, as the books say that it was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_or_column_that_somebody_dropped_is_made_anew() {
    let server = Server::start().await;
    let whole = server.database("coupons_all").await;
    table::migrate(&whole).await.unwrap();
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
        table::migrate(&pool).await.unwrap();
        execute(&pool, drop).await;
        assert_ne!(columns(&pool).await, expected, "{drop}");
        table::migrate(&pool).await.unwrap();
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
    table::migrate(&fresh).await.unwrap();
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

    table::migrate(&old).await.unwrap();
    assert_eq!(columns(&old).await, columns(&fresh).await);
    let after = table::find(&old, &campaign).await.unwrap().unwrap();
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
            let error = table::migrate(&pool).await.unwrap_err();
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
    table::migrate(&pool).await.unwrap();
    is_recorded(&pool).await;

    server.as_root("REVOKE CREATE, ALTER ON coupons_rights.* FROM 'stranger'@'%'").await;
    pool.close().await;
    let mut settings = server.settings("coupons_rights");
    settings.login = Login { username: "stranger".to_owned(), password: "strange".to_owned() };
    let later = table::connect(&settings, 1);
    table::migrate(&later).await.unwrap();
    works(&later).await;
}

/// Wrong: after an upgrade that was taken back no campaign is looked after; or an old program writes into tables that it does not
/// understand.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_works_with_newer_tables_unless_they_forbid_it() {
    let server = Server::start().await;
    let pool = server.database("coupons_newer").await;
    table::migrate(&pool).await.unwrap();
    execute(&pool, "ALTER TABLE campaign ADD COLUMN of_the_future INT NOT NULL DEFAULT 3").await;
    record(&pool, 9_999, true).await;
    table::migrate(&pool).await.unwrap();
    works(&pool).await;

    execute(&pool, "UPDATE schema_compatibility SET minimum_reader = 9999").await;
    let known = table::migrations().last().unwrap().version;
    let error = table::migrate(&pool).await.unwrap_err();
    assert!(matches!(error, TableError::SchemaTooNew { known: own, minimum: 9_999 } if own == known), "{error}");
    assert!(error.to_string().contains("upgrade the operator to a version that knows schema 9999"), "{error}");
    execute(&pool, &format!("UPDATE schema_compatibility SET minimum_reader = {known}")).await;
    table::migrate(&pool).await.unwrap();

    // Running migrations again does not let older programs in.
    execute(&pool, "DELETE FROM _sqlx_migrations WHERE version = 4").await;
    table::migrate(&pool).await.unwrap();
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
    tokio::time::timeout(Duration::from_secs(60), table::migrate(&pool)).await.unwrap().unwrap();
    is_recorded(&pool).await;
}

/// Wrong: what a server makes of new sessions decides what is committed: the ledger's writes stay in a transaction that nobody ends, and
/// nothing opens.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_committed_whatever_the_server_makes_of_sessions() {
    let server = Server::start().await;
    let seen = server.database("coupons_seen").await;
    table::migrate(&seen).await.unwrap();
    for (number, (setting, back)) in [
        ("SET GLOBAL autocommit = 0", "SET GLOBAL autocommit = 1"),
        ("SET GLOBAL init_connect = 'SET autocommit = 0'", "SET GLOBAL init_connect = ''"),
        ("SET GLOBAL completion_type = 'CHAIN'", "SET GLOBAL completion_type = 'NO_CHAIN'"),
        (
            "SET GLOBAL unique_checks = 0, foreign_key_checks = 0",
            "SET GLOBAL unique_checks = 1, foreign_key_checks = 1",
        ),
        ("SET GLOBAL sql_mode = ''", "SET GLOBAL sql_mode = DEFAULT"),
        ("SET GLOBAL init_connect = 'SET sql_select_limit = 1, sql_safe_updates = 1'", "SET GLOBAL init_connect = ''"),
    ]
    .into_iter()
    .enumerate()
    {
        server.as_root(setting).await;
        let pool = table::connect(&server.settings("coupons_seen"), 1);
        let campaign = CampaignId::with_default_names("test", "migrate", &format!("sessions{number}")).unwrap();
        let row = table::register(&pool, &campaign, 7).await.unwrap();
        let epoch = table::allot_epoch(&pool, row.id, 0).await.unwrap();
        table::set_issued_count(&pool, row.id, 5).await.unwrap();
        let all: Vec<i32> = sqlx::query_scalar("SELECT 1 UNION ALL SELECT 2").fetch_all(&pool).await.unwrap();
        assert_eq!(all, [1, 2], "{setting}: no row is left out");
        let checks: (i64, i64, String) =
            sqlx::query_as("SELECT @@unique_checks, @@foreign_key_checks, CONVERT(@@sql_mode USING utf8mb4)")
                .fetch_one(&pool)
                .await
                .unwrap();
        assert_eq!((checks.0, checks.1), (1, 1), "{setting}");
        assert!(checks.2.contains("STRICT_ALL_TABLES"), "{setting}: {}", checks.2);
        // Another connection, from before the setting.
        let found = table::find(&seen, &campaign).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("{setting}: nothing is committed"));
        assert_eq!((found.epoch, found.issued_count), (epoch, 5), "{setting}");
        server.as_root(back).await;
    }
}

/// The connection that a pool uses twice, as it works. Other tests of this process meet servers that take no writes, after which every
/// connection is made anew once.
async fn kept(connection: &impl AsyncFn() -> u64) -> u64 {
    let mut last = connection().await;
    for _ in 0..50 {
        let next = connection().await;
        if next == last {
            return next;
        }
        last = next;
    }
    panic!("no connection is ever used twice");
}

/// Wrong: after a failover the pool goes on with connections to the old primary, which refuses every write for as long as they live.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_no_writes_is_not_used_again() {
    let server = Server::start().await;
    server.as_root("CREATE DATABASE coupons_read_only").await;
    let pool = table::connect(&server.settings("coupons_read_only"), 1);
    table::migrate(&pool).await.unwrap();
    let campaign = CampaignId::with_default_names("test", "migrate", "moved").unwrap();
    let row = table::register(&pool, &campaign, 5).await.unwrap();
    let connection = async || -> u64 { sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&pool).await.unwrap() };
    let before = kept(&connection).await;

    server.as_root("SET GLOBAL read_only = 1").await;
    let single = table::set_issued_count(&pool, row.id, 1).await.unwrap_err();
    assert!(single.is_read_only() && single.fault() == Fault::Away, "{single}");
    let between = connection().await;
    assert_ne!(between, before, "the next try connects anew");
    let transaction = table::allot_epoch(&pool, row.id, 0).await.unwrap_err();
    assert!(transaction.is_read_only() && transaction.fault() == Fault::Away, "{transaction}");
    assert_ne!(connection().await, between, "after a transaction too");

    server.as_root("SET GLOBAL read_only = 0").await;
    assert_eq!(table::allot_epoch(&pool, row.id, 0).await.unwrap(), 1);
    kept(&connection).await;
}

/// Wrong: after a backup was put back the pool goes on with statements that remember that a table was not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_missed_a_table_is_not_used_again() {
    let server = Server::start().await;
    server.as_root("CREATE DATABASE coupons_put_back").await;
    let pool = table::connect(&server.settings("coupons_put_back"), 1);
    table::migrate(&pool).await.unwrap();
    let campaign = CampaignId::with_default_names("test", "migrate", "put-back").unwrap();
    let row = table::register(&pool, &campaign, 5).await.unwrap();
    let connection = async || -> u64 { sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&pool).await.unwrap() };
    for (what, away, back) in [
        ("a table", "RENAME TABLE campaign TO away", "RENAME TABLE away TO campaign"),
        (
            "a column",
            "ALTER TABLE campaign CHANGE COLUMN issued_count away BIGINT UNSIGNED NOT NULL DEFAULT 0",
            "ALTER TABLE campaign CHANGE COLUMN away issued_count BIGINT UNSIGNED NOT NULL DEFAULT 0",
        ),
    ] {
        assert_eq!(table::find(&pool, &campaign).await.unwrap().map(|found| found.id), Some(row.id), "{what}");
        let before = kept(&connection).await;
        server.as_root(&format!("USE coupons_put_back; {away}")).await;
        let missed = table::find(&pool, &campaign).await.unwrap_err();
        assert_eq!(missed.fault(), Fault::Schema, "{what}: {missed}");
        server.as_root(back).await;
        assert_ne!(connection().await, before, "{what}: the next try connects anew");
        assert_eq!(table::find(&pool, &campaign).await.unwrap().map(|found| found.id), Some(row.id), "{what}");
    }
}

/// Wrong: while somebody has a table locked, as for putting a backup back, statements wait for up to a day, and whoever sent them too.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_has_locked_is_not_waited_for_for_long() {
    let server = Server::start().await;
    server.as_root("CREATE DATABASE coupons_locked").await;
    let pool = table::connect(&server.settings("coupons_locked"), 2);
    table::migrate(&pool).await.unwrap();
    let campaign = CampaignId::with_default_names("test", "migrate", "locked").unwrap();
    let row = table::register(&pool, &campaign, 5).await.unwrap();
    server.as_root("USE coupons_locked; LOCK TABLES campaign WRITE").await;
    let begun = std::time::Instant::now();
    let (read, written) = tokio::join!(table::find(&pool, &campaign), table::set_issued_count(&pool, row.id, 1));
    for refused in [read.map(drop), written] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.fault(), Fault::Contention, "{refused}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    server.as_root("UNLOCK TABLES").await;
    table::set_issued_count(&pool, row.id, 1).await.unwrap();
    assert_eq!(table::find(&pool, &campaign).await.unwrap().unwrap().issued_count, 1);
}

/// Wrong: an epoch counts as open that no issuer sees, as what was written is in a transaction that is not at its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_open_once_another_connection_sees_it() {
    let server = Server::start().await;
    let whole = server.database("coupons_unseen").await;
    table::migrate(&whole).await.unwrap();
    let campaign = CampaignId::with_default_names("test", "migrate", "unseen").unwrap();
    let row = table::register(&whole, &campaign, 7).await.unwrap();
    let epoch = table::allot_epoch(&whole, row.id, 0).await.unwrap();
    // As behind a proxy that keeps one connection for all that is written, with settings of its own.
    let options = MySqlConnectOptions::clone(&whole.connect_options());
    let held = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(options);
    execute(&held, "SET SESSION autocommit = 0").await;
    let unseen = table::open_epoch(&held, row.id, epoch).await.unwrap_err();
    assert!(matches!(unseen, TableError::NotSeen(_)) && unseen.fault() == Fault::Away, "{unseen}");
    assert_eq!(table::find(&whole, &campaign).await.unwrap().unwrap().open_epoch, None);
    execute(&held, "ROLLBACK").await;
    assert_eq!(table::open_epoch(&whole, row.id, epoch).await.unwrap(), table::EpochCommit::Done);
}
