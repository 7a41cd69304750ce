//! The servers: real ones of this run's own, on free ports of this machine.

use std::path::PathBuf;

use anyhow::{Error, Result};
use coupon_core::connections::Connections;
use coupon_testing::servers;
use stack::services::{Kafka, MariaDb, Redis};

/// All three.
#[derive(Debug)]
pub(crate) struct Servers {
    redis: Redis,
    kafka: Kafka,
    database: MariaDb,
}

/// The processes of the servers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pids {
    /// Redis.
    pub(crate) redis: u32,
    /// Kafka, the whole Java machine.
    pub(crate) kafka: u32,
    /// MariaDB.
    pub(crate) database: u32,
}

impl Servers {
    /// Starts them together; takes some seconds.
    ///
    /// # Errors
    /// One is not installed, or does not become ready.
    pub(crate) fn start() -> Result<Self> {
        let (kafka, database, redis) = std::thread::scope(|scope| {
            let (kafka, database) = (scope.spawn(Kafka::start), scope.spawn(MariaDb::start));
            let redis = Redis::start();
            (kafka.join(), database.join(), redis)
        });
        let panicked = |_| Error::msg("a server's start panicked");
        Ok(Self { redis: redis?, kafka: kafka.map_err(panicked)??, database: database.map_err(panicked)?? })
    }

    /// Where they are, with all rights.
    pub(crate) fn operator(&self) -> Connections {
        self.connections(&self.redis.url(), &self.database.url())
    }

    /// Where they are, with the rights of pods.
    pub(crate) fn workload(&self) -> Connections {
        self.connections(&self.redis.workload_url(), &self.database.workload_url())
    }

    fn connections(&self, redis: &str, database: &str) -> Connections {
        Connections {
            kafka: servers::kafka(&self.kafka.url()),
            redis: servers::redis(redis),
            database: servers::database(database),
            kafka_names: Default::default(),
        }
    }

    /// URL of Redis, with all rights.
    pub(crate) fn redis_url(&self) -> String {
        self.redis.url()
    }

    /// Where Redis listens.
    pub(crate) fn redis_address(&self) -> String {
        self.redis.address().to_string()
    }

    /// The bootstrap server.
    pub(crate) fn kafka_url(&self) -> String {
        self.kafka.url()
    }

    /// Where the broker keeps its partitions.
    pub(crate) fn kafka_data(&self) -> PathBuf {
        self.kafka.data()
    }

    /// Their processes.
    ///
    /// # Errors
    /// One has ended.
    pub(crate) fn pids(&self) -> Result<Pids> {
        Ok(Pids { redis: self.redis.pid()?, kafka: self.kafka.pid()?, database: self.database.pid()? })
    }
}
