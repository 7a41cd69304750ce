//! A Kafka of a test's own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use super::folder::Folder;
use super::service::{Service, control};
use crate::cache::Cache;
use crate::kafka::{self, Doors};
use crate::ports::Port;
use crate::secured;
use crate::tools::Tool;

/// A Kafka cluster of one broker.
#[derive(Debug)]
pub struct Kafka {
    service: Service,
    address: SocketAddr,
}

impl Kafka {
    /// Starts one; takes some seconds.
    ///
    /// # Errors
    /// If it is not installed, or does not become ready; then with the end of its log.
    pub fn start() -> Result<Self> {
        Self::launch(kafka::Setup::default())
    }

    /// The user, with its password, that no ACL holds back at [`Self::start_with_acls`].
    pub const ADMIN: (&str, &str) = secured::ADMIN;

    /// Starts one that asks for a login (SASL PLAIN, without TLS) and goes by ACLs, of which there are none at first. `users`: names
    /// with passwords, beside [`Self::ADMIN`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_acls(users: &[(&str, &str)]) -> Result<Self> {
        Self::launch(kafka::Setup { doors: Doors::Guarded(users), ..kafka::Setup::default() })
    }

    /// Starts one with further lines of configuration, such as `delete.topic.enable=false`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(lines: &str) -> Result<Self> {
        Self::launch(kafka::Setup { further: &format!("{lines}\n"), ..kafka::Setup::default() })
    }

    pub(super) fn launch(setup: kafka::Setup<'_>) -> Result<Self> {
        let installed = Tool::find_kafka(&Cache::locate()?)?;
        let (folder, clients, controller) = (Folder::create("kafka")?, Port::free()?, Port::free()?);
        let address = clients.address();
        let cluster = [kafka::Listeners { clients: address, controller: controller.address(), proxied: None }];
        let data = folder.path.join("broker");
        let id = kafka::cluster_id(&data)?;
        let server = kafka::server(&installed, 1, &cluster, &id, &data, &folder.log(), setup)?;
        Ok(Self { service: Service::start(server, folder, vec![clients, controller])?, address })
    }

    /// The bootstrap server, `host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        self.address.to_string()
    }

    /// What it stores: a folder for each partition, with its log.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        kafka::logs(&self.service.folder.path.join("broker"))
    }
}

control!(Kafka);
