//! Connects to the Redis primary. A connection is never repaired behind the caller's back: when it breaks, the caller asks
//! for a new one and knows that the history may have changed.

use std::time::Duration;

use coupon_core::connections::{Redis, RedisServer};
use redis::aio::MultiplexedConnection;

use super::client::{Role, open};
use super::error::RedisError;
use super::sentinel;

/// Opens one connection to the primary. Each call on it fails after `response_timeout`.
pub async fn connect(settings: &Redis, response_timeout: Duration) -> Result<MultiplexedConnection, RedisError> {
    match &settings.server {
        RedisServer::Address(address) => open(settings, address, response_timeout, Role::Server).await,
        RedisServer::Sentinel { master_name, nodes, login } => {
            let address = sentinel::primary(settings, master_name, nodes, login).await?;
            let mut connection = open(settings, &address, response_timeout, Role::Server).await?;
            // A Sentinel may still name the old primary, which is a replica by now. INFO, as ROLE is a right of its own.
            let info: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await?;
            if info.lines().any(|line| line.trim_end() == "role:master") {
                return Ok(connection);
            }
            Err(RedisError::NoPrimary {
                master: master_name.clone(),
                last: format!("{address} is not a primary (any more)"),
            })
        }
    }
}
