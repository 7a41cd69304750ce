//! The three ports, and the server of each.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use coupon_runtime::http::{Limits, Manners, Server, Stats, raise_open_files};
use coupon_runtime::listening;
use coupon_runtime::telemetry::SharedRegistry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use crate::config::Config;
use crate::http;

/// Name of the task that serves users.
pub(super) const USERS_PORT: &str = "users' port";

/// The addresses that are listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// For users.
    pub public: SocketAddr,
    /// For the operator.
    pub control: SocketAddr,
    /// For probes and metrics.
    pub probe: SocketAddr,
}

/// Bound, and not served yet.
pub(super) struct Ports {
    pub(super) addresses: Addresses,
    public: TcpListener,
    control: TcpListener,
    probe: TcpListener,
}

impl Ports {
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let (public, public_address) = listening::bind(config.listen, "users").await?;
        let (control, control_address) = listening::bind(config.control_listen, "the operator").await?;
        let (probe, probe_address) = listening::bind(config.probe_listen, "probes").await?;
        let addresses = Addresses { public: public_address, control: control_address, probe: probe_address };
        Ok(Self { addresses, public, control, probe })
    }
}

/// What each port answers.
pub(super) struct Routes {
    pub(super) public: Router,
    pub(super) control: Router,
    pub(super) probe: Router,
}

/// The server of each port.
pub(super) struct Servers {
    pub(super) users: Arc<Server>,
    control: Arc<Server>,
    probe: Arc<Server>,
}

impl Servers {
    pub(super) fn new(config: &Config, registry: &SharedRegistry) -> anyhow::Result<Self> {
        let files = raise_open_files().context("the limit of open files")?;
        let for_users = Limits::for_users(config.memory_limit, files, config.keep_alive());
        tracing::info!(connections = for_users.connections, memory = config.memory_limit, files, "users may connect");
        let [users, control, probe] = Stats::register(registry, ["users", "control", "probes"]);
        let internal = |stats| Server::new(Limits::internal(), stats);
        let tells_peer = config.rate_limits.per_address.is_some();
        let manners = Manners { problem: Some(http::of_failure), cors: config.cors(), tells_peer };
        let users = Server::for_users(for_users, users, manners);
        Ok(Self { users, control: internal(control), probe: internal(probe) })
    }

    /// Serves users until `stop_accepting`, and the others until `stop_rest`.
    pub(super) fn serve(
        self,
        ports: Ports,
        routes: Routes,
        tasks: &mut Tasks,
        stop_accepting: &CancellationToken,
        stop_rest: &CancellationToken,
    ) {
        let Ports { public, control, probe, .. } = ports;
        tasks.spawn(USERS_PORT, self.users.serve(public, routes.public, stop_accepting.clone()));
        tasks.spawn("control port", self.control.serve(control, routes.control, stop_rest.clone()));
        tasks.spawn("probe port", self.probe.serve(probe, routes.probe, stop_rest.clone()));
    }
}
