//! Tables that a database administrator makes: `coupon-operator migrations print` into the client of a real MariaDB, then an operator that
//! may change no table.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use coupon_core::connections::{Database, DatabaseTls, Login};
use coupon_core::identity::CampaignId;
use coupon_ledger::database;
use coupon_ledger::database::probe::{Probe, Role};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, raw_sql};
use stack::services::MariaDb;

fn print(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_coupon-operator");
    Command::new(program).args(["migrations", "print"]).args(arguments).output().unwrap()
}

/// Runs a script as root, as an administrator does.
fn run_as_root(server: &MariaDb, database: &str, script: &[u8]) {
    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "--user=root", &format!("--socket={}", server.socket().display()), database]);
    let mut client = client.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(script).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Without rights on tables other than those that the README lists.
fn operator(server: &MariaDb, database: &str) -> Database {
    let url = server.url();
    let (host, port) = url.split_once('@').unwrap().1.split_once('/').unwrap().0.rsplit_once(':').unwrap();
    Database {
        host: host.to_owned(),
        port: port.parse().unwrap(),
        name: database.to_owned(),
        login: Login { username: "least".to_owned(), password: "least".to_owned() },
        tls: DatabaseTls::Disabled,
        ca_pem: None,
    }
}

async fn columns(root: &MySqlPool, database: &str) -> Vec<(String, String, String, String)> {
    sqlx::query_as(
        "SELECT CONVERT(table_name USING utf8mb4), CONVERT(column_name USING utf8mb4), CONVERT(column_type USING utf8mb4), \
         CONVERT(COALESCE(column_default, '-') USING utf8mb4) FROM information_schema.columns WHERE table_schema = ? \
         ORDER BY table_name, ordinal_position",
    )
    .bind(database)
    .fetch_all(root)
    .await
    .unwrap()
}

/// Wrong: whoever keeps changes of tables to an administrator cannot use the operator, or has to give it every right for ever.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_an_administrator_makes_are_accepted_and_no_right_to_change_them_is_needed() {
    let server = tokio::task::spawn_blocking(MariaDb::start).await.unwrap().unwrap();
    let root = MySqlConnectOptions::new().socket(server.socket()).username("root");
    let root = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(root);
    let as_root = async |sql: String| {
        raw_sql(AssertSqlSafe(sql)).execute(&root).await.unwrap();
    };
    as_root("CREATE USER 'least'@'%' IDENTIFIED BY 'least'".to_owned()).await;
    // What the operator makes by itself, to compare with.
    let url = server.url();
    let (login, place) = url.strip_prefix("mysql://").unwrap().split_once('@').unwrap();
    let (username, password) = login.split_once(':').unwrap();
    let own = Database {
        login: Login { username: username.to_owned(), password: password.to_owned() },
        ..operator(&server, place.split_once('/').unwrap().1)
    };
    database::migrate(&database::connect(&own, 1)).await.unwrap();
    let wanted = columns(&root, &own.name).await;

    let newest = database::migrations().last().unwrap().version;
    let whole = print(&[]).stdout;
    // As it is; again, after it broke off half way; in two steps, as at an upgrade; where sessions commit nothing by themselves; and tables
    // that came from elsewhere, without the books, or with books that say less.
    let stories: [(&str, &[&[u8]], &str); 6] = [
        ("once", &[&whole], ""),
        ("twice", &[&whole, &whole], ""),
        ("by_steps", &[&whole, &print(&["--from", &newest.to_string()]).stdout], ""),
        ("uncommitted", &[b"SET SESSION autocommit = 0;", &whole], ""),
        ("no_books", &[&whole], "DROP TABLE _sqlx_migrations"),
        ("short_books", &[&whole], "DELETE FROM _sqlx_migrations WHERE version > 2"),
    ];
    for (story, scripts, then) in stories {
        let database = format!("coupons_{story}");
        as_root(format!("CREATE DATABASE {database}; GRANT SELECT, INSERT, UPDATE ON {database}.* TO 'least'@'%'"))
            .await;
        if story == "uncommitted" {
            as_root("SET GLOBAL autocommit = 0".to_owned()).await;
        }
        for script in scripts {
            run_as_root(&server, &database, script);
        }
        as_root("SET GLOBAL autocommit = 1".to_owned()).await;
        if !then.is_empty() {
            run_as_root(&server, &database, then.as_bytes());
        }
        let settings = operator(&server, &database);
        let pool = database::connect(&settings, 1);
        database::migrate(&pool).await.unwrap_or_else(|error| panic!("{story}: {error}"));
        let found: Vec<_> = columns(&root, &database).await;
        let books = |all: &[(String, String, String, String)]| {
            all.iter().filter(|(table, ..)| table != "_sqlx_migrations").cloned().collect::<Vec<_>>()
        };
        assert_eq!(books(&found), books(&wanted), "{story}");

        let mut probe = Probe::connect(&settings, std::time::Duration::from_secs(10)).await.unwrap();
        assert!(probe.missing_rights(Role::Operator).await.unwrap().is_empty(), "{story}");
        assert!(probe.missing_keys().await.unwrap().is_empty(), "{story}");
        let campaign = CampaignId::with_default_names("test", "migrations", "made-by-others").unwrap();
        let row = database::register(&pool, &campaign, 7).await.unwrap();
        let epoch = database::allot_epoch(&pool, row.id, 0).await.unwrap();
        assert_eq!(database::open_epoch(&pool, row.id, epoch).await.unwrap(), database::EpochCommit::Done, "{story}");
    }

    let unknown = print(&["--from", &(newest + 1).to_string()]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && unknown.stdout.is_empty(), "{said}");
    assert!(said.contains(&format!("this program knows 1 to {newest}")), "{said}");
}
