//! Who logs in at a stack's servers, and as which settings and Secrets the product has it.

use anyhow::{Context, Result};
use coupon_core::connections::{self, CaPem, DatabaseTls, Kafka, KafkaProtocol, Redis, RedisServer, SaslMechanism};
use serde_json::{Value, json};
use stack::Connections;
use stack::layout::{OPERATOR_PASSWORD, OPERATOR_USER, WORKLOAD_PASSWORD, WORKLOAD_USER};
use stack::secured::ADMIN;
use stack::services::Sentinel;

use crate::url::Url;

/// Where the operator and the credentials are.
pub const SYSTEM_NAMESPACE: &str = "coupon-system";

/// A user of secured servers, who has the same name everywhere, with its passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// At Kafka.
    pub kafka: String,
    /// At Redis.
    pub redis: String,
    /// At the database.
    pub database: String,
}

impl Login {
    fn new((user, password): (&str, &str)) -> Self {
        let own = |text: &str| text.to_owned();
        Self { user: own(user), kafka: own(password), redis: own(password), database: own(password) }
    }

    /// Who may do everything.
    pub fn admin() -> Self {
        Self::new(ADMIN)
    }

    /// The operator.
    pub fn operator() -> Self {
        Self::new((OPERATOR_USER, OPERATOR_PASSWORD))
    }

    /// Issuers and consumers.
    pub fn workload() -> Self {
        Self::new((WORKLOAD_USER, WORKLOAD_PASSWORD))
    }

    /// The Secret that a class names.
    pub fn secret(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
            "stringData": {
                "kafka-username": self.user, "kafka-password": self.kafka,
                "redis-username": self.user, "redis-password": self.redis,
                "sentinel-username": Sentinel::CLIENT.0, "sentinel-password": Sentinel::CLIENT.1,
                "database-username": self.user, "database-password": self.database,
            }
        })
    }

    /// The settings of a process that logs in so at secured servers, and trusts who is trusted at this moment.
    pub fn settings(&self, connections: &Connections) -> Result<connections::Connections> {
        let ca_pem = Some(CaPem::new(trusted(connections)?.context("these servers are not secured")?)?);
        let login = |password: &str| connections::Login { username: self.user.clone(), password: password.to_owned() };
        let redis = Url::parse(connections.redis.as_deref().context("no Redis")?)?;
        let database = Url::parse(connections.database.as_deref().context("no database")?)?;
        let (host, port) = database.address.split_once(':').context("the database has no port")?;
        Ok(connections::Connections {
            kafka: Kafka { login: login(&self.kafka), ..kafka(connections)? },
            redis: Redis {
                server: RedisServer::Address(redis.address),
                login: login(&self.redis),
                tls: true,
                database: 0,
                ca_pem: ca_pem.clone(),
            },
            database: connections::Database {
                host: host.to_owned(),
                port: port.parse()?,
                name: database.path,
                login: login(&self.database),
                tls: DatabaseTls::VerifyIdentity,
                ca_pem,
            },
            kafka_names: Default::default(),
        })
    }
}

/// Certificates that clients of secured servers trust; none of plain ones.
pub fn trusted(connections: &Connections) -> Result<Option<String>> {
    connections.authority().map(|authority| authority.trusted_pem()).transpose()
}

/// Kafka as a test speaks to it: nothing holds it back.
pub fn kafka(connections: &Connections) -> Result<Kafka> {
    let brokers = connections.kafka.as_deref().context("the stack has no Kafka")?;
    let bootstrap_servers = brokers.split(',').map(str::to_owned).collect();
    let ca_pem = trusted(connections)?.map(CaPem::new).transpose()?;
    let plain = Kafka {
        bootstrap_servers,
        protocol: KafkaProtocol::Plaintext,
        mechanism: None,
        login: connections::Login::default(),
        ca_pem: None,
    };
    if ca_pem.is_none() {
        return Ok(plain);
    }
    let Login { user, kafka, .. } = Login::admin();
    Ok(Kafka {
        protocol: KafkaProtocol::SaslTls,
        mechanism: Some(SaslMechanism::ScramSha512),
        login: connections::Login { username: user, password: kafka },
        ca_pem,
        ..plain
    })
}
