//! Where the services of a stack are, as environment variables: `stack exec` sets them, tests read them.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::layout::{
    DATABASE, Layout, NODE_IP, OPERATOR_PASSWORD, OPERATOR_USER, SENTINEL_MASTER, WORKLOAD_PASSWORD, WORKLOAD_USER,
};
use crate::secured::{ADMIN, Authority};

/// The connection facts of a stack. Services that it runs without are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// `COUPON_STACK`: its name.
    pub stack: String,
    /// `COUPON_STACK_STATE`: its folder.
    pub state: PathBuf,
    /// `COUPON_NODE_IP`: the node's address; NodePorts are reached there.
    pub node_ip: String,
    /// `COUPON_KAFKA`: the brokers, as `host:port,...`.
    pub kafka: Option<String>,
    /// `COUPON_REDIS`: the URL of the (first) primary, with all rights.
    pub redis: Option<String>,
    /// `COUPON_REDIS_WORKLOAD`: the same with the rights of the workloads.
    pub redis_workload: Option<String>,
    /// `COUPON_REDIS_SENTINELS`: the Sentinels, as `host:port,...`.
    pub redis_sentinels: Option<String>,
    /// `COUPON_REDIS_MASTER`: the name under which the Sentinels know the primary.
    pub redis_master: Option<String>,
    /// `COUPON_DATABASE`: the URL of the database, with all rights.
    pub database: Option<String>,
    /// `COUPON_DATABASE_WORKLOAD`: the same with the rights of the workloads.
    pub database_workload: Option<String>,
    /// `COUPON_AUTHORITY`: the folder of the authority that signed the servers' certificates, if they are secured. All are spoken
    /// to over TLS then; all rights are those of [`ADMIN`], of whom Kafka asks a login as well, and the operator has its own.
    pub authority: Option<PathBuf>,
}

/// Where it is not set, programs that were built for tests refuse to work.
pub(crate) const STACK: &str = "COUPON_STACK";
const STATE: &str = "COUPON_STACK_STATE";
const NODE: &str = "COUPON_NODE_IP";

impl Connections {
    /// Reads the facts of the stack in which this process runs.
    ///
    /// # Errors
    /// If it runs in none.
    pub fn from_env() -> Result<Self> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let needed = |name| {
            variable(name).with_context(|| {
                format!("{name} is not set: this must run inside a stack (`make test`, or `stack exec -- ...`)")
            })
        };
        Ok(Self {
            stack: needed(STACK)?,
            state: needed(STATE)?.into(),
            node_ip: needed(NODE)?,
            kafka: variable("COUPON_KAFKA"),
            redis: variable("COUPON_REDIS"),
            redis_workload: variable("COUPON_REDIS_WORKLOAD"),
            redis_sentinels: variable("COUPON_REDIS_SENTINELS"),
            redis_master: variable("COUPON_REDIS_MASTER"),
            database: variable("COUPON_DATABASE"),
            database_workload: variable("COUPON_DATABASE_WORKLOAD"),
            authority: variable("COUPON_AUTHORITY").map(PathBuf::from),
        })
    }

    /// The authority that signed the servers' certificates, if they are secured.
    #[must_use]
    pub fn authority(&self) -> Option<Authority> {
        self.authority.as_deref().map(Authority::at)
    }

    pub(crate) fn on(
        layout: &Layout,
        kafka: Option<Vec<SocketAddr>>,
        redis: Option<SocketAddr>,
        sentinels: Option<Vec<SocketAddr>>,
        database: Option<SocketAddr>,
        secured: bool,
    ) -> Self {
        Self {
            stack: layout.name().to_owned(),
            state: layout.root().to_owned(),
            node_ip: NODE_IP.to_string(),
            kafka: kafka.as_deref().map(list),
            redis: redis.map(if secured { secured_redis_url } else { redis_url }),
            redis_workload: redis.map(if secured { secured_redis_workload_url } else { redis_workload_url }),
            redis_master: sentinels.is_some().then(|| SENTINEL_MASTER.to_owned()),
            redis_sentinels: sentinels.as_deref().map(list),
            database: database.map(if secured { secured_database_url } else { database_url }),
            database_workload: database.map(database_workload_url),
            authority: secured.then(|| layout.authority()),
        }
    }

    /// Every variable with its value, or `None` if it must not be set.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, Option<String>); 11] {
        [
            (STACK, Some(self.stack.clone())),
            (STATE, Some(self.state.display().to_string())),
            (NODE, Some(self.node_ip.clone())),
            ("COUPON_KAFKA", self.kafka.clone()),
            ("COUPON_REDIS", self.redis.clone()),
            ("COUPON_REDIS_WORKLOAD", self.redis_workload.clone()),
            ("COUPON_REDIS_SENTINELS", self.redis_sentinels.clone()),
            ("COUPON_REDIS_MASTER", self.redis_master.clone()),
            ("COUPON_DATABASE", self.database.clone()),
            ("COUPON_DATABASE_WORKLOAD", self.database_workload.clone()),
            ("COUPON_AUTHORITY", self.authority.as_ref().map(|folder| folder.display().to_string())),
        ]
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// Redis with all rights, as the default user.
pub(crate) fn redis_url(address: SocketAddr) -> String {
    format!("redis://default:{OPERATOR_PASSWORD}@{address}/0")
}

pub(crate) fn redis_workload_url(address: SocketAddr) -> String {
    format!("redis://{WORKLOAD_USER}:{WORKLOAD_PASSWORD}@{address}/0")
}

/// Redis with all rights, over TLS: the operator has only those that it needs.
pub(crate) fn secured_redis_url(address: SocketAddr) -> String {
    let (user, password) = ADMIN;
    format!("rediss://{user}:{password}@{address}/0")
}

pub(crate) fn secured_redis_workload_url(address: SocketAddr) -> String {
    format!("rediss://{WORKLOAD_USER}:{WORKLOAD_PASSWORD}@{address}/0")
}

pub(crate) fn database_url(address: SocketAddr) -> String {
    format!("mysql://{OPERATOR_USER}:{OPERATOR_PASSWORD}@{address}/{DATABASE}")
}

/// With all rights, of a server that asks for TLS.
pub(crate) fn secured_database_url(address: SocketAddr) -> String {
    let (user, password) = ADMIN;
    format!("mysql://{user}:{password}@{address}/{DATABASE}")
}

pub(crate) fn database_workload_url(address: SocketAddr) -> String {
    format!("mysql://{WORKLOAD_USER}:{WORKLOAD_PASSWORD}@{address}/{DATABASE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::on_node;

    #[test]
    fn what_is_set_is_what_is_read() {
        let layout = Layout::new("x").unwrap();
        for (sentinels, secured) in [(None, true), (Some(vec![on_node(1), on_node(2)]), false)] {
            let (kafka, redis) = (Some(vec![on_node(9092)]), Some(on_node(6379)));
            let facts = Connections::on(&layout, kafka, redis, sentinels, None, secured);
            let variables = facts.variables();
            let lookup =
                |name: &str| variables.iter().find(|(key, _)| *key == name).and_then(|(_, value)| value.clone());
            assert_eq!(Connections::read(lookup).unwrap(), facts);
        }
    }

    #[test]
    fn outside_a_stack_the_error_says_what_to_do() {
        let error = Connections::read(|_| None).unwrap_err().to_string();
        assert!(error.contains("make test"), "{error}");
    }
}
