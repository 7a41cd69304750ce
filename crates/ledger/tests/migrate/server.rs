//! A database server of the test's own.

use coupon_core::connections::{Database, Login};
use coupon_ledger::database;
use coupon_testing::servers;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, raw_sql};
use stack::services::MariaDb;

pub(crate) struct Server {
    mariadb: MariaDb,
    root: MySqlPool,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let mariadb = tokio::task::spawn_blocking(MariaDb::start).await.unwrap().unwrap();
        let options = MySqlConnectOptions::new().socket(mariadb.socket()).username("root");
        let root = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(options);
        Self { mariadb, root }
    }

    pub(crate) async fn as_root(&self, sql: &str) {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.root).await.unwrap();
    }

    pub(crate) fn settings(&self, database: &str) -> Database {
        Database { name: database.to_owned(), ..servers::database(&self.mariadb.url()) }
    }

    /// An empty database, reached as the operator reaches it.
    pub(crate) async fn database(&self, name: &str) -> MySqlPool {
        self.as_root(&format!("CREATE DATABASE {name}")).await;
        database::connect(&self.settings(name), 2)
    }

    /// The same as a user who may not do anything yet.
    pub(crate) async fn stranger(&self, name: &str) -> MySqlPool {
        self.as_root("CREATE USER 'stranger'@'%' IDENTIFIED BY 'strange'").await;
        let mut settings = self.settings(name);
        settings.login = Login { username: "stranger".to_owned(), password: "strange".to_owned() };
        database::connect(&settings, 2)
    }
}

pub(crate) async fn execute(pool: &MySqlPool, sql: &str) {
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
}
