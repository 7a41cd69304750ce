//! Kafka, Redis and MariaDB together, secured.

use anyhow::Result;

use super::folder::Folder;
use super::kafka::Kafka;
use super::mariadb::MariaDb;
use super::redis::{Redis, Tls};
use crate::connections::{self, Connections};
use crate::kafka::{self, Doors};
use crate::ports::Port;
use crate::secured::Authority;
use crate::secured::administrator::Administrator;

/// All three, secured: TLS by an authority of their own, and logins with the rights that README lists for the realms of
/// [`crate::layout::REALMS`]. Users and passwords are those of a stack, also Kafka's.
#[derive(Debug)]
pub struct Secured {
    /// Kafka.
    pub kafka: Kafka,
    /// Redis.
    pub redis: Redis,
    /// The database.
    pub database: MariaDb,
    /// Changes passwords and certificates.
    pub administrator: Administrator,
    _folder: Folder,
    _port: Port,
}

impl Secured {
    /// Starts them together; takes some seconds.
    ///
    /// # Errors
    /// As each of them.
    pub fn start() -> Result<Self> {
        let (folder, port) = (Folder::create("authority")?, Port::free()?);
        let (authority, admin) = (Authority::create(&folder.path.join("authority"))?, port.address());
        let all = &authority;
        let (kafka, redis, database) = std::thread::scope(|scope| {
            let kafka = scope.spawn(move || {
                let doors = Doors::Secured { authority: all, admin };
                Kafka::launch(kafka::Setup { doors, ..kafka::Setup::default() })
            });
            let database = scope.spawn(move || MariaDb::launch(Some(all), &[]));
            let redis = Redis::launch(None, Tls::Only(all));
            (kafka.join(), redis, database.join())
        });
        let panicked = |_| anyhow::Error::msg("a server's start panicked");
        let (kafka, redis, database) = (kafka.map_err(panicked)??, redis?, database.map_err(panicked)??);
        let administrator =
            Administrator { authority, redis: redis.address, kafka: admin, database: database.socket() };
        Ok(Self { kafka, redis, database, administrator, _folder: folder, _port: port })
    }

    /// Where they are, as [`Connections`] of a stack says it; the stack is none.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let folder = self.administrator.authority.folder().to_owned();
        Connections {
            stack: String::new(),
            state: folder.clone(),
            node_ip: self.redis.address.ip().to_string(),
            kafka: Some(self.kafka.url()),
            redis: Some(connections::secured_redis_url(self.redis.address)),
            redis_workload: Some(connections::secured_redis_workload_url(self.redis.address)),
            redis_sentinels: None,
            redis_master: None,
            database: Some(connections::secured_database_url(self.database.address)),
            database_workload: Some(self.database.workload_url()),
            authority: Some(folder),
        }
    }
}
