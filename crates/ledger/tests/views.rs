//! The view for reports, against a real database of its own.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use coupon_core::connections::Database;
use coupon_core::identity::CampaignId;
use coupon_ledger::database;
use coupon_testing::servers;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Executor, Row, raw_sql};
use stack::services::MariaDb;

async fn execute(pool: &MySqlPool, sql: &str) {
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The rows that a reader sees in a session of this time zone, each as one line.
async fn seen(server: &MariaDb, time_zone: &'static str) -> Vec<String> {
    let options = MySqlConnectOptions::new().socket(server.socket()).username("reader").password("reads");
    let pool = MySqlPoolOptions::new()
        .max_connections(1)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(AssertSqlSafe(format!("SET time_zone = '{time_zone}'"))).await.map(drop)
            })
        })
        .connect_lazy_with(options.database("coupons_seen").timezone(None));
    let line = "SELECT CONCAT_WS('|', realm, namespace, coupon_id, issue_rank, user_id, user_nth, status, issued_at, \
                IFNULL(stored_at, '-')) AS line FROM user_coupons ORDER BY issue_rank";
    let rows = pool.fetch_all(line).await.unwrap();
    let refused = pool.fetch_all("SELECT request_key FROM issued_coupon").await;
    assert!(refused.is_err(), "who may read the view reads no keys");
    rows.iter().map(|row| row.get("line")).collect()
}

/// Wrong: a report counts `Anna` and `anna` as one user, or whoever looks up the one finds what the other holds.
async fn users_who_look_alike_are_others(root: &MySqlPool, row: u64) {
    let alike = ["Anna", "anna", "ANNA", "\u{e1}nna"];
    for (user, rank) in alike.iter().zip(3..) {
        let sql = format!(
            "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms) \
             VALUES ({row}, {rank}, '{user}', 1, 'order-{rank}', 1, 1796086800123)"
        );
        execute(root, &sql).await;
    }
    let count = async |what: &str| {
        let sql = format!(
            "SELECT CAST({what} AS UNSIGNED) AS n FROM user_coupons WHERE coupon_id = 'spring' AND issue_rank > 2"
        );
        root.fetch_one(AssertSqlSafe(sql)).await.unwrap().get::<u64, _>("n")
    };
    assert_eq!(count("COUNT(DISTINCT user_id)").await, 4);
    for user in alike {
        assert_eq!(count(&format!("SUM(user_id = '{user}')")).await, 1, "{user}");
    }
    assert_eq!(count("SUM(coupon_id = 'Spring')").await, 0);
    let absurd = format!(
        "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms) VALUES \
         ({row}, 98, 'evil', 1, 'order-98', 1, {}), ({row}, 99, 'evil', 2, 'order-99', 1, {})",
        i64::MAX,
        i64::MIN
    );
    execute(root, &absurd).await;
    assert_eq!(count("COUNT(issued_at)").await, 6, "one row breaks no report");
}

/// Wrong: reports show users as bytes, or times that depend on who looks; or the view stands in the way of the operator.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_who_holds_what_in_text_and_utc_and_nothing_else() {
    let server = tokio::task::spawn_blocking(MariaDb::start).await.unwrap().unwrap();
    let root = MySqlPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(MySqlConnectOptions::new().socket(server.socket()).username("root"));
    execute(&root, "CREATE DATABASE coupons_seen").await;
    let settings = Database { name: "coupons_seen".to_owned(), ..servers::database(&server.url()) };
    let pool = database::connect(&settings, 2);
    database::migrate(&pool).await.unwrap();
    let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
    let row = database::register(&pool, &campaign, 7).await.unwrap().id.0;
    // The operator's sessions are of UTC.
    execute(
        &pool,
        &format!(
            "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms, stored_at) \
             VALUES ({row}, 1, 'ren\u{e9}', 1, 'order-1', 1, 1796086800123, FROM_UNIXTIME(1796086801.234567)); \
             INSERT INTO discarded_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms, why) \
             VALUES ({row}, 2, 'bert', 1, 'order-2', 1, 1796086800124, 'test')"
        ),
    )
    .await;
    execute(&root, "USE coupons_seen").await;
    for _ in 0..2 {
        execute(&root, database::VIEWS).await;
    }
    execute(&root, "CREATE USER 'reader'@'localhost' IDENTIFIED BY 'reads'; GRANT SELECT ON coupons_seen.user_coupons TO 'reader'@'localhost'")
        .await;
    let expected = [
        "prod|shop|spring|1|ren\u{e9}|1|stored|2026-12-01 01:00:00.123000|2026-12-01 01:00:01.234567",
        "prod|shop|spring|2|bert|1|discarded|2026-12-01 01:00:00.124000|-",
    ];
    for time_zone in ["+00:00", "+09:00", "-11:30"] {
        assert_eq!(seen(&server, time_zone).await, expected, "{time_zone}");
    }
    users_who_look_alike_are_others(&root, row).await;
    database::migrate(&pool).await.unwrap();
    execute(&pool, "DROP VIEW user_coupons").await;
    database::migrate(&pool).await.unwrap();
}
