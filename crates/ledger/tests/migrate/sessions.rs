//! What a server makes of sessions, and pooled connections that are of no use any more.

use std::time::Duration;

use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, DatabaseError, Fault};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use super::server::{Server, execute};

/// Wrong: what a server makes of new sessions decides what is committed: the ledger's writes stay in a transaction that nobody ends, and
/// nothing opens.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_committed_whatever_the_server_makes_of_sessions() {
    let server = Server::start().await;
    let seen = server.database("coupons_seen").await;
    database::migrate(&seen).await.unwrap();
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
        let pool = database::connect(&server.settings("coupons_seen"), 1);
        let campaign = CampaignId::with_default_names("test", "migrate", &format!("sessions{number}")).unwrap();
        let row = database::register(&pool, &campaign, 7).await.unwrap();
        let epoch = database::allot_epoch(&pool, row.id, 0).await.unwrap();
        database::set_issued_count(&pool, row.id, 5).await.unwrap();
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
        let found = database::find(&seen, &campaign).await.unwrap();
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
    let pool = database::connect(&server.settings("coupons_read_only"), 1);
    database::migrate(&pool).await.unwrap();
    let campaign = CampaignId::with_default_names("test", "migrate", "moved").unwrap();
    let row = database::register(&pool, &campaign, 5).await.unwrap();
    let connection = async || -> u64 { sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&pool).await.unwrap() };
    let before = kept(&connection).await;

    server.as_root("SET GLOBAL read_only = 1").await;
    let single = database::set_issued_count(&pool, row.id, 1).await.unwrap_err();
    assert!(single.is_read_only() && single.fault() == Fault::Away, "{single}");
    let between = connection().await;
    assert_ne!(between, before, "the next try connects anew");
    let transaction = database::allot_epoch(&pool, row.id, 0).await.unwrap_err();
    assert!(transaction.is_read_only() && transaction.fault() == Fault::Away, "{transaction}");
    assert_ne!(connection().await, between, "after a transaction too");

    server.as_root("SET GLOBAL read_only = 0").await;
    assert_eq!(database::allot_epoch(&pool, row.id, 0).await.unwrap(), 1);
    kept(&connection).await;
}

/// Wrong: after a backup was put back the pool goes on with statements that remember that a table was not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_missed_a_table_is_not_used_again() {
    let server = Server::start().await;
    server.as_root("CREATE DATABASE coupons_put_back").await;
    let pool = database::connect(&server.settings("coupons_put_back"), 1);
    database::migrate(&pool).await.unwrap();
    let campaign = CampaignId::with_default_names("test", "migrate", "put-back").unwrap();
    let row = database::register(&pool, &campaign, 5).await.unwrap();
    let connection = async || -> u64 { sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&pool).await.unwrap() };
    for (what, away, back) in [
        ("a table", "RENAME TABLE campaign TO away", "RENAME TABLE away TO campaign"),
        (
            "a column",
            "ALTER TABLE campaign CHANGE COLUMN issued_count away BIGINT UNSIGNED NOT NULL DEFAULT 0",
            "ALTER TABLE campaign CHANGE COLUMN away issued_count BIGINT UNSIGNED NOT NULL DEFAULT 0",
        ),
    ] {
        assert_eq!(database::find(&pool, &campaign).await.unwrap().map(|found| found.id), Some(row.id), "{what}");
        let before = kept(&connection).await;
        server.as_root(&format!("USE coupons_put_back; {away}")).await;
        let missed = database::find(&pool, &campaign).await.unwrap_err();
        assert_eq!(missed.fault(), Fault::Schema, "{what}: {missed}");
        server.as_root(back).await;
        assert_ne!(connection().await, before, "{what}: the next try connects anew");
        assert_eq!(database::find(&pool, &campaign).await.unwrap().map(|found| found.id), Some(row.id), "{what}");
    }
}

/// Wrong: while somebody has a table locked, as for putting a backup back, statements wait for up to a day, and whoever sent them too.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_has_locked_is_not_waited_for_for_long() {
    let server = Server::start().await;
    server.as_root("CREATE DATABASE coupons_locked").await;
    let pool = database::connect(&server.settings("coupons_locked"), 2);
    database::migrate(&pool).await.unwrap();
    let campaign = CampaignId::with_default_names("test", "migrate", "locked").unwrap();
    let row = database::register(&pool, &campaign, 5).await.unwrap();
    server.as_root("USE coupons_locked; LOCK TABLES campaign WRITE").await;
    let begun = std::time::Instant::now();
    let (read, written) = tokio::join!(database::find(&pool, &campaign), database::set_issued_count(&pool, row.id, 1));
    for refused in [read.map(drop), written] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.fault(), Fault::Contention, "{refused}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    server.as_root("UNLOCK TABLES").await;
    database::set_issued_count(&pool, row.id, 1).await.unwrap();
    assert_eq!(database::find(&pool, &campaign).await.unwrap().unwrap().issued_count, 1);
}

/// Wrong: an epoch counts as open that no issuer sees, as what was written is in a transaction that is not at its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_open_once_another_connection_sees_it() {
    let server = Server::start().await;
    let whole = server.database("coupons_unseen").await;
    database::migrate(&whole).await.unwrap();
    let campaign = CampaignId::with_default_names("test", "migrate", "unseen").unwrap();
    let row = database::register(&whole, &campaign, 7).await.unwrap();
    let epoch = database::allot_epoch(&whole, row.id, 0).await.unwrap();
    // As behind a proxy that keeps one connection for all that is written, with settings of its own.
    let options = MySqlConnectOptions::clone(&whole.connect_options());
    let held = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(options);
    execute(&held, "SET SESSION autocommit = 0").await;
    let unseen = database::open_epoch(&held, row.id, epoch).await.unwrap_err();
    assert!(matches!(unseen, DatabaseError::NotSeen(_)) && unseen.fault() == Fault::Away, "{unseen}");
    assert_eq!(database::find(&whole, &campaign).await.unwrap().unwrap().open_epoch, None);
    execute(&held, "ROLLBACK").await;
    assert_eq!(database::open_epoch(&whole, row.id, epoch).await.unwrap(), database::EpochCommit::Done);
}
