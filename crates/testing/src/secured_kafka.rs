//! A broker of a test's own that asks for a login and goes by ACLs.

use coupon_core::connections::{Kafka, KafkaProtocol, Login, SaslMechanism};
use stack::secured::brokers::{Acl, Brokers};
use stack::services;

/// The broker (SASL PLAIN, without TLS). It ends when it is dropped.
pub struct SecuredKafka {
    /// Adds and removes ACLs. Brokers go by a change a moment after it is written.
    pub acls: Brokers,
    address: String,
    broker: services::Kafka,
}

impl SecuredKafka {
    /// Starts it, with these users and passwords, and without ACLs.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start<const N: usize>(users: [(&'static str, &'static str); N]) -> Self {
        let starting = tokio::task::spawn_blocking(move || services::Kafka::start_with_acls(&users));
        let broker = starting.await.unwrap().unwrap();
        let address = broker.url();
        let acls = Brokers::login(address.parse().unwrap(), services::Kafka::ADMIN).unwrap();
        Self { acls, address, broker }
    }

    /// As it is reached with this name and password.
    pub fn settings(&self, (username, password): (&str, &str)) -> Kafka {
        Kafka {
            bootstrap_servers: vec![self.address.clone()],
            protocol: KafkaProtocol::SaslPlaintext,
            mechanism: Some(SaslMechanism::Plain),
            login: Login { username: username.to_owned(), password: password.to_owned() },
            ca_pem: None,
        }
    }

    /// As it is reached by a user who may do everything.
    pub fn admin(&self) -> Kafka {
        self.settings(services::Kafka::ADMIN)
    }

    /// Adds ACLs.
    ///
    /// # Panics
    /// The broker refuses one.
    pub fn add<'a>(&mut self, acls: impl IntoIterator<Item = &'a Acl>) {
        acls.into_iter().for_each(|acl| self.acls.add(acl).unwrap());
    }

    /// Kills it.
    ///
    /// # Panics
    /// It cannot be killed.
    pub fn kill(&self) {
        self.broker.kill().unwrap();
    }
}
