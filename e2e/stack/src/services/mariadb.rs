//! A MariaDB of a test's own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use super::folder::Folder;
use super::service::{Service, control};
use crate::cache::Cache;
use crate::ports::Port;
use crate::secured::Authority;
use crate::tools::Tool;
use crate::{connections, mariadb};

/// A MariaDB, with the same database and users as in a stack.
#[derive(Debug)]
pub struct MariaDb {
    service: Service,
    pub(super) address: SocketAddr,
}

impl MariaDb {
    /// Starts one.
    ///
    /// # Errors
    /// If it is not installed, or does not become ready; then with the end of its log.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with more options of `mariadbd`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: &[String]) -> Result<Self> {
        Self::launch(None, options)
    }

    pub(super) fn launch(authority: Option<&Authority>, options: &[String]) -> Result<Self> {
        let installed = Tool::MariaDb.find(&Cache::locate()?)?;
        let (folder, port) = (Folder::create("mariadb")?, Port::free()?);
        let address = port.address();
        let mut server = mariadb::server(&installed, address, &folder.path.join("sql"), &folder.log(), authority)?;
        server.command.extend(options.iter().cloned());
        Ok(Self { service: Service::start(server, folder, vec![port])?, address })
    }

    /// `mysql://..`, with all rights on the database `coupons` and on those named `coupons_...`.
    #[must_use]
    pub fn url(&self) -> String {
        connections::database_url(self.address)
    }

    /// `mysql://..`, with the rights of the workloads.
    #[must_use]
    pub fn workload_url(&self) -> String {
        connections::database_workload_url(self.address)
    }

    /// The socket by which `root` comes in without a password, with every right.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        mariadb::socket(&self.service.folder.path.join("sql"))
    }
}

control!(MariaDb);
