//! What all cases share: servers, connections to them, programs, sizes.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use coupon_core::connections::Connections;
use coupon_ledger::redis::RedisError;
use http::{Request, Response};
use kube::client::Body;
use kube::{Api, Client};
use operator::class::ClassConnections;
use operator::class::pools::Systems;
use operator::issuer_client::pods::PodClient;
use operator::ledger::epoch::Issuers;
use operator::workloads::ControlTokens;
use redis::aio::MultiplexedConnection;

use super::catalogue::Sizes;
use super::servers::{Pids, Servers};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What all cases share.
pub(crate) struct Stage {
    /// As the operator has them. Dropped before the servers end.
    pub(crate) systems: Systems,
    /// An API server without pods: no issuer has to be fenced.
    pub(crate) issuers: Issuers,
    /// What issuers and consumers get.
    pub(crate) workload: Connections,
    /// Asks programs for their metrics.
    pub(crate) http: reqwest::Client,
    /// The folder of the programs.
    pub(crate) programs: PathBuf,
    /// A folder for what processes hand to each other.
    pub(crate) scratch: PathBuf,
    /// How long and how much.
    pub(crate) sizes: Sizes,
    /// The servers.
    pub(crate) servers: Servers,
}

impl Stage {
    /// Connects to the servers, and makes the tables.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(crate) async fn new(servers: Servers, programs: PathBuf, scratch: PathBuf, sizes: Sizes) -> Result<Self> {
        let (operator, workload) = (servers.operator(), servers.workload());
        let systems = Systems::new(ClassConnections { operator, workload: workload.clone() })?;
        systems.migrate().await.context("the tables cannot be made")?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        Ok(Self { systems, issuers: no_issuers()?, workload, http, programs, scratch, sizes, servers })
    }

    /// The processes of the servers.
    ///
    /// # Errors
    /// One has ended.
    pub(crate) fn pids(&self) -> Result<Pids> {
        self.servers.pids()
    }

    /// A connection with all rights.
    ///
    /// # Errors
    /// Redis cannot be connected to.
    pub(crate) async fn redis(&self) -> Result<MultiplexedConnection, RedisError> {
        self.systems.redis().await
    }

    /// What Redis has taken of memory for its data, in bytes.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(crate) async fn redis_memory(&self) -> Result<f64> {
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut self.redis().await?).await?;
        let used = info.lines().find_map(|line| line.trim_end().strip_prefix("used_memory:"));
        Ok(used.context("Redis does not say how much memory it uses")?.parse()?)
    }

    /// Removes all rows of winners, so that the table is as small for each case.
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn empty_table(&self) -> Result<()> {
        sqlx::query("TRUNCATE TABLE issued_coupon").execute(&self.systems.sql).await?;
        Ok(())
    }
}

fn no_issuers() -> Result<Issuers> {
    const PODS: &str = r#"{"apiVersion":"v1","kind":"PodList","metadata":{},"items":[]}"#;
    let nobody = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::from(PODS.as_bytes().to_vec())))
    });
    Ok(Issuers {
        pods: Api::namespaced(Client::new(nobody, "bench"), "bench"),
        selector: String::new(),
        tokens: ControlTokens::default(),
        http: PodClient::new()?,
        vouched_gone: Vec::new(),
    })
}
