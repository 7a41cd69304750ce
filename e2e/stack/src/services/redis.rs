//! A Redis of a test's own, and Sentinels.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::certificate::Certificate;
use super::folder::Folder;
use super::service::{Service, control};
use crate::layout::{OPERATOR_PASSWORD, SENTINEL_MASTER};
use crate::ports::Port;
use crate::secured::Authority;
use crate::{connections, redis};

/// Whether a Redis speaks TLS.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tls<'a> {
    None,
    /// On another port, beside the plain one.
    Beside(&'a Certificate),
    /// It is secured, and there is no plain port.
    Only(&'a Authority),
}

/// A Redis, with the same users as in a stack.
#[derive(Debug)]
pub struct Redis {
    service: Service,
    pub(super) address: SocketAddr,
    pub(super) tls: Option<SocketAddr>,
}

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    /// If it is not installed, or does not become ready; then with the end of its log.
    pub fn start() -> Result<Self> {
        Self::launch(None, Tls::None)
    }

    /// Starts one that follows `primary`, and waits until it has its data.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_replica_of(primary: &Self) -> Result<Self> {
        Self::launch(Some(primary.address), Tls::None)
    }

    /// Starts one that speaks TLS as well, on another port.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_tls(certificate: &Certificate) -> Result<Self> {
        Self::launch(None, Tls::Beside(certificate))
    }

    pub(super) fn launch(primary: Option<SocketAddr>, tls: Tls<'_>) -> Result<Self> {
        let (folder, port, secure) = (Folder::create("redis")?, Port::free()?, Port::free()?);
        let address = port.address();
        let (authority, further, tls) = match tls {
            Tls::None => (None, String::new(), None),
            Tls::Beside(certificate) => (None, certificate.settings(secure.address()), Some(secure.address())),
            Tls::Only(authority) => (Some(authority), String::new(), Some(address)),
        };
        let setup = redis::Setup { authority, further: &further };
        let server = redis::server("redis", address, &folder.path.join("data"), &folder.log(), primary, setup)?;
        Ok(Self { service: Service::start(server, folder, vec![port, secure])?, address, tls })
    }

    /// Where it listens for TLS; nowhere unless it was started so.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// `redis://..`, with all rights.
    #[must_use]
    pub fn url(&self) -> String {
        connections::redis_url(self.address)
    }

    /// `redis://..`, with the rights of the workloads.
    #[must_use]
    pub fn workload_url(&self) -> String {
        connections::redis_workload_url(self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it stores: the append-only file. A test may put an older copy there while the server is down.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.service.folder.path.join("data")
    }
}

/// A Sentinel that watches a Redis alone.
#[derive(Debug)]
pub struct Sentinel {
    service: Service,
    address: SocketAddr,
}

impl Sentinel {
    /// The name under which it watches.
    pub const MASTER: &str = SENTINEL_MASTER;
    /// The user, with its password, whom a protected one lets do what clients need, and no more; its default user has another
    /// password.
    pub const CLIENT: (&str, &str) = ("coupon-watch", "watch-dev");
    /// The rights of that user, as README lists them.
    pub const CLIENT_RIGHTS: &str = "resetchannels &+switch-master -@all +sentinel|get-master-addr-by-name +subscribe";

    /// Starts one; with `protected`, it asks everybody for a login.
    ///
    /// # Errors
    /// If it is not installed, or does not become ready; then with the end of its log.
    pub fn start(primary: &Redis, protected: bool) -> Result<Self> {
        let (port, address) = (Port::free()?, primary.address);
        let password = protected.then_some(OPERATOR_PASSWORD);
        let further = if protected { Self::client() } else { String::new() };
        Self::launch(vec![port], &address.ip().to_string(), address.port(), &further, password)
    }

    /// The line of configuration that makes [`Self::CLIENT`].
    pub(crate) fn client() -> String {
        let (user, password) = Self::CLIENT;
        format!("user {user} on >{password} {}\n", Self::CLIENT_RIGHTS)
    }

    /// Starts one that speaks TLS, and tells of a primary that does, by this name of its or this address.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_tls(primary: &Redis, certificate: &Certificate, host: &str) -> Result<Self> {
        let (secure, port) = (Port::free()?, Port::free()?);
        let further = certificate.settings(secure.address())
            + "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n";
        let primary = primary.tls.context("the primary speaks no TLS")?;
        let mut sentinel = Self::launch(vec![port, secure], host, primary.port(), &further, None)?;
        sentinel.address = sentinel.service.ports[1].address();
        Ok(sentinel)
    }

    fn launch(ports: Vec<Port>, host: &str, port: u16, further: &str, password: Option<&'static str>) -> Result<Self> {
        let (folder, address) = (Folder::create("sentinel")?, ports[0].address());
        let watched = redis::Watched { host, port, quorum: 1, further, password, authority: None, expect: "status=ok" };
        let server = redis::sentinel("sentinel", address, &folder.path.join("data"), &folder.log(), &watched)?;
        Ok(Self { service: Service::start(server, folder, ports)?, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

control!(Redis, Sentinel);
